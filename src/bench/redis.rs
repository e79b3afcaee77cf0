//! `persona bench redis`: what it costs that the event log is in Redis, which several instances share.
//!
//! First the same messages to the same viewers with the log in memory and in Redis, in turns, so that what changes on the machine
//! meanwhile meets both; then as many messages as can be said to a few viewers, at one instance and at two. Refuses to compare
//! runs that were not made side by side.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::{
    Common,
    backing::Backing,
    hub::at_least_one,
    load::{
        Done, Load, Plan,
        dialect::Dialect,
        streams::{self, Opened},
        tally::Delivered,
    },
    report::{self, per_second},
    server::Server,
};

/// How long the streams are left alone before anything is said: presence is told by then.
const SETTLED: Duration = Duration::from_secs(2);
/// Who talks as fast as they are answered where it is about how much can be carried.
const TALKERS: u32 = 128;
/// How long a message is.
const BYTES: usize = 200;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Event streams whose latency is measured
    #[arg(long, default_value = "1000", value_parser = at_least_one(), value_name = "COUNT")]
    streams: usize,
    /// Messages a second that they are told
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..), value_name = "COUNT")]
    rate: u32,
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), value_name = "SECONDS")]
    seconds: u32,
    /// How often the two take turns; the figures are the medians
    #[arg(long, default_value = "3", value_parser = at_least_one(), value_name = "COUNT")]
    rounds: usize,
    /// Messages that are said as fast as they are taken
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..), value_name = "COUNT")]
    messages: u32,
    /// Event streams that are told those
    #[arg(long, default_value = "8", value_parser = at_least_one(), value_name = "COUNT")]
    readers: usize,
    #[command(flatten)]
    backing: Backing,
    #[command(flatten)]
    common: Common,
}

/// One way to keep the log. The names are stable.
#[derive(Debug, Serialize)]
struct Way {
    #[serde(rename = "latency_p50_us")]
    p50: u64,
    #[serde(rename = "latency_p99_us")]
    p99: u64,
    /// Of each round, in their order.
    #[serde(rename = "rounds_p50_us")]
    p50s: Vec<u64>,
    #[serde(rename = "rounds_p99_us")]
    p99s: Vec<u64>,
}

/// As many messages as were taken.
#[derive(Debug, Serialize)]
struct Carried {
    events_per_second: f64,
    deliveries_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Figures {
    benchmark: &'static str,
    engine: &'static str,
    streams: usize,
    rate: u32,
    seconds: u32,
    memory: Way,
    redis: Way,
    /// What Redis adds.
    added_p50_us: i64,
    added_p99_us: i64,
    messages: u32,
    readers: usize,
    carried_in_memory: Carried,
    carried_by_redis: Carried,
    /// Half of the readers are at another instance than everybody who talks.
    carried_to_two_instances: Carried,
}

/// Measures it.
pub async fn run(options: Options) -> Result<()> {
    let Options { streams, rate, seconds, rounds, messages, readers, backing, common } = options;
    ensure!(backing.log() == "redis", "which Redis? expected --redis-url");
    let alone = backing.without_redis();
    let (mut memory, mut redis) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (backing, told) in [(&alone, &mut memory), (&backing, &mut redis)] {
            let server = Server::start(&common, &backing.settings().and(&[])).await?;
            let plan = streams::Plan { streams, users: streams, rate, seconds, ..plan(server.address) };
            told.push(deliver(plan).await?);
        }
    }
    let (memory, redis) = (Way::of(&memory), Way::of(&redis));
    let carry = async |backing: &Backing, instances: usize| {
        let settings = backing.settings();
        let server = Server::start(&common, &settings.and(&[])).await?;
        let beside = if instances > 1 { Some(Server::start(&common, &settings.and(&[])).await?) } else { None };
        // All are due within the first second, so that each is said when the one before it is answered.
        let plan = streams::Plan { streams: readers, users: readers, rate: messages, burst: TALKERS, ..plan(server.address) };
        deliver(streams::Plan { beside: beside.as_ref().map(|server| server.address), ..plan }).await.map(|told| Carried::of(&told))
    };
    let figures = Figures {
        benchmark: "redis",
        engine: backing.engine(),
        streams,
        rate,
        seconds,
        added_p50_us: redis.p50.cast_signed() - memory.p50.cast_signed(),
        added_p99_us: redis.p99.cast_signed() - memory.p99.cast_signed(),
        memory,
        redis,
        messages,
        readers,
        carried_in_memory: carry(&alone, 1).await?,
        carried_by_redis: carry(&backing, 1).await?,
        carried_to_two_instances: carry(&backing, 2).await?,
    };
    report::print(common.json, &figures, &figures.rows())
}

/// One message of one talker to one stream; what else it is to be is filled in.
fn plan(server: SocketAddr) -> streams::Plan {
    streams::Plan {
        server,
        beside: None,
        dialect: Dialect::Persona,
        streams: 1,
        users: 1,
        rooms: 1,
        rooms_each: 1,
        rate: 1,
        burst: 1,
        seconds: 1,
        bytes: BYTES,
        comebacks: 1,
    }
}

/// Does the plan, of which nothing may be missed.
async fn deliver(plan: streams::Plan) -> Result<Delivered> {
    let mut load = Load::start(&Plan::Streams(plan))?;
    let Done {} = load.stage().await?;
    let Opened { .. } = load.stage().await?;
    tokio::time::sleep(SETTLED).await;
    let delivered: Delivered = load.stage().await?;
    let Delivered { missed, duplicates, .. } = delivered;
    ensure!(missed + duplicates == 0, "the figures are void: {missed} deliveries were missed and {duplicates} came twice");
    Ok(delivered)
}

impl Way {
    fn of(rounds: &[Delivered]) -> Self {
        let p50s: Vec<u64> = rounds.iter().map(|told| told.latency.p50).collect();
        let p99s: Vec<u64> = rounds.iter().map(|told| told.latency.p99).collect();
        Self { p50: median(&p50s), p99: median(&p99s), p50s, p99s }
    }

    fn row(&self) -> String {
        let Self { p50, p99, p50s, p99s } = self;
        format!("{p50} / {p99} µs (p50 / p99), of {p50s:?} and {p99s:?}")
    }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

impl Carried {
    fn of(told: &Delivered) -> Self {
        let each = |count| per_second(count, told.window_seconds);
        Self { events_per_second: each(told.published), deliveries_per_second: each(told.deliveries) }
    }

    fn row(&self) -> String {
        format!("{:.0} events a second, {:.0} deliveries", self.events_per_second, self.deliveries_per_second)
    }
}

impl Figures {
    fn rows(&self) -> Vec<(&'static str, String)> {
        vec![
            ("load", format!("{} streams, {} messages a second for {} s, {}", self.streams, self.rate, self.seconds, self.engine)),
            ("log in memory", self.memory.row()),
            ("log in Redis", self.redis.row()),
            ("Redis adds", format!("{} / {} µs", self.added_p50_us, self.added_p99_us)),
            ("as many as can be", format!("{} messages of {TALKERS} people to {} streams", self.messages, self.readers)),
            ("in memory", self.carried_in_memory.row()),
            ("by Redis", self.carried_by_redis.row()),
            ("to two instances", self.carried_to_two_instances.row()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!([&[3, 9, 1][..], &[4], &[]].map(median), [3, 4, 0]);
    }
}
