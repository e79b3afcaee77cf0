//! The store on the PostgreSQL wire: CockroachDB, and PostgreSQL itself.
//!
//! Written for CockroachDB first: no LISTEN, no advisory lock, no sequence; keys that are made by this program and spread over
//! the ranges; every transaction whole in one function that may run again. docs/cockroachdb.md says what is relied on, statement
//! by statement. Where there is a choice it is made by what `version()` says.
//!
//! ```text
//! a call ──▶ thread ──▶ transaction: run, and run again ──▶ pool ──▶ connection
//!                          fault: what an error means
//! ```
//! Refuses to keep anything in memory that another process would have to know.

mod fault;
#[expect(dead_code, reason = "what is written comes with accepting requests")]
mod history;
mod literal;
mod migrate;
#[expect(dead_code, reason = "what is written comes with accepting requests")]
mod outbox;
mod personas;
mod pool;
mod settings;
mod thread;
mod tls;
mod transaction;

use diesel::result::Error;
use diesel_async::AsyncPgConnection;

pub use self::settings::{DatabaseUrl, InvalidDatabaseUrl, Isolation, PostgresConfig};
use self::{thread::Thread, transaction::Doubt};
use super::StoreError;

/// The store in a database that several processes share.
pub struct PostgresStore {
    thread: Thread,
}

impl PostgresStore {
    /// Connects, and brings the tables up to date; safe for any number of processes at once.
    ///
    /// # Errors
    /// [`StoreError`], saying where the database was looked for and what is wrong with it.
    pub async fn open(config: &PostgresConfig) -> Result<Self, StoreError> {
        let pool = pool::pool(config).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let thread = Thread::start(pool)?;
        thread.call(async |pool| migrate::migrate(pool).await).await?;
        Ok(Self { thread })
    }

    /// Ends what is under way and lets go of all connections; later calls fail.
    pub async fn close(&self) {
        self.thread.close().await;
    }

    /// Runs `work` in a transaction, again where the database asks for it; see [`transaction::transaction`].
    async fn transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error> + Send + 'static,
    {
        self.thread.call(async move |pool| transaction::transaction(pool, work).await).await
    }

    /// Runs `work`, each of whose statements is a transaction of its own; see [`transaction::statements`].
    async fn statements<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error> + Send + 'static,
    {
        self.thread.call(async move |pool| transaction::statements(pool, work).await).await
    }
}

/// A stored value that this program can't have written.
fn unreadable(what: &str) -> Error {
    Error::DeserializationError(format!("unreadable {what}").into())
}
