//! The tables of a shared database, made by however many processes come at once.

use std::time::Duration;

use futures_util::future::join_all;
use persona_community::store::PostgresStore;
use tokio::task::spawn_blocking;

use crate::support::{
    app::App,
    postgres::{Database, config},
    redis::Redis,
};

async fn applied(database: &Database) -> Vec<String> {
    let rows = database.client().await.query("select name from migration order by name", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn files() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres");
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn ten_that_start_at_once_bring_an_empty_database_up_to_date_together() {
    let database = Database::empty();
    for store in join_all((0..10).map(|_| database.store())).await {
        store.close().await;
    }
    assert_eq!(applied(&database).await, files());
}

#[tokio::test]
async fn ten_that_migrate_and_ten_that_serve_come_up_at_once_on_an_empty_database() {
    let (database, redis) = (Database::empty(), Redis::start());
    let settings = [("DATABASE_URL", &*database.url), ("REDIS_URL", &redis.url()), ("PERSONA_SECRET", "what all of these processes have in common")];
    let migrate = || {
        let mut command = App::builder(&settings).command();
        spawn_blocking(move || command.arg("migrate").output().unwrap())
    };
    let serve = || {
        let builder = App::builder(&settings).flag("serve");
        spawn_blocking(|| builder.start())
    };
    let (migrated, serving) = tokio::join!(join_all((0..10).map(|_| migrate())), join_all((0..10).map(|_| serve())));
    let mut said = Vec::new();
    for output in migrated.into_iter().map(Result::unwrap) {
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && output.stdout == b"the database is up to date\n", "{log}");
        said.push(log);
    }
    let servers: Vec<App> = serving.into_iter().map(Result::unwrap).collect();
    for server in &servers {
        let answer = reqwest::get(format!("{}/readyz", server.url)).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    said.extend(servers.iter().map(App::log));
    assert_eq!(applied(&database).await, files());
    for name in files() {
        let times = said.iter().map(|log| log.matches(&format!("migration {name} applied")).count()).sum::<usize>();
        assert_eq!(times, 1, "{name} was run {times} times");
    }
}

#[tokio::test]
async fn who_finds_the_half_done_work_of_a_killed_one_finishes_it_when_its_lease_is_over() {
    let database = Database::new();
    let client = database.client().await;
    // It was killed after the table was made and before that was written down, and again before another one.
    client
        .batch_execute(
            "delete from migration where name like '%message' or name like '%by_age'; drop index idempotency_by_age;
             insert into migration_lease values (1, gen_random_uuid(), now() + interval '2 seconds')
             on conflict (id) do update set holder = excluded.holder, ends = excluded.ends",
        )
        .await
        .unwrap();
    let opening = database.store();
    tokio::pin!(opening);
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut opening).await.is_err(), "the lease of another was not waited for");
    opening.await.close().await;
    assert_eq!(applied(&database).await, files());
    let index = client.query("select 1 from pg_indexes where indexname = 'idempotency_by_age'", &[]).await.unwrap();
    assert_eq!(index.len(), 1);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_the_password() {
    let said = async |url: &str| PostgresStore::open(&config(url)).await.err().unwrap().to_string();
    let refused = said("postgres://ada:hunter2@127.0.0.1:1/persona").await;
    assert!(refused.contains("127.0.0.1:1/persona") && refused.contains("refused") && !refused.contains("hunter2"), "{refused}");
    let database = Database::empty();
    let missing = said(&database.url.replace("/test_", "/absent_")).await;
    assert!(missing.contains("does not exist"), "{missing}");
}
