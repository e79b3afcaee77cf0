//! What was done and seen, in the order in which it was recorded.
//!
//! A trace is all that the verifier knows. It prints as lines of JSON, so that one that shows a fault can be kept and read
//! again. Refuses to judge.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;

use crate::{
    channel::Channel,
    event::{Event, ResetReason},
    id::{JobId, MessageId, StreamId},
    job::State,
    log::Position,
};

/// A place in a channel's log, as a cursor names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The data set, and which one of its epochs.
    pub epoch: (u32, u32),
    /// After how many events.
    pub offset: u64,
}

impl Place {
    /// Whether the event at `next` is the one that follows this place.
    #[must_use]
    pub fn is_before(self, next: Self) -> bool {
        // Before the first event any epoch of the data set will do: an idle channel's epoch begins with its first event.
        let is_continued = self.epoch == next.epoch || (self.offset == 0 && self.epoch.0 == next.epoch.0);
        is_continued && next.offset == self.offset + 1
    }

    /// Whether both mean the same place.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        self == other || (self.offset == 0 && other.offset == 0 && self.epoch.0 == other.epoch.0)
    }

    /// The place after the next event.
    #[must_use]
    pub fn next(self) -> Self {
        Self { offset: self.offset + 1, ..self }
    }
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self { epoch: (position.epoch.dataset(), position.epoch.generation()), offset: position.offset }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}/{}", self.epoch.0, self.epoch.1, self.offset)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The places of a stream's channels, as one cursor has them.
pub type Places = BTreeMap<Channel, Place>;

/// One reader, over all the streams it opens one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct View(pub u32);

/// An event as it was read. Those that are read many times are kept once.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard(pub Arc<Event>);

impl Serialize for Heard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_json()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Heard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = serde_json::Value::deserialize(deserializer)?;
        serde_json::from_value(json).map(|event| Self(Arc::new(event))).map_err(D::Error::custom)
    }
}

/// A reply that a page of history shows while it is still being written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Streaming {
    pub stream_id: StreamId,
    pub job_id: JobId,
    pub text: String,
    pub seq: u32,
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the run began.
    pub at: u64,
    #[serde(flatten)]
    pub what: What,
}

/// What was done or seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A view has read a room's history: before its first stream, or after a reset.
    Page {
        view: View,
        channel: Channel,
        /// Those of the newest page, from which the stream goes on.
        messages: Vec<MessageId>,
        /// Those of the pages before it.
        older: Vec<MessageId>,
        streaming: Vec<Streaming>,
    },
    /// A view's stream said that it is ready; `asked` is the cursor that it was to go on from.
    Opened { view: View, server: usize, asked: Places, cursor: Places, channels: Vec<Channel> },
    /// A view got a logged event.
    Told { view: View, cursor: Places, event: Heard },
    /// A view got a cursor without an event.
    Passed { view: View, cursor: Places },
    /// A view was told that a channel has a gap.
    Reset { view: View, channel: Channel, reason: ResetReason },
    /// A view's stream ended.
    Cut { view: View, why: String },
    /// A view reads no more: it is owed nothing from here on.
    Left { view: View },
    /// A message was acknowledged, first asked for at `since`.
    Said { since: u64, channel: Channel, message: MessageId, content: String, job: Option<JobId> },
    /// A generation was acknowledged; it is told on `channel`.
    Asked { since: u64, channel: Channel, job: JobId },
    /// A server gave an answer that it must never give.
    Wrong { server: usize, saw: String },
    /// Something was done to a server or to what it stands on.
    Fault {
        did: String,
        /// Whether the event log may have lost what it held.
        loses_log: bool,
    },
    /// At the end: all that history has of a room.
    Kept { channel: Channel, messages: Vec<(MessageId, String)> },
    /// At the end: a job.
    Ended { job: JobId, state: State },
    /// At the end: who is in a room, by what one server says, and by the streams that are open.
    Present { server: usize, channel: Channel, said: Vec<String>, open: Vec<String> },
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}
