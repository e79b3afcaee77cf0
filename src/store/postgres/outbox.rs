//! The outbox, and the idempotency keys: what a request leaves beside its message and its job.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Binary, Double, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{PostgresStore, literal::statement, unreadable};
use crate::{
    id::{OutboxId, UserId},
    store::{Idempotency, OutboxStore, Outgoing, StoreError},
};

/// In how many places what grows with time is written.
const SHARDS: i16 = 16;
/// The most keys that are forgotten at once.
const FORGET: i64 = 1000;

/// The place of an id. Its last byte is random.
pub(super) fn shard(id: &[u8; 16]) -> i16 {
    i16::from(id[15]) % SHARDS
}

fn shards() -> Vec<i16> {
    (0..SHARDS).collect()
}

const INSERT: &str = "insert into outbox (shard, id, event) select * from unnest($1, $2, $3) on conflict (shard, id) do nothing";

/// Puts events into the outbox.
pub(super) async fn insert(mut connection: &AsyncPgConnection, new: &[&Outgoing]) -> Result<(), Error> {
    if new.is_empty() {
        return Ok(());
    }
    statement::<()>(INSERT)
        .bind::<Array<SmallInt>, _>(new.iter().map(|outgoing| shard(outgoing.id.as_bytes())).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(new.iter().map(|outgoing| Uuid::from_bytes(*outgoing.id.as_bytes())).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(new.iter().map(|outgoing| outgoing.event.to_json()).collect::<Vec<_>>())
        .execute(&mut connection)
        .await
        .map(drop)
}

// One place at a time, so that each is read from its own beginning.
const OLDEST: &str = "select o.id, o.event from unnest($1) as place (shard)
    cross join lateral (select id, event, created_at from outbox where outbox.shard = place.shard order by id limit $2) o
    where o.created_at <= now() - $3 * interval '1 second' order by o.id limit $2";
const ONE: &str = "select id, event from outbox where shard = $1 and id = $2";
const DELETE: &str = "delete from outbox where (shard, id) in (select * from unnest($1, $2))";

fn read((id, event): (Uuid, String)) -> Result<Outgoing, Error> {
    Ok(Outgoing { id: OutboxId::from_bytes(id.into_bytes()), event: event.parse().map_err(|_| unreadable("event"))? })
}

/// A key that was used before: what its request asked for, and what it was answered.
pub(super) struct Known {
    pub fingerprint: Vec<u8>,
    pub response: String,
}

const REMEMBER: &str = "insert into idempotency (user_id, key, fingerprint, response, shard)
    select * from unnest($1, $2, $3, $4, $5) on conflict (user_id, key) do nothing returning user_id, key";
const KNOWN: &str = "select k.user_id, k.key, k.fingerprint, k.response from unnest($1, $2) as asked (user_id, key)
    join idempotency k on k.user_id = asked.user_id and k.key = asked.key";
const FORGET_SOME: &str = "delete from idempotency where (user_id, key) in (select * from unnest($1, $2))";
const FORGET_OLD: &str = "delete from idempotency where (user_id, key) in
    (select user_id, key from idempotency where shard = $1 and created_at < now() - $2 * interval '1 second' order by created_at limit $3)";

/// A key, by whom it was used.
pub(super) type Keyed<'a> = (&'a UserId, &'a Idempotency);

/// Remembers keys that were not used before, and gives what is known of the others.
pub(super) async fn remember(mut connection: &AsyncPgConnection, asked: &[Keyed<'_>]) -> Result<HashMap<(String, String), Known>, Error> {
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let new: Vec<(String, String)> = statement::<(Text, Text)>(REMEMBER)
        .bind::<Array<Text>, _>(users(asked))
        .bind::<Array<Text>, _>(keys(asked))
        .bind::<Array<Binary>, _>(asked.iter().map(|(_, asked)| asked.fingerprint.as_slice()).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(asked.iter().map(|(_, asked)| asked.response.as_str()).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(asked.iter().map(|(_, asked)| shard_of_key(&asked.key)).collect::<Vec<_>>())
        .load(&mut connection)
        .await?;
    let is_new = |user: &UserId, key: &str| new.iter().any(|(new_user, new_key)| new_user == user.as_str() && new_key == key);
    let old: Vec<Keyed<'_>> = asked.iter().copied().filter(|(user, asked)| !is_new(user, &asked.key)).collect();
    if old.is_empty() {
        return Ok(HashMap::new());
    }
    let known: Vec<(String, String, Vec<u8>, String)> = statement::<(Text, Text, Binary, Text)>(KNOWN)
        .bind::<Array<Text>, _>(users(&old))
        .bind::<Array<Text>, _>(keys(&old))
        .load(&mut connection)
        .await?;
    Ok(known.into_iter().map(|(user, key, fingerprint, response)| ((user, key), Known { fingerprint, response })).collect())
}

/// Forgets keys that were remembered for a request which then was not taken.
pub(super) async fn forget(mut connection: &AsyncPgConnection, asked: &[Keyed<'_>]) -> Result<(), Error> {
    if asked.is_empty() {
        return Ok(());
    }
    let forget = statement::<()>(FORGET_SOME).bind::<Array<Text>, _>(users(asked)).bind::<Array<Text>, _>(keys(asked));
    forget.execute(&mut connection).await.map(drop)
}

fn users<'a>(asked: &[Keyed<'a>]) -> Vec<&'a str> {
    asked.iter().map(|(user, _)| user.as_str()).collect()
}

fn keys<'a>(asked: &[Keyed<'a>]) -> Vec<&'a str> {
    asked.iter().map(|(_, asked)| asked.key.as_str()).collect()
}

/// The place of a key: keys are the clients' own, so their bytes are summed.
fn shard_of_key(key: &str) -> i16 {
    i16::from(key.bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))) % SHARDS
}

#[async_trait]
impl OutboxStore for PostgresStore {
    async fn unpublished(&self, age: Duration, limit: usize) -> Result<Vec<Outgoing>, StoreError> {
        let (age, limit) = (age.as_secs_f64(), i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<(Uuid, String)> = self
            .statements(async move |mut connection, _| {
                let asked = statement::<(SqlUuid, Text)>(OLDEST).bind::<Array<SmallInt>, _>(shards()).bind::<BigInt, _>(limit);
                asked.bind::<Double, _>(age).load(&mut connection).await
            })
            .await?;
        rows.into_iter().map(|row| read(row).map_err(|error| StoreError::Refused(error.to_string()))).collect()
    }

    async fn unpublished_one(&self, id: OutboxId) -> Result<Option<Outgoing>, StoreError> {
        let id = *id.as_bytes();
        self.statements(async move |mut connection, _| {
            let asked = statement::<(SqlUuid, Text)>(ONE).bind::<SmallInt, _>(shard(&id)).bind::<SqlUuid, _>(Uuid::from_bytes(id));
            let rows: Vec<(Uuid, String)> = asked.load(&mut connection).await?;
            rows.into_iter().next().map(read).transpose()
        })
        .await
    }

    async fn forget_published(&self, ids: Vec<OutboxId>) -> Result<(), StoreError> {
        let shards: Vec<i16> = ids.iter().map(|id| shard(id.as_bytes())).collect();
        let ids: Vec<Uuid> = ids.iter().map(|id| Uuid::from_bytes(*id.as_bytes())).collect();
        self.statements(async move |mut connection, _| {
            let delete = statement::<()>(DELETE).bind::<Array<SmallInt>, _>(&shards).bind::<Array<SqlUuid>, _>(&ids);
            delete.execute(&mut connection).await.map(drop)
        })
        .await
    }

    async fn forget_keys(&self, age: Duration) -> Result<(), StoreError> {
        let age = age.as_secs_f64();
        self.statements(async move |mut connection, _| {
            for shard in shards() {
                let forget = statement::<()>(FORGET_OLD).bind::<SmallInt, _>(shard).bind::<Double, _>(age).bind::<BigInt, _>(FORGET);
                forget.execute(&mut connection).await?;
            }
            Ok(())
        })
        .await
    }
}
