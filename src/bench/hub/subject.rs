//! One server that is measured, and the load on it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::bench::{
    load::{
        self, Done, Latency, Load,
        dialect::Dialect,
        streams::{Opened, Plan},
        tally::Delivered,
    },
    process::Cpu,
    report::{self, micros_each, per_second, rounded},
    server::{Server, Spent},
};

/// How long the streams are left alone before their memory is looked at: presence is told by then.
const IDLE: Duration = Duration::from_secs(3);
/// How long those who are gone may take to be noticed.
const NOTICED: Duration = Duration::from_mins(1);

/// What was measured of one server. The names are stable.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    ready_seconds: f64,
    /// All streams were cut at once, and came back at once with their cursors.
    return_seconds: f64,
    /// How often the log was read for that.
    log_reads_of_return: Option<u64>,
    /// From when all are gone to when the server knows it.
    noticed_seconds: Option<f64>,
    #[serde(flatten)]
    pub(super) delivered: Delivered,
    deliveries_per_second: f64,
    server_cpu_us_per_delivery: f64,
    server_cpu_user_us_per_delivery: f64,
    server_cpu_system_us_per_delivery: f64,
    load_cpu_us_per_delivery: f64,
    resident_kib_before: u64,
    resident_kib_ready: u64,
    resident_kib_idle: u64,
    resident_kib_after: u64,
    /// While messages are told: at the end of each turn.
    resident_kib_told: Vec<u64>,
    /// Each time that all have come back.
    resident_kib_returned: Vec<u64>,
    resident_kib_gone: u64,
    resident_bytes_per_stream: u64,
    /// CPU a delivery in each turn, and its latency.
    #[serde(skip)]
    turns: Vec<Turn>,
    #[serde(skip)]
    cpu: Cpu,
}

/// The figures of the server as multiples of the floor's.
#[derive(Debug, Serialize)]
pub(super) struct Ratios {
    cpu: f64,
    latency_p50: f64,
    latency_p99: f64,
    /// Of each turn with the floor's beside it.
    cpu_of_turns: Middle,
    latency_p50_of_turns: Middle,
    latency_p99_of_turns: Middle,
}

/// Half of all are not below the median, and half of all are between the quartiles.
#[derive(Debug, PartialEq, Serialize)]
struct Middle {
    low: f64,
    median: f64,
    high: f64,
}

/// A server, the load on it, and what was measured so far.
pub(super) struct Subject {
    pub(super) server: Server,
    load: Load,
    plan: Plan,
    ready_seconds: f64,
    kib_before: u64,
    kib_ready: u64,
    kib_idle: u64,
    kib_told: Vec<u64>,
    cpu: Cpu,
    load_cpu: Cpu,
    turns: Vec<Turn>,
    delivered: Option<Delivered>,
}

/// What a turn cost.
#[derive(Debug, Clone, Copy)]
struct Turn {
    cpu_us_per_delivery: f64,
    latency: Latency,
}

impl Subject {
    /// Opens all streams, and leaves them alone for a moment.
    pub(super) async fn open(server: Server, plan: Plan) -> Result<Self> {
        let mut load = Load::start(&load::Plan::Streams(plan))?;
        let Done {} = load.stage().await?;
        let kib_before = server.resident_kib()?;
        let Opened { ready_seconds } = load.stage().await?;
        let kib_ready = server.resident_kib()?;
        tokio::time::sleep(IDLE).await;
        let (kib_idle, kib_told, turns) = (server.resident_kib()?, Vec::new(), Vec::new());
        let (cpu, load_cpu) = (Cpu::default(), Cpu::default());
        Ok(Self { server, load, plan, ready_seconds, kib_before, kib_ready, kib_idle, kib_told, cpu, load_cpu, turns, delivered: None })
    }

    /// Talks for one turn.
    pub(super) async fn turn(&mut self) -> Result<()> {
        let Spent { done: delivered, cpu, load_cpu } = self.server.spend::<Delivered>(&mut self.load).await?;
        let deliveries = delivered.deliveries - self.delivered.as_ref().map_or(0, |before| before.deliveries);
        self.turns.push(Turn { cpu_us_per_delivery: micros_each(cpu.all(), deliveries), latency: delivered.turn });
        self.kib_told.push(self.server.resident_kib()?);
        (self.cpu, self.load_cpu, self.delivered) = (self.cpu + cpu, self.load_cpu + load_cpu, Some(delivered));
        Ok(())
    }

    /// Cuts all streams, has them come back as often as is wanted, and cuts them for good.
    pub(super) async fn finish(self) -> Result<Figures> {
        let Self { server, mut load, plan, ready_seconds, kib_before, kib_ready, kib_idle, kib_told, cpu, load_cpu, turns, delivered } = self;
        let delivered = delivered.context("nobody has talked")?;
        let resident_kib_after = server.resident_kib()?;
        let reads_before = log_reads(&server, plan.dialect).await?;
        let Opened { ready_seconds: return_seconds } = load.stage().await?;
        let reads = log_reads(&server, plan.dialect).await?.zip(reads_before).map(|(after, before)| after - before);
        let mut resident_kib_returned = vec![server.resident_kib()?];
        for _ in 1..plan.comebacks {
            let Opened { .. } = load.stage().await?;
            resident_kib_returned.push(server.resident_kib()?);
        }
        let Done {} = load.stage().await?;
        let noticed_seconds = if plan.dialect == Dialect::Persona { Some(all_noticed(&server).await?) } else { None };
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
            resident_kib_before: kib_before,
            resident_kib_ready: kib_ready,
            resident_kib_idle: kib_idle,
            resident_kib_after,
            resident_kib_told: kib_told,
            resident_kib_returned,
            resident_kib_gone: server.resident_kib()?,
            resident_bytes_per_stream: kib_idle.saturating_sub(kib_before) * 1024 / plan.streams as u64,
            turns,
            cpu,
        })
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
    pub(super) fn to(&self, floor: &Self) -> Ratios {
        let ratio = |of: &dyn Fn(&Self) -> f64| rounded(of(self) / of(floor));
        let of_turns = |of: &dyn Fn(&Turn) -> f64| Middle::of(self.turns.iter().zip(&floor.turns).map(|(own, floor)| of(own) / of(floor)).collect());
        Ratios {
            cpu: ratio(&|figures| figures.server_cpu_us_per_delivery),
            latency_p50: ratio(&|figures| figures.delivered.latency.p50 as f64),
            latency_p99: ratio(&|figures| figures.delivered.latency.p99 as f64),
            cpu_of_turns: of_turns(&|turn| turn.cpu_us_per_delivery),
            latency_p50_of_turns: of_turns(&|turn| turn.latency.p50 as f64),
            latency_p99_of_turns: of_turns(&|turn| turn.latency.p99 as f64),
        }
    }

    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let Delivered { published, window_seconds, deliveries, missed, duplicates, latency, .. } = &self.delivered;
        let noticed = self.noticed_seconds.map(|seconds| format!(", that all are gone is known after {seconds} s")).unwrap_or_default();
        let reads = self.log_reads_of_return.map(|reads| format!(" with {reads} reads of the log")).unwrap_or_default();
        vec![
            ("streams", format!("ready after {} s, back after {} s{reads}{noticed}", self.ready_seconds, self.return_seconds)),
            ("deliveries", format!("{deliveries} of {published} messages in {window_seconds:.1} s, {:.0} a second", self.deliveries_per_second)),
            ("missed, twice", format!("{missed}, {duplicates}")),
            ("from send to receipt", report::latency(latency)),
            ("server CPU a delivery", report::cpu_each(self.cpu, *deliveries)),
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

impl Ratios {
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { cpu, latency_p50, latency_p99, cpu_of_turns, latency_p50_of_turns, latency_p99_of_turns } = self;
        let turns =
            [cpu_of_turns, latency_p50_of_turns, latency_p99_of_turns].map(|Middle { low, median, high }| format!("{median} ({low} to {high})"));
        let [cpu_of_turns, p50_of_turns, p99_of_turns] = turns;
        vec![
            ("as multiples of it", format!("CPU {cpu}, p50 {latency_p50}, p99 {latency_p99}")),
            ("and turn by turn", format!("CPU {cpu_of_turns}, p50 {p50_of_turns}, p99 {p99_of_turns} (median, quartiles)")),
        ]
    }
}

impl Middle {
    fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_unstable_by(f64::total_cmp);
        let at = |quarters: usize| rounded(ratios.get(ratios.len() * quarters / 4).copied().unwrap_or(f64::NAN));
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// At most so many of a series are shown.
const SHOWN: usize = 12;

fn listed(series: &[u64]) -> String {
    let step = series.len().div_ceil(SHOWN).max(1);
    let shown = series.iter().enumerate().filter(|(index, _)| index % step == 0 || index + 1 == series.len());
    shown.map(|(_, kib)| kib.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_where_half_of_all_are() {
        let ratios = [9.0, 1.0, 1.1, 1.3, 1.2, 0.1, 1.15, 1.05];
        assert_eq!(Middle::of(ratios.into()), Middle { low: 1.05, median: 1.15, high: 1.3 });
    }
}
