//! The event log: gives every logged event of a channel its position, keeps the recent ones, and tells the hub.
//!
//! Redis or memory keeps it; [`EventLog`] is all that the rest of the product knows of either. The log refuses to interpret
//! what it keeps, but for two things that must hold under one lock with the position: the fence of the job that publishes,
//! and the text of replies that are still streaming.

pub mod elsewhere;
mod memory;
pub mod metrics;
mod redis;
mod streaming;
mod subscriber;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use self::elsewhere::{Crowd, Heard, Said};
pub use self::{
    memory::MemoryLog,
    redis::{InvalidAddress, RedisAddress, RedisLog},
    streaming::Running,
};
use crate::{
    channel::Channel,
    event::Event,
    id::{MessageId, OutboxId},
    job::Fence,
};

/// One life of a channel's offsets. Its upper half names the data set: two epochs of one data set may be compared, those of
/// different ones have nothing in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The `generation`-th epoch of a data set.
    #[must_use]
    pub fn new(dataset: u32, generation: u32) -> Self {
        Self(u64::from(dataset) << 32 | u64::from(generation))
    }

    /// The data set it belongs to.
    #[must_use]
    pub fn dataset(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Which one of its data set it is.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}", self.dataset(), self.generation())
    }
}

/// A place in a channel's log: after the event `offset` of `epoch`; offset 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub epoch: Epoch,
    pub offset: u64,
}

impl Position {
    /// No place of any log.
    pub const NOWHERE: Self = Self { epoch: Epoch(0), offset: 0 };

    /// Whether what follows this place is the continuation of what came before it, in a log whose newest place is `head`.
    #[must_use]
    pub fn continues_in(self, head: Position) -> bool {
        // Before the first event any epoch of the data set will do: an idle channel's epoch begins with its first event.
        let untouched = self.offset == 0 && self.epoch.dataset() == head.epoch.dataset();
        untouched || (self.epoch == head.epoch && self.offset <= head.offset)
    }
}

/// An event with its place.
#[derive(Debug, Clone)]
pub struct Logged {
    pub channel: Channel,
    /// The place of this event, that is, the one right after it.
    pub position: Position,
    /// The event, as [`Event::to_json`] wrote it.
    pub json: Bytes,
}

/// What the hub is told.
#[derive(Debug)]
pub enum News {
    /// There is a new event; those of a channel are told in order.
    Logged(Logged),
    /// The log's newest place is this; what lies between it and the newest event that was told must be read.
    Head(Channel, Position),
    /// Other processes have something to say of a room.
    Elsewhere(Channel, Heard),
}

/// Who is told of every event, in the order of the log.
pub type Listener = Arc<dyn Fn(News) + Send + Sync>;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events a channel.
    pub events: usize,
    /// Bytes of events a channel.
    pub bytes: usize,
    /// How long a channel is kept that nobody writes to.
    pub retention: Duration,
}

/// One run of a job's handler, as the log tells them apart.
///
/// A database that loses a claim, as one may that crashes, has the same attempt begun twice: by their fences both runs are in the
/// right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Voice(pub u64);

impl Voice {
    /// No run has this one: an attempt of it is over.
    pub const NOBODY: Self = Self(0);

    /// One that no other run has.
    #[must_use]
    pub fn new() -> Self {
        Self(rand::random_range(1..=u64::MAX))
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self::new()
    }
}

/// An event to be logged.
#[derive(Debug)]
pub struct Publication<'a> {
    pub event: &'a Event,
    /// The right of the job that publishes it, and who speaks for it; where a newer attempt has published already, or this one by
    /// another voice, it is refused.
    pub right: Option<(Fence, Voice)>,
    /// Where given, the event is logged once, however often it is published.
    pub once: Option<OutboxId>,
}

impl<'a> Publication<'a> {
    /// An event of the outbox.
    #[must_use]
    pub fn once(event: &'a Event, id: OutboxId) -> Self {
        Self { event, right: None, once: Some(id) }
    }

    /// An event of a running job.
    #[must_use]
    pub fn fenced(event: &'a Event, fence: Fence, voice: Voice) -> Self {
        Self { event, right: Some((fence, voice)), once: None }
    }
}

/// What the log has after a place.
#[derive(Debug)]
pub struct Replay {
    /// Whether nothing is missing between the place asked for and the first event here.
    pub complete: bool,
    /// All that the log still has after that place, in order.
    pub events: Vec<Logged>,
    /// The newest place.
    pub head: Position,
}

/// A channel's log at one moment, for whoever shows its history.
#[derive(Debug)]
pub struct Snapshot {
    /// The newest place.
    pub head: Position,
    /// The messages among the events that are kept, oldest first, with the offset of each.
    pub messages: Vec<(u64, MessageId)>,
    /// Replies that are streaming, as far as they are told at `head`.
    pub streaming: Vec<Running>,
}

/// Keeps the recent events of every channel and tells the hub of each new one, in order.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Logs an event and tells the hub. Gives its place, or nothing where it was logged before (`once`).
    ///
    /// # Errors
    /// [`LogError::Fenced`] where the job's right is gone; [`LogError::Unavailable`] where the log can't be reached.
    async fn publish(&self, publication: Publication<'_>) -> Result<Option<Position>, LogError>;

    /// The newest place of a channel.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn head(&self, channel: &Channel) -> Result<Position, LogError>;

    /// What the log has after `after`.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn read(&self, channel: &Channel, after: Position) -> Result<Replay, LogError>;

    /// The channel at this moment.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn snapshot(&self, channel: &Channel) -> Result<Snapshot, LogError>;

    /// How long an idle channel's place is remembered: an older cursor can't be trusted.
    fn retention(&self) -> Duration;

    /// Whether it can be reached now.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], with what is wrong.
    async fn check(&self) -> Result<(), LogError>;

    /// Whether events of this channel can be logged now.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], with what is wrong.
    async fn check_of(&self, _channel: &Channel) -> Result<(), LogError> {
        self.check().await
    }

    /// Somebody in this process listens to `channel` from now on: its events must be told. To be called before [`Self::head`],
    /// so that nothing is missed in between.
    fn follow(&self, _channel: &Channel) {}

    /// Nobody in this process listens to `channel` any more.
    fn unfollow(&self, _channel: &Channel) {}

    /// Tells a room's listeners in other processes what is not logged. A log of one process has nobody to tell.
    fn tell_elsewhere(&self, _channel: &Channel, _said: Said) {}

    /// Has the hub told who is in a room at other processes.
    fn ask_elsewhere(&self, _channel: &Channel) {}

    /// Who is in a room at other processes.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn elsewhere(&self, _channel: &Channel) -> Result<Vec<Crowd>, LogError> {
        Ok(Vec::new())
    }
}

/// What can go wrong with the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// A newer attempt of the job publishes now, or this one by another voice.
    #[error("attempt {} of job {} has lost its right to publish", .0.attempt, .0.job)]
    Fenced(Fence),
    /// The log can't be reached.
    #[error("the event log can't be reached: {0}")]
    Unavailable(String),
}
