//! Settings of what is kept: the database, the secret, the event log.

use std::path::PathBuf;

use clap::Args;

use super::{part::Part, wrong::Wrong};
use crate::{
    log::{Limits, RedisAddress},
    store::{Isolation, PostgresConfig},
};

#[derive(Debug, Clone, Args)]
pub struct StorageSettings {
    /// Where the database, the pictures and the secret are kept
    #[arg(long = "persona-data-dir", alias = "data-dir", env = "PERSONA_DATA_DIR", default_value = "./data", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// The database; without one, SQLite in the data folder [sqlite:PATH; for CockroachDB and PostgreSQL postgres://USER:PASSWORD@HOST:PORT/DATABASE, which may end in ?sslmode=verify-full&sslrootcert=FILE]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// The most connections to CockroachDB or PostgreSQL
    #[arg(long = "persona-database-connections", env = "PERSONA_DATABASE_CONNECTIONS", default_value = "12", value_name = "COUNT")]
    database_connections: String,
    /// How long a statement, a wait for a lock and a wait for a connection may last there, in milliseconds
    #[arg(long = "persona-database-ms", env = "PERSONA_DATABASE_MS", default_value = "10000", value_name = "MILLISECONDS")]
    database_ms: String,
    /// What transactions may see of each other there: read-committed, serializable, or what suits the engine
    #[arg(long = "persona-database-isolation", env = "PERSONA_DATABASE_ISOLATION", default_value = "engine", value_name = "LEVEL")]
    database_isolation: String,
    /// Where the event log is kept, so that several processes share it; without one, in memory [redis://HOST:PORT, rediss://…; nodes of a cluster joined by commas]
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URLS")]
    redis_url: Option<String>,
    /// How the names of all keys and topics in Redis begin
    #[arg(long = "persona-redis-prefix", env = "PERSONA_REDIS_PREFIX", default_value = "persona:", value_name = "PREFIX")]
    redis_prefix: String,
    /// Signs tokens, at least 32 bytes; without one, it is made once and kept in the data folder
    #[arg(long = "persona-secret", env = "PERSONA_SECRET", hide_env_values = true, value_name = "SECRET")]
    secret: Option<String>,
    /// Events a channel keeps for those who come back
    #[arg(long = "persona-log-events", env = "PERSONA_LOG_EVENTS", default_value = "4096", value_name = "COUNT")]
    log_events: String,
    /// Bytes of events a channel keeps
    #[arg(long = "persona-log-bytes", env = "PERSONA_LOG_BYTES", default_value = "4194304", value_name = "BYTES")]
    log_bytes: String,
    /// How long a stream may be away and still be resumed, in hours
    #[arg(long = "persona-log-hours", env = "PERSONA_LOG_HOURS", default_value = "24", value_name = "HOURS")]
    log_hours: String,
}

/// Where things are kept, and how long.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    pub data_dir: PathBuf,
    pub database: Database,
    /// Where the event log is; in memory where there is none.
    pub redis: Option<RedisAddress>,
    pub secret: Option<Secret>,
    pub log: Limits,
}

/// Which database.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file of this process alone.
    Sqlite(PathBuf),
    /// CockroachDB or PostgreSQL, which several processes may share.
    Postgres(Box<PostgresConfig>),
}

/// What signs tokens. Never printed.
#[derive(Clone)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl StorageSettings {
    pub(super) fn read(&self, part: Part, wrong: &mut Wrong) -> StorageConfig {
        StorageConfig {
            data_dir: self.data_dir.clone(),
            database: self.database(part, wrong),
            redis: self.redis(wrong),
            secret: self.secret(wrong),
            log: Limits {
                events: wrong.count(&self.log_events, "PERSONA_LOG_EVENTS", 1),
                bytes: wrong.count(&self.log_bytes, "PERSONA_LOG_BYTES", 1024),
                retention: wrong.hours(&self.log_hours, "PERSONA_LOG_HOURS"),
            },
        }
    }

    fn database(&self, part: Part, wrong: &mut Wrong) -> Database {
        if part != Part::Whole && self.database_url.as_ref().is_none_or(|url| url.starts_with("sqlite:")) {
            wrong.say("DATABASE_URL: expected a database that all processes share; a file of SQLite is one process's alone".into());
        }
        let connections = wrong.number(&self.database_connections, "PERSONA_DATABASE_CONNECTIONS", 2, 1000);
        let timeout = wrong.millis(&self.database_ms, "PERSONA_DATABASE_MS", 100);
        let isolation = match self.database_isolation.as_str() {
            "engine" => Isolation::OfEngine,
            "read-committed" => Isolation::ReadCommitted,
            "serializable" => Isolation::Serializable,
            other => {
                wrong.add("PERSONA_DATABASE_ISOLATION", other, "engine, read-committed or serializable");
                Isolation::OfEngine
            }
        };
        let beside = Database::Sqlite(self.data_dir.join("persona.sqlite"));
        let Some(url) = &self.database_url else { return beside };
        match url.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => return Database::Sqlite(path.strip_prefix("//").unwrap_or(path).into()),
            // The URL may hold a password and is not shown.
            None if url.starts_with("postgres") => match url.parse() {
                Ok(url) => {
                    if part == Part::Whole && self.secret.is_none() {
                        wrong.say("PERSONA_SECRET: missing; processes that share a database need the same one".into());
                    }
                    return Database::Postgres(Box::new(PostgresConfig { url, connections, timeout, isolation }));
                }
                Err(error) => wrong.say(format!("DATABASE_URL: {error}")),
            },
            _ => wrong.say("DATABASE_URL: expected sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE".into()),
        }
        beside
    }

    fn redis(&self, wrong: &mut Wrong) -> Option<RedisAddress> {
        if self.redis_prefix.contains(['{', '}']) {
            // They would say where on a cluster a key lies.
            wrong.add("PERSONA_REDIS_PREFIX", &self.redis_prefix, "a text without { and }");
        }
        let url = self.redis_url.as_ref()?;
        RedisAddress::parse(url, &self.redis_prefix).map_err(|error| wrong.say(format!("REDIS_URL: {error}"))).ok()
    }

    fn secret(&self, wrong: &mut Wrong) -> Option<Secret> {
        let secret = self.secret.as_ref()?;
        if secret.len() < 32 {
            wrong.say(format!("PERSONA_SECRET: {} bytes are too few, expected at least 32", secret.len()));
        }
        Some(Secret(secret.clone().into_bytes()))
    }
}
