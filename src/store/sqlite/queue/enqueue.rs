//! Into the queue: a user's request, a job, and a job whose time has come.

use diesel::{
    ExpressionMethods, RunQueryDsl, SqliteConnection,
    result::Error,
    sql_types::{BigInt, Binary, Integer, Text},
};

use super::{AVAILABLE, SCHEDULED, priority_number};
use crate::{
    job::{AGING, NewJob},
    store::{
        Accepted, Request,
        sqlite::{
            history,
            literal::{Bind, NextTurn, Statement},
            millis, now, outbox,
            schema::job,
        },
    },
    timestamp::Timestamp,
};

/// How many jobs become available in one go.
const PROMOTED: i64 = 1000;

pub(in super::super) fn accept(connection: &mut SqliteConnection, request: &Request) -> Result<Accepted, Error> {
    if let Some(asked) = &request.idempotency
        && let Some(known) = outbox::known(connection, &request.user, asked)?
    {
        return Ok(known);
    }
    if request.is_over_daily_limit {
        return Ok(Accepted::OverDailyLimit);
    }
    if has_too_many(connection, request)? {
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

fn has_too_many(connection: &mut SqliteConnection, request: &Request) -> Result<bool, Error> {
    if request.max_waiting == 0 || request.jobs.is_empty() {
        return Ok(false);
    }
    let user = Bind::Text(request.user.as_str());
    let waiting: i64 = Statement::<BigInt>::new(WAITING, [user, user]).get_result(connection)?;
    Ok(request.has_too_many_jobs(usize::try_from(waiting).unwrap_or(usize::MAX)))
}

const WAITING: &str = "select (select count(*) from job where state = 0 and user_id = ?)
    + (select count(*) from job where state in (1, 2) and user_id = ?)";

/// Says whether it is new.
pub(super) fn enqueue(connection: &mut SqliteConnection, new: &NewJob) -> Result<bool, Error> {
    let (kind, user, priority) = (new.work.kind().as_str(), new.user.as_str(), priority_number(new.priority));
    let row = (
        job::id.eq(new.id.as_bytes().as_slice()),
        job::kind.eq(kind),
        job::user_id.eq(user),
        job::priority.eq(priority),
        job::unique_key.eq(&new.unique_key),
        job::work.eq(serde_json::to_string(&new.work).map_err(|error| Error::SerializationError(error.into()))?),
        job::created_at.eq(new.created_at.millis()),
    );
    let now = now();
    let later = new.run_at.map(Timestamp::millis).filter(|at| *at > now);
    let inserted = match later {
        Some(at) => {
            let row = (row, job::state.eq(SCHEDULED), job::run_at.eq(at));
            diesel::insert_into(job::table).values(row).on_conflict_do_nothing().execute(connection)?
        }
        None => {
            let row = (row, job::state.eq(AVAILABLE), job::run_at.eq(now), job::turn.eq(NextTurn { user, kind, priority }));
            diesel::insert_into(job::table).values(row).on_conflict_do_nothing().execute(connection)?
        }
    };
    Ok(inserted == 1)
}

/// What is due becomes available, and what has waited long moves up a priority; each in its user's turn.
pub(super) fn promote(connection: &mut SqliteConnection, now: i64) -> Result<(), Error> {
    for (sql, until, up) in [(DUE, now, 0), (AGED, now - millis(AGING), 1)] {
        type Due = (Binary, Text, Text, Integer);
        let due: Vec<(Vec<u8>, String, String, i32)> = Statement::<Due>::new(sql, [Bind::Number(until), Bind::Number(PROMOTED)]).load(connection)?;
        for (id, user, kind, priority) in due {
            let priority = priority - up;
            let turn: i64 = diesel::select(NextTurn { user: &user, kind: &kind, priority }).get_result(connection)?;
            let binds = [Bind::Number(priority.into()), Bind::Number(turn), Bind::Number(now), Bind::Bytes(&id)];
            Statement::<()>::new(PROMOTE, binds).execute(connection)?;
        }
    }
    Ok(())
}

/// What moves up was available before, and has waited since then.
const PROMOTE: &str =
    "update job set waits_since = iif(state = 0, coalesce(waits_since, run_at), null), state = 0, priority = ?, turn = ?, run_at = ?
    where id = ?";

const DUE: &str = "select id, user_id, kind, priority from job where state in (1, 2) and run_at <= ? order by run_at limit ? + 0";

const AGED: &str = "select id, user_id, kind, priority from job where state = 0 and priority > 0 and run_at <= ? order by run_at limit ? + 0";
