//! The store on SQLite: one file, one writer, several readers.
//!
//! WAL, so that readers and the writer don't wait for each other; `synchronous=FULL`, so that what was acknowledged
//! survives a power cut. Refuses to share its data folder with another process: the event log beside it is this process's.

mod history;
mod literal;
mod outbox;
mod personas;
mod queue;
mod schema;
mod thread;
mod usage;

use std::{fs::File, path::Path, time::Duration};

use async_trait::async_trait;
use diesel::{Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, result::Error};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use self::thread::Threads;
use super::{Accepted, Request, Store, StoreError, unreadable};
use crate::timestamp::Timestamp;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const READERS: usize = 2;

/// The store in one SQLite file.
pub struct SqliteStore {
    writer: Threads,
    readers: Threads,
    /// Held for as long as the store is open.
    _lock: File,
}

impl SqliteStore {
    /// Opens the file, makes it where there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError`], saying which file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let url = path.to_str().ok_or_else(|| StoreError::Unavailable(format!("{} is not UTF-8", path.display())))?;
        let named = |error: StoreError| error.of_file(url);
        let mut writer = connect(url).map_err(named)?;
        migrate(&mut writer).map_err(named)?;
        let readers = (0..READERS).map(|_| connect(url)).collect::<Result<_, _>>().map_err(named)?;
        Ok(Self { writer: Threads::writer(writer), readers: Threads::readers(readers), _lock: lock })
    }
}

/// Makes sure that no other process uses the folder.
fn lock(path: &Path) -> Result<File, StoreError> {
    let beside = path.with_extension("lock");
    let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", beside.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display())))?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(&beside).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked(format!("another persona uses {}", path.display()))),
        Err(std::fs::TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

fn connect(url: &str) -> Result<SqliteConnection, StoreError> {
    let mut connection = SqliteConnection::establish(url).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    // A checkpoint writes each page once, however often the log has it, so that fewer of them write less.
    connection
        .batch_execute(
            "pragma busy_timeout = 5000;
             pragma journal_mode = wal;
             pragma synchronous = full;
             pragma foreign_keys = on;
             pragma temp_store = memory;
             pragma cache_size = -16384;
             pragma wal_autocheckpoint = 16000;",
        )
        .map_err(fault)?;
    Ok(connection)
}

fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let ran = connection.run_pending_migrations(MIGRATIONS).map_err(|error| match error.downcast::<Error>() {
        Ok(error) => fault(*error),
        Err(error) => read_fault(error.to_string()),
    })?;
    for version in &ran {
        log::info!("database: migration {version} applied");
    }
    Ok(())
}

/// What an error of SQLite means to the product. The texts are sqlite3_errstr()'s, which are stable; diesel hides the codes.
fn fault(error: Error) -> StoreError {
    match error {
        Error::DatabaseError(_, info) => read_fault(info.message().to_owned()),
        other => StoreError::Refused(other.to_string()),
    }
}

fn read_fault(text: String) -> StoreError {
    let says = |part: &str| text.contains(part);
    if says("disk is full") {
        StoreError::Full(text)
    } else if says("is locked") || says("is busy") {
        StoreError::Locked(text)
    } else if says("malformed") || says("not a database") {
        StoreError::Damaged(text)
    } else if says("disk I/O error") || says("readonly") || says("unable to open") {
        StoreError::Unavailable(text)
    } else {
        StoreError::Refused(text)
    }
}

impl StoreError {
    fn of_file(self, path: &str) -> Self {
        let with = |text: String| format!("{text} ({path})");
        match self {
            Self::Full(text) => Self::Full(with(text)),
            Self::Locked(text) => Self::Locked(with(text)),
            Self::Damaged(text) => Self::Damaged(with(text)),
            Self::Unavailable(text) => Self::Unavailable(with(text)),
            Self::Refused(text) => Self::Refused(with(text)),
            Self::Closed => Self::Closed,
        }
    }
}

fn now() -> i64 {
    Timestamp::now().millis()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn id_bytes(bytes: &[u8]) -> Result<[u8; 16], Error> {
    bytes.try_into().map_err(|_| unreadable("id"))
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, request: Request) -> Result<Accepted, StoreError> {
        self.writer.call(move |connection| queue::accept(connection, &request)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        // Writes a page, the same as it was, so that a full or failing disk shows.
        self.writer.call(|connection| diesel::sql_query("pragma user_version = 0").execute(connection).map(drop)).await
    }

    async fn close(&self) {
        self.readers.close();
        self.writer.close();
    }
}
