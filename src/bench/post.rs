//! `persona bench post`: how many messages a second are taken, each durable before it is acknowledged.

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::{
    Common,
    backing::Backing,
    hub::at_least_one,
    load::{
        Done, Load, Plan,
        posts::{self, Posted, Verified},
    },
    process::Cpu,
    report::{self, micros_each, per_second},
    server::{Server, Spent},
};

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Connections, each of another user and with one request under way
    #[arg(long, default_value = "64", value_parser = at_least_one(), value_name = "COUNT")]
    connections: usize,
    /// Rooms that the users are spread over
    #[arg(long, default_value = "1", value_parser = at_least_one(), value_name = "COUNT")]
    rooms: usize,
    /// How long messages are posted
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), value_name = "SECONDS")]
    seconds: u32,
    /// Ask for an AI reply to each message: enqueues a job as well
    #[arg(long)]
    reply: bool,
    /// Send an Idempotency-Key with each message
    #[arg(long)]
    idempotent: bool,
    #[command(flatten)]
    backing: Backing,
    #[command(flatten)]
    common: Common,
}

/// What was measured. The names are stable.
#[derive(Debug, Serialize)]
struct Figures {
    benchmark: &'static str,
    engine: &'static str,
    log: &'static str,
    connections: usize,
    rooms: usize,
    reply: bool,
    idempotent: bool,
    http_threads: usize,
    #[serde(flatten)]
    posted: Posted,
    acknowledged_per_second: f64,
    server_cpu_us_per_request: f64,
    server_cpu_user_us_per_request: f64,
    server_cpu_system_us_per_request: f64,
    load_cpu_us_per_request: f64,
    /// Right after the last acknowledgement.
    jobs_waiting: u64,
    resident_kib_after: u64,
    #[serde(flatten)]
    verified: Verified,
}

/// Measures the service.
pub async fn run(options: Options) -> Result<()> {
    let Options { connections, rooms, seconds, reply, idempotent, backing, common } = options;
    let settings = backing.settings();
    let server = Server::start(&common, &settings.and(&[("PERSONA_OFFLINE_PACE_MS", "0"), ("PERSONA_MAX_JOBS_PER_USER", "0")])).await?;
    let plan = posts::Plan { server: server.address, connections, rooms, seconds, reply, idempotent };
    let mut load = Load::start(&Plan::Posts(plan))?;
    let Done {} = load.stage().await?;

    let Spent { done: posted, cpu, load_cpu } = server.spend::<Posted>(&mut load).await?;
    let jobs_waiting = server.gauge("persona_jobs_waiting").await?;
    let resident_kib_after = server.resident_kib()?;
    let verified: Verified = load.stage().await?;
    let figures = Figures {
        benchmark: "post",
        engine: backing.engine(),
        log: backing.log(),
        connections,
        rooms,
        reply,
        idempotent,
        http_threads: common.http_threads,
        acknowledged_per_second: per_second(posted.acknowledged, posted.window_seconds),
        server_cpu_us_per_request: micros_each(cpu.all(), posted.acknowledged),
        server_cpu_user_us_per_request: micros_each(cpu.user, posted.acknowledged),
        server_cpu_system_us_per_request: micros_each(cpu.system, posted.acknowledged),
        load_cpu_us_per_request: micros_each(load_cpu.all(), posted.acknowledged),
        posted,
        jobs_waiting,
        resident_kib_after,
        verified,
    };
    report::print(common.json, &figures, &figures.rows(cpu))?;
    let Verified { missing, unexpected, .. } = figures.verified;
    ensure!(missing + unexpected == 0, "the figures are void: {missing} messages are missing in history and {unexpected} too many");
    Ok(())
}

impl Figures {
    fn rows(&self, cpu: Cpu) -> Vec<(&'static str, String)> {
        let Posted { acknowledged, window_seconds, latency } = &self.posted;
        let with = [(self.reply, ", with a job each"), (self.idempotent, ", with keys")];
        let with: String = with.into_iter().filter_map(|(is_so, text)| is_so.then_some(text)).collect();
        vec![
            ("stands on", format!("{}, log in {}", self.engine, self.log)),
            ("connections", format!("{} in {} rooms{with}", self.connections, self.rooms)),
            ("acknowledged", format!("{acknowledged} in {window_seconds:.1} s, {:.0} a second", self.acknowledged_per_second)),
            ("latency", report::latency(latency)),
            ("server CPU a request", report::cpu_each(cpu, *acknowledged)),
            ("load CPU a request", format!("{:.1} µs", self.load_cpu_us_per_request)),
            ("server memory", format!("{} KiB", self.resident_kib_after)),
            ("jobs still waiting", self.jobs_waiting.to_string()),
            ("in history", format!("{}, {} missing, {} too many", self.verified.in_history, self.verified.missing, self.verified.unexpected)),
        ]
    }
}
