//! The worker: takes jobs from the queue, does them, and publishes what comes of them.
//!
//! An actix system of its own on a thread of its own: a [`poller`] claims for all [`executor`]s at once and renews their
//! leases, a [`rescuer`] takes back what a dead worker has left. What a job does stands in [`jobs`], one file a kind; how it
//! ends in [`ending`]. Refuses to know who listens: it never imports the service.

pub mod ending;
pub mod executor;
pub mod jobs;
pub mod metrics;
pub mod poller;
pub mod publisher;
pub mod rescuer;
pub mod tokens;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use actix::prelude::*;
use tokio::sync::oneshot;

use self::{
    poller::{Poller, StopClaiming},
    rescuer::Rescuer,
};
use crate::{id::WorkerId, log::EventLog, media::MediaStore, outbox::Outbox, providers::Provider, store::Store, wake::Wakeups};

/// How jobs are run; all are settings.
#[derive(Debug, Clone, Copy)]
pub struct WorkerConfig {
    /// Jobs that run at once.
    pub slots: usize,
    /// How long a job stays claimed without a sign of life.
    pub lease: Duration,
    /// How long a stop waits for running jobs.
    pub stop_within: Duration,
}

/// What jobs are done with.
#[derive(Clone)]
pub struct Tools {
    /// Who does them.
    pub worker: WorkerId,
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn EventLog>,
    pub outbox: Outbox,
    pub provider: Arc<dyn Provider>,
    pub media: MediaStore,
    pub wakeups: Wakeups,
    /// How many tokens a reply and what it is shown of its room may have together.
    pub context_tokens: u32,
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
    let rescuer = Rescuer::new(tools.clone(), config.lease).start();
    let poller = Poller::new(tools, config).start();
    // An error means that whoever could stop it is gone: a stop as well.
    let _ = stopped.await;
    if let Err(error) = poller.send(StopClaiming).await {
        log::error!("the poller is gone: {error}");
    }
    drop(rescuer);
}
