//! `persona bench redis`: what it costs that the event log is in Redis, which several instances share.
//!
//! First the same messages on three ways in turns ([`latency`]): log in memory; in Redis, with viewers where it is said; in Redis,
//! with viewers at another instance. Then as many messages as can be said to a few viewers, at one instance and at two
//! ([`carried`]). Refuses to compare what was not measured side by side.

mod carried;
mod latency;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use self::{carried::Carried, latency::Compared};
use super::{Common, backing::Backing, hub::at_least_one, report};

/// How long a message is.
const BYTES: usize = 200;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Event streams of each way
    #[arg(long, default_value = "1000", value_parser = at_least_one(), value_name = "COUNT")]
    streams: usize,
    /// One in so many of them tells how old messages are; the others are read after each turn
    #[arg(long, default_value = "10", value_parser = at_least_one(), value_name = "COUNT")]
    timed: usize,
    /// Messages a second that they are told
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..), value_name = "COUNT")]
    rate: u32,
    /// Turns of each way, of a second each
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..), value_name = "COUNT")]
    turns: u32,
    /// Messages that are said as fast as they are taken; 0: none
    #[arg(long, default_value_t = 20_000, value_name = "COUNT")]
    messages: u32,
    /// Event streams that are told those
    #[arg(long, default_value = "8", value_parser = at_least_one(), value_name = "COUNT")]
    readers: usize,
    #[command(flatten)]
    backing: Backing,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Serialize)]
struct Figures {
    benchmark: &'static str,
    engine: &'static str,
    streams: usize,
    rate: u32,
    #[serde(flatten)]
    compared: Compared,
    messages: u32,
    readers: usize,
    #[serde(flatten)]
    carried: Option<Carried>,
}

/// Measures it.
pub async fn run(options: Options) -> Result<()> {
    ensure!(options.backing.log() == "redis", "which Redis? expected --redis-url");
    let compared = latency::compare(&options).await?;
    let carried = if options.messages > 0 { Some(carried::carry(&options).await?) } else { None };
    let Options { streams, rate, messages, readers, backing, common, .. } = options;
    let figures = Figures { benchmark: "redis", engine: backing.engine(), streams, rate, compared, messages, readers, carried };
    report::print(common.json, &figures, &figures.rows())
}

impl Figures {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("load", format!("{} streams, {} messages a second, {}", self.streams, self.rate, self.engine))];
        rows.extend(self.compared.rows());
        if let Some(carried) = &self.carried {
            rows.push(("as many as can be", format!("{} messages of {} people to {} streams", self.messages, carried::TALKERS, self.readers)));
            rows.extend(carried.rows());
        }
        rows
    }
}
