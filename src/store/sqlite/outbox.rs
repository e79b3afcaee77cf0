//! The outbox, and the idempotency keys: what a request leaves beside its message and its job.

use std::time::Duration;

use async_trait::async_trait;
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection, result::Error};

use super::{
    SqliteStore, id_bytes, millis, now,
    schema::{idempotency, outbox},
    unreadable,
};
use crate::{
    id::{OutboxId, UserId},
    store::{Accepted, Idempotency, OutboxStore, Outgoing, StoreError},
};

pub(super) fn insert(connection: &mut SqliteConnection, outgoing: &Outgoing) -> Result<(), Error> {
    let row = (
        outbox::id.eq(outgoing.id.as_bytes().as_slice()),
        outbox::event.eq(outgoing.event.to_json()),
        outbox::created_at.eq(outgoing.event.timestamp.millis()),
    );
    diesel::insert_into(outbox::table).values(row).execute(connection).map(drop)
}

pub(super) fn waiting(connection: &mut SqliteConnection, age: Duration, limit: usize) -> Result<Vec<Outgoing>, Error> {
    let rows: Vec<(Vec<u8>, String)> = outbox::table
        .filter(outbox::created_at.le(now() - millis(age)))
        .order(outbox::id)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select((outbox::id, outbox::event))
        .load(connection)?;
    rows.into_iter().map(read).collect()
}

pub(super) fn one(connection: &mut SqliteConnection, id: OutboxId) -> Result<Option<Outgoing>, Error> {
    let row = outbox::table.find(id.as_bytes().as_slice()).select((outbox::id, outbox::event)).get_result(connection).optional()?;
    row.map(read).transpose()
}

fn read((id, event): (Vec<u8>, String)) -> Result<Outgoing, Error> {
    Ok(Outgoing { id: OutboxId::from_bytes(id_bytes(&id)?), event: event.parse().map_err(|_| unreadable("event"))? })
}

pub(super) fn forget(connection: &mut SqliteConnection, ids: &[OutboxId]) -> Result<(), Error> {
    // One by one: a statement that is prepared once beats one that must be for each number of ids.
    for id in ids {
        diesel::delete(outbox::table.find(id.as_bytes().as_slice())).execute(connection)?;
    }
    Ok(())
}

/// What is to be answered where this key was used before.
pub(super) fn known(connection: &mut SqliteConnection, user: &UserId, asked: &Idempotency) -> Result<Option<Accepted>, Error> {
    let known: Option<(Vec<u8>, String)> = idempotency::table
        .find((user.as_str(), &asked.key))
        .select((idempotency::fingerprint, idempotency::response))
        .get_result(connection)
        .optional()?;
    Ok(known.map(|(fingerprint, response)| if fingerprint == asked.fingerprint { Accepted::Replayed(response) } else { Accepted::Mismatch }))
}

pub(super) fn remember(connection: &mut SqliteConnection, user: &UserId, new: &Idempotency) -> Result<(), Error> {
    let row = (
        idempotency::user_id.eq(user.as_str()),
        idempotency::key.eq(&new.key),
        idempotency::fingerprint.eq(new.fingerprint.as_slice()),
        idempotency::response.eq(&new.response),
        idempotency::created_at.eq(now()),
    );
    diesel::insert_into(idempotency::table).values(row).execute(connection).map(drop)
}

pub(super) fn forget_keys(connection: &mut SqliteConnection, age: Duration) -> Result<(), Error> {
    diesel::delete(idempotency::table.filter(idempotency::created_at.lt(now() - millis(age)))).execute(connection).map(drop)
}

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn unpublished(&self, age: Duration, limit: usize) -> Result<Vec<Outgoing>, StoreError> {
        self.readers.call(move |connection| waiting(connection, age, limit)).await
    }

    async fn unpublished_one(&self, id: OutboxId) -> Result<Option<Outgoing>, StoreError> {
        self.readers.call(move |connection| one(connection, id)).await
    }

    async fn forget_published(&self, ids: Vec<OutboxId>) -> Result<(), StoreError> {
        self.writer.call(move |connection| forget(connection, &ids)).await
    }

    async fn forget_keys(&self, age: Duration) -> Result<(), StoreError> {
        self.writer.call(move |connection| forget_keys(connection, age)).await
    }
}
