//! Out of `running`, and how far a job is until then.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper, SqliteConnection,
    result::Error,
    sql_types::{Binary, Integer},
};

use super::{ClaimedRow, RUNNING, fenced, hex, json, listed, state_number, worker};
use crate::{
    id::{JobId, UserId, WorkerId},
    job::{Fence, State},
    store::{
        Conclusion, Stopping, Then,
        sqlite::{
            history, id_bytes,
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
    let ended = end_all(connection, worker, conclusions, now)?;
    let one = |(Conclusion { fence, then, usage }, has_ended): (&Conclusion, bool)| {
        let mut put_back = |sql, binds: &[Bind<'_>]| -> Result<bool, Error> {
            let fence = [Bind::Bytes(fence.job.as_bytes()), Bind::Number(fence.attempt.into()), Bind::Bytes(worker.as_bytes())];
            Ok(Statement::<()>::new(sql, [binds, &fence].concat()).execute(connection)? == 1)
        };
        let held = match then {
            Then::End(_) => Ok(has_ended),
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
    conclusions.iter().zip(ended).map(one).collect()
}

const RETRY: &str = "update job set state = 2, run_at = ?, waits_since = null, failures = failures + 1, crashes = crashes + ?, error = ?,
    worker = null, provider = null, errors = json_insert(errors, '$[#]', json_object('at', ?, 'attempt', tries, 'error', ?, 'crash', json(iif(?, 'true', 'false'))))
    where id = ? and attempt = ? and worker = ? and state = 3";

const SNOOZE: &str = "update job set state = 1, run_at = ?, waits_since = null, tries = max(tries - 1, 0), worker = null, provider = null
    where id = ? and attempt = ? and worker = ? and state = 3";

const GIVE_BACK: &str = "update job set state = 0, tries = max(tries - 1, 0), worker = null, provider = null
    where id = ? and attempt = ? and worker = ? and state = 3";

/// Ends those that are to end and can. Says of each conclusion whether it was one of them; the first alone, of one that stands
/// twice. Those that end alike share a statement.
fn end_all(connection: &mut SqliteConnection, worker: WorkerId, conclusions: &[Conclusion], now: i64) -> Result<Vec<bool>, Error> {
    let (mut alike, mut seen) = (BTreeMap::new(), HashSet::new());
    for Conclusion { fence, then, .. } in conclusions {
        if let Then::End(ending) = then
            && seen.insert(*fence)
        {
            let key = (state_number(ending.state), ending.result.as_ref().map(json).transpose()?, ending.error.as_deref());
            alike.entry(key).or_insert_with(Vec::new).push(format!("{}{}", hex(fence.job), fence.attempt));
        }
    }
    let mut kept: Vec<Fence> = Vec::new();
    for ((state, result, error), fences) in alike {
        let (result, failed) = (result.as_deref(), error.filter(|_| state == state_number(State::Discarded)));
        let binds = [
            Bind::Perhaps(result),
            Bind::Perhaps(error),
            Bind::Number(now),
            Bind::Perhaps(failed),
            Bind::Number(now),
            Bind::Perhaps(failed),
            Bind::Number(state.into()),
            Bind::Text(&json(&fences)?),
            Bind::Bytes(worker.as_bytes()),
        ];
        let rows: Vec<(Vec<u8>, i32)> = Statement::<(Binary, Integer)>::new(KEEP, binds).load(connection)?;
        let fence = |(id, attempt): (Vec<u8>, i32)| Ok(Fence { job: JobId::from_bytes(id_bytes(&id)?), attempt: attempt.cast_unsigned() });
        kept.extend(rows.into_iter().map(fence).collect::<Result<Vec<_>, Error>>()?);
    }
    if kept.is_empty() {
        return Ok(vec![false; conclusions.len()]);
    }
    let ids: Vec<JobId> = kept.iter().map(|fence| fence.job).collect();
    Statement::<()>::new(LET_GO, [Bind::Text(&listed(&ids)?)]).execute(connection)?;
    let mut ended: HashSet<Fence> = kept.into_iter().collect();
    let mut tell = |Conclusion { fence, then, .. }: &Conclusion| {
        let Then::End(ending) = then else { return Ok(false) };
        if !ended.remove(fence) {
            return Ok(false);
        }
        if let Some(message) = &ending.message {
            history::insert(connection, message)?;
        }
        if let Some(outgoing) = &ending.outgoing {
            outbox::insert(connection, outgoing)?;
        }
        Ok(true)
    };
    conclusions.iter().map(&mut tell).collect()
}

/// A fence that is given is an id, 32 digits, and the attempt.
const KEEP: &str = "insert into job_done
        (state, result, error, finished_at, errors, progress, id, kind, user_id, attempt, work, created_at, started_at, priority, unique_key, fence)
    select given.state, ?, coalesce(?, error), ?,
        iif(? is null, errors, json_insert(errors, '$[#]', json_object('at', ?, 'attempt', tries, 'error', ?, 'crash', json('false')))),
        iif(given.state = 4, 100, progress), id, kind, user_id, tries, work, created_at, started_at, priority, unique_key, attempt
    from (select ? as state, given.value from json_each(?) as given) as given cross join job
    where job.id = unhex(substr(given.value, 1, 32)) and job.attempt = substr(given.value, 33) + 0 and job.worker = ? and job.state = 3
    returning id, fence";

const LET_GO: &str = "delete from job where id in (select unhex(given.value) from json_each(?) as given)";

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
