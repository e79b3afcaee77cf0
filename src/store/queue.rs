//! What the store keeps of jobs, and what may be done with them.

use std::time::Duration;

use async_trait::async_trait;

use super::{Message, Outgoing, StoreError};
use crate::{
    event::Generated,
    id::{JobId, UserId},
    job::{Claimed, Fence, JobView, Kind, State},
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
    /// Its terminal event.
    pub outgoing: Outgoing,
}

/// What became of asking to stop a job.
#[derive(Debug, Clone)]
pub enum Stopping {
    /// It was waiting. Now no worker will get it: it is the caller's to end, under this fence.
    Held(Claimed),
    /// It runs; its worker will be told.
    Running,
    /// It has ended before.
    Finished,
    /// This user has no such job.
    Unknown,
}

/// What a worker learns when it renews its leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    pub job: JobId,
    /// Somebody asked to stop it.
    pub cancel_asked: bool,
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

    /// Asks to stop a user's job.
    async fn stop_job(&self, user: &UserId, id: JobId, lease: Duration) -> Result<Stopping, StoreError>;

    /// Gives a worker up to `limit` available jobs, in their users' turns, each under a lease.
    async fn claim(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, StoreError>;

    /// Renews leases; who is missing in the answer has lost theirs.
    async fn renew(&self, fences: Vec<Fence>, lease: Duration) -> Result<Vec<Renewed>, StoreError>;

    /// How far a running job is. Says whether the fence still held.
    async fn progress(&self, fence: Fence, percent: u8, note: &str) -> Result<bool, StoreError>;

    /// Ends a running job. Says whether the fence still held; otherwise nothing is written.
    async fn finish(&self, fence: Fence, ending: Ending) -> Result<bool, StoreError>;

    /// Puts a running job back as retryable, one failure more, not before `pause` has passed. Says whether the fence held.
    async fn retry(&self, fence: Fence, pause: Duration, error: &str) -> Result<bool, StoreError>;

    /// Puts running jobs back as if they had not been claimed.
    async fn give_back(&self, fences: Vec<Fence>) -> Result<(), StoreError>;

    /// Running jobs whose lease is over, under the fence of their last attempt.
    async fn expired(&self, limit: usize) -> Result<Vec<Claimed>, StoreError>;

    /// Ends the leases of all running jobs: right only where no other process can hold one.
    async fn expire_all(&self) -> Result<(), StoreError>;

    /// How long until the next scheduled or retryable job is due, where there is one.
    async fn next_due(&self) -> Result<Option<Duration>, StoreError>;

    /// How many jobs wait and run.
    async fn depth(&self) -> Result<Depth, StoreError>;
}
