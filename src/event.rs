//! Every event a client can be told, as the type that is sent: `{"type", "timestamp", "channel", …}` in this order.
//!
//! The names and payloads are those of the channel specification; what the product adds stands in docs/events.md, which a
//! test holds against these types. Refuses to know how events travel: positions are the log's, SSE framing is
//! [`crate::realtime::frame`]'s.

use std::{fmt::Write as _, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    channel::Channel,
    failure::Failure,
    id::{JobId, MessageId, PersonaId, StreamId, UserId},
    timestamp::Timestamp,
};

/// Something that happened on a channel.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// When it happened.
    pub timestamp: Timestamp,
    /// Where it is told.
    pub channel: Channel,
    /// What happened; its name is the event's `type`.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened. The variant's name in snake case is the event's `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A person said something.
    Chat { result: ChatMessage },
    /// A piece of a streamed text: an AI reply on a room's channel, a generated text on its user's.
    AiChatChunk { job_id: JobId, result: Chunk },
    /// An AI reply is complete. With `error` it ended early; `content` is what there is of it.
    AiChat {
        job_id: JobId,
        result: Reply,
        #[serde(flatten)]
        failure: Option<Failure>,
    },
    /// A worker took the job.
    GenerationStarted { job_id: JobId, message: String },
    /// The job came further; there may be something to see already.
    GenerationProgress {
        job_id: JobId,
        progress: u8,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Preview>,
    },
    /// The job is done.
    GenerationComplete { job_id: JobId, progress: u8, result: Generated },
    /// The job ended without a result; `error` is `"cancelled"` where the user asked for it.
    GenerationFailed {
        job_id: JobId,
        #[serde(flatten)]
        failure: Failure,
    },
    /// Who is in the room changed, or, first of all, who is there. Never logged.
    Presence(Presence),
    /// Somebody started or stopped typing. Never logged.
    #[serde(rename_all = "camelCase")]
    Typing { user_id: UserId, is_typing: bool },
}

/// What a person said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessage {
    pub id: MessageId,
    pub content: String,
    pub user_id: UserId,
    pub user_name: String,
    pub timestamp: Timestamp,
    /// The sender's own mark, given back so that its optimistic copy can be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// A piece of a streamed text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    pub stream_id: StreamId,
    /// What is new; empty in the last one.
    pub text: String,
    /// Whether this is the last one.
    pub done: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// From 0, by 1; 0 again with `restart`.
    pub seq: u32,
    /// The text starts anew: what was shown for this stream is void.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona_id: Option<PersonaId>,
    /// How the room shows the persona; the first chunk alone says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
}

/// A complete AI reply; `id` is its message in history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    pub id: MessageId,
    pub content: String,
    pub provider: String,
    pub timestamp: Timestamp,
    pub stream_id: StreamId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    pub finish_reason: FinishReason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona_id: Option<PersonaId>,
    /// How the room shows the persona.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona_name: Option<String>,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model had said all.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The provider held the rest back.
    ContentFilter,
    /// Somebody stopped it.
    Cancelled,
    /// It broke off and could not be taken up again.
    Error,
}

/// What can be seen of a picture before it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// Good until the job ends.
    pub preview: GeneratedImage,
}

/// What a generation made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Generated {
    /// Pictures, by URL, never inline.
    Image { images: Vec<GeneratedImage>, provider: String, model: String, prompt: String },
    /// A text.
    Text {
        text: String,
        provider: String,
        model: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedImage {
    /// Unguessable, and good for ever.
    pub url: String,
    pub width: u32,
    pub height: u32,
    pub content_type: String,
    /// The file's size.
    pub bytes: u64,
}

/// What a provider counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// A person, as rooms show them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub user_id: UserId,
    pub user_name: String,
}

/// Who is in a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Presence {
    /// Somebody came.
    Join(Person),
    /// Somebody left.
    Leave(Person),
    /// Who is there, for a newcomer: how many, and the first 100.
    Snapshot { count: usize, users: Vec<Person> },
    /// Many changes at once: how many are there now, and the first 100 of each kind.
    Update { count: usize, joined: Vec<Person>, left: Vec<Person> },
}

impl Fact {
    /// The event's `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Chat { .. } => "chat",
            Self::AiChatChunk { .. } => "ai_chat_chunk",
            Self::AiChat { .. } => "ai_chat",
            Self::GenerationStarted { .. } => "generation_started",
            Self::GenerationProgress { .. } => "generation_progress",
            Self::GenerationComplete { .. } => "generation_complete",
            Self::GenerationFailed { .. } => "generation_failed",
            Self::Presence(_) => "presence",
            Self::Typing { .. } => "typing",
        }
    }

    /// Every `type` there is, in the order of [`Fact`].
    pub const KINDS: [&'static str; 9] = [
        "chat",
        "ai_chat_chunk",
        "ai_chat",
        "generation_started",
        "generation_progress",
        "generation_complete",
        "generation_failed",
        "presence",
        "typing",
    ];

    /// The message of history this event tells, where it tells one: of a reply that says nothing, history keeps nothing.
    #[must_use]
    pub fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Chat { result } => Some(result.id),
            Self::AiChat { result, .. } => Some(result.id).filter(|_| !result.content.is_empty()),
            _ => None,
        }
    }
}

impl Event {
    /// `fact`, told on `channel` now.
    #[must_use]
    pub fn now(channel: Channel, fact: Fact) -> Self {
        Self { timestamp: Timestamp::now(), channel, fact }
    }

    /// The event as JSON, without a line break in it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let fact = serde_json::to_string(&self.fact).expect("a fact is plain data with text keys");
        // serde writes the tag of an enum first: `{"type":"chat"` is cut off and written again before the shared fields.
        let kind = self.fact.kind();
        let rest = &fact[r#"{"type":"""#.len() + kind.len()..];
        let mut json = String::with_capacity(fact.len() + self.channel.as_str().len() + 64);
        let _ = write!(json, r#"{{"type":"{kind}","timestamp":"{}","channel":"{}"{rest}"#, self.timestamp, self.channel);
        json
    }
}

impl FromStr for Event {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// What the server says about the stream itself; the SSE event's name is the variant's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Control {
    /// Always first, at once.
    #[serde(rename = "stream_ready")]
    Ready {
        timestamp: Timestamp,
        channels: Vec<Channel>,
        /// Whether a cursor was taken up; where it could not be for a channel, a reset follows.
        resumed: bool,
    },
    /// This channel has a gap: re-read its history.
    #[serde(rename = "stream_reset")]
    Reset { timestamp: Timestamp, channel: Channel, reason: ResetReason },
    /// The server ends this stream.
    #[serde(rename = "stream_closing")]
    Closing {
        timestamp: Timestamp,
        reason: ClosingReason,
        /// Whether coming back makes sense.
        reconnect: bool,
    },
    /// Nothing else was sent for a while.
    #[serde(rename = "ping")]
    Ping { timestamp: Timestamp },
}

impl Control {
    /// The SSE event name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::Reset { .. } => "reset",
            Self::Closing { .. } => "closing",
            Self::Ping { .. } => "ping",
        }
    }
}

/// Why a channel could not be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetReason {
    /// The log no longer has what was missed.
    Trimmed,
    /// The log began anew.
    Epoch,
    /// The cursor could not be read.
    Cursor,
}

/// Why the server ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClosingReason {
    /// The reader is slower than its events.
    Slow,
    /// The server stops.
    Drain,
    /// The identity's time is over.
    Expired,
    /// The stream is old; a new one spreads the load.
    Lifetime,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chat(content: String, client_id: Option<String>, millis: i64) -> Event {
        let result = ChatMessage {
            id: MessageId::new(),
            content,
            user_id: "u_1".parse().unwrap(),
            user_name: "Ada".into(),
            timestamp: Timestamp::from_millis(millis),
            client_id,
        };
        Event { timestamp: Timestamp::from_millis(millis), channel: "channel:general".parse().unwrap(), fact: Fact::Chat { result } }
    }

    #[test]
    fn type_timestamp_and_channel_come_first() {
        let json = chat("hi".into(), None, 0).to_json();
        assert!(json.starts_with(r#"{"type":"chat","timestamp":"1970-01-01T00:00:00.000Z","channel":"channel:general","result":{"id":""#), "{json}");
    }

    #[test]
    fn presence_keeps_its_status_beside_the_type() {
        let person = Person { user_id: "u_1".parse().unwrap(), user_name: "Ada".into() };
        let event =
            Event { timestamp: Timestamp::from_millis(0), channel: "channel:general".parse().unwrap(), fact: Fact::Presence(Presence::Join(person)) };
        let json = event.to_json();
        assert!(json.ends_with(r#""status":"join","userId":"u_1","userName":"Ada"}"#), "{json}");
        assert_eq!(json.parse::<Event>().unwrap(), event);
    }

    proptest! {
        #[test]
        fn every_event_prints_on_one_line_and_parses_back(content in any::<String>(), client_id in any::<Option<String>>(), millis in 0i64..4_000_000_000_000) {
            let event = chat(content, client_id, millis);
            let json = event.to_json();
            prop_assert!(!json.contains(['\n', '\r']));
            prop_assert_eq!(json.parse::<Event>().unwrap(), event);
        }

        #[test]
        fn random_text_is_refused_without_a_panic(text in any::<String>()) {
            let _ = text.parse::<Event>();
        }
    }
}
