//! The queue on SQLite: every transition of a job is one guarded statement below.
//!
//! One writer does all of it, so that no statement races another and no lock is needed. Times are the process's.

mod admin;
mod claim;
mod conclude;
mod enqueue;
mod jobs;
mod limits;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod tests;
mod upkeep;
mod worker;

use std::time::Duration;

use async_trait::async_trait;
use diesel::{Queryable, Selectable, result::Error};
use serde::Serialize;
use uuid::Uuid;

pub(super) use self::enqueue::accept;
use super::{SqliteStore, id_bytes, literal::Predicate, now, schema::job, unreadable};
use crate::{
    id::{JobId, UserId, WorkerId},
    job::{Claimed, Fence, JobView, NewJob, Priority, State, Work},
    store::{Batch, Conclusion, Depth, Heartbeat, JobFilter, QueueStore, Stopping, StoreError},
};

const AVAILABLE: i32 = 0;
const SCHEDULED: i32 = 1;
const RETRYABLE: i32 = 2;
const RUNNING: i32 = 3;

fn state_number(state: State) -> i32 {
    match state {
        State::Available => AVAILABLE,
        State::Scheduled => SCHEDULED,
        State::Retryable => RETRYABLE,
        State::Running => RUNNING,
        State::Completed => 4,
        State::Cancelled => 5,
        State::Discarded => 6,
    }
}

fn state_of(number: i32) -> Result<State, Error> {
    State::ALL.iter().copied().find(|state| state_number(*state) == number).ok_or_else(|| unreadable("state of a job"))
}

fn priority_number(priority: Priority) -> i32 {
    match priority {
        Priority::Normal => 0,
        Priority::Low => 1,
        Priority::Lowest => 2,
    }
}

fn priority_of(number: i32) -> Priority {
    Priority::ALL.iter().copied().find(|priority| priority_number(*priority) == number).unwrap_or(Priority::Lowest)
}

/// The predicates of the indexes, literally: SQLite takes a partial index only for the same words.
const READY: Predicate = Predicate("job.state = 0");
const LATER: Predicate = Predicate("job.state in (1, 2)");
const HELD: Predicate = Predicate("job.state = 3");

/// The row of a job while this fence holds.
macro_rules! fenced {
    ($worker:expr, $fence:expr) => {{
        use diesel::{BoolExpressionMethods as _, QueryDsl as _};
        job::table.filter(
            job::id
                .eq($fence.job.as_bytes().as_slice())
                .and(job::attempt.eq($fence.attempt.cast_signed()))
                .and(job::worker.eq($worker.as_bytes().as_slice()))
                .and($crate::store::sqlite::queue::HELD),
        )
    }};
}
use fenced;

#[derive(Queryable, Selectable)]
#[diesel(table_name = job, check_for_backend(diesel::sqlite::Sqlite))]
struct ClaimedRow {
    id: Vec<u8>,
    user_id: String,
    attempt: i32,
    failures: i32,
    crashes: i32,
    cancel_asked: bool,
    /// Since when it was available, where that is asked for: when it is claimed.
    #[diesel(column_name = run_at)]
    since: i64,
    work: String,
}

impl ClaimedRow {
    fn read(self) -> Result<Claimed, Error> {
        Ok(Claimed {
            fence: Fence { job: JobId::from_bytes(id_bytes(&self.id)?), attempt: self.attempt.cast_unsigned() },
            user: self.user_id.parse().map_err(|_| unreadable("user id"))?,
            failures: self.failures.cast_unsigned(),
            crashes: self.crashes.cast_unsigned(),
            waited: until(now(), self.since),
            cancel_asked: self.cancel_asked,
            work: serde_json::from_str::<Work>(&self.work).map_err(|error| error.to_string()),
        })
    }
}

/// An id, as a statement takes it within a list.
fn hex(id: JobId) -> String {
    Uuid::from_bytes(*id.as_bytes()).simple().to_string()
}

/// Ids, as a statement takes a whole list of them.
fn listed(ids: &[JobId]) -> Result<String, Error> {
    json(&ids.iter().map(|id| hex(*id)).collect::<Vec<_>>())
}

fn json(list: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(list).map_err(|error| Error::SerializationError(error.into()))
}

/// How long from one moment to a later one.
fn until(later: i64, earlier: i64) -> Duration {
    Duration::from_millis(u64::try_from(later - earlier).unwrap_or(0))
}

fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl QueueStore for SqliteStore {
    async fn job(&self, user: &UserId, id: JobId) -> Result<Option<JobView>, StoreError> {
        let user = user.clone();
        self.readers.call(move |connection| jobs::show(connection, &user, id)).await
    }

    async fn jobs(&self, user: &UserId, filter: JobFilter) -> Result<Vec<JobView>, StoreError> {
        let user = user.clone();
        self.readers.call(move |connection| jobs::list(connection, &user, filter)).await
    }

    async fn position(&self, user: &UserId, id: JobId) -> Result<Option<u64>, StoreError> {
        let user = user.clone();
        self.readers.call(move |connection| jobs::position(connection, &user, id)).await
    }

    async fn stop_job(&self, user: &UserId, id: JobId, lease: Duration) -> Result<Stopping, StoreError> {
        let user = user.clone();
        self.writer.call(move |connection| conclude::stop(connection, Some(&user), id, lease)).await
    }

    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<bool>, StoreError> {
        self.writer.call(move |connection| jobs.iter().map(|new| enqueue::enqueue(connection, new)).collect()).await
    }

    async fn claim(&self, worker: WorkerId, room: usize, lease: Duration) -> Result<Batch, StoreError> {
        self.writer.call(move |connection| claim::claim(connection, worker, room, lease)).await
    }

    async fn conclude(&self, worker: WorkerId, conclusions: Vec<Conclusion>) -> Result<Vec<bool>, StoreError> {
        self.writer.call(move |connection| conclude::conclude(connection, worker, &conclusions)).await
    }

    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<Heartbeat, StoreError> {
        self.writer.call(move |connection| worker::heartbeat(connection, worker, lease)).await
    }

    async fn retire(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.writer.call(move |connection| worker::retire(connection, worker)).await
    }

    async fn abandoned(&self, worker: WorkerId, limit: usize, lease: Duration) -> Result<Vec<Claimed>, StoreError> {
        self.writer.call(move |connection| worker::take_over(connection, worker, limit, lease)).await
    }

    async fn next_look(&self, worker: WorkerId) -> Result<Option<Duration>, StoreError> {
        self.readers.call(move |connection| worker::next_look(connection, worker)).await
    }

    async fn progress(&self, worker: WorkerId, fence: Fence, percent: u8, note: &str) -> Result<bool, StoreError> {
        let note = note.to_owned();
        self.writer.call(move |connection| conclude::progress(connection, worker, fence, percent, &note)).await
    }

    async fn acquire(&self, worker: WorkerId, fence: Fence, provider: &str, most: usize) -> Result<bool, StoreError> {
        let provider = provider.to_owned();
        self.writer.call(move |connection| limits::acquire(connection, worker, fence, &provider, most)).await
    }

    async fn expire_all(&self) -> Result<(), StoreError> {
        self.writer.call(worker::expire_all).await
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        self.readers.call(jobs::depth).await
    }
}
