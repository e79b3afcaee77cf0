//! Benchmarks: how much the hub tells and how much the service takes, on the machine of whoever runs them.
//!
//! ```text
//! persona bench hub │ post │ redis │ providers ──starts──▶ server: this program on a data folder and a port of its own
//!         │                                       ▲ real HTTP over loopback
//!         │                                       │ or the floor, a bare loop of send() (bare)
//!         └──────────────────────────starts──▶ load: this program again, so that what it costs is counted apart
//! ```
//! [`queue`] has the real queue and workers in this process and asks no server.
//! The parent ([`hub`], [`held`], [`post`], [`redis`], [`providers`]) drives both, reads from `/proc` what the server spent, and tells. Refuses to be a test: it
//! fails only where a figure would be void. Refuses to look inside the server: whatever it measures, a client could.

mod backing;
mod bare;
mod held;
mod hub;
mod load;
mod post;
mod process;
mod providers;
mod queue;
mod redis;
mod report;
mod server;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Chat messages told to many event streams: deliveries, latency, and what they cost the server
    Hub(hub::Options),
    /// Event streams over HTTP/2 that are held: memory
    Held(held::Options),
    /// Chat messages taken: how many a second are durable and acknowledged
    Post(post::Options),
    /// Streams of providers read, many at once: delay, processor time and memory, beside a bare loop
    Providers(providers::Options),
    /// Chat messages with the event log in memory and in Redis: what Redis adds to their latency, and how many it carries
    Redis(redis::Options),
    /// Jobs that do nothing: how many the queue takes and does, and how long one waits
    Queue(queue::Options),
    /// A further worker of that benchmark
    #[command(hide = true)]
    QueueWorker {
        /// Jobs that it runs at once
        slots: usize,
    },
    /// The loop of `send()` that the hub is measured against
    #[command(hide = true)]
    Bare {
        /// Threads that send
        threads: usize,
        /// A file in which each message is made durable first
        journal: Option<PathBuf>,
    },
    /// The process that makes the load of the others
    #[command(hide = true)]
    Load {
        /// What it has to do, as JSON
        plan: String,
    },
}

/// What every benchmark can be told.
#[derive(Debug, Args)]
struct Common {
    /// Threads that serve HTTP
    #[arg(id = "bench_http_threads", long = "http-threads", default_value_t = 2, value_name = "COUNT")]
    http_threads: usize,
    /// Where the server's data folder is made for the time of the run; on a disk, or durability costs nothing
    #[arg(long, default_value = "/var/tmp", value_name = "FOLDER")]
    folder: PathBuf,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

impl Bench {
    /// Measures, and prints what came of it.
    ///
    /// # Errors
    /// Where it can't be measured, or the server was wrong, so that its figures are void.
    pub fn run(self) -> Result<()> {
        // One thread: what is measured needs the others.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        match self {
            Self::Hub(options) => runtime.block_on(unless_stopped(hub::run(options))),
            Self::Held(options) => runtime.block_on(unless_stopped(held::run(options))),
            Self::Post(options) => runtime.block_on(unless_stopped(post::run(options))),
            Self::Providers(options) => runtime.block_on(unless_stopped(providers::run(options))),
            Self::Redis(options) => runtime.block_on(unless_stopped(redis::run(options))),
            Self::Queue(options) => LocalSet::new().block_on(&runtime, unless_stopped(queue::run(options))),
            Self::QueueWorker { slots } => LocalSet::new().block_on(&runtime, unless_stopped(queue::work(slots))),
            Self::Bare { threads, journal } => bare::run(threads, journal.as_deref()),
            Self::Load { plan } => runtime.block_on(load::run(&plan)),
        }
    }
}

/// Drops `work`, and with it the processes it has started, where somebody stops this one.
async fn unless_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    }
}
