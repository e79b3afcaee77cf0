//! What a queue has behind it after years: jobs that have ended, and a transaction that somebody forgot; and what a claim costs
//! beside them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection, sql_types::BigInt};
use tokio_postgres::{Client, NoTls};

use super::{
    enqueue,
    waits::{Waits, percentiles},
};
use crate::{
    id::WorkerId,
    store::{Conclusion, Store, Then},
};

/// How many claims are timed, and of how many jobs each.
const CLAIMS: usize = 100;
const ROOM: usize = 100;

/// Their ids grow with time and are of long ago, as those of a history are.
const FILL_POSTGRES: &str = "insert into job_done
        (bucket, state, id, kind, user_id, priority, fence, tries, work, errors, created_at, started_at, finished_at)
    select get_byte(decode(replace(id::text, '-', ''), 'hex'), 15) % 16, 4, id, 'noop', 'user-' || n % 1000, 0, 1, 1,
        '{\"kind\":\"noop\"}', '[]', 1, 1, 1
    from (select n, (lpad(to_hex(n), 12, '0') || substr(replace(gen_random_uuid()::text, '-', ''), 13))::uuid as id
        from generate_series(1, $1::int8) n) new";
const FILL_SQLITE: &str = "with recursive count(n) as (select 1 union all select n + 1 from count where n < ?)
    insert into job_done (state, finished_at, errors, progress, id, kind, user_id, attempt, work, created_at, started_at, priority, fence)
    select 4, 1, '[]', 100, unhex(printf('%012x', n) || hex(randomblob(10))), 'noop', 'user-' || n % 1000, 1, '{\"kind\":\"noop\"}', 1, 1, 0, 1 from count";

/// Puts so many jobs behind a queue that several processes share, and begins a transaction that lasts until this is dropped.
pub(super) async fn of_postgres(url: &str, finished: u32, old_transaction: bool) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("--database-url")?;
    tokio::spawn(connection);
    if finished > 0 {
        client.execute(FILL_POSTGRES, &[&i64::from(finished)]).await?;
        client.batch_execute("vacuum analyze job_done").await?;
    }
    if old_transaction {
        // From its first look on, nothing that is deleted may be removed.
        client.batch_execute("begin isolation level repeatable read; select count(*) from worker").await?;
    }
    Ok(client)
}

/// Sees to it that the server knows how full its tables are: what has just been filled was empty when it looked last.
pub(super) async fn settle(url: &str) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("--database-url")?;
    tokio::spawn(connection);
    Ok(client.batch_execute("vacuum analyze").await?)
}

/// Puts so many jobs behind a queue in a file.
pub(super) fn of_sqlite(file: &Path, finished: u32) -> Result<()> {
    let mut connection = SqliteConnection::establish(file.to_str().context("the folder has no plain name")?)?;
    diesel::sql_query(FILL_SQLITE).bind::<BigInt, _>(i64::from(finished)).execute(&mut connection)?;
    Ok(())
}

/// How long a claim takes while jobs wait, when nobody else claims.
pub(super) async fn claims(store: &dyn Store) -> Result<Waits> {
    enqueue(store, CLAIMS * ROOM).await?;
    let (worker, lease, mut took) = (WorkerId::new(), Duration::from_secs(30), Vec::with_capacity(CLAIMS));
    while took.len() < CLAIMS {
        let begun = Instant::now();
        let batch = store.claim(worker, ROOM, lease).await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(!batch.jobs.is_empty(), "nothing was claimed, though jobs wait");
        let ended = batch.jobs.iter().map(|job| Conclusion::new(job.fence, Then::End(Box::new(crate::worker::ending::in_silence()))));
        let held = store.conclude(worker, ended.collect()).await?;
        ensure!(held.iter().all(|held| *held), "a job that was claimed could not be concluded");
    }
    store.retire(worker).await?;
    percentiles(took)
}
