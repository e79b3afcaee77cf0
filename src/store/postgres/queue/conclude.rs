//! Out of `running`, and how far a job is until then.

use std::collections::{BTreeMap, HashSet};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{
    bucket_of, job_id, lives, millis, now, places, stands_in, state_number,
    turns::{Lane, reach_back},
    uuid_of, worker_uuid,
};
use crate::{
    id::{JobId, WorkerId},
    job::Fence,
    store::{
        Conclusion, Ending, Message, Outgoing, Then,
        postgres::{history, literal::statement, outbox, pipeline::both, transaction::Doubt, usage},
    },
};

/// Whether one statement does it all, so that it needs no transaction around it: all end, and nobody is told.
pub(super) fn is_one_statement(conclusions: &[Conclusion]) -> bool {
    let is_silent = |ending: &Ending| ending.message.is_none() && ending.outgoing.is_none();
    conclusions.iter().all(|Conclusion { then, usage, .. }| usage.is_empty() && matches!(then, Then::End(ending) if is_silent(ending)))
}

/// Concludes what still can be. Says of each whether its fence held.
pub(super) async fn conclude(connection: &AsyncPgConnection, worker: WorkerId, conclusions: &[Conclusion], doubt: Doubt) -> Result<Vec<bool>, Error> {
    let (mut endings, mut retries, mut snoozes, mut given_back) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Conclusion { fence, then, .. } in conclusions {
        match then {
            Then::End(ending) => endings.push((*fence, &**ending)),
            Then::Retry { pause, error, crash } => retries.push((*fence, millis(*pause), error.as_str(), *crash)),
            Then::Snooze { pause } => snoozes.push((*fence, millis(*pause))),
            Then::GiveBack => given_back.push(*fence),
        }
    }
    let mut held = HashSet::new();
    if doubt == Doubt::MayBeDone {
        held.extend(done(connection, conclusions).await?);
    }
    let ((ended, retried), (snoozed, back)) = both(
        both(end(connection, worker, &endings), retry(connection, worker, &retries)),
        both(snooze(connection, worker, &snoozes), give_back(connection, worker, &given_back)),
    )
    .await?;
    let told: Vec<&Ending> = endings.iter().filter(|(fence, _)| ended.contains(&fence.job)).map(|(_, ending)| *ending).collect();
    let messages: Vec<&Message> = told.iter().filter_map(|ending| ending.message.as_ref()).collect();
    let outgoing: Vec<&Outgoing> = told.iter().filter_map(|ending| ending.outgoing.as_ref()).collect();
    history::insert(connection, &messages).await?;
    outbox::insert(connection, &outgoing).await?;
    let concluded: HashSet<JobId> = [ended, retried, snoozed, back].into_iter().flatten().collect();
    let used = conclusions.iter().filter(|conclusion| concluded.contains(&conclusion.fence.job));
    usage::add(connection, used.flat_map(|conclusion| &conclusion.usage)).await?;
    held.extend(concluded);
    // The first alone, of a job that stands twice.
    Ok(conclusions.iter().map(|conclusion| held.remove(&conclusion.fence.job)).collect())
}

/// Buckets, ids and attempts, as statements take them.
fn columns(fences: impl IntoIterator<Item = Fence>) -> (Vec<i16>, Vec<Uuid>, Vec<i32>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for Fence { job, attempt } in fences {
        columns.0.push(bucket_of(job));
        columns.1.push(uuid_of(job));
        columns.2.push(attempt.cast_signed());
    }
    columns
}

/// The row of a job of `f` while its fence holds and the worker of this parameter lives.
macro_rules! fenced {
    ($worker:literal) => {
        concat!(
            " job.bucket = f.bucket and job.id = f.id and job.attempt = f.attempt and ",
            stands_in!(3),
            " and job.worker = ",
            $worker,
            " and ",
            lives!($worker)
        )
    };
}

/// The failures of a job and one more.
macro_rules! one_more_failure {
    ($error:literal, $crash:literal) => {
        concat!(
            "job.errors || jsonb_build_array(jsonb_build_object('at', ",
            now!(),
            ", 'attempt', job.tries, 'error', ",
            $error,
            ", 'crash', ",
            $crash,
            "))"
        )
    };
}

const END: &str = concat!(
    "with ended as (
        delete from job using unnest($1, $2, $3, $4, $5, $6) as f (bucket, id, attempt, state, result, error)
        where",
    fenced!("$7"),
    " returning job.bucket, job.id, f.state, job.kind, job.user_id, job.priority, job.attempt, job.tries, job.unique_key, job.work,
            case when f.state = 4 then 100 else job.progress end as progress, f.result, coalesce(f.error, job.error) as error,
            case when f.state = 6 and f.error is not null then ",
    one_more_failure!("f.error", "false"),
    " else job.errors end as errors, job.created_at, job.started_at)
    insert into job_done (bucket, id, state, kind, user_id, priority, fence, tries, unique_key, work, progress, result, error, errors,
        created_at, started_at, finished_at)
    select bucket, id, state, kind, user_id, priority, attempt, tries, unique_key, work, progress, result, error, errors,
        created_at, started_at, ",
    now!(),
    " from ended returning id"
);

async fn end(mut connection: &AsyncPgConnection, worker: WorkerId, endings: &[(Fence, &Ending)]) -> Result<HashSet<JobId>, Error> {
    if endings.is_empty() {
        return Ok(HashSet::new());
    }
    let (buckets, ids, attempts) = columns(endings.iter().map(|(fence, _)| *fence));
    let results: Result<Vec<Option<String>>, _> =
        endings.iter().map(|(_, ending)| ending.result.as_ref().map(serde_json::to_string).transpose()).collect();
    let end = statement::<SqlUuid>(END)
        .bind::<Array<SmallInt>, _>(buckets)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Integer>, _>(attempts)
        .bind::<Array<SmallInt>, _>(endings.iter().map(|(_, ending)| state_number(ending.state)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(results.map_err(|error| Error::SerializationError(error.into()))?)
        .bind::<Array<Nullable<Text>>, _>(endings.iter().map(|(_, ending)| ending.error.as_deref()).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(worker_uuid(worker));
    let ended: Vec<Uuid> = end.load(&mut connection).await?;
    Ok(ended.into_iter().map(job_id).collect())
}

const RETRY: &str = concat!(
    "update job set state = 2, failures = job.failures + 1, crashes = job.crashes + case when f.crash then 1 else 0 end, error = f.error,
        worker = null, provider = null, waits_since = null, run_at = f.pause + ",
    now!(),
    ", errors = ",
    one_more_failure!("f.error", "f.crash"),
    " from unnest($1, $2, $3, $4, $5, $6) as f (bucket, id, attempt, pause, error, crash) where",
    fenced!("$7"),
    " returning job.id"
);

async fn retry(mut connection: &AsyncPgConnection, worker: WorkerId, retries: &[(Fence, i64, &str, bool)]) -> Result<HashSet<JobId>, Error> {
    if retries.is_empty() {
        return Ok(HashSet::new());
    }
    let (buckets, ids, attempts) = columns(retries.iter().map(|(fence, ..)| *fence));
    let retry = statement::<SqlUuid>(RETRY)
        .bind::<Array<SmallInt>, _>(buckets)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Integer>, _>(attempts)
        .bind::<Array<BigInt>, _>(retries.iter().map(|(_, pause, ..)| *pause).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(retries.iter().map(|(_, _, error, _)| *error).collect::<Vec<_>>())
        .bind::<Array<Bool>, _>(retries.iter().map(|(.., crash)| *crash).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(worker_uuid(worker));
    let retried: Vec<Uuid> = retry.load(&mut connection).await?;
    Ok(retried.into_iter().map(job_id).collect())
}

const SNOOZE: &str = concat!(
    "update job set state = 1, tries = greatest(job.tries - 1, 0), worker = null, provider = null,
        waits_since = null, run_at = f.pause + ",
    now!(),
    " from unnest($1, $2, $3, $4) as f (bucket, id, attempt, pause) where",
    fenced!("$5"),
    " returning job.id"
);

async fn snooze(mut connection: &AsyncPgConnection, worker: WorkerId, snoozes: &[(Fence, i64)]) -> Result<HashSet<JobId>, Error> {
    if snoozes.is_empty() {
        return Ok(HashSet::new());
    }
    let (buckets, ids, attempts) = columns(snoozes.iter().map(|(fence, _)| *fence));
    let snooze = statement::<SqlUuid>(SNOOZE)
        .bind::<Array<SmallInt>, _>(buckets)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Integer>, _>(attempts)
        .bind::<Array<BigInt>, _>(snoozes.iter().map(|(_, pause)| *pause).collect::<Vec<_>>())
        .bind::<SqlUuid, _>(worker_uuid(worker));
    let snoozed: Vec<Uuid> = snooze.load(&mut connection).await?;
    Ok(snoozed.into_iter().map(job_id).collect())
}

const GIVE_BACK: &str = concat!(
    "update job set state = 0, tries = greatest(job.tries - 1, 0), worker = null, provider = null
    from unnest($1, $2, $3) as f (bucket, id, attempt) where",
    fenced!("$4"),
    " returning job.id, job.shard, job.kind, job.priority, job.turn"
);

async fn give_back(mut connection: &AsyncPgConnection, worker: WorkerId, fences: &[Fence]) -> Result<HashSet<JobId>, Error> {
    if fences.is_empty() {
        return Ok(HashSet::new());
    }
    let (buckets, ids, attempts) = columns(fences.iter().copied());
    let back = statement::<(SqlUuid, SmallInt, Text, SmallInt, BigInt)>(GIVE_BACK)
        .bind::<Array<SmallInt>, _>(buckets)
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Integer>, _>(attempts)
        .bind::<SqlUuid, _>(worker_uuid(worker));
    let rows: Vec<(Uuid, i16, String, i16, i64)> = back.load(&mut connection).await?;
    let (mut given, mut lanes) = (HashSet::new(), BTreeMap::new());
    for (id, shard, kind, priority, turn) in rows {
        given.insert(job_id(id));
        lanes.entry(Lane { shard, kind, priority }).and_modify(|low: &mut i64| *low = turn.min(*low)).or_insert(turn);
    }
    reach_back(connection, &lanes.into_iter().collect::<Vec<_>>()).await?;
    Ok(given)
}

const ENDED: &str = "select d.id, d.fence from unnest($1, $2) as f (bucket, id)
    join job_done d on d.bucket = f.bucket and d.state in (4, 5, 6) and d.id = f.id";
const PUT_BACK: &str = "select job.id, job.attempt from unnest($1, $2) as f (bucket, id)
    join job on job.bucket = f.bucket and job.id = f.id where job.state <> 3";

/// What a run of whose commit nobody has heard has concluded: nobody else could have under these fences.
async fn done(mut connection: &AsyncPgConnection, conclusions: &[Conclusion]) -> Result<HashSet<JobId>, Error> {
    let mut found: HashSet<Fence> = HashSet::new();
    for sql in [ENDED, PUT_BACK] {
        let (buckets, ids) = places(conclusions.iter().map(|conclusion| conclusion.fence.job));
        let asked = statement::<(SqlUuid, Integer)>(sql).bind::<Array<SmallInt>, _>(buckets).bind::<Array<SqlUuid>, _>(ids);
        let rows: Vec<(Uuid, i32)> = asked.load(&mut connection).await?;
        found.extend(rows.into_iter().map(|(id, attempt)| Fence { job: job_id(id), attempt: attempt.cast_unsigned() }));
    }
    Ok(conclusions.iter().map(|conclusion| conclusion.fence).filter(|fence| found.contains(fence)).map(|fence| fence.job).collect())
}

const PROGRESS: &str = concat!(
    "update job set progress = $1, note = $2 where bucket = $3 and id = $4 and attempt = $5 and worker = $6 and ",
    stands_in!(3),
    " and ",
    lives!("$6")
);

pub(super) async fn progress(mut connection: &AsyncPgConnection, worker: WorkerId, fence: Fence, percent: u8, note: &str) -> Result<bool, Error> {
    let progress = statement::<()>(PROGRESS)
        .bind::<SmallInt, _>(i16::from(percent))
        .bind::<Text, _>(note)
        .bind::<SmallInt, _>(bucket_of(fence.job))
        .bind::<SqlUuid, _>(uuid_of(fence.job))
        .bind::<Integer, _>(fence.attempt.cast_signed())
        .bind::<SqlUuid, _>(worker_uuid(worker));
    Ok(progress.execute(&mut connection).await? == 1)
}
