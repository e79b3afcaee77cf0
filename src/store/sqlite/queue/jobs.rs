//! Jobs as their owner sees them: one, or a list over those that live and those that have ended.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper, SqliteConnection,
    result::Error, sql_types::Binary,
};

use super::{AVAILABLE, HELD, LATER, READY, limited, state_number, state_of};
use crate::{
    id::{JobId, UserId},
    job::{JobView, Kind},
    store::{
        Depth, JobFilter,
        sqlite::{
            id_bytes,
            literal::{Bind, Statement},
            schema::{job, job_done},
            unreadable,
        },
    },
    timestamp::Timestamp,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = job, check_for_backend(diesel::sqlite::Sqlite))]
pub(super) struct LiveRow {
    id: Vec<u8>,
    kind: String,
    state: i32,
    progress: Option<i32>,
    note: Option<String>,
    error: Option<String>,
    tries: i32,
    created_at: i64,
    started_at: Option<i64>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = job_done, check_for_backend(diesel::sqlite::Sqlite))]
pub(super) struct DoneRow {
    id: Vec<u8>,
    kind: String,
    state: i32,
    progress: Option<i32>,
    result: Option<String>,
    error: Option<String>,
    attempt: i32,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: i64,
}

impl LiveRow {
    pub(super) fn is_known(&self) -> bool {
        is_known(&self.kind)
    }

    pub(super) fn read(self) -> Result<JobView, Error> {
        let Self { id, kind, state, progress, note, error, tries, created_at, started_at } = self;
        let row = DoneRow { id, kind, state, progress, result: None, error, attempt: tries, created_at, started_at, finished_at: 0 };
        Ok(JobView { message: note, ..row.read()? })
    }
}

/// Whether this program can name the kind. A newer one may have enqueued the job; then it is not shown.
fn is_known(kind: &str) -> bool {
    kind.parse::<Kind>().is_ok()
}

impl DoneRow {
    pub(super) fn is_known(&self) -> bool {
        is_known(&self.kind)
    }

    pub(super) fn read(self) -> Result<JobView, Error> {
        let state = state_of(self.state)?;
        Ok(JobView {
            job_id: JobId::from_bytes(id_bytes(&self.id)?),
            kind: self.kind.parse().map_err(|_| unreadable("kind of a job"))?,
            state,
            progress: self.progress.and_then(|percent| percent.try_into().ok()),
            message: None,
            result: self.result.map(|json| serde_json::from_str(&json).map_err(|_| unreadable("result of a job"))).transpose()?,
            error: self.error,
            attempt: self.attempt.cast_unsigned(),
            created_at: Timestamp::from_millis(self.created_at),
            started_at: self.started_at.map(Timestamp::from_millis),
            finished_at: state.is_final().then(|| Timestamp::from_millis(self.finished_at)),
        })
    }
}

pub(super) fn show(connection: &mut SqliteConnection, user: &UserId, id: JobId) -> Result<Option<JobView>, Error> {
    let id = id.as_bytes().as_slice();
    let live = job::table.find(id).filter(job::user_id.eq(user.as_str())).select(LiveRow::as_select()).get_result(connection).optional()?;
    if let Some(row) = live {
        return row.is_known().then(|| row.read()).transpose();
    }
    let done = job_done::table.find(id).filter(job_done::user_id.eq(user.as_str())).select(DoneRow::as_select()).get_result(connection).optional()?;
    done.filter(DoneRow::is_known).map(DoneRow::read).transpose()
}

pub(super) fn list(connection: &mut SqliteConnection, user: &UserId, filter: JobFilter) -> Result<Vec<JobView>, Error> {
    let live = job::table.filter(job::id.eq_any(ids(connection, LIVE_OF_USER, user, filter)?)).select(LiveRow::as_select());
    let mut jobs = live.load::<LiveRow>(connection)?.into_iter().filter(LiveRow::is_known).map(LiveRow::read).collect::<Result<Vec<_>, _>>()?;
    let done = job_done::table.filter(job_done::id.eq_any(ids(connection, DONE_OF_USER, user, filter)?)).select(DoneRow::as_select());
    for row in done.load::<DoneRow>(connection)?.into_iter().filter(DoneRow::is_known) {
        jobs.push(row.read()?);
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.job_id));
    jobs.truncate(filter.limit);
    Ok(jobs)
}

/// The newest of a user's jobs that are as asked for, by one of the two statements below.
pub(super) fn ids(connection: &mut SqliteConnection, sql: &'static str, user: &UserId, filter: JobFilter) -> Result<Vec<Vec<u8>>, Error> {
    let user = Bind::Text(user.as_str());
    let before = filter.before.map_or([u8::MAX; 16], |before| *before.as_bytes());
    let state = Bind::Number(filter.state.map_or(ANY, |state| state_number(state).into()));
    let asked = [Bind::Bytes(&before), state, Bind::Perhaps(filter.kind.map(Kind::as_str)), Bind::Number(limited(filter.limit))];
    // A user for each question mark of the statement that isn't one of those.
    let mut binds = vec![user; sql.matches('?').count() - asked.len()];
    binds.extend(asked);
    Statement::<Binary>::new(sql, binds).load(connection)
}

/// In the place of a state: whichever it is.
const ANY: i64 = -1;

/// Each state is in an index of its own.
pub(super) const LIVE_OF_USER: &str = "select id from (
        select id, 0 as state, kind from job where job.state = 0 and user_id = ?
        union all select id, state, kind from job where job.state in (1, 2) and user_id = ?
        union all select id, 3 as state, kind from job indexed by job_running where job.state = 3 and user_id = ?) as mine
    where id < ? and ? in (state, -1) and coalesce(kind = ?, true) order by id desc limit ? + 0";

pub(super) const DONE_OF_USER: &str = "select id from job_done indexed by job_done_of_user
    where user_id = ? and id < ? and ? in (state, -1) and coalesce(kind = ?, true) order by id desc limit ? + 0";

/// How many available jobs of its kind begin before this one, and itself.
pub(super) fn position(connection: &mut SqliteConnection, user: &UserId, id: JobId) -> Result<Option<u64>, Error> {
    let id = id.as_bytes().as_slice();
    let mine = job::table.find(id).filter(job::user_id.eq(user.as_str()).and(job::state.eq(AVAILABLE)));
    let place: Option<(String, i32, i64)> = mine.select((job::kind, job::priority, job::turn)).get_result(connection).optional()?;
    let Some((kind, priority, turn)) = place else { return Ok(None) };
    let lane = || job::table.filter(READY).filter(job::kind.eq(&kind));
    let better: i64 = lane().filter(job::priority.lt(priority)).count().get_result(connection)?;
    let same = || lane().filter(job::priority.eq(priority));
    let earlier: i64 = same().filter(job::turn.lt(turn)).count().get_result(connection)?;
    let beside: i64 = same().filter(job::turn.eq(turn).and(job::id.le(id))).count().get_result(connection)?;
    Ok(Some((better + earlier + beside).cast_unsigned()))
}

pub(super) fn depth(connection: &mut SqliteConnection) -> Result<Depth, Error> {
    let ready: i64 = job::table.filter(READY).count().get_result(connection)?;
    let later: i64 = job::table.filter(LATER).count().get_result(connection)?;
    let running: i64 = job::table.filter(HELD).count().get_result(connection)?;
    Ok(Depth { waiting: (ready + later).cast_unsigned(), running: running.cast_unsigned() })
}
