//! What keeps the queue in order: ticks, and forgetting what is old.

use std::time::Duration;

use async_trait::async_trait;
use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl, SqliteConnection, dsl::max, result::Error, sql_types::Text};

use super::{enqueue, limited, state_number};
use crate::{
    job::{NewJob, State},
    store::{
        QueueUpkeep, StoreError,
        sqlite::{
            SqliteStore,
            literal::{Bind, Statement},
            millis, now,
            schema::tick,
        },
    },
    timestamp::Timestamp,
};

fn begin_tick(connection: &mut SqliteConnection, name: &str, at: Timestamp, job: &NewJob) -> Result<bool, Error> {
    let row = (tick::name.eq(name), tick::at.eq(at.millis()));
    if diesel::insert_into(tick::table).values(row).on_conflict_do_nothing().execute(connection)? == 0 {
        return Ok(false);
    }
    enqueue::enqueue(connection, job)?;
    Ok(true)
}

fn prune_finished(connection: &mut SqliteConnection, age: Duration, dead_letters: Duration, limit: usize) -> Result<usize, Error> {
    let mut pruned = 0;
    let kinds: Vec<String> = Statement::<Text>::new(KINDS, []).load(connection)?;
    for kind in &kinds {
        for state in [State::Completed, State::Cancelled, State::Discarded] {
            let before = Bind::Number(now() - millis(if state == State::Discarded { dead_letters } else { age }));
            let binds = [Bind::Text(kind), Bind::Number(state_number(state).into()), before, before, Bind::Number(limited(limit - pruned))];
            pruned += Statement::<()>::new(PRUNE, binds).execute(connection)?;
        }
    }
    Ok(pruned)
}

/// The kinds of which something has ended: one step of the index each.
const KINDS: &str = "with recursive ended(kind) as (
        select min(kind) from job_done
        union all
        select (select min(kind) from job_done where kind > ended.kind) from ended where ended.kind is not null)
    select kind from ended where kind is not null";

/// Whoever ended before that moment was made before it, so the search ends there: the first six bytes of an id are its time.
const PRUNE: &str = "delete from job_done where id in
    (select id from job_done where kind = ? and state = ? and id <= unhex(printf('%012x', ?)) and finished_at <= ? order by id limit ?)";

fn prune_keys(connection: &mut SqliteConnection, age: Duration, limit: usize) -> Result<usize, Error> {
    Statement::<()>::new(PRUNE_KEYS, [Bind::Number(now() - millis(age)), Bind::Number(limited(limit))]).execute(connection)
}

const PRUNE_KEYS: &str = "delete from idempotency where (user_id, key) in
    (select user_id, key from idempotency where created_at <= ? order by created_at limit ?)";

fn prune_ticks(connection: &mut SqliteConnection, age: Duration, limit: usize) -> Result<usize, Error> {
    Statement::<()>::new(PRUNE_TICKS, [Bind::Number(now() - millis(age)), Bind::Number(limited(limit))]).execute(connection)
}

const PRUNE_TICKS: &str = "delete from tick where (name, at) in
    (select name, at from tick where at <= ? and at < (select max(at) from tick as last where last.name = tick.name) limit ?)";

#[async_trait]
impl QueueUpkeep for SqliteStore {
    async fn last_tick(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let name = name.to_owned();
        let last = move |connection: &mut SqliteConnection| {
            let last: Option<i64> = tick::table.filter(tick::name.eq(&name)).select(max(tick::at)).get_result(connection)?;
            Ok(last.map(Timestamp::from_millis))
        };
        self.readers.call(last).await
    }

    async fn begin_tick(&self, name: &str, tick: Timestamp, job: NewJob) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.writer.call(move |connection| begin_tick(connection, &name, tick, &job)).await
    }

    async fn prune_finished(&self, age: Duration, dead_letters: Duration, limit: usize) -> Result<usize, StoreError> {
        self.writer.call(move |connection| prune_finished(connection, age, dead_letters, limit)).await
    }

    async fn prune_keys(&self, age: Duration, limit: usize) -> Result<usize, StoreError> {
        self.writer.call(move |connection| prune_keys(connection, age, limit)).await
    }

    async fn prune_ticks(&self, age: Duration, limit: usize) -> Result<usize, StoreError> {
        self.writer.call(move |connection| prune_ticks(connection, age, limit)).await
    }
}
