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

mod accept;
mod fault;
mod history;
mod lanes;
mod literal;
mod migrate;
mod outbox;
mod personas;
mod pipeline;
mod pool;
mod queue;
mod settings;
mod thread;
mod tls;
mod transaction;
mod usage;

use async_trait::async_trait;
use diesel::{
    result::{DatabaseErrorKind, Error},
    sql_types::Text,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

pub use self::settings::{DatabaseUrl, InvalidDatabaseUrl, Isolation, PostgresConfig};
use self::{thread::Thread, transaction::Doubt};
use super::{Accepted, Request, Store, StoreError, unreadable};

/// The store in a database that several processes share.
pub struct PostgresStore {
    thread: Thread,
    lanes: lanes::Lanes,
    sight: queue::Sight,
}

impl PostgresStore {
    /// Connects, and brings the tables up to date; safe for any number of processes at once.
    ///
    /// # Errors
    /// [`StoreError`], saying where the database was looked for and what is wrong with it.
    pub async fn open(config: &PostgresConfig) -> Result<Self, StoreError> {
        let pool = pool::pool(config).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let thread = Thread::start(pool)?;
        thread
            .call(async |pool| {
                migrate::migrate(pool).await?;
                log::info!("connected to the database, {}", pool.manager());
                Ok(())
            })
            .await?;
        Ok(Self { thread, lanes: lanes::Lanes::default(), sight: queue::Sight::default() })
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

    /// The same for a claim; see [`transaction::claiming`].
    async fn claiming<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error> + Send + 'static,
    {
        self.thread.call(async move |pool| transaction::claiming(pool, work).await).await
    }

    /// Runs `work`, each of whose statements is a transaction of its own; see [`transaction::statements`].
    async fn statements<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error> + Send + 'static,
    {
        self.thread.call(async move |pool| transaction::statements(pool, work).await).await
    }

    /// Runs `work` alone where it is one statement, which needs no transaction around it, and in a transaction otherwise.
    async fn alone_or_in_transaction<T, F>(&self, is_one_statement: bool, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFn(&AsyncPgConnection, Doubt) -> Result<T, Error> + Send + 'static,
    {
        if is_one_statement { self.statements(work).await } else { self.transaction(work).await }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn accept(&self, request: Request) -> Result<Accepted, StoreError> {
        self.lanes.accept(&self.thread, request).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.statements(async |mut connection, _| {
            // On also where the server follows another one.
            let read_only: String = literal::statement::<Text>("show transaction_read_only").get_result(&mut connection).await?;
            let refused =
                || Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, Box::new("it takes read-only transactions alone".to_owned()));
            if read_only == "off" { Ok(()) } else { Err(refused()) }
        })
        .await
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}
