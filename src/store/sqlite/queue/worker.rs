//! Workers: that they live, and what becomes of their jobs when they don't.

use std::time::Duration;

use diesel::{
    BoolExpressionMethods, ExpressionMethods, NullableExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper,
    SqliteConnection,
    dsl::{exists, min, not},
    result::Error,
    upsert::excluded,
};

use super::{ClaimedRow, HELD, LATER, limited, until};
use crate::{
    id::{JobId, WorkerId},
    job::{Claimed, Fence},
    store::{
        Heartbeat,
        sqlite::{
            id_bytes, millis, now,
            schema::{job, worker},
        },
    },
};

/// Whether the worker's lease runs.
pub(super) fn lives(connection: &mut SqliteConnection, id: WorkerId) -> Result<bool, Error> {
    let until: Option<i64> = worker::table.find(id.as_bytes().as_slice()).select(worker::lease_until).get_result(connection).optional()?;
    Ok(until.is_some_and(|until| until > now()))
}

/// Begins or renews a lease. One that is over begins again only where nothing runs under it; says whether it runs now.
pub(super) fn register(connection: &mut SqliteConnection, id: WorkerId, lease: Duration) -> Result<bool, Error> {
    if !lives(connection, id)? {
        let held = job::table.filter(HELD.and(job::worker.eq(id.as_bytes().as_slice())));
        if diesel::select(exists(held)).get_result(connection)? {
            return Ok(false);
        }
    }
    let row = (worker::id.eq(id.as_bytes().as_slice()), worker::lease_until.eq(now() + millis(lease)));
    let renewed = worker::lease_until.eq(excluded(worker::lease_until));
    diesel::insert_into(worker::table).values(row).on_conflict(worker::id).do_update().set(renewed).execute(connection)?;
    Ok(true)
}

pub(super) fn heartbeat(connection: &mut SqliteConnection, id: WorkerId, lease: Duration) -> Result<Heartbeat, Error> {
    let living = worker::table.find(id.as_bytes().as_slice()).filter(worker::lease_until.gt(now()));
    if diesel::update(living).set(worker::lease_until.eq(now() + millis(lease))).execute(connection)? == 0 {
        return Ok(Heartbeat::default());
    }
    let asked: Vec<(Vec<u8>, i32)> = job::table
        .filter(HELD.and(job::worker.eq(id.as_bytes().as_slice())).and(job::cancel_asked))
        .select((job::id, job::attempt))
        .load(connection)?;
    let fence = |(id, attempt): (Vec<u8>, i32)| Ok(Fence { job: JobId::from_bytes(id_bytes(&id)?), attempt: attempt.cast_unsigned() });
    Ok(Heartbeat { alive: true, cancel_asked: asked.into_iter().map(fence).collect::<Result<_, Error>>()? })
}

pub(super) fn retire(connection: &mut SqliteConnection, id: WorkerId) -> Result<(), Error> {
    diesel::update(worker::table.find(id.as_bytes().as_slice())).set(worker::lease_until.eq(0)).execute(connection)?;
    bury(connection)
}

/// Forgets the workers that are over and hold nothing.
fn bury(connection: &mut SqliteConnection) -> Result<(), Error> {
    let held = job::table.filter(HELD.and(job::worker.eq(worker::id.nullable())));
    diesel::delete(worker::table.filter(worker::lease_until.le(now())).filter(not(exists(held)))).execute(connection).map(drop)
}

pub(super) fn take_over(connection: &mut SqliteConnection, id: WorkerId, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
    let living = worker::table.filter(worker::lease_until.gt(now())).select(worker::id.nullable());
    let found: Vec<Vec<u8>> =
        job::table.filter(HELD.and(job::worker.ne_all(living))).order(job::worker).limit(limited(limit)).select(job::id).load(connection)?;
    let mut taken = Vec::with_capacity(found.len());
    if !found.is_empty() && register(connection, id, lease)? {
        for job in found {
            let changes = (job::attempt.eq(job::attempt + 1), job::worker.eq(id.as_bytes().as_slice()), job::provider.eq(None::<String>));
            let row: ClaimedRow = diesel::update(job::table.find(job)).set(changes).returning(ClaimedRow::as_returning()).get_result(connection)?;
            taken.push(row.read()?);
        }
    }
    bury(connection)?;
    Ok(taken)
}

pub(super) fn expire_all(connection: &mut SqliteConnection) -> Result<(), Error> {
    diesel::update(worker::table).set(worker::lease_until.eq(0)).execute(connection).map(drop)
}

pub(super) fn next_look(connection: &mut SqliteConnection, id: WorkerId) -> Result<Option<Duration>, Error> {
    let due: Option<i64> = job::table.filter(LATER).select(min(job::run_at)).get_result(connection)?;
    let over: Option<i64> = worker::table.filter(worker::id.ne(id.as_bytes().as_slice())).select(min(worker::lease_until)).get_result(connection)?;
    Ok(due.into_iter().chain(over).min().map(|next| until(next, now())))
}
