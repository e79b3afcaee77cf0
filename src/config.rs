//! The settings: the only reader of the environment and the command line.
//!
//! Every setting is a flag and an environment variable of the same name, and the flag wins. They arrive as text and leave as
//! a [`Config`] that is right as a whole, or as the list of everything that is wrong with them. What a part of the product is
//! told of them it defines itself: refuses to be imported by any part that it configures.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;

use crate::{
    log::Limits,
    providers::{
        Key,
        router::{Routes, Target},
        setup::{self, Account, ProviderConfig},
    },
    realtime::{Manners, limits::Most},
    worker::WorkerConfig,
};

/// The settings as they are given.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where to listen; port 0 picks a free one
    #[arg(long = "persona-listen", alias = "listen", env = "PERSONA_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: String,
    /// Where the database, the pictures and the secret are kept
    #[arg(long = "persona-data-dir", alias = "data-dir", env = "PERSONA_DATA_DIR", default_value = "./data", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// The database; without one, SQLite in the data folder [sqlite:PATH]
    #[arg(long, env = "DATABASE_URL", value_name = "URL")]
    database_url: Option<String>,
    /// Signs tokens, at least 32 bytes; without one, it is made once and kept in the data folder
    #[arg(long = "persona-secret", env = "PERSONA_SECRET", hide_env_values = true, value_name = "SECRET")]
    secret: Option<String>,
    /// A PEM file with the certificate chain: serves HTTPS
    #[arg(long = "persona-tls-cert", env = "PERSONA_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's key
    #[arg(long = "persona-tls-key", env = "PERSONA_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Serve HTTPS with a certificate made on the spot, for trying HTTP/2 in a browser
    #[arg(long)]
    dev_tls: bool,
    /// How long a client may take for its handshake, for the head of its first request, and for a body, in milliseconds
    #[arg(long = "persona-request-ms", env = "PERSONA_REQUEST_MS", default_value = "15000", value_name = "MS")]
    request_ms: String,
    /// Threads that serve HTTP [default: one a core, at most 8]
    #[arg(long = "persona-http-threads", env = "PERSONA_HTTP_THREADS", value_name = "COUNT")]
    http_threads: Option<String>,
    /// Jobs that run at once
    #[arg(long = "persona-worker-slots", env = "PERSONA_WORKER_SLOTS", default_value = "32", value_name = "COUNT")]
    worker_slots: String,
    /// How long a worker may be silent before its job is given to another, in seconds
    #[arg(long = "persona-lease-seconds", env = "PERSONA_LEASE_SECONDS", default_value = "30", value_name = "SECONDS")]
    lease_seconds: String,
    /// Streams one user may have; 0 means no limit
    #[arg(long = "persona-max-streams-per-user", env = "PERSONA_MAX_STREAMS_PER_USER", default_value = "50", value_name = "COUNT")]
    max_streams_per_user: String,
    /// Streams one address may have; 0 means no limit
    #[arg(long = "persona-max-streams-per-address", env = "PERSONA_MAX_STREAMS_PER_ADDRESS", default_value = "1000", value_name = "COUNT")]
    max_streams_per_address: String,
    /// Streams in all; 0 means no limit [default: what the limit of open files allows]
    #[arg(long = "persona-max-streams", env = "PERSONA_MAX_STREAMS", value_name = "COUNT")]
    max_streams: Option<String>,
    /// Jobs one user may have waiting; 0 means no limit
    #[arg(long = "persona-max-jobs-per-user", env = "PERSONA_MAX_JOBS_PER_USER", default_value = "100", value_name = "COUNT")]
    max_jobs_per_user: String,
    /// How long a guest's session lasts, in hours
    #[arg(long = "persona-session-hours", env = "PERSONA_SESSION_HOURS", default_value = "720", value_name = "HOURS")]
    session_hours: String,
    /// How long a user may be away before a room is told that they left, in milliseconds
    #[arg(long = "persona-presence-grace-ms", env = "PERSONA_PRESENCE_GRACE_MS", default_value = "8000", value_name = "MS")]
    presence_grace_ms: String,
    /// How long typing shows unless it is renewed, in milliseconds
    #[arg(long = "persona-typing-ms", env = "PERSONA_TYPING_MS", default_value = "6000", value_name = "MS")]
    typing_ms: String,
    /// After how much silence a stream gets a ping, in milliseconds
    #[arg(long = "persona-ping-ms", env = "PERSONA_PING_MS", default_value = "15000", value_name = "MS")]
    ping_ms: String,
    /// After how long a stream is asked to come back anew, in seconds
    #[arg(long = "persona-stream-lifetime-seconds", env = "PERSONA_STREAM_LIFETIME_SECONDS", default_value = "14400", value_name = "SECONDS")]
    stream_lifetime_seconds: String,
    /// Events a channel keeps for those who come back
    #[arg(long = "persona-log-events", env = "PERSONA_LOG_EVENTS", default_value = "4096", value_name = "COUNT")]
    log_events: String,
    /// Bytes of events a channel keeps
    #[arg(long = "persona-log-bytes", env = "PERSONA_LOG_BYTES", default_value = "4194304", value_name = "BYTES")]
    log_bytes: String,
    /// How long a stream may be away and still be resumed, in hours
    #[arg(long = "persona-log-hours", env = "PERSONA_LOG_HOURS", default_value = "24", value_name = "HOURS")]
    log_hours: String,
    /// How fast the built-in offline provider speaks, in milliseconds a word
    #[arg(long = "persona-offline-pace-ms", env = "PERSONA_OFFLINE_PACE_MS", default_value = "30", value_name = "MS")]
    offline_pace_ms: String,
    /// LaoZhang's key
    #[arg(long = "laozhang-api-key", env = "LAOZHANG_API_KEY", hide_env_values = true, value_name = "KEY")]
    laozhang_api_key: Option<String>,
    /// LaoZhang's address
    #[arg(long = "laozhang-base-url", env = "LAOZHANG_BASE_URL", default_value = setup::LAOZHANG_URL, value_name = "URL")]
    laozhang_base_url: String,
    /// Gemini's key
    #[arg(long = "gemini-api-key", env = "GEMINI_API_KEY", hide_env_values = true, value_name = "KEY")]
    gemini_api_key: Option<String>,
    /// Gemini's address
    #[arg(long = "gemini-base-url", env = "GEMINI_BASE_URL", default_value = setup::GEMINI_URL, value_name = "URL")]
    gemini_base_url: String,
    /// The key of OpenAI, or of whoever speaks its protocol at OPENAI_BASE_URL
    #[arg(long = "openai-api-key", env = "OPENAI_API_KEY", hide_env_values = true, value_name = "KEY")]
    openai_api_key: Option<String>,
    /// Where OpenAI's protocol is spoken: OpenRouter, Ollama, vLLM…; a server of one's own needs no key
    #[arg(long = "openai-base-url", env = "OPENAI_BASE_URL", default_value = setup::OPENAI_URL, value_name = "URL")]
    openai_base_url: String,
    /// Who answers in rooms, in order: provider/model,provider/model [default: from the keys]
    #[arg(long = "persona-chat-route", env = "PERSONA_CHAT_ROUTE", value_name = "TARGETS")]
    chat_route: Option<String>,
    /// Who writes texts, in order [default: from the keys]
    #[arg(long = "persona-text-route", env = "PERSONA_TEXT_ROUTE", value_name = "TARGETS")]
    text_route: Option<String>,
    /// Who draws, in order [default: from the keys]
    #[arg(long = "persona-image-route", env = "PERSONA_IMAGE_ROUTE", value_name = "TARGETS")]
    image_route: Option<String>,
    /// Fetch pictures from private addresses too, where a provider of one's own gives such URLs
    #[arg(long = "persona-local-pictures", env = "PERSONA_LOCAL_PICTURES")]
    local_pictures: bool,
    /// How long a server that stops still answers, so that whoever sends it clients sees that it is not ready, in milliseconds
    #[arg(long = "persona-drain-ms", env = "PERSONA_DRAIN_MS", default_value = "100", value_name = "MS")]
    drain_ms: String,
    /// How long a stop waits for running jobs and open requests, in seconds
    #[arg(long = "persona-stop-seconds", env = "PERSONA_STOP_SECONDS", default_value = "10", value_name = "SECONDS")]
    stop_seconds: String,
    /// What is logged, in env_logger's words
    #[arg(long = "rust-log", env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub rust_log: String,
}

/// The settings, understood.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub database: PathBuf,
    pub secret: Option<Secret>,
    pub tls: Tls,
    pub request_within: Duration,
    pub http_threads: usize,
    pub worker: WorkerConfig,
    pub max_streams_a_user: usize,
    pub max_streams_an_address: usize,
    /// Nothing: what the descriptor limit allows.
    pub max_streams: Option<usize>,
    pub max_jobs_per_user: usize,
    pub session_lasts: Duration,
    pub manners: Manners,
    pub log: Limits,
    pub providers: ProviderConfig,
    pub drain: Duration,
    pub stop_within: Duration,
}

/// Whether and how connections are encrypted.
#[derive(Debug, Clone)]
pub enum Tls {
    Off,
    /// A certificate made on the spot.
    Dev,
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
}

/// What signs tokens. Never printed.
#[derive(Clone)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Settings {
    /// The settings, understood.
    ///
    /// # Errors
    /// One line for everything that is wrong, each naming its setting and what would be right.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let mut wrong = Wrong(Vec::new());
        let count = |text: &str, name: &'static str, wrong: &mut Wrong, least: usize| wrong.number(text, name, least, 1_000_000_000);
        let config = Config {
            listen: self.listen.parse().unwrap_or_else(|_| {
                wrong.add("PERSONA_LISTEN", &self.listen, "an address and a port, such as 127.0.0.1:8080");
                SocketAddr::from(([127, 0, 0, 1], 0))
            }),
            data_dir: self.data_dir.clone(),
            database: self.database(&mut wrong),
            secret: self.secret(&mut wrong),
            tls: self.tls(&mut wrong),
            request_within: millis(count(&self.request_ms, "PERSONA_REQUEST_MS", &mut wrong, 1000)),
            http_threads: match &self.http_threads {
                Some(text) => count(text, "PERSONA_HTTP_THREADS", &mut wrong, 1),
                None => std::thread::available_parallelism().map_or(2, usize::from).min(8),
            },
            worker: WorkerConfig {
                slots: count(&self.worker_slots, "PERSONA_WORKER_SLOTS", &mut wrong, 1),
                lease: seconds(count(&self.lease_seconds, "PERSONA_LEASE_SECONDS", &mut wrong, 1)),
                stop_within: seconds(count(&self.stop_seconds, "PERSONA_STOP_SECONDS", &mut wrong, 0)),
            },
            max_streams_a_user: count(&self.max_streams_per_user, "PERSONA_MAX_STREAMS_PER_USER", &mut wrong, 0),
            max_streams_an_address: count(&self.max_streams_per_address, "PERSONA_MAX_STREAMS_PER_ADDRESS", &mut wrong, 0),
            max_streams: self.max_streams.as_ref().map(|text| count(text, "PERSONA_MAX_STREAMS", &mut wrong, 0)),
            max_jobs_per_user: count(&self.max_jobs_per_user, "PERSONA_MAX_JOBS_PER_USER", &mut wrong, 0),
            session_lasts: seconds(count(&self.session_hours, "PERSONA_SESSION_HOURS", &mut wrong, 1).saturating_mul(3600)),
            manners: Manners {
                presence_grace: millis(count(&self.presence_grace_ms, "PERSONA_PRESENCE_GRACE_MS", &mut wrong, 0)),
                typing_lasts: millis(count(&self.typing_ms, "PERSONA_TYPING_MS", &mut wrong, 1)),
                ping_after: millis(count(&self.ping_ms, "PERSONA_PING_MS", &mut wrong, 100)),
                stream_lifetime: seconds(count(&self.stream_lifetime_seconds, "PERSONA_STREAM_LIFETIME_SECONDS", &mut wrong, 1)),
            },
            log: Limits {
                events: count(&self.log_events, "PERSONA_LOG_EVENTS", &mut wrong, 1),
                bytes: count(&self.log_bytes, "PERSONA_LOG_BYTES", &mut wrong, 1024),
                retention: seconds(count(&self.log_hours, "PERSONA_LOG_HOURS", &mut wrong, 1).saturating_mul(3600)),
            },
            providers: ProviderConfig {
                offline_pace: millis(count(&self.offline_pace_ms, "PERSONA_OFFLINE_PACE_MS", &mut wrong, 0)),
                ..self.providers(&mut wrong)
            },
            drain: millis(count(&self.drain_ms, "PERSONA_DRAIN_MS", &mut wrong, 100)),
            stop_within: seconds(count(&self.stop_seconds, "PERSONA_STOP_SECONDS", &mut wrong, 0)),
        };
        if wrong.0.is_empty() { Ok(config) } else { Err(ConfigError(wrong.0)) }
    }

    fn database(&self, wrong: &mut Wrong) -> PathBuf {
        match &self.database_url {
            None => self.data_dir.join("persona.sqlite"),
            Some(url) => match url.strip_prefix("sqlite:") {
                Some(path) if !path.is_empty() => PathBuf::from(path.strip_prefix("//").unwrap_or(path)),
                // The URL may hold a password and is not shown.
                _ => {
                    wrong.0.push("DATABASE_URL: expected sqlite:PATH".into());
                    PathBuf::new()
                }
            },
        }
    }

    fn secret(&self, wrong: &mut Wrong) -> Option<Secret> {
        let secret = self.secret.as_ref()?;
        if secret.len() < 32 {
            wrong.0.push(format!("PERSONA_SECRET: {} bytes are too few, expected at least 32", secret.len()));
        }
        Some(Secret(secret.clone().into_bytes()))
    }

    fn providers(&self, wrong: &mut Wrong) -> ProviderConfig {
        let account = |key: &Option<String>, base_url: &str| {
            let key = key.as_deref().map(str::trim).filter(|key| !key.is_empty())?;
            Some(Account { key: Key::new(key), base_url: base_url.to_owned() })
        };
        let own_server =
            || (self.openai_base_url != setup::OPENAI_URL).then(|| Account { key: Key::default(), base_url: self.openai_base_url.clone() });
        for (name, url) in
            [("LAOZHANG_BASE_URL", &self.laozhang_base_url), ("GEMINI_BASE_URL", &self.gemini_base_url), ("OPENAI_BASE_URL", &self.openai_base_url)]
        {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                wrong.add(name, url, "a URL that begins with https:// or http://");
            }
        }
        let config = ProviderConfig {
            laozhang: account(&self.laozhang_api_key, &self.laozhang_base_url),
            gemini: account(&self.gemini_api_key, &self.gemini_base_url),
            openai: account(&self.openai_api_key, &self.openai_base_url).or_else(own_server),
            routes: Routes {
                chat: wrong.targets("PERSONA_CHAT_ROUTE", self.chat_route.as_deref()),
                text: wrong.targets("PERSONA_TEXT_ROUTE", self.text_route.as_deref()),
                image: wrong.targets("PERSONA_IMAGE_ROUTE", self.image_route.as_deref()),
            },
            may_be_local: self.local_pictures,
            offline_pace: Duration::ZERO,
        };
        for target in config.targets_without_account() {
            wrong.0.push(format!("{target}: a route names a provider that has no key; expected laozhang, gemini or openai, with its key set"));
        }
        config
    }

    fn tls(&self, wrong: &mut Wrong) -> Tls {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Tls::Files { cert: cert.clone(), key: key.clone() },
            (None, None) if self.dev_tls => Tls::Dev,
            (None, None) => Tls::Off,
            _ => {
                wrong.0.push("PERSONA_TLS_CERT and PERSONA_TLS_KEY: expected both or none".into());
                Tls::Off
            }
        }
    }
}

impl Config {
    /// The limits on streams, where this many files may be open.
    #[must_use]
    pub fn most_streams(&self, files: u64) -> Most {
        // What is not a stream: the database, pictures, requests, and a spare.
        let left = usize::try_from(files.saturating_sub(256)).unwrap_or(usize::MAX).max(64);
        Most { a_user: self.max_streams_a_user, an_address: self.max_streams_an_address, in_all: self.max_streams.unwrap_or(left) }
    }
}

struct Wrong(Vec<String>);

impl Wrong {
    fn add(&mut self, name: &str, text: &str, right: &str) {
        self.0.push(format!("{name}: {text:?} is wrong, expected {right}"));
    }

    fn targets(&mut self, name: &str, text: Option<&str>) -> Vec<Target> {
        let text = text.unwrap_or_default().trim();
        let targets: Result<Vec<Target>, _> = text.split(',').filter(|target| !target.is_empty()).map(str::parse).collect();
        targets.unwrap_or_else(|_| {
            self.add(name, text, "provider/model,provider/model, a provider being laozhang, gemini or openai");
            Vec::new()
        })
    }

    fn number(&mut self, text: &str, name: &str, least: usize, most: usize) -> usize {
        match usize::from_str(text.trim()) {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.add(name, text, &format!("a number from {least} to {most}"));
                least
            }
        }
    }
}

fn seconds(count: usize) -> Duration {
    Duration::from_secs(count as u64)
}

fn millis(count: usize) -> Duration {
    Duration::from_millis(count as u64)
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
