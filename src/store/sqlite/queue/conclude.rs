//! Out of `running`, and how far a job is until then.

use std::time::Duration;

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper, SqliteConnection, result::Error};

use super::{ClaimedRow, RUNNING, fenced, state_number, worker};
use crate::{
    id::{JobId, UserId, WorkerId},
    job::{Fence, State},
    store::{
        Conclusion, Ending, Stopping, Then,
        sqlite::{
            history,
            literal::{Bind, Statement},
            millis, now, outbox,
            schema::{job, job_done},
            usage,
        },
    },
};

pub(super) fn conclude(connection: &mut SqliteConnection, worker: WorkerId, conclusions: &[Conclusion]) -> Result<Vec<bool>, Error> {
    if !worker::lives(connection, worker)? {
        return Ok(vec![false; conclusions.len()]);
    }
    let now = now();
    let one = |Conclusion { fence, then, usage }: &Conclusion| {
        let mut put_back = |sql, binds: &[Bind<'_>]| {
            let fence = [Bind::Bytes(fence.job.as_bytes()), Bind::Number(fence.attempt.into()), Bind::Bytes(worker.as_bytes())];
            Ok(Statement::<()>::new(sql, [binds, &fence].concat()).execute(connection)? == 1)
        };
        let held = match then {
            Then::End(ending) => end(connection, worker, *fence, ending),
            Then::Retry { pause, error, crash } => {
                let (due, at, error, crash) = (now + millis(*pause), now, Bind::Text(error), Bind::Number(i64::from(*crash)));
                put_back(RETRY, &[Bind::Number(due), crash, error, Bind::Number(at), error, crash])
            }
            Then::Snooze { pause } => put_back(SNOOZE, &[Bind::Number(now + millis(*pause))]),
            Then::GiveBack => put_back(GIVE_BACK, &[]),
        }?;
        if held {
            usage::add(connection, usage)?;
        }
        Ok(held)
    };
    conclusions.iter().map(one).collect()
}

const RETRY: &str = "update job set state = 2, run_at = ?, failures = failures + 1, crashes = crashes + ?, error = ?, worker = null, provider = null,
    errors = json_insert(errors, '$[#]', json_object('at', ?, 'attempt', tries, 'error', ?, 'crash', json(iif(?, 'true', 'false'))))
    where id = ? and attempt = ? and worker = ? and state = 3";

const SNOOZE: &str = "update job set state = 1, run_at = ?, tries = max(tries - 1, 0), worker = null, provider = null
    where id = ? and attempt = ? and worker = ? and state = 3";

const GIVE_BACK: &str = "update job set state = 0, tries = max(tries - 1, 0), worker = null, provider = null
    where id = ? and attempt = ? and worker = ? and state = 3";

fn end(connection: &mut SqliteConnection, worker: WorkerId, fence: Fence, ending: &Ending) -> Result<bool, Error> {
    let result = ending.result.as_ref().map(serde_json::to_string).transpose().map_err(|error| Error::SerializationError(error.into()))?;
    let error = ending.error.as_deref();
    let failed = error.filter(|_| ending.state == State::Discarded);
    let at = now();
    let binds = [
        Bind::Perhaps(result.as_deref()),
        Bind::Perhaps(error),
        Bind::Number(at),
        Bind::Perhaps(failed),
        Bind::Number(at),
        Bind::Perhaps(failed),
        Bind::Number(state_number(ending.state).into()),
        Bind::Bytes(fence.job.as_bytes()),
        Bind::Number(fence.attempt.into()),
        Bind::Bytes(worker.as_bytes()),
    ];
    if Statement::<()>::new(KEEP, binds).execute(connection)? == 0 {
        return Ok(false);
    }
    Statement::<()>::new("delete from job where id = ?", [Bind::Bytes(fence.job.as_bytes())]).execute(connection)?;
    if let Some(message) = &ending.message {
        history::insert(connection, message)?;
    }
    if let Some(outgoing) = &ending.outgoing {
        outbox::insert(connection, outgoing)?;
    }
    Ok(true)
}

const KEEP: &str = "insert into job_done
        (state, result, error, finished_at, errors, progress, id, kind, user_id, attempt, work, created_at, started_at, priority, unique_key, fence)
    select given.state, ?, coalesce(?, error), ?,
        iif(? is null, errors, json_insert(errors, '$[#]', json_object('at', ?, 'attempt', tries, 'error', ?, 'crash', json('false')))),
        iif(given.state = 4, 100, progress), id, kind, user_id, tries, work, created_at, started_at, priority, unique_key, attempt
    from job, (select ? as state) as given where id = ? and attempt = ? and worker = ? and job.state = 3";

pub(super) fn progress(connection: &mut SqliteConnection, worker: WorkerId, fence: Fence, percent: u8, note: &str) -> Result<bool, Error> {
    if !worker::lives(connection, worker)? {
        return Ok(false);
    }
    let changes = (job::progress.eq(i32::from(percent)), job::note.eq(note));
    Ok(diesel::update(fenced!(worker, fence)).set(changes).execute(connection)? == 1)
}

/// Asks to stop a job: `user`'s, where one is given.
pub(super) fn stop(connection: &mut SqliteConnection, user: Option<&UserId>, id: JobId, lease: Duration) -> Result<Stopping, Error> {
    let bytes = id.as_bytes().as_slice();
    let live: Option<(String, i32)> = job::table.find(bytes).select((job::user_id, job::state)).get_result(connection).optional()?;
    let is_hers = |owner: &str| user.is_none_or(|user| user.as_str() == owner);
    match live {
        Some((owner, RUNNING)) if is_hers(&owner) => {
            diesel::update(job::table.find(bytes)).set(job::cancel_asked.eq(true)).execute(connection)?;
            Ok(Stopping::Running)
        }
        Some((owner, _)) if is_hers(&owner) => {
            let holder = WorkerId::new();
            worker::register(connection, holder, lease)?;
            let changes =
                (job::state.eq(RUNNING), job::attempt.eq(job::attempt + 1), job::worker.eq(holder.as_bytes().as_slice()), job::cancel_asked.eq(true));
            let held: ClaimedRow =
                diesel::update(job::table.find(bytes)).set(changes).returning(ClaimedRow::as_returning()).get_result(connection)?;
            Ok(Stopping::Held { worker: holder, job: Box::new(held.read()?) })
        }
        Some(_) => Ok(Stopping::Unknown),
        None => {
            let owner: Option<String> = job_done::table.find(bytes).select(job_done::user_id).get_result(connection).optional()?;
            Ok(if owner.is_some_and(|owner| is_hers(&owner)) { Stopping::Finished } else { Stopping::Unknown })
        }
    }
}
