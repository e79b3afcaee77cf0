//! The store: messages, jobs and the outbox, durable. All SQL of the product stands below this module.
//!
//! [`Store`] hides the engine. What belongs together is one method and one transaction: a message, its job, its outgoing
//! event and its idempotency key are written by [`Store::accept`] or not at all; the end of a job by [`Store::finish`].
//! Refuses to publish, to decide about retries, and to build events: it keeps what it is given.

mod sqlite;

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;

pub use self::sqlite::SqliteStore;
use crate::{
    channel::Channel,
    event::{Event, FinishReason, Generated},
    id::{JobId, MessageId, OutboxId, StreamId, UserId},
    job::{Claimed, Fence, JobView, Kind, NewJob, State},
    timestamp::Timestamp,
};

/// A message of history.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub channel: Channel,
    pub content: String,
    pub author: Author,
    pub timestamp: Timestamp,
}

/// Who a message is by.
#[derive(Debug, Clone, PartialEq)]
pub enum Author {
    /// A person.
    Person { user_id: UserId, user_name: String, client_id: Option<String> },
    /// An AI.
    Assistant { provider: String, stream_id: StreamId, reply_to: Option<MessageId>, finish_reason: FinishReason },
}

/// An event that is to be published once what it tells is durable.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub id: OutboxId,
    pub event: Event,
}

/// Something a user asks for, all of it or nothing.
#[derive(Debug, Clone)]
pub struct Request {
    pub user: UserId,
    pub message: Option<(Message, Outgoing)>,
    pub job: Option<NewJob>,
    pub idempotency: Option<Idempotency>,
    /// The most jobs this user may have waiting; 0 means no limit.
    pub max_waiting: usize,
}

/// Makes a repeated request harmless.
#[derive(Debug, Clone)]
pub struct Idempotency {
    pub key: String,
    /// What the request asks for, so that another request under the same key is noticed.
    pub fingerprint: [u8; 32],
    /// The answer, to be given again.
    pub response: String,
}

/// What became of a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is durable.
    New,
    /// It was made before; this was the answer.
    Replayed(String),
    /// Another request was made under this key.
    Mismatch,
    /// The user has too many jobs waiting.
    TooManyJobs,
}

/// A page of history.
#[derive(Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Those whose event may not be published yet.
    pub unpublished: HashSet<MessageId>,
    /// Whether there are older ones.
    pub more: bool,
}

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

/// Everything durable.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes a user's request, all of it or nothing; durable when this returns.
    async fn accept(&self, request: Request) -> Result<Accepted, StoreError>;

    /// The newest messages of a channel before `before`, at most `limit`.
    async fn messages(&self, channel: &Channel, before: Option<MessageId>, limit: usize) -> Result<Page, StoreError>;

    /// One job of a user.
    async fn job(&self, user: &UserId, id: JobId) -> Result<Option<JobView>, StoreError>;

    /// A user's jobs, newest first.
    async fn jobs(&self, user: &UserId, filter: JobFilter) -> Result<Vec<JobView>, StoreError>;

    /// Asks to stop a user's job.
    async fn stop_job(&self, user: &UserId, id: JobId, lease: Duration) -> Result<Stopping, StoreError>;

    /// Events of the outbox that are at least so old, oldest first.
    async fn unpublished(&self, age: Duration, limit: usize) -> Result<Vec<Outgoing>, StoreError>;

    /// One event of the outbox, where it waits.
    async fn unpublished_one(&self, id: OutboxId) -> Result<Option<Outgoing>, StoreError>;

    /// These events of the outbox are published.
    async fn forget_published(&self, ids: Vec<OutboxId>) -> Result<(), StoreError>;

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

    /// Forgets idempotency keys that are at least so old.
    async fn forget_keys(&self, age: Duration) -> Result<(), StoreError>;

    /// Whether it can be written now.
    async fn check(&self) -> Result<(), StoreError>;

    /// Writes what is left and lets go of everything; later calls fail.
    async fn close(&self);
}

/// What can go wrong with the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No room is left on the disk.
    #[error("the database can't grow, its disk is full: {0}")]
    Full(String),
    /// Somebody else holds it.
    #[error("the database is locked by another program: {0}")]
    Locked(String),
    /// It can't be read.
    #[error("the database file is damaged or not a database: {0}")]
    Damaged(String),
    /// The disk or the connection fails, or it may not be written.
    #[error("the database can't be used: {0}")]
    Unavailable(String),
    /// The database refuses a statement: a fault of this program.
    #[error("the database refused a statement: {0}")]
    Refused(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Locked(_) | Self::Unavailable(_))
    }
}
