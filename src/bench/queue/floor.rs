//! What no queue can do without: a commit that is on disk, with next to nothing in it.
//!
//! A job that is enqueued is durable before its caller is told, so that the time from its request has one commit in it; and where a
//! claim is waited for on disk as well, as SQLite's is, the wait has one too.

use std::{fs::File, io::Write as _, path::Path, time::Instant};

use anyhow::{Context as _, Result};
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

/// Of a file in this folder, as SQLite appends a page to its log: the header of a frame, and the page
/// (<https://www.sqlite.org/fileformat2.html#walformat>).
pub(super) fn of_file(folder: &Path) -> Result<Waits> {
    let mut file = File::create(folder.join("floor"))?;
    let mut took = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let begun = Instant::now();
        file.write_all(&[0; 24 + 4096])?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    percentiles(took)
}
