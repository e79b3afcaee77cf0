//! The completer: writes what became of attempts, many at once, and tells their terminal events.
//!
//! While one batch is on its way the next one gathers, so that a single job waits for nobody and many share a round trip; while
//! much is done, a batch waits a moment for company.
//! Executors wait here when too much has gathered. Nothing that is handed in is dropped while the lease holds: where the store
//! is away, it is written when it is back, as long as the lease does not end before; where it refuses one of a batch, that
//! one alone is put back. Refuses to conclude under a lease that no longer holds: the job is another's by then.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;

use super::{
    Tools,
    lease::Lease,
    metrics::{OfKind, Outcome},
};
use crate::{
    failure::{Failure, FailureCode},
    job::Fence,
    store::{Conclusion, Outgoing, StoreError, Then},
    wake::Wakeup,
};

/// The most that one statement concludes.
const BATCH: usize = 500;
/// The most that may wait; executors wait beyond it.
const MOST: usize = 2 * BATCH;
/// How long a batch waits for company after one that had much in it: a transaction and its flush to disk cost more than that.
const COMPANY: Duration = Duration::from_millis(3);
/// How much that is.
const MUCH: usize = 8;
/// How many terminal events are told at once.
const TOLD_AT_ONCE: usize = 64;
/// How long it waits before it tries again where the store is away; it doubles up to a second.
const PAUSE: Duration = Duration::from_millis(50);

/// Writes what became of attempts.
pub struct Completer {
    tools: Tools,
    waiting: RefCell<Vec<Concluded>>,
    arrived: Notify,
    /// How many were handed in, and how many of them are written; the first come first.
    gathered: Cell<u64>,
    written: Cell<u64>,
    /// A batch has gone.
    gone: Notify,
}

/// What became of an attempt, and under which lease it was made.
struct Concluded {
    conclusion: Conclusion,
    lease: Arc<Lease>,
    figures: Rc<OfKind>,
}

/// What became of a batch.
struct Written {
    /// Whether each one's fence held.
    was_held: Vec<bool>,
    /// How often it was sent.
    tries: u32,
}

impl Completer {
    /// One that writes to the store of these tools, on the current thread.
    #[must_use]
    pub fn start(tools: Tools) -> Rc<Self> {
        let completer = Rc::new(Self {
            tools,
            waiting: RefCell::default(),
            arrived: Notify::new(),
            gathered: Cell::new(0),
            written: Cell::new(0),
            gone: Notify::new(),
        });
        actix_rt::spawn(completer.clone().run());
        completer
    }

    /// Has an attempt concluded, or, where nothing follows, forgotten. Waits while too much waits already; and where something was
    /// used, until that is counted, as the next job may be one of the same user who has reached a limit by it.
    pub async fn conclude(&self, fence: Fence, figures: Rc<OfKind>, conclusion: Option<Conclusion>, lease: Arc<Lease>) {
        let Some(conclusion) = conclusion else {
            lost(fence, &figures);
            return lease.release(1);
        };
        while self.waiting.borrow().len() >= MOST {
            self.gone.notified().await;
        }
        let is_counted = !conclusion.usage.is_empty();
        self.gather(conclusion, figures, lease);
        let mine = self.gathered.get();
        while is_counted && self.written.get() < mine {
            self.gone.notified().await;
        }
    }

    /// Has an attempt concluded without waiting: for what is given back or taken over, which comes in batches anyway.
    pub fn put(&self, fence: Fence, figures: Rc<OfKind>, then: Then, lease: Arc<Lease>) {
        self.gather(Conclusion::new(fence, then), figures, lease);
    }

    fn gather(&self, conclusion: Conclusion, figures: Rc<OfKind>, lease: Arc<Lease>) {
        self.waiting.borrow_mut().push(Concluded { conclusion, lease, figures });
        self.gathered.set(self.gathered.get() + 1);
        self.arrived.notify_one();
    }

    async fn run(self: Rc<Self>) {
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            let had_much = batch.len() >= MUCH;
            let written = self.written.get() + batch.len() as u64;
            let outgoing = self.write(batch).await;
            self.written.set(written);
            self.gone.notify_waiters();
            stream::iter(outgoing).for_each_concurrent(TOLD_AT_ONCE, async |outgoing| self.tools.outbox.publish(&outgoing).await).await;
            if had_much && self.waiting.borrow().len() < BATCH / 2 {
                tokio::time::sleep(COMPANY).await;
            }
        }
    }

    /// What waits, as much as one statement takes, all of one lease.
    fn next_batch(&self) -> Vec<Concluded> {
        let mut waiting = self.waiting.borrow_mut();
        let Some(worker) = waiting.first().map(|first| first.lease.worker) else { return Vec::new() };
        let count = waiting.iter().take(BATCH).take_while(|next| next.lease.worker == worker).count();
        waiting.drain(..count).collect()
    }

    /// Writes a batch, and gives the events to tell.
    async fn write(&self, batch: Vec<Concluded>) -> Vec<Outgoing> {
        let lease = batch[0].lease.clone();
        let held = batch.len();
        let outgoing = match self.try_until_over(&lease, &batch).await {
            Err(_) if batch.len() > 1 => {
                let mut outgoing = Vec::new();
                for one in batch {
                    outgoing.extend(self.write_alone(&lease, one).await);
                }
                outgoing
            }
            Err(error) => self.refused(&lease, &batch[0], &error).await,
            Ok(written) => self.settled(&batch, &written).await,
        };
        lease.release(held);
        outgoing
    }

    async fn write_alone(&self, lease: &Lease, one: Concluded) -> Option<Outgoing> {
        let alone = [one];
        match self.try_until_over(lease, &alone).await {
            Ok(written) => self.settled(&alone, &written).await.pop(),
            Err(error) => self.refused(lease, &alone[0], &error).await.pop(),
        }
    }

    /// The store won't have it, whatever it is: the job is put back as one that crashed, so that it can't do so for ever.
    async fn refused(&self, lease: &Lease, one: &Concluded, error: &StoreError) -> Vec<Outgoing> {
        let fence = one.conclusion.fence;
        log::error!("job {}: what became of attempt {} can't be stored: {error}", fence.job, fence.attempt);
        let then = Then::Retry { pause: Duration::from_secs(1), error: Failure::from(FailureCode::DatabaseUnavailable).error, crash: true };
        let conclusion = Conclusion { then, ..one.conclusion.clone() };
        let back = [Concluded { conclusion, lease: one.lease.clone(), figures: one.figures.clone() }];
        match self.try_until_over(lease, &back).await {
            Ok(written) => self.settled(&back, &written).await,
            Err(error) => {
                log::error!("job {}: it can't be put back either: {error}", fence.job);
                // Only whoever takes the job over can help it now.
                lease.lose();
                Vec::new()
            }
        }
    }

    /// Writes a batch, however long the store is away. Says of each whether its fence held; nobody's does once the lease is
    /// over.
    async fn try_until_over(&self, lease: &Lease, batch: &[Concluded]) -> Result<Written, StoreError> {
        let (mut pause, mut tries) = (PAUSE, 0);
        loop {
            if !lease.holds() {
                return Ok(Written { was_held: vec![false; batch.len()], tries });
            }
            tries += 1;
            let conclusions = batch.iter().map(|one| one.conclusion.clone()).collect();
            match self.tools.store.conclude(lease.worker, conclusions).await {
                Err(error) if error.is_retryable() => {
                    log::warn!("{} jobs can't be concluded yet: {error}", batch.len());
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(20 * PAUSE);
                }
                Err(error) => return Err(error),
                Ok(was_held) => return Ok(Written { was_held, tries }),
            }
        }
    }

    /// Counts what became of a batch, and gives the events to tell.
    async fn settled(&self, batch: &[Concluded], written: &Written) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        // Whoever has a free executor is told of what is available again.
        if batch.iter().zip(&written.was_held).any(|(one, was_held)| *was_held && matches!(one.conclusion.then, Then::GiveBack)) {
            self.tools.wakeups.send(Wakeup::Jobs);
        }
        for (one, was_held) in batch.iter().zip(&written.was_held) {
            let ending = if let Then::End(ending) = &one.conclusion.then { ending.outgoing.clone() } else { None };
            if *was_held {
                one.figures.came_to(Outcome::from(&one.conclusion.then));
                outgoing.extend(ending);
                continue;
            }
            lost(one.conclusion.fence, &one.figures);
            // An answer may have been lost on its way, of a try that had succeeded; then its event waits in the outbox.
            if let Some(ending) = ending.filter(|_| written.tries > 1)
                && let Err(error) = self.tools.outbox.publish_first(ending.id).await
            {
                log::warn!("the outbox can't be read: {error}");
            }
        }
        outgoing
    }
}

fn lost(fence: Fence, figures: &OfKind) {
    log::warn!("job {}: attempt {} came too late: the job is no longer this worker's", fence.job, fence.attempt);
    figures.came_to(Outcome::Lost);
}
