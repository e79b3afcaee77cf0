//! Settings of the event streams: how many there may be, and how the hub behaves.

use clap::Args;

use super::wrong::Wrong;
use crate::realtime::{Manners, limits::Most};

#[derive(Debug, Clone, Args)]
pub struct StreamSettings {
    /// Streams one user may have; 0 means no limit
    #[arg(long = "persona-max-streams-per-user", env = "PERSONA_MAX_STREAMS_PER_USER", default_value = "50", value_name = "COUNT")]
    max_streams_per_user: String,
    /// Streams one address may have; 0 means no limit
    #[arg(long = "persona-max-streams-per-address", env = "PERSONA_MAX_STREAMS_PER_ADDRESS", default_value = "1000", value_name = "COUNT")]
    max_streams_per_address: String,
    /// Streams in all; 0 means no limit [default: what the limit of open files allows]
    #[arg(long = "persona-max-streams", env = "PERSONA_MAX_STREAMS", value_name = "COUNT")]
    max_streams: Option<String>,
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
}

/// How many streams there may be.
#[derive(Debug, Clone, Copy)]
pub struct StreamConfig {
    max_a_user: usize,
    max_an_address: usize,
    /// Nothing: what the descriptor limit allows.
    max: Option<usize>,
    pub manners: Manners,
}

impl StreamSettings {
    pub(super) fn read(&self, wrong: &mut Wrong) -> StreamConfig {
        StreamConfig {
            max_a_user: wrong.count(&self.max_streams_per_user, "PERSONA_MAX_STREAMS_PER_USER", 0),
            max_an_address: wrong.count(&self.max_streams_per_address, "PERSONA_MAX_STREAMS_PER_ADDRESS", 0),
            max: self.max_streams.as_ref().map(|text| wrong.count(text, "PERSONA_MAX_STREAMS", 0)),
            manners: Manners {
                presence_grace: wrong.millis(&self.presence_grace_ms, "PERSONA_PRESENCE_GRACE_MS", 0),
                typing_lasts: wrong.millis(&self.typing_ms, "PERSONA_TYPING_MS", 1),
                ping_after: wrong.millis(&self.ping_ms, "PERSONA_PING_MS", 100),
                stream_lifetime: wrong.seconds(&self.stream_lifetime_seconds, "PERSONA_STREAM_LIFETIME_SECONDS", 1),
            },
        }
    }
}

impl StreamConfig {
    /// The limits on streams, where this many files may be open.
    #[must_use]
    pub fn most(&self, files: u64) -> Most {
        // What is not a stream: the database, pictures, requests, and a spare.
        let left = usize::try_from(files.saturating_sub(256)).unwrap_or(usize::MAX).max(64);
        Most { a_user: self.max_a_user, an_address: self.max_an_address, in_all: self.max.unwrap_or(left) }
    }
}
