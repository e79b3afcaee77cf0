//! Into the queue.

use std::collections::{HashMap, HashSet};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{bucket_of, job_id, now, places, priority_number, shard_of, stand::Stand, turns, uuid_of};
use crate::{
    id::{JobId, UserId},
    job::NewJob,
    store::postgres::{literal::statement, transaction::Doubt},
    timestamp::Timestamp,
};

/// The most that one statement takes.
pub(super) const BATCH: usize = 1000;

/// The next turn of each line is read in the same statement: behind the line's last, and not before the turn that its lane
/// serves. Where a lane is missing nothing is inserted. What is later than now waits for its time; it gets its turn when that
/// has come.
const INSERT: &str = concat!(
    "with lane as materialized (select array_agg(queue_lane.low order by asked.place) as low
        from unnest($1, $2, $3) with ordinality as asked (shard, kind, priority, place) left join queue_lane
            on queue_lane.shard = asked.shard and queue_lane.kind = asked.kind and queue_lane.priority = asked.priority
        having count(*) = count(queue_lane.low)),
    line as materialized (select array_agg(greatest((select low from lane)[asked.lane], coalesce((select job.turn + 1 from job
            where job.user_id = asked.user_id and job.state = 0 and job.kind = asked.kind and job.priority = asked.priority
            order by job.turn desc limit 1), 0)) order by asked.place) as next
        from unnest($4, $5, $6, $7) with ordinality as asked (user_id, kind, priority, lane, place))
    insert into job (bucket, id, shard, kind, user_id, priority, state, turn, run_at, unique_key, work, created_at)
    select new.bucket, new.id, new.shard, new.kind, new.user_id, new.priority, case when new.run_at > ",
    now!(),
    " then 1 else 0 end, (select next from line)[new.line] + new.behind, greatest(new.run_at, ",
    now!(),
    "), new.unique_key, new.work, new.created_at
    from unnest($8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
        as new (bucket, id, shard, kind, user_id, priority, line, behind, run_at, unique_key, work, created_at)
    where (select low from lane) is not null
    on conflict do nothing returning id"
);

/// Enqueues jobs in the caller's transaction. Says of each whether it is new: one whose id lives, or whose unique key another
/// living job has, is not enqueued again.
pub(in super::super) async fn enqueue(connection: &AsyncPgConnection, jobs: &[&NewJob]) -> Result<Vec<bool>, Error> {
    let mut new = HashSet::new();
    for batch in jobs.chunks(BATCH) {
        new.extend(insert(connection, batch).await?);
    }
    // The first alone, of an id that stands twice.
    Ok(jobs.iter().map(|job| new.remove(&job.id)).collect())
}

/// The same where a former run may have been committed.
pub(super) async fn enqueue_once(connection: &AsyncPgConnection, jobs: &[&NewJob], doubt: Doubt) -> Result<Vec<bool>, Error> {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let done = if doubt == Doubt::MayBeDone { known(connection, &ids).await? } else { HashSet::new() };
    let open: Vec<&NewJob> = jobs.iter().copied().filter(|job| !done.contains(&job.id)).collect();
    let mut is_new = enqueue(connection, &open).await?.into_iter();
    Ok(jobs.iter().map(|job| done.contains(&job.id) || is_new.next().unwrap_or(false)).collect())
}

async fn insert(connection: &AsyncPgConnection, jobs: &[&NewJob]) -> Result<HashSet<JobId>, Error> {
    let stand = Stand::of(jobs);
    let mut inserted = insert_into(connection, jobs, &stand).await?;
    if inserted.is_empty() && !jobs.is_empty() {
        // None is new, or a lane is missing, unless somebody else has just made it.
        turns::make(connection, &stand.lanes).await?;
        inserted = insert_into(connection, jobs, &stand).await?;
    }
    Ok(inserted)
}

async fn insert_into(mut connection: &AsyncPgConnection, jobs: &[&NewJob], stand: &Stand<'_>) -> Result<HashSet<JobId>, Error> {
    let works: Result<Vec<String>, _> = jobs.iter().map(|job| serde_json::to_string(&job.work)).collect();
    let insert = statement::<SqlUuid>(INSERT)
        .bind::<Array<SmallInt>, _>(stand.lanes.iter().map(|lane| lane.shard).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(stand.lanes.iter().map(|lane| lane.kind.as_str()).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(stand.lanes.iter().map(|lane| lane.priority).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(stand.lines.iter().map(|line| line.user).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(stand.lines.iter().map(|line| line.kind).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(stand.lines.iter().map(|line| line.priority).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(stand.lines.iter().map(|line| line.lane).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(jobs.iter().map(|job| bucket_of(job.id)).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(jobs.iter().map(|job| uuid_of(job.id)).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(jobs.iter().map(|job| shard_of(job.user.as_str())).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(jobs.iter().map(|job| job.work.kind().as_str()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(jobs.iter().map(|job| job.user.as_str()).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(jobs.iter().map(|job| priority_number(job.priority)).collect::<Vec<_>>())
        .bind::<Array<Integer>, _>(stand.places.iter().map(|place| place.line).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(stand.places.iter().map(|place| place.behind).collect::<Vec<_>>())
        .bind::<Array<Nullable<BigInt>>, _>(jobs.iter().map(|job| job.run_at.map(Timestamp::millis)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(jobs.iter().map(|job| job.unique_key.as_deref()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(works.map_err(|error| Error::SerializationError(error.into()))?)
        .bind::<Array<BigInt>, _>(jobs.iter().map(|job| job.created_at.millis()).collect::<Vec<_>>());
    let inserted: Vec<Uuid> = insert.load(&mut connection).await?;
    Ok(inserted.into_iter().map(job_id).collect())
}

const KNOWN: &str = "select job.id from unnest($1, $2) as asked (bucket, id) join job on job.bucket = asked.bucket and job.id = asked.id";
const KNOWN_DONE: &str = "select d.id from unnest($1, $2) as asked (bucket, id)
    join job_done d on d.bucket = asked.bucket and d.state in (4, 5, 6) and d.id = asked.id";

/// Those of `asked` that were enqueued.
pub(in super::super) async fn known(mut connection: &AsyncPgConnection, asked: &[JobId]) -> Result<HashSet<JobId>, Error> {
    let mut found = HashSet::new();
    for sql in [KNOWN, KNOWN_DONE] {
        let (buckets, ids) = places(asked.iter().copied());
        let known = statement::<SqlUuid>(sql).bind::<Array<SmallInt>, _>(buckets).bind::<Array<SqlUuid>, _>(ids);
        let known: Vec<Uuid> = known.load(&mut connection).await?;
        found.extend(known.into_iter().map(job_id));
    }
    Ok(found)
}

const WAITING: &str = "select user_id, count(*) from job where user_id = any($1) and state in (0, 1, 2) group by user_id";

/// How many jobs of these users wait.
pub(in super::super) async fn waiting(mut connection: &AsyncPgConnection, users: Vec<&UserId>) -> Result<HashMap<UserId, usize>, Error> {
    let users: Vec<&str> = users.into_iter().map(UserId::as_str).collect();
    let rows: Vec<(String, i64)> = statement::<(Text, BigInt)>(WAITING).bind::<Array<Text>, _>(users).load(&mut connection).await?;
    let read = |(user, count): (String, i64)| Some((user.parse().ok()?, usize::try_from(count).ok()?));
    Ok(rows.into_iter().filter_map(read).collect())
}
