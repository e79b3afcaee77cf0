//! `persona bench hub`: what it costs to tell a message to many streams, and how long it takes.
//!
//! A bare loop of `send()` is given the same load first, so that every figure has its floor, from the same machine in the same
//! minute. The latency of a message has its way to the disk in it, so there is a second floor that takes this way too.

use std::{
    net::SocketAddr,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::{
    Args,
    builder::{RangedU64ValueParser, TypedValueParser as _},
};
use serde::Serialize;
use tokio::time::timeout;

use super::{
    Common,
    load::{
        Done, Load, Plan,
        dialect::Dialect,
        streams::{self, Opened},
        tally::Delivered,
    },
    process::Cpu,
    report::{self, micros_each, per_second, rounded},
    server::Server,
};

/// How long the streams are left alone before their memory is looked at: presence is told by then.
const IDLE: Duration = Duration::from_secs(3);
/// How often memory is looked at while messages are told.
const SAMPLES: u32 = 8;
/// How long those who are gone may take to be noticed.
const NOTICED: Duration = Duration::from_mins(1);

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Event streams
    #[arg(long, default_value = "1000", value_parser = at_least_one(), value_name = "COUNT")]
    streams: usize,
    /// Users whose streams they are; each has one, where nothing is said
    #[arg(long, value_parser = at_least_one(), value_name = "COUNT")]
    users: Option<usize>,
    /// Rooms that the streams are spread over
    #[arg(long, default_value = "1", value_parser = at_least_one(), value_name = "COUNT")]
    rooms: usize,
    /// Rooms of one stream, no more than there are
    #[arg(long, default_value = "1", value_parser = RangedU64ValueParser::<u64>::new().range(1..=64).map(|count| count as usize), value_name = "COUNT")]
    rooms_each: usize,
    /// Messages a second, in all rooms together
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "COUNT")]
    rate: u32,
    /// So many of them are sent at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024), value_name = "COUNT")]
    burst: u32,
    /// How long messages are sent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), value_name = "SECONDS")]
    seconds: u32,
    /// How long a message is
    #[arg(long, default_value_t = 200, value_name = "BYTES")]
    bytes: usize,
    /// How often all streams are cut and come back at once
    #[arg(long, default_value = "1", value_parser = at_least_one(), value_name = "COUNT")]
    comebacks: usize,
    /// Measure no floor
    #[arg(long)]
    no_floor: bool,
    /// Measure another server instead, which runs there
    #[arg(long, requires = "processes", value_name = "ADDRESS")]
    server: Option<SocketAddr>,
    /// Its processes, by their ids
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    processes: Vec<u32>,
    /// How it is spoken to
    #[arg(long, value_enum, default_value = "persona")]
    dialect: Dialect,
    #[command(flatten)]
    common: Common,
}

pub(super) fn at_least_one() -> impl clap::builder::TypedValueParser<Value = usize> {
    RangedU64ValueParser::<u64>::new().range(1..=1_000_000).map(|count| count as usize)
}

/// What was measured of one server. The names are stable.
#[derive(Debug, Serialize)]
struct Figures {
    ready_seconds: f64,
    /// All streams were cut at once, and came back at once with their cursors.
    return_seconds: f64,
    /// How often the log was read for that.
    log_reads_of_return: Option<u64>,
    /// From when all are gone to when the server knows it.
    noticed_seconds: Option<f64>,
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
    /// While messages are told: at the end of each eighth of that time.
    resident_kib_told: Vec<u64>,
    /// Each time that all have come back.
    resident_kib_returned: Vec<u64>,
    resident_kib_gone: u64,
    resident_bytes_per_stream: u64,
    #[serde(skip)]
    cpu: Option<Cpu>,
}

/// The figures of the server as multiples of the floor's.
#[derive(Debug, Serialize)]
struct Ratios {
    cpu: f64,
    latency_p50: f64,
    latency_p99: f64,
}

#[derive(Debug, Serialize)]
struct Outcome {
    benchmark: &'static str,
    streams: usize,
    users: usize,
    rooms: usize,
    rooms_each: usize,
    rate: u32,
    burst: u32,
    content_bytes: usize,
    http_threads: usize,
    #[serde(flatten)]
    figures: Figures,
    floor: Option<Figures>,
    to_floor: Option<Ratios>,
    /// The floor that makes each message durable before it is told.
    durable_floor: Option<Figures>,
    to_durable_floor: Option<Ratios>,
}

/// Measures the hub.
pub async fn run(options: Options) -> Result<()> {
    let Options { streams, users, rooms, rooms_each, rate, burst, seconds, bytes, comebacks, no_floor, server, processes, dialect, common } = options;
    ensure!(rooms_each <= rooms, "a stream can't have more rooms than there are");
    let users = users.unwrap_or(streams).min(streams);
    let plan = |server: &Server, dialect| {
        let server = server.address;
        streams::Plan { server, beside: None, dialect, streams, users, rooms, rooms_each, rate, burst, seconds, bytes, comebacks }
    };
    let (mut floor, mut durable_floor) = (None, None);
    if !no_floor && rooms_each == 1 && server.is_none() {
        let bare = Server::bare(&common).await?;
        let plan = |server: &Server| streams::Plan { comebacks: 1, ..plan(server, Dialect::Bare) };
        floor = Some(measure(&bare, plan(&bare)).await?);
        drop(bare);
        let durable = Server::durable_bare(&common).await?;
        durable_floor = Some(measure(&durable, plan(&durable)).await?);
    }
    let figures = match server {
        Some(address) => {
            let other = Server::running(address, processes);
            measure(&other, plan(&other, dialect)).await?
        }
        None => {
            let own = Server::start(&common, &[]).await?;
            measure(&own, plan(&own, Dialect::Persona)).await?
        }
    };
    let outcome = Outcome {
        benchmark: "hub",
        streams,
        users,
        rooms,
        rooms_each,
        rate,
        burst,
        content_bytes: bytes,
        http_threads: common.http_threads,
        to_floor: floor.as_ref().map(|floor| figures.to(floor)),
        floor,
        to_durable_floor: durable_floor.as_ref().map(|floor| figures.to(floor)),
        durable_floor,
        figures,
    };
    report::print(common.json, &outcome, &outcome.rows())?;
    for Figures { delivered: Delivered { missed, duplicates, .. }, .. } in
        outcome.floor.iter().chain(&outcome.durable_floor).chain([&outcome.figures])
    {
        ensure!(missed + duplicates == 0, "the figures are void: {missed} deliveries were missed and {duplicates} came twice");
    }
    Ok(())
}

async fn measure(server: &Server, plan: streams::Plan) -> Result<Figures> {
    let mut load = Load::start(&Plan::Streams(plan))?;
    let Done {} = load.stage().await?;
    let resident_kib_before = server.resident_kib()?;
    let Opened { ready_seconds } = load.stage().await?;
    let resident_kib_ready = server.resident_kib()?;
    tokio::time::sleep(IDLE).await;
    let resident_kib_idle = server.resident_kib()?;

    let before = (server.cpu()?, load.cpu()?);
    let (delivered, resident_kib_told) = sampled(server, plan.seconds, load.stage::<Delivered>()).await?;
    let (cpu, load_cpu) = (server.cpu()? - before.0, load.cpu()? - before.1);
    let resident_kib_after = server.resident_kib()?;
    let reads_before = log_reads(server, plan.dialect).await?;
    let Opened { ready_seconds: return_seconds } = load.stage().await?;
    let reads = log_reads(server, plan.dialect).await?.zip(reads_before).map(|(after, before)| after - before);
    let mut resident_kib_returned = vec![server.resident_kib()?];
    for _ in 1..plan.comebacks {
        let Opened { .. } = load.stage().await?;
        resident_kib_returned.push(server.resident_kib()?);
    }
    let Done {} = load.stage().await?;
    let noticed_seconds = if plan.dialect == Dialect::Persona { Some(all_noticed(server).await?) } else { None };
    Ok(Figures {
        ready_seconds: rounded(ready_seconds),
        return_seconds: rounded(return_seconds),
        log_reads_of_return: reads,
        noticed_seconds,
        deliveries_per_second: per_second(delivered.deliveries, delivered.window_seconds),
        server_cpu_us_per_delivery: micros_each(cpu.all(), delivered.deliveries),
        server_cpu_user_us_per_delivery: micros_each(cpu.user, delivered.deliveries),
        server_cpu_system_us_per_delivery: micros_each(cpu.system, delivered.deliveries),
        load_cpu_us_per_delivery: micros_each(load_cpu.all(), delivered.deliveries),
        delivered,
        resident_kib_before,
        resident_kib_ready,
        resident_kib_idle,
        resident_kib_after,
        resident_kib_told,
        resident_kib_returned,
        resident_kib_gone: server.resident_kib()?,
        resident_bytes_per_stream: resident_kib_idle.saturating_sub(resident_kib_before) * 1024 / plan.streams as u64,
        cpu: Some(cpu),
    })
}

/// Does `work`, and looks at the server's memory meanwhile.
async fn sampled<T>(server: &Server, seconds: u32, work: impl Future<Output = Result<T>>) -> Result<(T, Vec<u64>)> {
    let (mut work, mut samples) = (pin!(work), Vec::new());
    loop {
        match timeout(Duration::from_secs(seconds.into()) / SAMPLES, &mut work).await {
            Ok(done) => return Ok((done?, samples)),
            Err(_) => samples.push(server.resident_kib()?),
        }
    }
}

/// How often this server's hub has asked the log, where it is this server.
async fn log_reads(server: &Server, dialect: Dialect) -> Result<Option<u64>> {
    if dialect == Dialect::Persona { server.gauge("persona_hub_log_reads_total").await.map(Some) } else { Ok(None) }
}

/// How long the server takes to know that nobody is there.
async fn all_noticed(server: &Server) -> Result<f64> {
    let began = Instant::now();
    while server.gauge("persona_streams").await? > 0 {
        ensure!(began.elapsed() < NOTICED, "streams whose readers are gone are still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(rounded(began.elapsed().as_secs_f64()))
}

impl Figures {
    fn to(&self, floor: &Self) -> Ratios {
        let latency = |figures: &Self| (figures.delivered.latency.p50 as f64, figures.delivered.latency.p99 as f64);
        let ((p50, p99), (floor_p50, floor_p99)) = (latency(self), latency(floor));
        Ratios {
            cpu: rounded(self.server_cpu_us_per_delivery / floor.server_cpu_us_per_delivery),
            latency_p50: rounded(p50 / floor_p50),
            latency_p99: rounded(p99 / floor_p99),
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Delivered { published, window_seconds, deliveries, missed, duplicates, latency } = &self.delivered;
        let noticed = self.noticed_seconds.map(|seconds| format!(", that all are gone is known after {seconds} s")).unwrap_or_default();
        let cpu = self.cpu.map(|cpu| report::cpu_each(cpu, *deliveries)).unwrap_or_default();
        let reads = self.log_reads_of_return.map(|reads| format!(" with {reads} reads of the log")).unwrap_or_default();
        vec![
            ("streams", format!("ready after {} s, back after {} s{reads}{noticed}", self.ready_seconds, self.return_seconds)),
            ("deliveries", format!("{deliveries} of {published} messages in {window_seconds:.1} s, {:.0} a second", self.deliveries_per_second)),
            ("missed, twice", format!("{missed}, {duplicates}")),
            ("from send to receipt", report::latency(latency)),
            ("server CPU a delivery", cpu),
            ("load CPU a delivery", format!("{:.1} µs", self.load_cpu_us_per_delivery)),
            (
                "server memory",
                format!(
                    "{} KiB before, {} when ready, {} idle, {} after, {} when all are gone",
                    self.resident_kib_before, self.resident_kib_ready, self.resident_kib_idle, self.resident_kib_after, self.resident_kib_gone
                ),
            ),
            ("while messages are told", format!("{} KiB", listed(&self.resident_kib_told))),
            ("each time all are back", format!("{} KiB", listed(&self.resident_kib_returned))),
            ("server memory a stream", format!("{} bytes", self.resident_bytes_per_stream)),
        ]
    }
}

/// At most so many of a series are shown.
const SHOWN: usize = 12;

fn listed(series: &[u64]) -> String {
    let step = series.len().div_ceil(SHOWN).max(1);
    let shown = series.iter().enumerate().filter(|(index, _)| index % step == 0 || index + 1 == series.len());
    shown.map(|(_, kib)| kib.to_string()).collect::<Vec<_>>().join(", ")
}

impl Outcome {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = self.figures.rows();
        let floors = [("a bare send() loop", &self.floor, &self.to_floor), ("one with a flush", &self.durable_floor, &self.to_durable_floor)];
        for (name, floor, ratios) in floors {
            let (Some(floor), Some(Ratios { cpu, latency_p50, latency_p99 })) = (floor, ratios) else { continue };
            rows.extend([("", String::new()), (name, String::new())]);
            rows.extend(floor.rows());
            rows.push(("as multiples of it", format!("CPU {cpu}, p50 {latency_p50}, p99 {latency_p99}")));
        }
        rows
    }
}
