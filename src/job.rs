//! Jobs: what a worker is asked to do, the states a job goes through, and what follows from a failure.
//!
//! ```text
//!              ┌───────── give back, hold over ────────┐
//!              ▼                                       │
//! enqueue ▶ available ──claim, hold to cancel──▶ running ──end──▶ completed
//!    │         ▲  ▲                            │  ▲ │ │ ├──end──▶ cancelled
//!    │         │  │ its time comes             │  │ │ │ └──end──▶ discarded
//!    │         │  └────────── retryable ◀─fail─┘  │ │ └─┐
//!    │         │ its time comes    │              │ └───┘ lease over: taken over under a new fence
//!    └────▶ scheduled ◀─────snooze─┼──────────────┤
//!              └───────────────────┴─hold to cancel
//! ```
//! `available`, `scheduled` and `retryable` wait. `running` belongs to one worker, whose sign of life is the lease of all
//! that it runs, and to one attempt, whose number is the fencing token: it grows each time the job changes hands. Whoever
//! wants to cancel a waiting job takes it as a worker does, so that one alone ends it. `completed`, `cancelled` and
//! `discarded` are final. Every accepted job reaches exactly one final state, and
//! tells it by at most one terminal event. Names are River's.
//!
//! Pure: refuses to touch the store or the clock.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    channel::Channel,
    event::Generated,
    id::{JobId, MessageId, StreamId, UserId},
    model::Target,
    persona::Speaker,
    timestamp::Timestamp,
};

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name that clients see and the store keeps.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(UnknownName) }
            }
        }
    };
}

/// No kind or state is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown name")]
pub struct UnknownName;

named! {
    /// What sort of work a job is.
    Kind {
        /// An AI's answer to a chat message.
        AiChatResponse = "ai_chat_response",
        /// A text from a prompt.
        GenerateText = "generate_text",
        /// A picture from a prompt.
        GenerateImage = "generate_image",
        /// Making an uploaded file fit to be shown.
        ProcessUpload = "process_upload",
        /// Nothing at all: what the queue itself costs is measured with it.
        Noop = "noop",
        /// What keeps the house: the product's own, nobody's wish.
        Housekeeping = "housekeeping",
    }
}

named! {
    /// What is done now and then to keep the house.
    Chore {
        /// Events that a crash has left untold are told.
        PublishLeftOvers = "publish_left_overs",
        /// Finished jobs go when their time is over.
        ForgetJobs = "forget_jobs",
        /// So do idempotency keys,
        ForgetKeys = "forget_keys",
        /// messages,
        ForgetMessages = "forget_messages",
        /// and pictures.
        ForgetMedia = "forget_media",
    }
}

named! {
    /// Where a job stands.
    State {
        /// Waits for a worker.
        Available = "available",
        /// Waits for its time.
        Scheduled = "scheduled",
        /// A worker holds its lease.
        Running = "running",
        /// Failed, and waits for the next attempt's time.
        Retryable = "retryable",
        /// Done.
        Completed = "completed",
        /// Somebody stopped it.
        Cancelled = "cancelled",
        /// Failed for good.
        Discarded = "discarded",
    }
}

named! {
    /// Which jobs come first. What somebody waits for is normal; the rest stands behind it, and moves up a level for each
    /// [`AGING`] that it waits.
    Priority {
        Normal = "normal",
        Low = "low",
        Lowest = "lowest",
    }
}

impl State {
    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Discarded)
    }
}

/// The arguments of a job, as they are kept with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Work {
    AiChatResponse(Box<Answer>),
    GenerateText { prompt: String, model: Option<Target>, max_tokens: Option<u32>, stream_id: StreamId },
    GenerateImage { prompt: String, size: ImageSize, model: Option<Target> },
    Noop {},
    Housekeeping { chore: Chore },
}

/// An answer to a chat message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub channel: Channel,
    /// The message to answer.
    pub reply_to: MessageId,
    pub stream_id: StreamId,
    /// The answer's own place in history.
    pub message_id: MessageId,
    /// Who answers; nothing: the room has nobody in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona: Option<Speaker>,
    /// The model that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Target>,
    /// The length that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
}

impl Work {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::AiChatResponse { .. } => Kind::AiChatResponse,
            Self::GenerateText { .. } => Kind::GenerateText,
            Self::GenerateImage { .. } => Kind::GenerateImage,
            Self::Noop {} => Kind::Noop,
            Self::Housekeeping { .. } => Kind::Housekeeping,
        }
    }

    /// Where its terminal event is told: the room of a reply, else the private channel of `owner`.
    #[must_use]
    pub fn channel(&self, owner: &UserId) -> Channel {
        match self {
            Self::AiChatResponse(answer) => answer.channel.clone(),
            Self::GenerateText { .. } | Self::GenerateImage { .. } | Self::Noop {} | Self::Housekeeping { .. } => Channel::of_user(owner),
        }
    }
}

/// A picture's size in pixels, each side 64 to 2,048; written `1024x768`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageSize {
    pub width: u32,
    pub height: u32,
}

impl Default for ImageSize {
    fn default() -> Self {
        Self { width: 1024, height: 1024 }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl From<ImageSize> for String {
    fn from(size: ImageSize) -> Self {
        size.to_string()
    }
}

/// The text is not a picture's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a size is `WIDTHxHEIGHT`, each side 64 to 2048")]
pub struct InvalidImageSize;

impl FromStr for ImageSize {
    type Err = InvalidImageSize;

    fn from_str(text: &str) -> Result<Self, InvalidImageSize> {
        let side = |digits: &str| {
            let plain = !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|side| plain && (64..=2048).contains(side)).ok_or(InvalidImageSize)
        };
        let (width, height) = text.split_once('x').ok_or(InvalidImageSize)?;
        Ok(Self { width: side(width)?, height: side(height)? })
    }
}

impl TryFrom<String> for ImageSize {
    type Error = InvalidImageSize;

    fn try_from(text: String) -> Result<Self, InvalidImageSize> {
        text.parse()
    }
}

/// A job about to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub id: JobId,
    pub user: UserId,
    pub work: Work,
    pub priority: Priority,
    /// Not to begin before.
    pub run_at: Option<Timestamp>,
    /// While a job with this key lives, no other one with it is enqueued.
    pub unique_key: Option<String>,
    pub created_at: Timestamp,
}

impl NewJob {
    /// `work`, asked for by `user` now, to be done as soon as may be.
    #[must_use]
    pub fn new(user: UserId, work: Work) -> Self {
        Self { id: JobId::new(), user, work, priority: Priority::Normal, run_at: None, unique_key: None, created_at: Timestamp::now() }
    }
}

/// A job as its owner sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    pub job_id: JobId,
    pub kind: Kind,
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Generated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub attempt: u32,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// The right to work on a job: good while the attempt is the newest and its worker's lease runs. What a worker writes or
/// publishes is taken only with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    pub job: JobId,
    /// The fencing token: grows by one each time the job changes hands, never reset. It may be ahead of what users are told
    /// as the attempt: a rescuer that takes a job over begins none.
    pub attempt: u32,
}

/// A job that a worker claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub fence: Fence,
    pub user: UserId,
    /// How often it failed before.
    pub failures: u32,
    /// How often a worker died while it had it.
    pub crashes: u32,
    /// How long it was ready and not begun, on the store's clock.
    pub waited: Duration,
    /// Somebody has asked to stop it.
    pub cancel_asked: bool,
    /// The arguments, or why they can't be read.
    pub work: Result<Work, String>,
}

/// How long a job waits until it moves up one [`Priority`].
pub const AGING: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_only_as_they_print() {
        for text in ["64x64", "1024x768", "2048x2048"] {
            assert_eq!(text.parse::<ImageSize>().unwrap().to_string(), text);
        }
        for text in ["", "x", "63x64", "64x2049", "64", "+64x64", "64x 64", "64X64", "1e3x64", "00064x64"] {
            assert_eq!(text.parse::<ImageSize>(), Err(InvalidImageSize), "{text}");
        }
    }

    #[test]
    fn names_of_states_and_kinds_parse_back() {
        assert!(State::ALL.iter().all(|state| state.as_str().parse() == Ok(*state)));
        assert!(Kind::ALL.iter().all(|kind| kind.as_str().parse() == Ok(*kind)));
    }
}
