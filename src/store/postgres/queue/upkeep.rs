//! What keeps the queue in order: ticks, and forgetting what is old.

use std::time::Duration;

use async_trait::async_trait;
use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Double, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{enqueue, known, limited, millis, now, shards, state_number};
use crate::{
    job::{NewJob, State},
    store::{
        QueueUpkeep, StoreError,
        postgres::{PostgresStore, literal::statement, transaction::Doubt},
    },
    timestamp::Timestamp,
};

const LAST: &str = "select max(at) from tick where name = $1";
const BEGIN: &str = "insert into tick (name, at) values ($1, $2) on conflict (name, at) do nothing";

async fn begin_tick(mut connection: &AsyncPgConnection, name: &str, at: Timestamp, job: &NewJob, doubt: Doubt) -> Result<bool, Error> {
    let begin = statement::<()>(BEGIN).bind::<Text, _>(name).bind::<BigInt, _>(at.millis());
    if begin.execute(&mut connection).await? == 1 {
        enqueue(connection, &[job]).await?;
        return Ok(true);
    }
    // A run of whose commit nobody has heard began it, where its job is there.
    Ok(doubt == Doubt::MayBeDone && !known(connection, &[job.id]).await?.is_empty())
}

const NOW: &str = concat!("select ", now!());

/// Whoever ended before that moment was made before it, so the search ends there: the first six bytes of an id are its time.
const PRUNE: &str = "delete from job_done using
    (select p.bucket, d.id from unnest($1) as p (bucket) cross join lateral
        (select job_done.id from job_done where job_done.bucket = p.bucket and job_done.state = $2 and job_done.id <= $3
            and job_done.finished_at <= $4 order by job_done.id limit $5) d
    order by d.id limit $5) old
    where job_done.bucket = old.bucket and job_done.state = $2 and job_done.id = old.id";

async fn prune_finished(mut connection: &AsyncPgConnection, age: Duration, dead_letters: Duration, limit: usize) -> Result<usize, Error> {
    let now: i64 = statement::<BigInt>(NOW).get_result(&mut connection).await?;
    let mut pruned = 0;
    for state in [State::Completed, State::Cancelled, State::Discarded] {
        let before = now - millis(if state == State::Discarded { dead_letters } else { age });
        let prune = statement::<()>(PRUNE)
            .bind::<Array<SmallInt>, _>(shards())
            .bind::<SmallInt, _>(state_number(state))
            .bind::<SqlUuid, _>(last_id_of(before))
            .bind::<BigInt, _>(before)
            .bind::<BigInt, _>(limited(limit - pruned));
        pruned += prune.execute(&mut connection).await?;
    }
    Ok(pruned)
}

/// The last id that can have been made at this moment.
fn last_id_of(millis: i64) -> Uuid {
    let mut bytes = [0xff; 16];
    bytes[..6].copy_from_slice(&millis.max(0).to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}

const PRUNE_KEYS: &str = "delete from idempotency where (user_id, key) in
    (select k.user_id, k.key from unnest($1) as p (shard) cross join lateral
        (select user_id, key from idempotency where idempotency.shard = p.shard and created_at <= now() - $2 * interval '1 second'
            order by created_at limit $3) k limit $3)";

async fn prune_keys(mut connection: &AsyncPgConnection, age: Duration, limit: usize) -> Result<usize, Error> {
    let prune = statement::<()>(PRUNE_KEYS).bind::<Array<SmallInt>, _>(shards()).bind::<Double, _>(age.as_secs_f64());
    prune.bind::<BigInt, _>(limited(limit)).execute(&mut connection).await
}

const PRUNE_TICKS: &str = concat!(
    "delete from tick where (name, at) in
    (select name, at from tick where at <= ",
    now!(),
    " - $1 and at < (select max(last.at) from tick as last where last.name = tick.name) limit $2)"
);

async fn prune_ticks(mut connection: &AsyncPgConnection, age: Duration, limit: usize) -> Result<usize, Error> {
    let prune = statement::<()>(PRUNE_TICKS).bind::<BigInt, _>(millis(age)).bind::<BigInt, _>(limited(limit));
    prune.execute(&mut connection).await
}

#[async_trait]
impl QueueUpkeep for PostgresStore {
    async fn last_tick(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let name = name.to_owned();
        self.statements(async move |mut connection, _| {
            let last: Option<i64> = statement::<Nullable<BigInt>>(LAST).bind::<Text, _>(&name).get_result(&mut connection).await?;
            Ok(last.map(Timestamp::from_millis))
        })
        .await
    }

    async fn begin_tick(&self, name: &str, tick: Timestamp, job: NewJob) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.transaction(async move |connection, doubt| begin_tick(connection, &name, tick, &job, doubt).await).await
    }

    async fn prune_finished(&self, age: Duration, dead_letters: Duration, limit: usize) -> Result<usize, StoreError> {
        self.statements(async move |connection, _| prune_finished(connection, age, dead_letters, limit).await).await
    }

    async fn prune_keys(&self, age: Duration, limit: usize) -> Result<usize, StoreError> {
        self.statements(async move |connection, _| prune_keys(connection, age, limit).await).await
    }

    async fn prune_ticks(&self, age: Duration, limit: usize) -> Result<usize, StoreError> {
        self.statements(async move |connection, _| prune_ticks(connection, age, limit).await).await
    }
}
