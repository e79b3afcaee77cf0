//! The tables, brought up to date by whoever comes first.
//!
//! Any number of processes may start at once. One of them holds a lease, which is a row with an end, as an advisory lock is
//! nothing on CockroachDB; the others wait until all is done. Each migration is one statement that is harmless when it is repeated,
//! so whoever finds the lease of a killed process run out begins where that one has ended. Refuses to undo.

use std::time::Duration;

use diesel::{
    result::{DatabaseErrorKind, Error},
    sql_types::{Double, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use uuid::Uuid;

use super::{
    fault::Fault,
    literal::statement,
    pool::{ConnectError, Connector, Pool},
};
use crate::store::StoreError;

macro_rules! migrations {
    ($($name:literal,)*) => {
        [$(($name, include_str!(concat!("../../../migrations/postgres/", $name, ".sql"))),)*]
    };
}

/// Every migration, in the order of running.
pub const MIGRATIONS: &[(&str, &str)] = &migrations![
    "2026-11-25-000001_message",
    "2026-11-25-000002_outbox",
    "2026-11-25-000003_idempotency",
    "2026-11-25-000004_idempotency_by_age",
    "2026-11-25-000005_persona",
    "2026-11-25-000006_persona_of_channel",
    "2026-11-25-000007_default_persona",
    "2026-11-25-000101_worker",
    "2026-11-25-000102_worker_by_lease",
    "2026-11-25-000103_queue_limit",
    "2026-11-25-000104_tick",
    "2026-11-25-000105_queue_shard",
    "2026-11-25-000106_queue_lane",
    "2026-11-25-000107_job",
    "2026-11-25-000108_job_available",
    "2026-11-25-000109_job_of_user",
    "2026-11-25-000110_job_later",
    "2026-11-25-000111_job_aging",
    "2026-11-25-000112_job_running",
    "2026-11-25-000113_job_unique",
    "2026-11-25-000114_job_done",
    "2026-11-25-000115_job_done_of_user",
    "2026-11-25-000116_job_waiting_of_user",
    "2026-11-25-000117_no_job_of_user",
    "2026-11-25-000118_job_running_by_shard",
    "2026-11-25-000119_no_job_running",
    "2026-11-25-000120_job_cancelling",
    "2026-11-25-000130_job_waits_since",
    "2026-11-25-000201_usage",
    "2026-11-25-000202_usage_by_day",
    "2026-11-25-000301_user_stripe",
    "2026-11-25-000302_user_stripes",
];

/// How long the lease is good; it is renewed three times as often.
const LEASE: Duration = Duration::from_secs(15);
/// How often who waits looks again, about.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs what is missing. Gives the names of what this process ran.
pub(super) async fn migrate(pool: &Pool) -> Result<Vec<&'static str>, StoreError> {
    let mut connection = connect(pool.manager()).await?;
    let (me, mut ran) = (Uuid::new_v4(), Vec::new());
    let fault = |error| Fault::of_statement(error).into_error();
    loop {
        // Tables of its own come first, each at once by however many processes.
        match missing(&mut connection).await {
            Ok(missing) if missing.is_empty() => break,
            Ok(_) => {}
            Err(error) if is_no_table(&error) => prepare(&mut connection).await.map_err(fault)?,
            Err(error) => return Err(fault(error)),
        }
        if !take_lease(&mut connection, me).await.map_err(fault)? {
            tokio::time::sleep(LOOK_EVERY.mul_f64(0.5 + rand::random::<f64>())).await;
            continue;
        }
        // Somebody may have ended between the look and the lease.
        for (name, ddl) in missing(&mut connection).await.map_err(fault)? {
            apply(pool.manager(), &mut connection, me, ddl).await?;
            statement::<()>("insert into migration (name) values ($1) on conflict (name) do nothing")
                .bind::<Text, _>(name)
                .execute(&mut connection)
                .await
                .map_err(fault)?;
            log::info!("database: migration {name} applied");
            ran.push(name);
        }
        let release = statement::<()>("update migration_lease set ends = now() where holder = $1").bind::<SqlUuid, _>(me);
        release.execute(&mut connection).await.map_err(fault)?;
    }
    Ok(ran)
}

async fn connect(connector: &Connector) -> Result<AsyncPgConnection, StoreError> {
    let unavailable = |error: ConnectError| StoreError::Unavailable(format!("{}: {error}", connector.place()));
    let mut connection = connector.connect().await.map_err(unavailable)?.inner;
    // An index over a large table takes its time.
    connection.batch_execute("set statement_timeout = 0").await.map_err(|error| Fault::of_statement(error).into_error())?;
    Ok(connection)
}

async fn missing(connection: &mut AsyncPgConnection) -> Result<Vec<(&'static str, &'static str)>, Error> {
    let applied: Vec<String> = statement::<Text>("select name from migration").load(connection).await?;
    Ok(MIGRATIONS.iter().copied().filter(|(name, _)| !applied.iter().any(|applied| applied == name)).collect())
}

fn is_no_table(error: &Error) -> bool {
    // In PostgreSQL's words, and in CockroachDB's.
    matches!(error, Error::DatabaseError(_, info) if info.message().contains("\"migration\" does not exist"))
}

/// The tables that migrating itself needs.
async fn prepare(connection: &mut AsyncPgConnection) -> Result<(), Error> {
    for ddl in [
        "create table if not exists migration_lease (id int2 primary key, holder uuid not null, ends timestamptz not null)",
        "create table if not exists migration (name text primary key, applied_at timestamptz not null default now())",
    ] {
        repeat_ddl(connection, ddl).await?;
    }
    Ok(())
}

/// Runs DDL. Two that make the same table at once may collide in the catalogue: then the other has made it.
async fn repeat_ddl(connection: &mut AsyncPgConnection, ddl: &str) -> Result<(), Error> {
    for _ in 0..20 {
        match connection.batch_execute(ddl).await {
            Err(error) if is_collision(&error) => tokio::time::sleep(LOOK_EVERY.mul_f64(rand::random::<f64>())).await,
            done => return done,
        }
    }
    connection.batch_execute(ddl).await
}

/// Whether another has made the same at the same moment: `if not exists` looks before it writes.
fn is_collision(error: &Error) -> bool {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::SerializationFailure, _) => true,
        Error::DatabaseError(_, info) => info.message().ends_with("already exists"),
        _ => false,
    }
}

/// Takes or renews the lease. Says whether it is held.
async fn take_lease(connection: &mut AsyncPgConnection, me: Uuid) -> Result<bool, Error> {
    const TAKE: &str = "insert into migration_lease (id, holder, ends) values (1, $1, now() + $2 * interval '1 second')
        on conflict (id) do update set holder = excluded.holder, ends = excluded.ends
        where migration_lease.holder = excluded.holder or migration_lease.ends <= now()";
    let take = statement::<()>(TAKE).bind::<SqlUuid, _>(me).bind::<Double, _>(LEASE.as_secs_f64());
    match take.execute(connection).await {
        Ok(changed) => Ok(changed == 1),
        Err(Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs one migration while another connection keeps the lease.
async fn apply(connector: &Connector, connection: &mut AsyncPgConnection, me: Uuid, ddl: &str) -> Result<(), StoreError> {
    let keep = async {
        tokio::time::sleep(LEASE / 3).await;
        let mut keeper = connect(connector).await?;
        loop {
            let held = take_lease(&mut keeper, me).await.map_err(|error| Fault::of_statement(error).into_error())?;
            if !held {
                return Err(StoreError::Unavailable("another process has taken over the migration".into()));
            }
            tokio::time::sleep(LEASE / 3).await;
        }
    };
    tokio::select! {
        done = repeat_ddl(connection, ddl) => done.map_err(|error| Fault::of_statement(error).into_error()),
        lost = keep => lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_run_in_the_order_of_names() {
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres"));
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        let run: Vec<&str> = MIGRATIONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(run, names);
    }

    #[test]
    fn a_migration_is_one_statement_that_may_be_repeated() {
        for (name, ddl) in MIGRATIONS {
            let words: String = ddl.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
            assert!(!words.trim().trim_end_matches(';').contains(';'), "{name} has more than one statement");
            let is_harmless = ["if not exists", "if exists", "on conflict"].iter().any(|way| words.contains(way));
            assert!(is_harmless, "{name} can't be repeated");
        }
    }
}
