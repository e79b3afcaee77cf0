//! What an operator may ask of the queue.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{
    AVAILABLE, RETRYABLE, RUNNING, SCHEDULED, bucket_of, duration,
    limits::{KIND, PROVIDER, USER},
    now, shards,
    turns::{Line, Turns},
    uuid_of,
};
use crate::{
    id::{JobId, WorkerId},
    job::Kind,
    store::{
        AdminFilter, JobRecord, KindStats, Limit, QueueAdmin, Scope, Stopping, StoreError,
        postgres::{PostgresStore, literal::statement},
    },
};

mod list;

const PLACE: &str = "select user_id, kind, priority, state from job where bucket = $1 and id = $2 for update";
const PLACE_DONE: &str = "select user_id, kind, priority, state from job_done where bucket = $1 and state in (5, 6) and id = $2";
const NOW: &str = concat!(
    "update job set state = 0, turn = $1, failures = 0, crashes = 0, run_at = ",
    now!(),
    " where bucket = $2 and id = $3 and state in (1, 2)"
);

/// The fence goes on from where it was: nobody's old one is good again.
const REVIVE: &str = concat!(
    "insert into job (bucket, id, shard, kind, user_id, state, priority, turn, run_at, attempt, tries, unique_key, work, error, errors,
        created_at, started_at)
    select bucket, id, $1, kind, user_id, 0, priority, $2, ",
    now!(),
    ", fence, tries, unique_key, work, error, errors, created_at, started_at
    from job_done where bucket = $3 and state in (5, 6) and id = $4
    on conflict do nothing"
);
const FORGET: &str = "delete from job_done where bucket = $1 and state in (5, 6) and id = $2";

type Place = (Text, Text, SmallInt, SmallInt);
type PlaceRow = (String, String, i16, i16);

async fn retry(mut connection: &AsyncPgConnection, id: JobId) -> Result<bool, Error> {
    let (bucket, uuid) = (bucket_of(id), uuid_of(id));
    let place = async |mut connection: &AsyncPgConnection, sql| {
        let place = statement::<Place>(sql).bind::<SmallInt, _>(bucket).bind::<SqlUuid, _>(uuid);
        place.load::<PlaceRow>(&mut connection).await.map(|rows| rows.into_iter().next())
    };
    if let Some((user, kind, priority, state)) = place(connection, PLACE).await? {
        if ![SCHEDULED, RETRYABLE].contains(&state) {
            return Ok(state == AVAILABLE);
        }
        let turn = turn(connection, Line { user, kind, priority }).await?;
        let begin = statement::<()>(NOW).bind::<BigInt, _>(turn).bind::<SmallInt, _>(bucket).bind::<SqlUuid, _>(uuid);
        return Ok(begin.execute(&mut connection).await? == 1);
    }
    let Some((user, kind, priority, _)) = place(connection, PLACE_DONE).await? else { return Ok(false) };
    let shard = super::shard_of(&user);
    let turn = turn(connection, Line { user, kind, priority }).await?;
    let revive = statement::<()>(REVIVE).bind::<SmallInt, _>(shard).bind::<BigInt, _>(turn);
    let is_revived = revive.bind::<SmallInt, _>(bucket).bind::<SqlUuid, _>(uuid).execute(&mut connection).await? == 1;
    if is_revived {
        statement::<()>(FORGET).bind::<SmallInt, _>(bucket).bind::<SqlUuid, _>(uuid).execute(&mut connection).await?;
    }
    Ok(is_revived)
}

async fn turn(connection: &AsyncPgConnection, line: Line) -> Result<i64, Error> {
    Ok(Turns::read(connection, [line.clone()].into()).await?.take(line))
}

const PAUSE: &str = "insert into queue_limit (scope, name, paused) values ('kind', $1, $2)
    on conflict (scope, name) do update set paused = excluded.paused";
const SET: &str = "insert into queue_limit (scope, name, most) values ($1, $2, $3)
    on conflict (scope, name) do update set most = excluded.most";
const LIMITS: &str = "select scope, name, most, paused from queue_limit where scope in ('kind', 'provider', 'user') order by scope, name";

fn names(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Kind(kind) => (KIND, kind.as_str()),
        Scope::User => (USER, ""),
        Scope::Provider(name) => (PROVIDER, name),
    }
}

type LimitRow = (String, String, Option<i32>, bool);

async fn set(mut connection: &AsyncPgConnection) -> Result<Vec<LimitRow>, Error> {
    statement::<(Text, Text, Nullable<Integer>, Bool)>(LIMITS).load(&mut connection).await
}

fn limit((scope, name, most, _): LimitRow) -> Option<Limit> {
    let scope = match scope.as_str() {
        KIND => Scope::Kind(name.parse().ok()?),
        USER => Scope::User,
        _ => Scope::Provider(name),
    };
    Some(Limit { scope, most: u32::try_from(most?).ok()? })
}

/// Of what lives alone, which is little.
const STATS: &str = concat!(
    "select kind, state, count(*), ",
    now!(),
    " - min(coalesce(waits_since, run_at)) from job where shard = any($1) and state = 0 group by kind, state
    union all select kind, state, count(*), 0 from job where shard = any($1) and state in (1, 2) group by kind, state
    union all select kind, state, count(*), 0 from job where state = 3 group by kind, state"
);

async fn stats(mut connection: &AsyncPgConnection) -> Result<Vec<KindStats>, Error> {
    let stats = statement::<(Text, SmallInt, BigInt, BigInt)>(STATS).bind::<Array<SmallInt>, _>(shards());
    let rows: Vec<(String, i16, i64, i64)> = stats.load(&mut connection).await?;
    let mut kinds: BTreeMap<String, KindStats> = BTreeMap::new();
    for (kind, state, count, oldest) in rows {
        let stats = kinds.entry(kind).or_default();
        let count = count.cast_unsigned();
        match state {
            AVAILABLE => (stats.available, stats.oldest_ms) = (count, duration(oldest).as_millis() as u64),
            SCHEDULED => stats.scheduled = count,
            RETRYABLE => stats.retryable = count,
            RUNNING => stats.running = count,
            _ => {}
        }
    }
    for (scope, kind, most, paused) in set(connection).await? {
        if scope == KIND && (paused || most.is_some()) {
            let stats = kinds.entry(kind).or_default();
            (stats.paused, stats.limit) = (paused, most.and_then(|most| most.try_into().ok()));
        }
    }
    Ok(kinds.into_iter().map(|(kind, stats)| KindStats { kind, ..stats }).collect())
}

#[async_trait]
impl QueueAdmin for PostgresStore {
    async fn list_jobs(&self, filter: AdminFilter) -> Result<Vec<JobRecord>, StoreError> {
        self.statements(async move |connection, _| list::list(connection, &filter).await).await
    }

    async fn show_job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.statements(async move |connection, _| list::show(connection, id).await).await
    }

    async fn retry_job(&self, id: JobId) -> Result<bool, StoreError> {
        self.transaction(async move |connection, _| retry(connection, id).await).await
    }

    async fn stop_any_job(&self, id: JobId, lease: Duration) -> Result<Stopping, StoreError> {
        self.stop(None, id, lease).await
    }

    async fn pause_kind(&self, kind: Kind, paused: bool) -> Result<(), StoreError> {
        self.statements(async move |mut connection, _| {
            statement::<()>(PAUSE).bind::<Text, _>(kind.as_str()).bind::<Bool, _>(paused).execute(&mut connection).await.map(drop)
        })
        .await
    }

    async fn set_limit(&self, scope: Scope, most: Option<u32>) -> Result<(), StoreError> {
        let most = most.map(|most| i32::try_from(most).unwrap_or(i32::MAX));
        self.statements(async move |mut connection, _| {
            let (scope, name) = names(&scope);
            let set = statement::<()>(SET).bind::<Text, _>(scope).bind::<Text, _>(name).bind::<Nullable<Integer>, _>(most);
            set.execute(&mut connection).await.map(drop)
        })
        .await
    }

    async fn limits(&self) -> Result<Vec<Limit>, StoreError> {
        self.statements(async move |connection, _| Ok(set(connection).await?.into_iter().filter_map(limit).collect())).await
    }

    async fn queue_stats(&self) -> Result<Vec<KindStats>, StoreError> {
        self.statements(async move |connection, _| stats(connection).await).await
    }
}

/// The id of a worker, as a row has it.
fn worker_id(id: Uuid) -> WorkerId {
    WorkerId::from_bytes(id.into_bytes())
}
