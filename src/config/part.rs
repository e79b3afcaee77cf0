//! Which part of the product a process is, and what several processes must share.

use super::{
    service::{ServiceConfig, Tls},
    storage::StorageConfig,
    wrong::Wrong,
};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Takes requests and tells events.
    Service,
    /// Does the jobs. Over HTTP it says how it is, and nothing else.
    Worker,
}

impl Part {
    /// Refuses what would keep this part apart from the others.
    pub(super) fn check(self, service: &ServiceConfig, storage: &StorageConfig, wrong: &mut Wrong) {
        if self == Self::Whole {
            return;
        }
        if storage.redis.is_none() {
            wrong.say("REDIS_URL: expected the Redis that all processes share, as redis://HOST:PORT; without one they can't tell each other".into());
        }
        if storage.secret.is_none() {
            wrong.say("PERSONA_SECRET: expected the secret that all processes share, at least 32 bytes".into());
        }
        if self == Self::Worker && !matches!(service.tls, Tls::Off) {
            wrong.say("PERSONA_TLS_CERT: expected none, as a worker says how it is over plain HTTP".into());
        }
    }
}
