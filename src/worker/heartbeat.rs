//! The heartbeat: renews the worker's lease, on a thread of its own.
//!
//! Nothing that a job does can hold it up: not a handler that blocks the worker's thread, not a full pool. It beats only while
//! the lease covers a job, so that a worker with nothing to do costs nothing. What it learns (the lease is lost, somebody asked
//! to stop a job) it tells the poller. Refuses to renew for a worker whose thread has been stuck for longer than a job may
//! take: what that one runs is better done by another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use actix::Addr;
use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::timeout,
};

use super::{
    lease::{Lease, Leases, Moment},
    metrics,
    poller::{LeaseLost, Poller, StopAsked},
};
use crate::store::{Heartbeat as Beat, Store, StoreError};

/// The worker thread's own sign of life.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Alive now.
    pub fn beat(&self) {
        self.0.store(u64::try_from(Moment::now().since_start().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        Moment::now().since_start().saturating_sub(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }
}

/// The thread that beats until it is stopped.
pub struct Heartbeat {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What the thread works with.
#[derive(Clone)]
pub struct Beating {
    pub store: Arc<dyn Store>,
    pub leases: Leases,
    pub poller: Addr<Poller>,
    pub pulse: Pulse,
    /// How long the worker's thread may be stuck.
    pub patience: Duration,
}

impl Heartbeat {
    /// Beats for every lease that is begun.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn start(beating: Beating, begun: mpsc::UnboundedReceiver<Arc<Lease>>) -> std::io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("heartbeat".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                tokio::select! {
                    // An error means that whoever could stop it is gone: a stop as well.
                    _ = stopped => {}
                    () = beating.run(begun) => {}
                }
            });
        })?;
        Ok(Self { stop, thread })
    }

    /// Beats no more.
    pub fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            log::error!("the heartbeat has panicked");
        }
    }
}

impl Beating {
    async fn run(self, mut begun: mpsc::UnboundedReceiver<Arc<Lease>>) {
        while let Some(lease) = begun.recv().await {
            let beating = self.clone();
            tokio::task::spawn_local(async move { beating.keep(&lease).await });
        }
    }

    /// Keeps a lease for as long as it covers jobs, until it is done or lost.
    async fn keep(&self, lease: &Arc<Lease>) {
        let every = lease.lasts / 3;
        loop {
            lease.until(true).await;
            // The claim has just renewed it, or the last beat has.
            let until_next = lease.left().saturating_sub(2 * every);
            let _ = timeout(until_next, lease.until(false)).await;
            if lease.is_done() {
                return;
            }
            if lease.held() == 0 {
                continue;
            }
            if !lease.holds() {
                return self.give_up(lease, "its time is over");
            }
            if self.pulse.age() > self.patience {
                return self.give_up(lease, "a job has blocked the worker for too long");
            }
            let sent = Moment::now();
            match timeout(every, self.store.heartbeat(lease.worker, lease.lasts)).await.unwrap_or_else(|_| Err(silent())) {
                Ok(Beat { alive: true, cancel_asked }) => {
                    metrics::HEARTBEATS.inc();
                    lease.renewed(sent);
                    if !cancel_asked.is_empty() {
                        self.poller.do_send(StopAsked(cancel_asked));
                    }
                }
                Ok(Beat { alive: false, .. }) if lease.held() > 0 => return self.give_up(lease, "it was over when it was to be renewed"),
                Ok(_) => {}
                Err(error) => {
                    log::warn!("the worker's lease can't be renewed: {error}");
                    tokio::time::sleep(lease.lasts / 20).await;
                }
            }
        }
    }

    fn give_up(&self, lease: &Arc<Lease>, why: &str) {
        if self.leases.give_up(lease) {
            log::error!("the worker has lost its lease: {why}; its {} jobs are left to others", lease.held());
            metrics::LEASES_LOST.inc();
            self.poller.do_send(LeaseLost(lease.clone()));
        }
    }
}

fn silent() -> StoreError {
    StoreError::Unavailable("it doesn't answer in time".into())
}
