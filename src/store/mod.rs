//! The store: messages, jobs and the outbox, durable. All SQL of the product stands below this module.
//!
//! [`Store`] hides the engine; it is made of one trait for each thing that is kept: [`HistoryStore`], [`QueueStore`],
//! [`OutboxStore`], [`PersonaStore`], [`UsageStore`]. What belongs together is one method and one transaction: a message, its job, its outgoing
//! event and its idempotency key are written by [`Store::accept`] or not at all; the end of a job by [`QueueStore::conclude`].
//! Refuses to publish, to decide about retries, and to build events: it keeps what it is given.

mod history;
mod outbox;
mod personas;
mod postgres;
mod queue;
mod queue_admin;
mod sqlite;
mod turns;
mod usage;

use async_trait::async_trait;
use diesel::result::Error;

pub use self::{
    history::{Author, HistoryStore, Message, Page},
    outbox::{Idempotency, OutboxStore, Outgoing},
    personas::{Kept, MAX_PERSONAS_OF_ROOM, PersonaFilter, PersonaStore},
    postgres::{DatabaseUrl, InvalidDatabaseUrl, Isolation, PostgresConfig, PostgresStore},
    queue::{Batch, Conclusion, Depth, Ending, Heartbeat, JobFilter, QueueStore, QueueUpkeep, Stopping, Then},
    queue_admin::{AdminFilter, FailedAttempt, InvalidScope, JobRecord, KindStats, Limit, QueueAdmin, Scope},
    sqlite::SqliteStore,
    usage::{UsageEntry, UsageFilter, UsageKeys, UsageStore, UsageSum},
};
use crate::{id::UserId, job::NewJob};

/// Something a user asks for, all of it or nothing.
#[derive(Debug, Clone)]
pub struct Request {
    pub user: UserId,
    pub message: Option<(Message, Outgoing)>,
    pub jobs: Vec<NewJob>,
    pub idempotency: Option<Idempotency>,
    /// The most jobs this user may have waiting; 0 means no limit.
    pub max_waiting: usize,
    /// The user has reached a limit of the day: nothing but the answer to the same request of before is theirs.
    pub is_over_daily_limit: bool,
}

impl Request {
    /// Whether its jobs are too many for a user who has so many waiting. Whoever has none may have as many as one room answers
    /// with, however low the limit is.
    #[must_use]
    pub fn has_too_many_jobs(&self, waiting: usize) -> bool {
        self.max_waiting > 0 && waiting > 0 && !self.jobs.is_empty() && waiting.saturating_add(self.jobs.len()) > self.max_waiting
    }
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
    /// The user has reached a limit of the day.
    OverDailyLimit,
}

/// Everything durable.
#[async_trait]
pub trait Store: HistoryStore + QueueStore + QueueUpkeep + QueueAdmin + OutboxStore + PersonaStore + UsageStore + 'static {
    /// Takes a user's request, all of it or nothing; durable when this returns.
    async fn accept(&self, request: Request) -> Result<Accepted, StoreError>;

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

/// A stored value that this program can't have written.
fn unreadable(what: &str) -> Error {
    Error::DeserializationError(format!("unreadable {what}").into())
}
