//! What a measured server stands on, where that is more than its own folder.

use clap::Args;

/// A database and a log that several processes may share.
#[derive(Debug, Clone, Args)]
pub struct Backing {
    /// An empty database for messages and jobs: postgres://USER@HOST/DATABASE. Without it: SQLite in a folder of the run's own
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Where the event log is: redis://HOST:PORT. Without it: in memory
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
}

/// The settings of a server that stands on it.
pub struct Settings(Vec<(&'static str, String)>);

impl Backing {
    /// Which database it is.
    pub fn engine(&self) -> &'static str {
        if self.database_url.is_some() { "postgres" } else { "sqlite" }
    }

    /// Which log it is.
    pub fn log(&self) -> &'static str {
        if self.redis_url.is_some() { "redis" } else { "memory" }
    }

    /// The same, with the log in memory.
    pub fn without_redis(&self) -> Self {
        Self { redis_url: None, ..self.clone() }
    }

    /// The settings of servers that share it, and with it who is signed in. Those of another call share no event with them.
    pub fn settings(&self) -> Settings {
        let database = self.database_url.iter().map(|url| ("DATABASE_URL", url.clone()));
        let redis = self.redis_url.iter().map(|url| ("REDIS_URL", url.clone()));
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let own = [("PERSONA_SECRET", random() + &random()), ("PERSONA_REDIS_PREFIX", format!("bench-{}:", random()))];
        Settings(database.chain(redis).chain(own).collect())
    }
}

impl Settings {
    /// With others.
    pub fn and<'a>(&'a self, others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).chain(others.iter().copied()).collect()
    }
}
