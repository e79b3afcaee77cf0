//! As many messages as are taken, to a few viewers: with the log in memory, in Redis, and in Redis for two instances.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{BYTES, Options};
use crate::bench::{
    backing::Backing,
    load::{
        Done, Load, Plan,
        dialect::Dialect,
        streams::{self, Opened},
        tally::Delivered,
    },
    report::{micros_each, per_second},
    server::Server,
};

/// Who talks as fast as they are answered.
pub const TALKERS: u32 = 128;
/// How long the streams are left alone before anything is said: presence is told by then.
const SETTLED: Duration = Duration::from_secs(2);

/// The names are stable.
#[derive(Debug, Serialize)]
pub struct Carried {
    #[serde(rename = "carried_in_memory")]
    in_memory: Rate,
    #[serde(rename = "carried_by_redis")]
    by_redis: Rate,
    /// Half of the readers are at another instance than everybody who talks.
    #[serde(rename = "carried_to_two_instances")]
    to_two_instances: Rate,
}

#[derive(Debug, Serialize)]
struct Rate {
    events_per_second: f64,
    deliveries_per_second: f64,
    /// Of the instance where it was said.
    server_cpu_us_per_event: f64,
}

/// Measures it.
pub async fn carry(options: &Options) -> Result<Carried> {
    let alone = options.backing.without_redis();
    Ok(Carried {
        in_memory: at(options, &alone, 1).await?,
        by_redis: at(options, &options.backing, 1).await?,
        to_two_instances: at(options, &options.backing, 2).await?,
    })
}

async fn at(options: &Options, backing: &Backing, instances: usize) -> Result<Rate> {
    let Options { messages, readers, common, .. } = options;
    let settings = backing.settings();
    let server = Server::start(common, &settings.and(&[])).await?;
    let beside = if instances > 1 { Some(Server::start(common, &settings.and(&[])).await?) } else { None };
    let plan = plan(server.address, beside.as_ref().map(|server| server.address), *messages, *readers);
    let mut load = Load::start(&Plan::Streams(plan))?;
    let Done {} = load.stage().await?;
    let Opened { .. } = load.stage().await?;
    tokio::time::sleep(SETTLED).await;
    let before = server.cpu()?;
    let told: Delivered = load.stage().await?;
    let cpu = server.cpu()? - before;
    let Delivered { published, window_seconds, deliveries, missed, duplicates, .. } = told;
    ensure!(missed + duplicates == 0, "the figures are void: {missed} deliveries were missed and {duplicates} came twice");
    Ok(Rate {
        events_per_second: per_second(published, window_seconds),
        deliveries_per_second: per_second(deliveries, window_seconds),
        server_cpu_us_per_event: micros_each(cpu.all(), published),
    })
}

/// All are due within the first second, so that each is said when the one before it is answered.
fn plan(server: SocketAddr, beside: Option<SocketAddr>, messages: u32, readers: usize) -> streams::Plan {
    streams::Plan {
        server,
        beside,
        dialect: Dialect::Persona,
        streams: readers,
        users: readers,
        rooms: 1,
        rooms_each: 1,
        rate: messages,
        burst: TALKERS,
        seconds: 1,
        turns: 1,
        bytes: BYTES,
        comebacks: 1,
    }
}

impl Rate {
    fn row(&self) -> String {
        let Self { events_per_second, deliveries_per_second, server_cpu_us_per_event } = self;
        format!(
            "{events_per_second:.0} events a second, {deliveries_per_second:.0} deliveries; {server_cpu_us_per_event:.0} µs of server CPU an event"
        )
    }
}

impl Carried {
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        vec![("in memory", self.in_memory.row()), ("by Redis", self.by_redis.row()), ("to two instances", self.to_two_instances.row())]
    }
}
