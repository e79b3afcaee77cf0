//! What the store keeps of jobs, and what may be done with them.
//!
//! A worker has one row that says until when it lives; what it runs points there. Every change to a running job names the
//! fence it was claimed under, and is taken only while that is the newest and the worker's lease runs on the store's clock.

use std::time::Duration;

use async_trait::async_trait;

use super::{Message, Outgoing, StoreError, UsageEntry};
use crate::{
    event::Generated,
    id::{JobId, UserId, WorkerId},
    job::{Claimed, Fence, JobView, Kind, NewJob, State},
    timestamp::Timestamp,
};

/// Which of a user's jobs to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobFilter {
    pub state: Option<State>,
    pub kind: Option<Kind>,
    pub before: Option<JobId>,
    pub limit: usize,
}

/// How a job ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// A final state.
    pub state: State,
    pub result: Option<Generated>,
    pub error: Option<String>,
    /// What history keeps of it.
    pub message: Option<Message>,
    /// Its terminal event, where somebody is to be told.
    pub outgoing: Option<Outgoing>,
}

/// What becomes of a running job.
#[derive(Debug, Clone)]
pub struct Conclusion {
    pub fence: Fence,
    pub then: Then,
    /// What the attempt has used.
    pub usage: Vec<UsageEntry>,
}

impl Conclusion {
    /// Of an attempt that has used nothing.
    #[must_use]
    pub fn new(fence: Fence, then: Then) -> Self {
        Self { fence, then, usage: Vec::new() }
    }
}

/// Where a running job goes.
#[derive(Debug, Clone)]
pub enum Then {
    /// It is over.
    End(Box<Ending>),
    /// It failed, and becomes retryable until `pause` has passed. The error joins its history.
    Retry {
        pause: Duration,
        error: String,
        /// Its worker died with it.
        crash: bool,
    },
    /// It waits until `pause` has passed; this is neither a failure nor an attempt.
    Snooze { pause: Duration },
    /// It is available again at once, as if it had not been begun.
    GiveBack,
}

/// What a worker gets when it claims.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order in which they should begin.
    pub jobs: Vec<Claimed>,
    /// Others may be available, so that it is worth looking again at once.
    pub more: bool,
    /// The worker's lease runs anew from this claim on. Otherwise it goes on as it was.
    pub renewed: bool,
    /// The worker's lease is over though it runs jobs: whatever it runs is no longer its own, and under this id it gets
    /// nothing until they are taken over.
    pub lost: bool,
}

/// What a worker learns when it says that it lives.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Its lease is renewed. Otherwise it was over before, and whatever it runs is no longer its own.
    pub alive: bool,
    /// Somebody asked to stop these.
    pub cancel_asked: Vec<Fence>,
}

/// What became of asking to stop a job.
#[derive(Debug, Clone)]
pub enum Stopping {
    /// It was waiting. Now no worker will get it: it is the caller's to conclude, as `worker`.
    Held { worker: WorkerId, job: Box<Claimed> },
    /// It runs; its worker will be told.
    Running,
    /// It has ended before.
    Finished,
    /// This user has no such job.
    Unknown,
}

/// How many jobs there are, by state.
#[derive(Debug, Clone, Copy, Default)]
pub struct Depth {
    pub waiting: u64,
    pub running: u64,
}

/// Jobs, from their enqueueing to their end.
#[async_trait]
pub trait QueueStore: Send + Sync {
    /// One job of a user.
    async fn job(&self, user: &UserId, id: JobId) -> Result<Option<JobView>, StoreError>;

    /// A user's jobs, newest first.
    async fn jobs(&self, user: &UserId, filter: JobFilter) -> Result<Vec<JobView>, StoreError>;

    /// The place of a user's available job among those of its kind; 1 is the next one. Nothing where it isn't available.
    async fn position(&self, user: &UserId, id: JobId) -> Result<Option<u64>, StoreError>;

    /// Asks to stop a user's job. A waiting one is held for `lease`.
    async fn stop_job(&self, user: &UserId, id: JobId, lease: Duration) -> Result<Stopping, StoreError>;

    /// Enqueues jobs, all in one transaction. Says of each whether it is new: one whose id is known, or whose unique key
    /// another living job has, is not enqueued again.
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<bool>, StoreError>;

    /// Gives a worker up to `room` available jobs, in their users' turns and within all limits. Begins its lease with them, and
    /// renews one of which a part is over. A worker that gets nothing leaves no trace.
    async fn claim(&self, worker: WorkerId, room: usize, lease: Duration) -> Result<Batch, StoreError>;

    /// Concludes running jobs of a worker, all that still can be in one transaction. Says of each whether its fence held and
    /// its worker lived; otherwise nothing of it is written.
    async fn conclude(&self, worker: WorkerId, conclusions: Vec<Conclusion>) -> Result<Vec<bool>, StoreError>;

    /// Renews the lease of a worker that has not lost it.
    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<Heartbeat, StoreError>;

    /// The worker is gone. What it still runs is abandoned.
    async fn retire(&self, worker: WorkerId) -> Result<(), StoreError>;

    /// Takes over up to `limit` jobs of workers whose lease is over: they run on as those of `worker` under a new fence, for
    /// it to conclude. Workers that are over and run nothing are forgotten.
    async fn abandoned(&self, worker: WorkerId, limit: usize, lease: Duration) -> Result<Vec<Claimed>, StoreError>;

    /// How long until there may be something to do for which no wake-up comes: a job whose time comes, another worker's lease
    /// that ends.
    async fn next_look(&self, worker: WorkerId) -> Result<Option<Duration>, StoreError>;

    /// How far a running job is. Says whether the fence still held.
    async fn progress(&self, worker: WorkerId, fence: Fence, percent: u8, note: &str) -> Result<bool, StoreError>;

    /// Makes a running job one of the at most `most` that use a provider at once, all workers together; one more where it is
    /// one of them. It is none of them as soon as it no longer runs. Says whether there was room and the fence held.
    async fn acquire(&self, worker: WorkerId, fence: Fence, provider: &str, most: usize) -> Result<bool, StoreError>;

    /// Ends the leases of all workers: right only where no other process can hold one.
    async fn expire_all(&self) -> Result<(), StoreError>;

    /// How many jobs wait and run.
    async fn depth(&self) -> Result<Depth, StoreError>;
}

/// What keeps the queue in order over time.
#[async_trait]
pub trait QueueUpkeep: Send + Sync {
    /// The last tick that was begun under this name.
    async fn last_tick(&self, name: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Begins a tick and enqueues its job, in one transaction. Says whether it was the first to: a tick begins once, however
    /// many try.
    async fn begin_tick(&self, name: &str, tick: Timestamp, job: NewJob) -> Result<bool, StoreError>;

    /// Forgets up to `limit` finished jobs that are at least so old, and says how many. Dead letters, which are the discarded
    /// ones, go by an age of their own.
    async fn prune_finished(&self, age: Duration, dead_letters: Duration, limit: usize) -> Result<usize, StoreError>;

    /// Forgets up to `limit` idempotency keys that are at least so old, and says how many.
    async fn prune_keys(&self, age: Duration, limit: usize) -> Result<usize, StoreError>;

    /// Forgets up to `limit` ticks that are at least so old and not the last of their name, and says how many.
    async fn prune_ticks(&self, age: Duration, limit: usize) -> Result<usize, StoreError>;
}
