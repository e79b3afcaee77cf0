//! Services and workers of their own, on one database, one Redis and one folder of pictures.

use tempfile::TempDir;

use super::{
    app::{App, Builder},
    cable::Cable,
    postgres::Database,
    redis::Redis,
};

/// What the processes of a fleet stand on.
pub struct Fleet {
    /// The way to the database, which can be cut.
    pub way: Cable,
    pub redis: Redis,
    pub database: Database,
    pub pictures: TempDir,
}

impl Fleet {
    /// A database and a Redis, and no process yet.
    pub fn new() -> Self {
        let database = Database::new();
        Self { way: Cable::to(database.address().port()), redis: Redis::durable(), database, pictures: tempfile::tempdir().unwrap() }
    }

    /// A service that is not started yet.
    pub fn service(&self, settings: &[(&str, &str)]) -> Builder {
        self.process("serve", settings)
    }

    /// A worker that is not started yet.
    pub fn worker(&self, settings: &[(&str, &str)]) -> Builder {
        self.process("work", settings)
    }

    fn process(&self, command: &str, settings: &[(&str, &str)]) -> Builder {
        let url = self.database.url.replace(&format!(":{}/", self.database.address().port()), &format!(":{}/", self.way.port));
        let own = [
            ("DATABASE_URL", &*url),
            ("REDIS_URL", &self.redis.url()),
            ("PERSONA_SECRET", "what all of these processes have in common"),
            ("PERSONA_DATA_DIR", self.pictures.path().to_str().unwrap()),
        ];
        App::builder(&[&own, settings].concat()).flag(command)
    }
}
