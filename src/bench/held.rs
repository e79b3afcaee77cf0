//! `persona bench held`: what memory streams over HTTP/2 hold, encrypted or not, while nothing is told.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    Common,
    hub::at_least_one,
    load::{Done, Load, Plan, held},
    report,
    server::Server,
};

/// How long they are left alone before the memory is looked at.
const IDLE: Duration = Duration::from_secs(2);

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Event streams, all of one user
    #[arg(long, default_value = "4000", value_parser = at_least_one(), value_name = "COUNT")]
    streams: usize,
    /// Streams that share a connection
    #[arg(long, default_value = "80", value_parser = at_least_one(), value_name = "COUNT")]
    per_connection: usize,
    /// Encrypt
    #[arg(long)]
    tls: bool,
    #[command(flatten)]
    common: Common,
}

/// What was measured. The names are stable.
#[derive(Debug, Serialize)]
struct Figures {
    benchmark: &'static str,
    streams: usize,
    per_connection: usize,
    tls: bool,
    resident_kib_before: u64,
    resident_kib_idle: u64,
    resident_kib_gone: u64,
    resident_bytes_per_stream: u64,
}

/// Measures it.
pub async fn run(options: Options) -> Result<()> {
    let Options { streams, per_connection, tls, common } = options;
    let server = if tls { Server::secure(&common).await? } else { Server::start(&common, &[]).await? };
    let url = format!("{}://{}", if tls { "https" } else { "http" }, server.address);
    let mut load = Load::start(&Plan::Held(held::Plan { url, streams, per_connection }))?;
    let Done {} = load.stage().await?;
    let resident_kib_before = server.resident_kib()?;
    let Done {} = load.stage().await?;
    tokio::time::sleep(IDLE).await;
    let resident_kib_idle = server.resident_kib()?;
    let Done {} = load.stage().await?;
    tokio::time::sleep(IDLE).await;
    let figures = Figures {
        benchmark: "held",
        streams,
        per_connection,
        tls,
        resident_kib_before,
        resident_kib_idle,
        resident_kib_gone: server.resident_kib()?,
        resident_bytes_per_stream: resident_kib_idle.saturating_sub(resident_kib_before) * 1024 / streams as u64,
    };
    let rows = [
        ("streams", format!("{streams}, {per_connection} a connection{}", if tls { ", encrypted" } else { "" })),
        ("server memory", format!("{resident_kib_before} KiB before, {resident_kib_idle} idle, {} when all are gone", figures.resident_kib_gone)),
        ("server memory a stream", format!("{} bytes", figures.resident_bytes_per_stream)),
    ];
    report::print(common.json, &figures, &rows)
}
