//! Workers: that they live, and what becomes of their jobs when they don't.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{ClaimedColumns, ClaimedRow, PostgresStore, bucket_of, claimed, job_id, limited, lives, millis, now, stands_in, worker_uuid};
use crate::{
    id::WorkerId,
    job::{Claimed, Fence},
    store::{
        Heartbeat, StoreError,
        postgres::{literal::statement, transaction::Doubt},
    },
};

const RENEW: &str = concat!(
    "insert into worker (id, lease_until) values ($1, ",
    now!(),
    " + $2) on conflict (id) do update set lease_until = excluded.lease_until where worker.lease_until > ",
    now!()
);
const BEGIN_AGAIN: &str = concat!(
    "update worker set lease_until = ",
    now!(),
    " + $1 where id = $2 and not exists (select 1 from job where job.state = 3 and job.worker = $2)"
);

/// Begins a lease, or renews one that is not over. Says whether it runs now.
pub(super) async fn renew(mut connection: &AsyncPgConnection, id: WorkerId, lease: Duration) -> Result<bool, Error> {
    let renew = statement::<()>(RENEW).bind::<SqlUuid, _>(worker_uuid(id)).bind::<BigInt, _>(millis(lease));
    Ok(renew.execute(&mut connection).await? == 1)
}

/// Begins a lease that is over once more, where nothing runs under it. Says whether it runs now.
pub(super) async fn begin_again(mut connection: &AsyncPgConnection, id: WorkerId, lease: Duration) -> Result<bool, Error> {
    let begin = statement::<()>(BEGIN_AGAIN).bind::<BigInt, _>(millis(lease)).bind::<SqlUuid, _>(worker_uuid(id));
    Ok(begin.execute(&mut connection).await? == 1)
}

/// One row at least where it lives, with nothing in it where nobody has asked to stop a job.
const BEAT: &str = concat!(
    "with beat as (update worker set lease_until = ",
    now!(),
    " + $1 where id = $2 and lease_until > ",
    now!(),
    " returning id)
    select job.id, job.attempt from beat left join job on job.worker = beat.id and job.state = 3 and job.cancel_asked"
);

pub(super) async fn heartbeat(mut connection: &AsyncPgConnection, id: WorkerId, lease: Duration) -> Result<Heartbeat, Error> {
    type Row = (Option<Uuid>, Option<i32>);
    let beat = statement::<(Nullable<SqlUuid>, Nullable<Integer>)>(BEAT).bind::<BigInt, _>(millis(lease)).bind::<SqlUuid, _>(worker_uuid(id));
    let rows: Vec<Row> = beat.load(&mut connection).await?;
    let alive = !rows.is_empty();
    let fence = |(id, attempt): Row| Some(Fence { job: job_id(id?), attempt: attempt?.cast_unsigned() });
    Ok(Heartbeat { alive, cancel_asked: rows.into_iter().filter_map(fence).collect() })
}

const RETIRE: &str = "update worker set lease_until = 0 where id = $1";

pub(super) async fn retire(mut connection: &AsyncPgConnection, id: WorkerId) -> Result<(), Error> {
    statement::<()>(RETIRE).bind::<SqlUuid, _>(worker_uuid(id)).execute(&mut connection).await?;
    bury(connection).await
}

const BURY: &str =
    concat!("delete from worker where lease_until <= ", now!(), " and not exists (select 1 from job where job.state = 3 and job.worker = worker.id)");

/// Forgets the workers that are over and hold nothing.
async fn bury(mut connection: &AsyncPgConnection) -> Result<(), Error> {
    statement::<()>(BURY).execute(&mut connection).await.map(drop)
}

pub(super) async fn expire_all(mut connection: &AsyncPgConnection) -> Result<(), Error> {
    statement::<()>("update worker set lease_until = 0 where lease_until > 0").execute(&mut connection).await.map(drop)
}

const ABANDONED: &str = concat!(
    "select job.id, job.attempt from job where job.state = 3 and not exists
        (select 1 from worker where worker.id = job.worker and worker.lease_until > ",
    now!(),
    ") order by job.worker limit $1"
);
const TAKE_OVER: &str = concat!(
    "update job set attempt = job.attempt + 1, worker = $1, provider = null from unnest($2, $3, $4) as left_behind (bucket, id, attempt)
    where job.bucket = left_behind.bucket and job.id = left_behind.id and job.attempt = left_behind.attempt and ",
    stands_in!(3),
    " and ",
    lives!("$1"),
    " returning ",
    claimed!()
);
const STANDS: &str = "select attempt, worker from job where bucket = $1 and id = $2 for update";

pub(super) async fn take_over(store: &PostgresStore, worker: WorkerId, limit: usize, lease: Duration) -> Result<Vec<Claimed>, StoreError> {
    let found: Vec<(Uuid, i32)> = store
        .statements(async move |mut connection, _| {
            statement::<(SqlUuid, Integer)>(ABANDONED).bind::<BigInt, _>(limited(limit)).load(&mut connection).await
        })
        .await?;
    let mut taken = Vec::new();
    if !found.is_empty() {
        let before: Mutex<Vec<Claimed>> = Mutex::default();
        taken = store
            .transaction(async move |connection, doubt| {
                let former = std::mem::take(&mut *before.lock().unwrap_or_else(PoisonError::into_inner));
                if doubt == Doubt::MayBeDone && stands(connection, worker, &former).await? {
                    return Ok(former);
                }
                if !renew(connection, worker, lease).await? && !begin_again(connection, worker, lease).await? {
                    return Ok(Vec::new());
                }
                let taken = take(connection, worker, &found).await?;
                before.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&taken);
                Ok(taken)
            })
            .await?;
    }
    store.statements(async move |connection, _| bury(connection).await).await?;
    Ok(taken)
}

async fn take(mut connection: &AsyncPgConnection, worker: WorkerId, found: &[(Uuid, i32)]) -> Result<Vec<Claimed>, Error> {
    let buckets: Vec<i16> = found.iter().map(|(id, _)| bucket_of(job_id(*id))).collect();
    let (ids, attempts): (Vec<Uuid>, Vec<i32>) = found.iter().copied().unzip();
    let take = statement::<ClaimedColumns>(TAKE_OVER).bind::<SqlUuid, _>(worker_uuid(worker)).bind::<Array<SmallInt>, _>(buckets);
    let rows: Vec<ClaimedRow> = take.bind::<Array<SqlUuid>, _>(ids).bind::<Array<Integer>, _>(attempts).load(&mut connection).await?;
    rows.into_iter().map(ClaimedRow::read).collect()
}

/// Whether jobs were taken over by a run of whose commit nobody has heard. One that is still under way is waited for.
async fn stands(mut connection: &AsyncPgConnection, worker: WorkerId, taken: &[Claimed]) -> Result<bool, Error> {
    let Some(Fence { job, attempt }) = taken.first().map(|first| first.fence) else { return Ok(false) };
    let stands = statement::<(Integer, Nullable<SqlUuid>)>(STANDS).bind::<SmallInt, _>(bucket_of(job)).bind::<SqlUuid, _>(super::uuid_of(job));
    let rows: Vec<(i32, Option<Uuid>)> = stands.load(&mut connection).await?;
    Ok(rows == [(attempt.cast_signed(), Some(worker_uuid(worker)))])
}
