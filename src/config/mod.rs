//! The settings: the only reader of the environment and the command line.
//!
//! Every setting is a flag and an environment variable of the same name, and the flag wins. They arrive as text and leave as
//! a [`Config`] that is right as a whole, or as the list of everything that is wrong with them. What a part of the product is
//! told of them it defines itself: refuses to be imported by any part that it configures.

mod calls;
mod generation;
mod part;
mod providers;
mod queue;
mod service;
mod storage;
mod streams;
mod usage;
mod wrong;

use clap::Args;

pub use self::{
    generation::GenerationConfig,
    part::Part,
    queue::QueueConfig,
    service::{ServiceConfig, Tls},
    storage::{Database, Secret, StorageConfig},
    streams::StreamConfig,
    usage::UsageConfig,
    wrong::ConfigError,
};
use self::{
    generation::GenerationSettings, providers::ProviderSettings, queue::QueueSettings, service::ServiceSettings, storage::StorageSettings,
    streams::StreamSettings, usage::UsageSettings, wrong::Wrong,
};
use crate::providers::setup::ProviderConfig;

/// The settings as they are given.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    #[command(flatten)]
    service: ServiceSettings,
    #[command(flatten)]
    storage: StorageSettings,
    #[command(flatten)]
    streams: StreamSettings,
    #[command(flatten)]
    queue: QueueSettings,
    #[command(flatten)]
    providers: ProviderSettings,
    #[command(flatten)]
    generation: GenerationSettings,
    #[command(flatten)]
    usage: UsageSettings,
    /// What is logged, in env_logger's words
    #[arg(long = "rust-log", env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub rust_log: String,
}

/// The settings, understood.
#[derive(Debug, Clone)]
pub struct Config {
    pub part: Part,
    pub service: ServiceConfig,
    pub storage: StorageConfig,
    pub streams: StreamConfig,
    pub queue: QueueConfig,
    pub providers: ProviderConfig,
    pub generation: GenerationConfig,
    pub usage: UsageConfig,
}

impl Settings {
    /// The settings of a process that does all of it, understood.
    ///
    /// # Errors
    /// As [`Self::read_for`].
    pub fn read(&self) -> Result<Config, ConfigError> {
        self.read_for(Part::Whole)
    }

    /// The settings, understood.
    ///
    /// # Errors
    /// One line for everything that is wrong, each naming its setting and what would be right.
    pub fn read_for(&self, part: Part) -> Result<Config, ConfigError> {
        let mut wrong = Wrong::default();
        let service = self.service.read(&mut wrong);
        let providers = self.providers.read(&mut wrong);
        let storage = self.storage.read(part, &mut wrong);
        part.check(&service, &storage, &mut wrong);
        let config = Config {
            part,
            storage,
            streams: self.streams.read(&mut wrong),
            queue: self.queue.read(service.stop_within, &mut wrong),
            generation: self.generation.read(&providers, &mut wrong),
            usage: self.usage.read(&mut wrong),
            providers,
            service,
        };
        wrong.unless(config)
    }

    /// The administrator's token, to be shown to a server.
    #[must_use]
    pub fn admin_token(&self) -> Option<&str> {
        self.service.admin_token()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn every_wrong_setting_is_told_at_once() {
        let line = ["persona", "--listen", "nowhere", "--persona-ping-ms", "soon", "--persona-secret", "short", "--database-url", "mysql://x"];
        let ConfigError(wrong) = Line::parse_from(line).settings.read().unwrap_err();
        for name in ["PERSONA_LISTEN", "PERSONA_PING_MS", "PERSONA_SECRET", "DATABASE_URL"] {
            assert!(wrong.iter().any(|line| line.starts_with(name)), "{name} in {wrong:?}");
        }
        assert_eq!(wrong.len(), 4);
    }

    #[test]
    fn a_secret_is_never_printed() {
        let line = ["persona", "--persona-secret", "correct-horse-battery-staple-0123456789"];
        let config = Line::parse_from(line).settings.read().unwrap();
        assert!(!format!("{config:?}").contains("horse"));
    }
}
