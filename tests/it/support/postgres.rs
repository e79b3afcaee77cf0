//! A database of a test's own, on the server that `tests/run` starts.

use std::{net::SocketAddr, time::Duration};

use persona_community::store::{Isolation, PostgresConfig, PostgresStore};
use tokio_postgres::{Client, NoTls};

/// The database that all others are copied from.
const TEMPLATE: &str = "persona_template";

/// A database. Gone when it is dropped, whoever still uses it.
pub struct Database {
    name: String,
    pub url: String,
}

/// Where the server is, without the name of a database.
#[expect(clippy::disallowed_methods, reason = "it is the tests' own setting, and none of the program's")]
fn server() -> String {
    std::env::var("PERSONA_TEST_POSTGRES").expect("this test needs PostgreSQL: start it by `tests/run`, or by `tests/with-postgres cargo …`")
}

/// Does it on a runtime of its own, for whoever can't wait otherwise.
pub fn at_once<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(work)).join().unwrap())
}

/// Talks with a database of the server.
pub async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// How the store is to talk to this database, where a test opens it by itself.
pub fn config(url: &str) -> PostgresConfig {
    PostgresConfig { url: url.parse().unwrap(), connections: 4, timeout: Duration::from_secs(10), isolation: Isolation::OfEngine }
}

impl Database {
    /// A database with all tables and nothing in them.
    pub fn new() -> Self {
        at_once(async {
            let admin = client(&format!("{}/postgres", server())).await;
            make_template(&admin).await;
            Self::create(&admin, &format!("template {TEMPLATE}")).await
        })
    }

    /// A database without any table.
    pub fn empty() -> Self {
        at_once(async { Self::create(&client(&format!("{}/postgres", server())).await, "").await })
    }

    async fn create(admin: &Client, how: &str) -> Self {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        admin.batch_execute(&format!("create database {name} {how}")).await.unwrap();
        Self { url: format!("{}/{name}", server()), name }
    }

    /// Where its server listens.
    pub fn address(&self) -> SocketAddr {
        self.url.rsplit('@').next().unwrap().split('/').next().unwrap().parse().unwrap()
    }

    /// Talks with it.
    pub async fn client(&self) -> Client {
        client(&self.url).await
    }

    /// The store on it.
    pub async fn store(&self) -> PostgresStore {
        PostgresStore::open(&config(&self.url)).await.unwrap()
    }
}

/// Tests are processes, so whoever comes first makes it, while the others wait.
async fn make_template(admin: &Client) {
    admin.batch_execute("select pg_advisory_lock(1)").await.unwrap();
    let there = admin.query("select 1 from pg_database where datname = $1", &[&TEMPLATE]).await.unwrap();
    if there.is_empty() {
        let made = Database::create(admin, "").await;
        made.store().await.close().await;
        admin.batch_execute(&format!("alter database {} rename to {TEMPLATE}", made.name)).await.unwrap();
        std::mem::forget(made);
    }
    admin.batch_execute("select pg_advisory_unlock(1)").await.unwrap();
}

impl Drop for Database {
    fn drop(&mut self) {
        at_once(async {
            // The server is thrown away as a whole; what can't be dropped goes with it.
            let admin = client(&format!("{}/postgres", server())).await;
            let _ = admin.batch_execute(&format!("drop database if exists {} with (force)", self.name)).await;
        });
    }
}
