//! What an operator may ask of the queue.

use std::{fmt, str::FromStr, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize, Serializer};

use super::{Stopping, StoreError};
use crate::{
    id::{JobId, UserId, WorkerId, is_plain_id},
    job::{JobView, Kind, Priority, State},
    timestamp::Timestamp,
};

/// Which jobs to list, whoever's they are. Without a state: those that live.
#[derive(Debug, Clone, Default)]
pub struct AdminFilter {
    pub state: Option<State>,
    pub kind: Option<Kind>,
    pub user: Option<UserId>,
    pub before: Option<JobId>,
    pub limit: usize,
}

/// One failure of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedAttempt {
    pub at: Timestamp,
    pub attempt: u32,
    pub error: String,
    /// Its worker died with it.
    pub crash: bool,
}

impl FailedAttempt {
    /// Reads failures as a job's row keeps them, with their times as numbers.
    pub(super) fn read_kept(json: &str) -> serde_json::Result<Vec<Self>> {
        #[derive(Deserialize)]
        struct Kept {
            at: i64,
            attempt: u32,
            error: String,
            crash: bool,
        }
        let kept: Vec<Kept> = serde_json::from_str(json)?;
        Ok(kept.into_iter().map(|Kept { at, attempt, error, crash }| Self { at: Timestamp::from_millis(at), attempt, error, crash }).collect())
    }
}

/// A job as an operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRecord {
    #[serde(flatten)]
    pub job: JobView,
    pub user_id: UserId,
    pub priority: Priority,
    /// When it became, or will become, available.
    pub run_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    pub cancel_asked: bool,
    /// Oldest first.
    pub failures: Vec<FailedAttempt>,
}

/// Whose running jobs are limited.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of a kind.
    Kind(Kind),
    /// Those of each user.
    User,
    /// All that use a provider.
    Provider(String),
}

/// The text is no scope of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is user, kind:KIND or provider:NAME")]
pub struct InvalidScope;

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        match text.split_once(':') {
            None if text == "user" => Ok(Self::User),
            Some(("kind", kind)) => kind.parse().map(Self::Kind).map_err(|_| InvalidScope),
            Some(("provider", name)) if is_plain_id(name) => Ok(Self::Provider(name.to_owned())),
            _ => Err(InvalidScope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Kind(kind) => write!(f, "kind:{kind}"),
            Self::Provider(name) => write!(f, "provider:{name}"),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A limit that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    pub scope: Scope,
    /// The most that may run at once, all workers together.
    pub most: u32,
}

/// How the jobs of a kind are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KindStats {
    /// As the store has it: it may be one that this program doesn't know.
    pub kind: String,
    pub available: u64,
    pub scheduled: u64,
    pub retryable: u64,
    pub running: u64,
    /// How long the oldest available job has waited, in milliseconds.
    pub oldest_ms: u64,
    pub paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The queue under an operator's hand.
#[async_trait]
pub trait QueueAdmin: Send + Sync {
    /// Jobs, newest first.
    async fn list_jobs(&self, filter: AdminFilter) -> Result<Vec<JobRecord>, StoreError>;

    /// One job, whoever's it is.
    async fn show_job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError>;

    /// Makes a job that waits for its time, or was cancelled or discarded, available now, with its failures forgiven. A
    /// finished one whose unique key another job has now is left alone, as is one that completed. Says whether it is done.
    async fn retry_job(&self, id: JobId) -> Result<bool, StoreError>;

    /// Asks to stop a job, as [`super::QueueStore::stop_job`] does for its user.
    async fn stop_any_job(&self, id: JobId, lease: Duration) -> Result<Stopping, StoreError>;

    /// Lets no job of this kind be claimed, or lets them again. What runs runs on.
    async fn pause_kind(&self, kind: Kind, paused: bool) -> Result<(), StoreError>;

    /// Sets a limit, or lifts it.
    async fn set_limit(&self, scope: Scope, most: Option<u32>) -> Result<(), StoreError>;

    /// All limits that are set.
    async fn limits(&self) -> Result<Vec<Limit>, StoreError>;

    /// How many jobs there are, by kind and state.
    async fn queue_stats(&self) -> Result<Vec<KindStats>, StoreError>;
}
