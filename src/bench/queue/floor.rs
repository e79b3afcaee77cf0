//! What no queue can do without: a commit that is on disk, with next to nothing in it.
//!
//! A job that is enqueued is durable before its caller is told, and so is its claim before it runs: the wait has one commit in
//! it, and the one of whoever holds the worker up.

use std::{path::Path, time::Instant};

use anyhow::{Context as _, Result};
use diesel::{Connection as _, SqliteConnection, connection::SimpleConnection as _};
use tokio_postgres::NoTls;

use super::waits::{Waits, percentiles};

/// How many commits, one after the other.
const COMMITS: usize = 500;

/// Of a database that several processes share. The message is a record in its log, and nothing else.
pub(super) async fn of_postgres(url: &str) -> Result<Waits> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("--database-url")?;
    let connection = tokio::spawn(connection);
    let commit = client.prepare("select pg_logical_emit_message(true, 'bench', 'nothing')").await.context("the database can't do a bare commit")?;
    let mut took = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let begun = Instant::now();
        client.execute(&commit, &[]).await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    drop(client);
    connection.await??;
    percentiles(took)
}

/// Of a file of SQLite's in this folder.
pub(super) fn of_sqlite(folder: &Path) -> Result<Waits> {
    let file = folder.join("floor.sqlite");
    let mut connection = SqliteConnection::establish(file.to_str().context("the folder has no plain name")?)?;
    connection.batch_execute("pragma journal_mode = wal; pragma synchronous = full; create table commits (number integer)")?;
    let mut took = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let begun = Instant::now();
        connection.batch_execute("insert into commits values (1)")?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    percentiles(took)
}
