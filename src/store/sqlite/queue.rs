//! The queue: every transition of a job is one guarded statement here.
//!
//! A transition out of `running` names the attempt it was claimed under; where another attempt has begun, it changes nothing
//! and says so.

use std::time::Duration;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper, SqliteConnection,
    dsl::min,
    result::Error,
    sql_types::{BigInt, Binary, Bool, Integer, Text},
};

use super::{
    history, id_bytes,
    literal::{NextTurn, Predicate, Statement},
    millis, now, outbox,
    schema::{job, job_done},
    unreadable,
};
use crate::{
    id::{JobId, UserId},
    job::{Claimed, Fence, NewJob, State, Work},
    store::{Accepted, Depth, Ending, Renewed, Request, Stopping},
};

pub(super) const AVAILABLE: i32 = 0;
const SCHEDULED: i32 = 1;
const RETRYABLE: i32 = 2;
pub(super) const RUNNING: i32 = 3;

pub(super) fn state_number(state: State) -> i32 {
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

pub(super) fn state_of(number: i32) -> Result<State, Error> {
    State::ALL.iter().copied().find(|state| state_number(*state) == number).ok_or_else(|| unreadable("state of a job"))
}

pub(super) fn accept(connection: &mut SqliteConnection, request: &Request) -> Result<Accepted, Error> {
    if let Some(asked) = &request.idempotency
        && let Some(known) = outbox::known(connection, &request.user, asked)?
    {
        return Ok(known);
    }
    if !request.jobs.is_empty() && has_too_many(connection, &request.user, request.max_waiting)? {
        return Ok(Accepted::TooManyJobs);
    }
    if let Some(asked) = &request.idempotency {
        outbox::remember(connection, &request.user, asked)?;
    }
    if let Some((message, outgoing)) = &request.message {
        history::insert(connection, message)?;
        outbox::insert(connection, outgoing)?;
    }
    for new in &request.jobs {
        enqueue(connection, new)?;
    }
    Ok(Accepted::New)
}

fn has_too_many(connection: &mut SqliteConnection, user: &UserId, max: usize) -> Result<bool, Error> {
    if max == 0 {
        return Ok(false);
    }
    let waiting: i64 = job::table.filter(job::user_id.eq(user.as_str()).and(WAITING)).count().get_result(connection)?;
    Ok(waiting >= i64::try_from(max).unwrap_or(i64::MAX))
}

/// The predicates of the indexes, literally: SQLite takes a partial index only for the same words.
const WAITING: Predicate = Predicate("job.state in (0, 1, 2)");
const LATER: Predicate = Predicate("job.state in (1, 2)");
const HELD: Predicate = Predicate("job.state = 3");

fn enqueue(connection: &mut SqliteConnection, new: &NewJob) -> Result<(), Error> {
    let row = (
        job::id.eq(new.id.as_bytes().as_slice()),
        job::kind.eq(new.work.kind().as_str()),
        job::user_id.eq(new.user.as_str()),
        job::state.eq(AVAILABLE),
        job::turn.eq(NextTurn { user: new.user.as_str() }),
        job::run_at.eq(new.created_at.millis()),
        job::work.eq(serde_json::to_string(&new.work).map_err(|error| Error::SerializationError(error.into()))?),
        job::created_at.eq(new.created_at.millis()),
    );
    diesel::insert_into(job::table).values(row).execute(connection).map(drop)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = job, check_for_backend(diesel::sqlite::Sqlite))]
struct ClaimedRow {
    id: Vec<u8>,
    user_id: String,
    attempt: i32,
    failures: i32,
    cancel_asked: bool,
    work: String,
}

impl ClaimedRow {
    fn read(self) -> Result<Claimed, Error> {
        Ok(Claimed {
            fence: Fence { job: JobId::from_bytes(id_bytes(&self.id)?), attempt: self.attempt.cast_unsigned() },
            user: self.user_id.parse().map_err(|_| unreadable("user id"))?,
            failures: self.failures.cast_unsigned(),
            cancel_asked: self.cancel_asked,
            work: serde_json::from_str::<Work>(&self.work).map_err(|error| error.to_string()),
        })
    }
}

pub(super) fn claim(connection: &mut SqliteConnection, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
    // What `ClaimedRow` reads, behind the job's turn: RETURNING has no order of its own.
    type Returned = (BigInt, (Binary, Text, Integer, Integer, Bool, Text));
    let now = now();
    Statement::<_>::new(PROMOTE, [now]).execute(connection)?;
    let numbers = [now + millis(lease), now, i64::try_from(limit).unwrap_or(i64::MAX)];
    let mut rows: Vec<(i64, ClaimedRow)> = Statement::<_, Returned>::new(CLAIM, numbers).load(connection)?;
    rows.sort_by(|(turn, row), (other_turn, other)| (turn, &row.id).cmp(&(other_turn, &other.id)));
    rows.into_iter().map(|(_, row)| row.read()).collect()
}

/// What is due becomes available, so much at once.
const PROMOTE: &str = "update job set state = 0 where id in
    (select id from job where state in (1, 2) and run_at <= ? order by run_at limit 1000)";

/// The sum keeps SQLite from planning the statement anew for each limit.
const CLAIM: &str = "update job set state = 3, attempt = attempt + 1, lease_until = ?, started_at = ?, error = null where id in
    (select id from job where state = 0 order by turn, id limit ? + 0)
    returning turn, id, user_id, attempt, failures, cancel_asked, work";

/// The row of a job while this fence holds.
macro_rules! fenced {
    ($fence:expr) => {
        job::table.filter(job::id.eq($fence.job.as_bytes().as_slice()).and(job::attempt.eq($fence.attempt.cast_signed())).and(HELD))
    };
}

pub(super) fn renew(connection: &mut SqliteConnection, fences: &[Fence], lease: Duration) -> Result<Vec<Renewed>, Error> {
    let until = now() + millis(lease);
    let mut renewed = Vec::with_capacity(fences.len());
    for fence in fences {
        let cancel_asked: Option<bool> =
            diesel::update(fenced!(fence)).set(job::lease_until.eq(until)).returning(job::cancel_asked).get_result(connection).optional()?;
        renewed.extend(cancel_asked.map(|cancel_asked| Renewed { job: fence.job, cancel_asked }));
    }
    Ok(renewed)
}

pub(super) fn progress(connection: &mut SqliteConnection, fence: Fence, percent: u8, note: &str) -> Result<bool, Error> {
    let changed = diesel::update(fenced!(fence)).set((job::progress.eq(i32::from(percent)), job::note.eq(note))).execute(connection)?;
    Ok(changed == 1)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = job, check_for_backend(diesel::sqlite::Sqlite))]
struct EndedRow {
    id: Vec<u8>,
    kind: String,
    user_id: String,
    attempt: i32,
    work: String,
    progress: Option<i32>,
    error: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
}

pub(super) fn finish(connection: &mut SqliteConnection, fence: Fence, ending: &Ending) -> Result<bool, Error> {
    let ended: Option<EndedRow> = diesel::delete(fenced!(fence)).returning(EndedRow::as_returning()).get_result(connection).optional()?;
    let Some(ended) = ended else { return Ok(false) };
    let result = ending.result.as_ref().map(serde_json::to_string).transpose().map_err(|error| Error::SerializationError(error.into()))?;
    let progress = if ending.state == State::Completed { Some(100) } else { ended.progress };
    let row = (
        job_done::id.eq(ended.id),
        job_done::kind.eq(ended.kind),
        job_done::user_id.eq(ended.user_id),
        job_done::state.eq(state_number(ending.state)),
        job_done::attempt.eq(ended.attempt),
        job_done::work.eq(ended.work),
        job_done::progress.eq(progress),
        job_done::result.eq(result),
        job_done::error.eq(ending.error.clone().or(ended.error)),
        job_done::created_at.eq(ended.created_at),
        job_done::started_at.eq(ended.started_at),
        job_done::finished_at.eq(now()),
    );
    diesel::insert_into(job_done::table).values(row).execute(connection)?;
    if let Some(message) = &ending.message {
        history::insert(connection, message)?;
    }
    outbox::insert(connection, &ending.outgoing)?;
    Ok(true)
}

pub(super) fn retry(connection: &mut SqliteConnection, fence: Fence, pause: Duration, error: &str) -> Result<bool, Error> {
    let changes = (
        job::state.eq(RETRYABLE),
        job::failures.eq(job::failures + 1),
        job::run_at.eq(now() + millis(pause)),
        job::lease_until.eq(None::<i64>),
        job::error.eq(error),
    );
    Ok(diesel::update(fenced!(fence)).set(changes).execute(connection)? == 1)
}

pub(super) fn give_back(connection: &mut SqliteConnection, fences: &[Fence]) -> Result<(), Error> {
    for fence in fences {
        let changes = (job::state.eq(AVAILABLE), job::lease_until.eq(None::<i64>));
        diesel::update(fenced!(fence)).set(changes).execute(connection)?;
    }
    Ok(())
}

pub(super) fn expired(connection: &mut SqliteConnection, limit: usize) -> Result<Vec<Claimed>, Error> {
    let rows: Vec<ClaimedRow> = job::table
        .filter(HELD.and(job::lease_until.lt(now())))
        .order(job::lease_until)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(ClaimedRow::as_select())
        .load(connection)?;
    rows.into_iter().map(ClaimedRow::read).collect()
}

pub(super) fn expire_all(connection: &mut SqliteConnection) -> Result<(), Error> {
    diesel::update(job::table.filter(HELD)).set(job::lease_until.eq(0)).execute(connection).map(drop)
}

pub(super) fn stop(connection: &mut SqliteConnection, user: &UserId, id: JobId, lease: Duration) -> Result<Stopping, Error> {
    let mine = || job::table.filter(job::id.eq(id.as_bytes().as_slice()).and(job::user_id.eq(user.as_str())));
    let state: Option<i32> = diesel::update(mine()).set(job::cancel_asked.eq(true)).returning(job::state).get_result(connection).optional()?;
    match state {
        Some(RUNNING) => Ok(Stopping::Running),
        Some(_) => {
            let changes = (job::state.eq(RUNNING), job::attempt.eq(job::attempt + 1), job::lease_until.eq(now() + millis(lease)));
            let held: ClaimedRow = diesel::update(mine()).set(changes).returning(ClaimedRow::as_returning()).get_result(connection)?;
            held.read().map(Stopping::Held)
        }
        None => {
            let done = job_done::table.filter(job_done::id.eq(id.as_bytes().as_slice()).and(job_done::user_id.eq(user.as_str())));
            let finished: i64 = done.count().get_result(connection)?;
            Ok(if finished > 0 { Stopping::Finished } else { Stopping::Unknown })
        }
    }
}

pub(super) fn next_due(connection: &mut SqliteConnection) -> Result<Option<Duration>, Error> {
    let due: Option<i64> = job::table.filter(LATER).select(min(job::run_at)).get_result(connection)?;
    Ok(due.map(|due| Duration::from_millis(u64::try_from(due - now()).unwrap_or(0))))
}

pub(super) fn depth(connection: &mut SqliteConnection) -> Result<Depth, Error> {
    let waiting: i64 = job::table.filter(WAITING).count().get_result(connection)?;
    let running: i64 = job::table.filter(HELD).count().get_result(connection)?;
    Ok(Depth { waiting: waiting.cast_unsigned(), running: running.cast_unsigned() })
}

#[cfg(test)]
mod tests {
    use diesel::Connection as _;

    use super::*;
    use crate::job::ImageSize;

    const LEASE: Duration = Duration::from_secs(30);

    fn empty() -> SqliteConnection {
        let mut connection = SqliteConnection::establish(":memory:").unwrap();
        super::super::migrate(&mut connection).unwrap();
        connection
    }

    fn add(connection: &mut SqliteConnection, user: &str) -> JobId {
        let work = Work::GenerateImage { prompt: "a lake".into(), size: ImageSize::default(), model: None };
        let new = NewJob::new(user.parse().unwrap(), work);
        enqueue(connection, &new).unwrap();
        new.id
    }

    fn claimed(connection: &mut SqliteConnection, limit: usize) -> Vec<(JobId, u32)> {
        claim(connection, limit, LEASE).unwrap().into_iter().map(|job| (job.fence.job, job.fence.attempt)).collect()
    }

    #[test]
    fn users_take_turns_and_each_ones_jobs_keep_their_order() {
        let mut connection = empty();
        let ada: Vec<JobId> = (0..3).map(|_| add(&mut connection, "ada")).collect();
        let ben: Vec<JobId> = (0..2).map(|_| add(&mut connection, "ben")).collect();
        assert_eq!(claimed(&mut connection, 4), [(ada[0], 1), (ben[0], 1), (ada[1], 1), (ben[1], 1)]);
        // Whoever comes now stands in the turn that is being served.
        let eve = add(&mut connection, "eve");
        assert_eq!(claimed(&mut connection, 4), [(ada[2], 1), (eve, 1)]);
        assert_eq!(claimed(&mut connection, 4), []);
    }

    #[test]
    fn a_job_that_failed_is_claimed_again_when_it_is_due_and_not_before() {
        let mut connection = empty();
        let (soon, later) = (add(&mut connection, "ada"), add(&mut connection, "ben"));
        for fence in claim(&mut connection, 2, LEASE).unwrap().into_iter().map(|job| job.fence) {
            let pause = if fence.job == soon { Duration::ZERO } else { LEASE };
            assert!(retry(&mut connection, fence, pause, "it failed").unwrap());
        }
        assert_eq!(claimed(&mut connection, 2), [(soon, 2)]);
        let due = next_due(&mut connection).unwrap().unwrap();
        assert!(due > LEASE / 2 && due <= LEASE, "{later} is due in {due:?}");
    }
}
