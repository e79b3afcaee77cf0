//! The worker: takes jobs from the queue, does them, and publishes what comes of them.
//!
//! ```text
//!   store ──claim──▶ poller ──▶ buffer ──▶ executor ──▶ attempt: jobs, one file a kind
//!     ▲ ▲               ▲                     │           │
//!     │ └──conclude── completer ◀─────────────┘           └──▶ publisher ──▶ log
//!     └─renew─ heartbeat, on a thread of its own
//! ```
//! An actix system of its own on a thread of its own. The [`poller`] claims for all [`executor`]s at once; what it has claimed
//! waits shortly in the [`buffer`]. Every [`attempt`] comes to one conclusion, which the [`completer`] writes, many at once.
//! The [`heartbeat`] renews the [`lease`] that all of it stands on; a [`rescuer`] takes over what a dead worker has left, and
//! [`periodic`] jobs keep house. What a job does stands in [`jobs`], how it ends in [`ending`]. Refuses to know who listens: it
//! never imports the service.

pub mod attempt;
pub mod buffer;
pub mod completer;
pub mod ending;
pub mod executor;
pub mod heartbeat;
pub mod jobs;
pub mod lease;
pub mod meter;
pub mod metrics;
pub mod periodic;
pub mod place;
pub mod poller;
pub mod publisher;
pub mod rescuer;
pub mod rest;
pub mod tokens;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use actix::prelude::*;
use tokio::sync::oneshot;

use self::{
    heartbeat::{Beating, Heartbeat, Pulse},
    jobs::housekeeping::Retention,
    lease::Leases,
    place::Limited,
    poller::{Poller, StopClaiming},
};
use crate::{
    log::EventLog,
    media::MediaStore,
    outbox::Outbox,
    providers::Provider,
    store::Store,
    usage::{DailyLimits, Prices},
    wake::Wakeups,
};

/// How jobs are run; all are settings.
#[derive(Debug, Clone, Copy)]
pub struct WorkerConfig {
    /// Jobs that run at once.
    pub slots: usize,
    /// How long jobs stay claimed without a sign of life of their worker.
    pub lease: Duration,
    /// How long one attempt at a job may take.
    pub job_limit: Duration,
    /// How long an idle worker rests at most before it looks for jobs by itself.
    pub rest_at_most: Duration,
    /// How long a stop waits for running jobs.
    pub stop_within: Duration,
}

/// What jobs are done with.
#[derive(Clone)]
pub struct Tools {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn EventLog>,
    pub outbox: Outbox,
    pub provider: Arc<dyn Provider>,
    pub media: MediaStore,
    pub wakeups: Wakeups,
    /// How many tokens a reply and what it is shown of its room may have together.
    pub context_tokens: u32,
    pub retention: Retention,
    pub prices: Arc<Prices>,
    pub daily_limits: DailyLimits,
    /// Which providers are limited, all workers together.
    pub limited: Limited,
}

/// A worker that runs on its thread until it is stopped.
pub struct Worker {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn start(tools: Tools, config: WorkerConfig) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("worker".into()).spawn(move || System::new().block_on(run(tools, config, stopped)))?;
        Ok(Self { stop, thread })
    }

    /// Claims nothing more, gives running jobs a while, then gives them back, and ends the thread.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            log::error!("the worker has panicked");
        }
    }
}

async fn run(tools: Tools, config: WorkerConfig, stopped: oneshot::Receiver<()>) {
    let (leases, begun) = Leases::begin(config.lease);
    let pulse = Pulse::default();
    pulse.beat();
    let poller = Poller::create(|ctx| Poller::new(tools.clone(), config, leases.clone(), pulse.clone(), &ctx.address()));
    let beating = Beating { store: tools.store.clone(), leases, poller: poller.clone(), pulse, patience: config.job_limit + config.lease };
    let heartbeat = match Heartbeat::start(beating, begun) {
        Ok(heartbeat) => heartbeat,
        // Nothing is done under leases that nobody renews.
        Err(error) => return log::error!("the worker can't start: {error}"),
    };
    periodic::start(&tools);
    // An error means that whoever could stop it is gone: a stop as well.
    let _ = stopped.await;
    if let Err(error) = poller.send(StopClaiming).await {
        log::error!("the poller is gone: {error}");
    }
    heartbeat.stop();
}
