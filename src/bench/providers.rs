//! `persona bench providers`: what it costs to read the streams of providers, beside a bare loop over the same client, and
//! how long a token takes through the whole server.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    Common,
    hub::at_least_one,
    load::{
        Done, Load, Plan,
        fake::{self, Listening},
        texts::{self, Measured, Way},
    },
    process::Cpu,
    report::{self, micros_each, rounded},
    server::Server,
};

/// Texts of one token, for the delay where nothing else is to be done.
const ALONE: usize = 200;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Texts that stream at once
    #[arg(long, default_value = "500", value_parser = at_least_one(), value_name = "COUNT")]
    streams: usize,
    /// Tokens of each
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..), value_name = "COUNT")]
    tokens: u32,
    /// Between two tokens of a text
    #[arg(long, default_value_t = 20, value_name = "MS")]
    pace: u64,
    /// How often each way is measured, in turns; of each the run that cost least is told
    #[arg(long, default_value = "3", value_parser = at_least_one(), value_name = "COUNT")]
    rounds: usize,
    #[command(flatten)]
    common: Common,
}

/// What was measured of one way. The names are stable.
#[derive(Debug, Serialize)]
struct Figures {
    way: Way,
    /// One text at a time.
    alone: Measured,
    /// All texts beginning at once.
    first: Measured,
    later: Measured,
    cpu_us_per_token: f64,
    resident_kib_per_stream: f64,
    #[serde(skip)]
    cpu: Cpu,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    streams: usize,
    tokens: u32,
    pace_ms: u64,
    ways: Vec<Figures>,
    /// The product's reader, as a multiple of the bare loop.
    cpu_ratio: f64,
    /// What it adds to the bare loop, one text at a time.
    added_at_first_token_p50_us: i64,
    /// The same with all texts at once, to all but the first tokens.
    added_a_token_p50_us: i64,
    /// From the provider's first token to the browser's event stream, one text at a time.
    first_token_through_server_p50_us: u64,
}

/// Measures all three ways.
pub async fn run(options: Options) -> Result<()> {
    let Options { streams, tokens, pace, rounds, common } = options;
    let mut provider = Load::start(&Plan::Fake(fake::Plan { pace: Duration::from_millis(pace) }))?;
    let Listening { address } = provider.stage().await?;
    let mut best: Vec<Figures> = Vec::new();
    for _ in 0..rounds {
        for way in [Way::Bare, Way::Provider, Way::Server] {
            let plan = texts::Plan { way, address, streams, tokens, alone: ALONE };
            let figures = if way == Way::Server { through_server(&common, plan).await? } else { measure(plan, None).await? };
            match best.iter_mut().find(|best| best.way == way) {
                Some(best) if best.cpu_us_per_token > figures.cpu_us_per_token => *best = figures,
                Some(_) => {}
                None => best.push(figures),
            }
        }
    }
    let of =
        |way| best.iter().find(|figures| figures.way == way).map(|figures| (figures.cpu_us_per_token, figures.alone.latency, figures.later.latency));
    let (Some((bare, bare_alone, bare_later)), Some((own, alone, later)), Some((_, told, _))) = (of(Way::Bare), of(Way::Provider), of(Way::Server))
    else {
        anyhow::bail!("nothing was measured");
    };
    let added = |own: u64, bare: u64| own.cast_signed() - bare.cast_signed();
    let report = Report {
        benchmark: "providers",
        streams,
        tokens,
        pace_ms: pace,
        cpu_ratio: rounded(own / bare.max(1e-9)),
        added_at_first_token_p50_us: added(alone.p50, bare_alone.p50),
        added_a_token_p50_us: added(later.p50, bare_later.p50),
        first_token_through_server_p50_us: told.p50,
        ways: best,
    };
    report::print(common.json, &report, &report.rows())
}

/// The whole way: the server asks the provider, and the load reads its event streams.
async fn through_server(common: &Common, plan: texts::Plan) -> Result<Figures> {
    let (url, slots) = (format!("http://{}/v1", plan.address), plan.streams.to_string());
    let settings = [
        ("OPENAI_BASE_URL", url.as_str()),
        ("PERSONA_TEXT_ROUTE", "openai/bench"),
        ("PERSONA_WORKER_SLOTS", &slots),
        ("PERSONA_PROVIDER_CONCURRENCY", "0"),
        ("PERSONA_MAX_JOBS_PER_USER", "0"),
    ];
    let server = Server::start(common, &settings).await?;
    measure(texts::Plan { address: server.address, ..plan }, Some(&server)).await
}

/// Measures one way; what is spent is the server's, where there is one, else the reader's.
async fn measure(plan: texts::Plan, server: Option<&Server>) -> Result<Figures> {
    let mut load = Load::start(&Plan::Texts(plan))?;
    let Done {} = load.stage().await?;
    let alone: Measured = load.stage().await?;
    let spent = |load: &Load| server.map_or_else(|| load.cpu(), Server::cpu);
    let resident = |load: &Load| server.map_or_else(|| load.resident_kib(), Server::resident_kib);
    let (cpu, kib) = (spent(&load)?, resident(&load)?);
    let first: Measured = load.stage().await?;
    let running = resident(&load)?;
    let later: Measured = load.stage().await?;
    let cpu = spent(&load)? - cpu;
    Ok(Figures {
        way: plan.way,
        alone,
        first,
        cpu_us_per_token: micros_each(cpu.all(), later.tokens),
        later,
        resident_kib_per_stream: rounded(running.saturating_sub(kib) as f64 / plan.streams as f64),
        cpu,
    })
}

impl Report {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("texts", format!("{} at once, each of {} tokens, one in {} ms", self.streams, self.tokens, self.pace_ms))];
        for figures in &self.ways {
            let whose = match figures.way {
                Way::Bare => "a bare loop over reqwest",
                Way::Provider => "the product's reader",
                Way::Server => "the whole server, to its event streams",
            };
            rows.push(("", whose.into()));
            rows.push(("  first token, one at a time", report::latency(&figures.alone.latency)));
            rows.push(("  first token, all at once", report::latency(&figures.first.latency)));
            rows.push(("  tokens after it", report::latency(&figures.later.latency)));
            rows.push(("  CPU a token", report::cpu_each(figures.cpu, figures.later.tokens)));
            rows.push(("  memory a running stream", format!("{} KiB", figures.resident_kib_per_stream)));
        }
        rows.push(("the reader beside the loop", format!("{} × its CPU", self.cpu_ratio)));
        let added = format!("{} µs at the first token, {} µs at the others (p50)", self.added_at_first_token_p50_us, self.added_a_token_p50_us);
        rows.push(("added by the reader", added));
        rows
    }
}
