//! The queue on the PostgreSQL wire: every transition of a job is one guarded statement below, and takes a whole batch.
//!
//! Each user belongs to a shard, whose row is held by who claims, and of whose jobs turns and the user's limit are kept. Jobs
//! are found by their id in a bucket. Times are the database's: milliseconds since 1970. Whatever one transaction waits for
//! is taken in this order: shards, limits, jobs, lanes. Refuses to scan what has ended.

mod admin;
mod begin;
mod claim;
mod conclude;
mod enqueue;
mod jobs;
mod limits;
mod promote;
mod sight;
mod stand;
mod stop;
mod sweep;
mod turns;
mod upkeep;
mod worker;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use diesel::{
    Queryable,
    result::Error,
    sql_types::{BigInt, Bool, Integer, Text, Uuid as SqlUuid},
};
use uuid::Uuid;

pub(super) use self::{
    enqueue::{enqueue, known, waiting},
    sight::Sight,
};
use super::{PostgresStore, outbox, unreadable};
use crate::{
    id::{JobId, UserId, WorkerId},
    job::{Claimed, Fence, JobView, NewJob, Priority, State, Work},
    store::{Batch, Conclusion, Depth, Heartbeat, JobFilter, QueueStore, Stopping, StoreError},
};

/// The database's moment, read once a statement.
macro_rules! now {
    () => {
        "(select (extract(epoch from clock_timestamp()) * 1000)::int8)"
    };
}
use now;

/// That the worker of this parameter lives, asked once a statement.
macro_rules! lives {
    ($parameter:literal) => {
        concat!(
            "exists (select 1 from worker where worker.id = ",
            $parameter,
            " and worker.lease_until > (extract(epoch from clock_timestamp()) * 1000)::int8)"
        )
    };
}
use lives;

/// That a job, which is found by its id, is in this state: said so that no plan takes an index of that state instead, and
/// compares all that is in it with all that is asked for.
macro_rules! stands_in {
    ($state:literal) => {
        concat!("job.state + 0 = ", $state)
    };
}
use stands_in;

/// The turn of a lane `l` where a look begins: a few turns back, and at the very beginning in the shards of this parameter.
macro_rules! first_turn {
    ($beginnings:literal) => {
        concat!("l.low - case when l.shard = any(", $beginnings, ") then 1152921504606846976 else 16 end")
    };
}
use first_turn;

/// What [`ClaimedRow`] reads.
macro_rules! claimed {
    () => {
        "job.id, job.user_id, job.attempt, job.failures, job.crashes, job.cancel_asked,
        coalesce(job.started_at - coalesce(job.waits_since, job.run_at), 0), job.work"
    };
}
use claimed;

const AVAILABLE: i16 = 0;
const SCHEDULED: i16 = 1;
const RETRYABLE: i16 = 2;
const RUNNING: i16 = 3;

/// How many users' shards there are.
const SHARDS: i16 = 16;

/// The shard of a user.
fn shard_of(user: &str) -> i16 {
    (hash(user) % u32::from(SHARDS.cast_unsigned())) as i16
}

/// How many stripes the migrations make.
const STRIPES: u32 = 16_384;

/// The row of `user_stripe` that stands for a user.
pub(super) fn stripe_of(user: &str) -> i16 {
    (hash(user) % STRIPES) as i16
}

/// FNV-1a, which stays what it is over releases.
fn hash(user: &str) -> u32 {
    let hash = user.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // The low bits alone are poor.
    hash ^ (hash >> 16)
}

fn shards() -> Vec<i16> {
    (0..SHARDS).collect()
}

fn bucket_of(id: JobId) -> i16 {
    outbox::shard(id.as_bytes())
}

fn uuid_of(id: JobId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

fn job_id(id: Uuid) -> JobId {
    JobId::from_bytes(id.into_bytes())
}

fn worker_uuid(id: WorkerId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// Buckets and ids of jobs, as a statement takes them.
fn places(jobs: impl IntoIterator<Item = JobId>) -> (Vec<i16>, Vec<Uuid>) {
    jobs.into_iter().map(|id| (bucket_of(id), uuid_of(id))).unzip()
}

fn state_number(state: State) -> i16 {
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

fn state_of(number: i16) -> Result<State, Error> {
    State::ALL.iter().copied().find(|state| state_number(*state) == number).ok_or_else(|| unreadable("state of a job"))
}

fn priority_number(priority: Priority) -> i16 {
    match priority {
        Priority::Normal => 0,
        Priority::Low => 1,
        Priority::Lowest => 2,
    }
}

fn priority_of(number: i16) -> Priority {
    Priority::ALL.iter().copied().find(|priority| priority_number(*priority) == number).unwrap_or(Priority::Lowest)
}

fn millis(duration: Duration) -> i64 {
    // Short enough that a moment and it can be added.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(1 << 53)
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A job that changes hands.
#[derive(Queryable)]
struct ClaimedRow {
    id: Uuid,
    user_id: String,
    attempt: i32,
    failures: i32,
    crashes: i32,
    cancel_asked: bool,
    waited: i64,
    work: String,
}

type ClaimedColumns = (SqlUuid, Text, Integer, Integer, Integer, Bool, BigInt, Text);

impl ClaimedRow {
    fn read(self) -> Result<Claimed, Error> {
        Ok(Claimed {
            fence: Fence { job: job_id(self.id), attempt: self.attempt.cast_unsigned() },
            user: self.user_id.parse().map_err(|_| unreadable("user id"))?,
            failures: self.failures.cast_unsigned(),
            crashes: self.crashes.cast_unsigned(),
            waited: duration(self.waited),
            cancel_asked: self.cancel_asked,
            work: serde_json::from_str::<Work>(&self.work).map_err(|error| error.to_string()),
        })
    }
}

#[async_trait]
impl QueueStore for PostgresStore {
    async fn job(&self, user: &UserId, id: JobId) -> Result<Option<JobView>, StoreError> {
        let user = user.clone();
        self.statements(async move |connection, _| jobs::show(connection, &user, id).await).await
    }

    async fn jobs(&self, user: &UserId, filter: JobFilter) -> Result<Vec<JobView>, StoreError> {
        let user = user.clone();
        self.statements(async move |connection, _| jobs::list(connection, &user, filter).await).await
    }

    async fn position(&self, user: &UserId, id: JobId) -> Result<Option<u64>, StoreError> {
        let user = user.clone();
        self.statements(async move |connection, _| jobs::position(connection, &user, id).await).await
    }

    async fn stop_job(&self, user: &UserId, id: JobId, lease: Duration) -> Result<Stopping, StoreError> {
        self.stop(Some(user.clone()), id, lease).await
    }

    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<bool>, StoreError> {
        self.alone_or_in_transaction(jobs.len() <= enqueue::BATCH, async move |connection, doubt| {
            let jobs: Vec<&NewJob> = jobs.iter().collect();
            enqueue::enqueue_once(connection, &jobs, doubt).await
        })
        .await
    }

    async fn claim(&self, worker: WorkerId, room: usize, lease: Duration) -> Result<Batch, StoreError> {
        claim::claim(self, worker, room, lease).await
    }

    async fn conclude(&self, worker: WorkerId, conclusions: Vec<Conclusion>) -> Result<Vec<bool>, StoreError> {
        self.alone_or_in_transaction(conclude::is_one_statement(&conclusions), async move |connection, doubt| {
            conclude::conclude(connection, worker, &conclusions, doubt).await
        })
        .await
    }

    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<Heartbeat, StoreError> {
        let sent = Instant::now();
        let beat = self.statements(async move |connection, _| worker::heartbeat(connection, worker, lease).await).await?;
        if beat.alive {
            self.sight.renewed(worker, sent);
        }
        Ok(beat)
    }

    async fn retire(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.statements(async move |connection, _| worker::retire(connection, worker).await).await
    }

    async fn abandoned(&self, worker: WorkerId, limit: usize, lease: Duration) -> Result<Vec<Claimed>, StoreError> {
        worker::take_over(self, worker, limit, lease).await
    }

    async fn next_look(&self, worker: WorkerId) -> Result<Option<Duration>, StoreError> {
        self.statements(async move |connection, _| claim::next_look(connection, worker).await).await
    }

    async fn progress(&self, worker: WorkerId, fence: Fence, percent: u8, note: &str) -> Result<bool, StoreError> {
        let note = note.to_owned();
        self.statements(async move |connection, _| conclude::progress(connection, worker, fence, percent, &note).await).await
    }

    async fn acquire(&self, worker: WorkerId, fence: Fence, provider: &str, most: usize) -> Result<bool, StoreError> {
        let provider = provider.to_owned();
        self.transaction(async move |connection, _| limits::acquire(connection, worker, fence, &provider, most).await).await
    }

    async fn expire_all(&self) -> Result<(), StoreError> {
        self.statements(async move |connection, _| worker::expire_all(connection).await).await
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        self.statements(async move |connection, _| jobs::depth(connection).await).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_spread_over_all_shards() {
        let mut counts = [0; SHARDS as usize];
        for user in 0..1600 {
            counts[usize::try_from(shard_of(&format!("user-{user}"))).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
        assert_eq!(shard_of("ada"), shard_of("ada"));
    }
}
