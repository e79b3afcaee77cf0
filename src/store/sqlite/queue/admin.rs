//! What an operator may ask of the queue.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, Queryable, RunQueryDsl, Selectable, SelectableHelper, SqliteConnection,
    result::Error,
    sql_types::{BigInt, Binary, Integer, Text},
};

use super::{
    AVAILABLE, RETRYABLE, SCHEDULED, conclude,
    jobs::{self, DoneRow, LiveRow},
    limited,
    limits::{KIND, PROVIDER, USER},
    priority_of, state_number, until,
};
use crate::{
    id::{JobId, WorkerId},
    job::{Kind, State},
    store::{
        AdminFilter, FailedAttempt, JobFilter, JobRecord, KindStats, Limit, QueueAdmin, Scope, Stopping, StoreError,
        sqlite::{
            SqliteStore, id_bytes,
            literal::{Bind, NextTurn, Statement},
            now,
            schema::{job, job_done, queue_limit},
            unreadable,
        },
    },
    timestamp::Timestamp,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = job, check_for_backend(diesel::sqlite::Sqlite))]
struct LiveExtra {
    user_id: String,
    priority: i32,
    run_at: i64,
    waits_since: Option<i64>,
    worker: Option<Vec<u8>>,
    provider: Option<String>,
    unique_key: Option<String>,
    cancel_asked: bool,
    errors: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = job_done, check_for_backend(diesel::sqlite::Sqlite))]
struct DoneExtra {
    user_id: String,
    priority: i32,
    created_at: i64,
    unique_key: Option<String>,
    errors: String,
}

fn live((row, extra): (LiveRow, LiveExtra)) -> Result<JobRecord, Error> {
    Ok(JobRecord {
        job: row.read()?,
        user_id: extra.user_id.parse().map_err(|_| unreadable("user id"))?,
        priority: priority_of(extra.priority),
        run_at: Timestamp::from_millis(extra.waits_since.unwrap_or(extra.run_at)),
        worker: extra.worker.map(|id| id_bytes(&id).map(WorkerId::from_bytes)).transpose()?,
        provider: extra.provider,
        unique_key: extra.unique_key,
        cancel_asked: extra.cancel_asked,
        failures: FailedAttempt::read_kept(&extra.errors).map_err(|_| unreadable("errors of a job"))?,
    })
}

fn done((row, extra): (DoneRow, DoneExtra)) -> Result<JobRecord, Error> {
    Ok(JobRecord {
        job: row.read()?,
        user_id: extra.user_id.parse().map_err(|_| unreadable("user id"))?,
        priority: priority_of(extra.priority),
        run_at: Timestamp::from_millis(extra.created_at),
        worker: None,
        provider: None,
        unique_key: extra.unique_key,
        cancel_asked: false,
        failures: FailedAttempt::read_kept(&extra.errors).map_err(|_| unreadable("errors of a job"))?,
    })
}

fn list(connection: &mut SqliteConnection, filter: &AdminFilter) -> Result<Vec<JobRecord>, Error> {
    let of_user = JobFilter { state: filter.state, kind: filter.kind, before: filter.before, limit: filter.limit };
    match (filter.state, &filter.user) {
        (Some(state), user) if state.is_final() => {
            let ids = match user {
                Some(user) => jobs::ids(connection, jobs::DONE_OF_USER, user, of_user)?,
                None => ended(connection, state, filter)?,
            };
            let rows = job_done::table.filter(job_done::id.eq_any(ids)).order(job_done::id.desc());
            let rows = rows.select((DoneRow::as_select(), DoneExtra::as_select())).load(connection)?;
            rows.into_iter().filter(|(row, _): &(DoneRow, _)| row.is_known()).map(done).collect()
        }
        (state, user) => {
            let mut query = job::table.order(job::id.desc()).into_boxed();
            if let Some(user) = user {
                query = query.filter(job::id.eq_any(jobs::ids(connection, jobs::LIVE_OF_USER, user, of_user)?));
            } else {
                query = query.limit(limited(filter.limit));
            }
            if let Some(state) = state {
                query = query.filter(job::state.eq(state_number(state)));
            }
            if let Some(kind) = filter.kind {
                query = query.filter(job::kind.eq(kind.as_str()));
            }
            if let Some(before) = filter.before {
                query = query.filter(job::id.lt(before.as_bytes().to_vec()));
            }
            let rows = query.select((LiveRow::as_select(), LiveExtra::as_select())).load(connection)?;
            rows.into_iter().filter(|(row, _): &(LiveRow, _)| row.is_known()).map(live).collect()
        }
    }
}

/// The newest that ended in this state: of one kind, or of all that this program knows.
fn ended(connection: &mut SqliteConnection, state: State, filter: &AdminFilter) -> Result<Vec<Vec<u8>>, Error> {
    let before = filter.before.map_or([u8::MAX; 16], |before| *before.as_bytes());
    let mut ids: Vec<Vec<u8>> = Vec::new();
    for kind in Kind::ALL.iter().filter(|kind| filter.kind.is_none_or(|asked| asked == **kind)) {
        let binds = [Bind::Text(kind.as_str()), Bind::Number(state_number(state).into()), Bind::Bytes(&before), Bind::Number(limited(filter.limit))];
        ids.extend(Statement::<Binary>::new(ENDED, binds).load::<Vec<u8>>(connection)?);
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids.truncate(filter.limit);
    Ok(ids)
}

const ENDED: &str = "select id from job_done where kind = ? and state = ? and id < ? order by id desc limit ? + 0";

fn show(connection: &mut SqliteConnection, id: JobId) -> Result<Option<JobRecord>, Error> {
    let bytes = id.as_bytes().as_slice();
    let found: Option<(LiveRow, _)> =
        job::table.find(bytes).select((LiveRow::as_select(), LiveExtra::as_select())).get_result(connection).optional()?;
    if let Some(found) = found {
        return found.0.is_known().then(|| live(found)).transpose();
    }
    let found: Option<(DoneRow, _)> =
        job_done::table.find(bytes).select((DoneRow::as_select(), DoneExtra::as_select())).get_result(connection).optional()?;
    found.filter(|(row, _)| row.is_known()).map(done).transpose()
}

fn retry(connection: &mut SqliteConnection, id: JobId) -> Result<bool, Error> {
    let bytes = id.as_bytes().as_slice();
    let place = (job::user_id, job::kind, job::priority, job::state);
    let waiting: Option<(String, String, i32, i32)> = job::table.find(bytes).select(place).get_result(connection).optional()?;
    if let Some((user, kind, priority, state)) = waiting {
        if ![SCHEDULED, RETRYABLE].contains(&state) {
            return Ok(state == AVAILABLE);
        }
        let turn: i64 = diesel::select(NextTurn { user: &user, kind: &kind, priority }).get_result(connection)?;
        let changes = (job::state.eq(AVAILABLE), job::run_at.eq(now()), job::turn.eq(turn), job::failures.eq(0), job::crashes.eq(0));
        return Ok(diesel::update(job::table.find(bytes)).set(changes).execute(connection)? == 1);
    }
    let place = (job_done::user_id, job_done::kind, job_done::priority);
    let ended = job_done::table.find(bytes).filter(job_done::state.ne(state_number(State::Completed)));
    let Some((user, kind, priority)) = ended.select(place).get_result::<(String, String, i32)>(connection).optional()? else { return Ok(false) };
    let turn: i64 = diesel::select(NextTurn { user: &user, kind: &kind, priority }).get_result(connection)?;
    let revived = Statement::<()>::new(REVIVE, [Bind::Number(turn), Bind::Number(now()), Bind::Bytes(bytes)]).execute(connection)? == 1;
    if revived {
        diesel::delete(job_done::table.find(bytes)).execute(connection)?;
    }
    Ok(revived)
}

/// The fence goes on from where it was: nobody's old one is good again.
const REVIVE: &str = "insert into job
        (id, kind, user_id, state, priority, turn, run_at, attempt, tries, work, error, errors, created_at, started_at, unique_key)
    select id, kind, user_id, 0, priority, ?, ?, max(fence, attempt), attempt, work, error, errors, created_at, started_at, unique_key
    from job_done where id = ?
    on conflict do nothing";

fn pause(connection: &mut SqliteConnection, kind: Kind, paused: bool) -> Result<(), Error> {
    let row = (queue_limit::scope.eq(KIND), queue_limit::name.eq(kind.as_str()), queue_limit::paused.eq(paused));
    let target = (queue_limit::scope, queue_limit::name);
    let insert = diesel::insert_into(queue_limit::table).values(row).on_conflict(target).do_update();
    insert.set(queue_limit::paused.eq(paused)).execute(connection).map(drop)
}

fn names(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Kind(kind) => (KIND, kind.as_str()),
        Scope::User => (USER, ""),
        Scope::Provider(name) => (PROVIDER, name),
    }
}

fn set_limit(connection: &mut SqliteConnection, scope: &Scope, most: Option<u32>) -> Result<(), Error> {
    let (scope, name) = names(scope);
    let most = most.map(|most| i32::try_from(most).unwrap_or(i32::MAX));
    let row = (queue_limit::scope.eq(scope), queue_limit::name.eq(name), queue_limit::most.eq(most));
    let target = (queue_limit::scope, queue_limit::name);
    let insert = diesel::insert_into(queue_limit::table).values(row).on_conflict(target).do_update();
    insert.set(queue_limit::most.eq(most)).execute(connection).map(drop)
}

fn limits(connection: &mut SqliteConnection) -> Result<Vec<Limit>, Error> {
    let rows: Vec<(String, String, Option<i32>)> = queue_limit::table
        .filter(queue_limit::most.is_not_null())
        .order((queue_limit::scope, queue_limit::name))
        .select((queue_limit::scope, queue_limit::name, queue_limit::most))
        .load(connection)?;
    let limit = |(scope, name, most): (String, String, Option<i32>)| {
        let scope = match scope.as_str() {
            KIND => Scope::Kind(name.parse().ok()?),
            USER => Scope::User,
            _ => Scope::Provider(name),
        };
        Some(Limit { scope, most: u32::try_from(most?).ok()? })
    };
    Ok(rows.into_iter().filter_map(limit).collect())
}

fn stats(connection: &mut SqliteConnection) -> Result<Vec<KindStats>, Error> {
    let rows: Vec<(String, i32, i64, i64)> = Statement::<(Text, Integer, BigInt, BigInt)>::new(STATS, []).load(connection)?;
    let mut kinds: BTreeMap<String, KindStats> = BTreeMap::new();
    for (kind, state, count, oldest) in rows {
        let stats = kinds.entry(kind).or_default();
        let count = count.cast_unsigned();
        match state {
            AVAILABLE => (stats.available, stats.oldest_ms) = (count, until(now(), oldest).as_millis() as u64),
            SCHEDULED => stats.scheduled = count,
            RETRYABLE => stats.retryable = count,
            _ => stats.running = count,
        }
    }
    let set: Vec<(String, Option<i32>, bool)> = queue_limit::table
        .filter(queue_limit::scope.eq(KIND))
        .select((queue_limit::name, queue_limit::most, queue_limit::paused))
        .load(connection)?;
    for (kind, most, paused) in set.into_iter().filter(|(_, most, paused)| *paused || most.is_some()) {
        let stats = kinds.entry(kind).or_default();
        (stats.paused, stats.limit) = (paused, most.and_then(|most| most.try_into().ok()));
    }
    Ok(kinds.into_iter().map(|(kind, stats)| KindStats { kind, ..stats }).collect())
}

/// By what lives alone, which is little; the words of the indexes, so that each is read and not the table.
const STATS: &str = "select kind, state, count(*), min(coalesce(waits_since, run_at)) from job where state = 0 group by kind
    union all select kind, state, count(*), 0 from job where state in (1, 2) group by kind, state
    union all select kind, state, count(*), 0 from job where state = 3 group by kind";

#[async_trait]
impl QueueAdmin for SqliteStore {
    async fn list_jobs(&self, filter: AdminFilter) -> Result<Vec<JobRecord>, StoreError> {
        self.readers.call(move |connection| list(connection, &filter)).await
    }

    async fn show_job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.readers.call(move |connection| show(connection, id)).await
    }

    async fn retry_job(&self, id: JobId) -> Result<bool, StoreError> {
        self.writer.call(move |connection| retry(connection, id)).await
    }

    async fn stop_any_job(&self, id: JobId, lease: Duration) -> Result<Stopping, StoreError> {
        self.writer.call(move |connection| conclude::stop(connection, None, id, lease)).await
    }

    async fn pause_kind(&self, kind: Kind, paused: bool) -> Result<(), StoreError> {
        self.writer.call(move |connection| pause(connection, kind, paused)).await
    }

    async fn set_limit(&self, scope: Scope, most: Option<u32>) -> Result<(), StoreError> {
        self.writer.call(move |connection| set_limit(connection, &scope, most)).await
    }

    async fn limits(&self) -> Result<Vec<Limit>, StoreError> {
        self.readers.call(limits).await
    }

    async fn queue_stats(&self) -> Result<Vec<KindStats>, StoreError> {
        self.readers.call(stats).await
    }
}
