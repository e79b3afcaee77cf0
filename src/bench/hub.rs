//! `persona bench hub`: what it costs to tell a message to many streams, and how long it takes.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{
    Args,
    builder::{RangedU64ValueParser, TypedValueParser as _},
};
use serde::Serialize;

use super::{
    Common,
    load::{
        Done, Load, Plan,
        streams::{self, Opened},
        tally::Delivered,
    },
    process::Cpu,
    report::{self, micros_each, per_second, rounded},
    server::Server,
};

/// How long the streams are left alone before their memory is looked at: presence is told by then.
const IDLE: Duration = Duration::from_secs(2);

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Event streams, each of another user
    #[arg(long, default_value = "1000", value_parser = at_least_one(), value_name = "COUNT")]
    streams: usize,
    /// Rooms that the streams are spread over
    #[arg(long, default_value = "1", value_parser = at_least_one(), value_name = "COUNT")]
    rooms: usize,
    /// Messages a second, in all rooms together
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "COUNT")]
    rate: u32,
    /// How long messages are sent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), value_name = "SECONDS")]
    seconds: u32,
    /// How long a message is
    #[arg(long, default_value_t = 200, value_name = "BYTES")]
    bytes: usize,
    #[command(flatten)]
    common: Common,
}

pub(super) fn at_least_one() -> impl clap::builder::TypedValueParser<Value = usize> {
    RangedU64ValueParser::<u64>::new().range(1..=1_000_000).map(|count| count as usize)
}

/// What was measured. The names are stable.
#[derive(Debug, Serialize)]
struct Figures {
    benchmark: &'static str,
    streams: usize,
    rooms: usize,
    rate: u32,
    content_bytes: usize,
    http_threads: usize,
    ready_seconds: f64,
    #[serde(flatten)]
    delivered: Delivered,
    deliveries_per_second: f64,
    server_cpu_us_per_delivery: f64,
    server_cpu_user_us_per_delivery: f64,
    server_cpu_system_us_per_delivery: f64,
    load_cpu_us_per_delivery: f64,
    resident_kib_before: u64,
    resident_kib_ready: u64,
    resident_kib_idle: u64,
    resident_kib_after: u64,
    resident_kib_per_stream: f64,
}

/// Measures the hub.
pub async fn run(options: Options) -> Result<()> {
    let Options { streams, rooms, rate, seconds, bytes, common } = options;
    let server = Server::start(&common, &[]).await?;
    let plan = streams::Plan { server: server.address, streams, rooms, rate, seconds, bytes };
    let mut load = Load::start(&Plan::Streams(plan))?;
    let Done {} = load.stage().await?;

    let resident_kib_before = server.resident_kib()?;
    let Opened { ready_seconds } = load.stage().await?;
    let resident_kib_ready = server.resident_kib()?;
    tokio::time::sleep(IDLE).await;
    let resident_kib_idle = server.resident_kib()?;

    let before = (server.cpu()?, load.cpu()?);
    let delivered: Delivered = load.stage().await?;
    let (cpu, load_cpu) = (server.cpu()? - before.0, load.cpu()? - before.1);
    let figures = Figures {
        benchmark: "hub",
        streams,
        rooms,
        rate,
        content_bytes: bytes,
        http_threads: common.http_threads,
        ready_seconds: rounded(ready_seconds),
        deliveries_per_second: per_second(delivered.deliveries, delivered.window_seconds),
        server_cpu_us_per_delivery: micros_each(cpu.all(), delivered.deliveries),
        server_cpu_user_us_per_delivery: micros_each(cpu.user, delivered.deliveries),
        server_cpu_system_us_per_delivery: micros_each(cpu.system, delivered.deliveries),
        load_cpu_us_per_delivery: micros_each(load_cpu.all(), delivered.deliveries),
        delivered,
        resident_kib_before,
        resident_kib_ready,
        resident_kib_idle,
        resident_kib_after: server.resident_kib()?,
        resident_kib_per_stream: rounded(resident_kib_idle.saturating_sub(resident_kib_before) as f64 / streams as f64),
    };
    report::print(common.json, &figures, &figures.rows(cpu))?;
    let Delivered { missed, duplicates, .. } = figures.delivered;
    ensure!(missed + duplicates == 0, "the figures are void: {missed} deliveries were missed and {duplicates} came twice");
    Ok(())
}

impl Figures {
    fn rows(&self, cpu: Cpu) -> Vec<(&'static str, String)> {
        let Delivered { published, window_seconds, deliveries, missed, duplicates, latency } = &self.delivered;
        vec![
            ("streams", format!("{} in {} rooms, all ready after {} s", self.streams, self.rooms, self.ready_seconds)),
            ("messages", format!("{published} of {} bytes in {window_seconds:.1} s", self.content_bytes)),
            ("deliveries", format!("{deliveries}, {:.0} a second", self.deliveries_per_second)),
            ("missed, twice", format!("{missed}, {duplicates}")),
            ("from send to receipt", report::latency(latency)),
            ("server CPU a delivery", report::cpu_each(cpu, *deliveries)),
            ("load CPU a delivery", format!("{:.1} µs", self.load_cpu_us_per_delivery)),
            (
                "server memory",
                format!(
                    "{} KiB before, {} when ready, {} idle, {} after",
                    self.resident_kib_before, self.resident_kib_ready, self.resident_kib_idle, self.resident_kib_after
                ),
            ),
            ("server memory a stream", format!("{} KiB", self.resident_kib_per_stream)),
        ]
    }
}
