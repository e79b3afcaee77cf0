//! What can be wrong with a trace, in the words of whoever has to mend it.

use std::fmt;

use crate::{
    channel::Channel,
    check::trace::{Place, View},
    event::ResetReason,
    id::{JobId, MessageId},
    job::State,
};

/// One breach of the delivery contract. It holds what identifies it and nothing else, so that the same breach can be
/// recognised in a shorter trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A stream went on behind an event that it never told.
    Hole { view: View, channel: Channel, missing: Place },
    /// A stream told an event again, or one from before what it had told.
    Again { view: View, channel: Channel, place: Place },
    /// A stream went on at another place than `from`, and no reset said so.
    UntoldGap { view: View, channel: Channel, from: Place },
    /// A stream said that there is a gap where nothing can have been lost.
    NeedlessReset { view: View, channel: Channel, reason: ResetReason },
    /// Two views were told different events at one place.
    Disagreement { channel: Channel, place: Place },
    /// Others were told more of the channel, and this view was not, to the end.
    Behind { view: View, channel: Channel },
    /// A message was told twice, or stood in the page and came by the stream that goes on from it.
    MessageTwice { view: View, channel: Channel, message: MessageId },
    /// An acknowledged message neither came by the stream nor stood in a page.
    Untold { view: View, channel: Channel, message: MessageId },
    /// An acknowledged message is not in history as it was said.
    Lost { channel: Channel, message: MessageId },
    /// One request made two messages.
    Doubled { channel: Channel, content: String },
    /// A message is in history as another one than was told.
    KeptOtherwise { channel: Channel, message: MessageId },
    /// A message was told that history does not have.
    Phantom { channel: Channel, message: MessageId },
    /// A job had a second terminal event.
    SecondEnd { view: View, channel: Channel, job: JobId },
    /// A job was told of after its terminal event.
    AfterTheEnd { view: View, channel: Channel, job: JobId },
    /// An accepted job had no terminal event.
    NoEnd { view: View, channel: Channel, job: JobId },
    /// An accepted job is not at its end in the queue.
    Unfinished { job: JobId, state: State },
    /// The end of a job that was told is not the one that it has in the queue.
    OtherEnd { job: JobId, told: State, state: State },
    /// A piece of a text does not follow the one before it.
    BrokenText { view: View, channel: Channel, job: JobId, seq: u32 },
    /// A text ended as another one than its pieces said.
    OtherText { view: View, channel: Channel, job: JobId },
    /// A server says that somebody is there who is not, or the other way round.
    Presence { server: usize, channel: Channel },
    /// A server gave an answer that it must never give.
    WrongAnswer { server: usize, saw: String },
}

impl Violation {
    /// What sort of breach it is, the same words for all of one sort.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::WrongAnswer { saw, .. } => format!("wrong answer: {saw}"),
            other => other.to_string().split(':').next().unwrap_or_default().to_owned(),
        }
    }

    /// Whether it may still go away by waiting: something is owed, and may only be late.
    #[must_use]
    pub fn may_be_late(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::Untold { .. } | Self::NoEnd { .. })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hole { view, channel, missing } => write!(f, "hole: {view} was not told {missing} of {channel}, and what came after it"),
            Self::Again { view, channel, place } => write!(f, "again: {view} was told {place} of {channel} after it or a later one"),
            Self::UntoldGap { view, channel, from } => {
                write!(f, "untold gap: {view} went on elsewhere than after {from} of {channel}, without a reset")
            }
            Self::NeedlessReset { view, channel, reason } => {
                write!(f, "needless reset: {view} was told {reason:?} for {channel}, and nothing was lost")
            }
            Self::Disagreement { channel, place } => write!(f, "disagreement: two views were told different events at {place} of {channel}"),
            Self::Behind { view, channel } => write!(f, "behind: others were told more of {channel} than {view}"),
            Self::MessageTwice { view, channel, message } => write!(f, "message twice: {view} has {message} of {channel} two times"),
            Self::Untold { view, channel, message } => write!(f, "untold: {view} never had the acknowledged message {message} of {channel}"),
            Self::Lost { channel, message } => write!(f, "lost: the acknowledged message {message} of {channel} is not in history as it was said"),
            Self::Doubled { channel, content } => write!(f, "doubled: one request made two messages in {channel}: {content:?}"),
            Self::KeptOtherwise { channel, message } => {
                write!(f, "kept otherwise: {message} of {channel} is in history as another one than was told")
            }
            Self::Phantom { channel, message } => write!(f, "phantom: {message} was told in {channel} and is not in history"),
            Self::SecondEnd { view, channel, job } => write!(f, "second end: {view} was told two terminal events of job {job} on {channel}"),
            Self::AfterTheEnd { view, channel, job } => {
                write!(f, "after the end: {view} was told more of job {job} on {channel} after its terminal event")
            }
            Self::NoEnd { view, channel, job } => write!(f, "no end: {view} was told no terminal event of job {job} on {channel}"),
            Self::Unfinished { job, state } => write!(f, "unfinished: the accepted job {job} is {state} at the end"),
            Self::OtherEnd { job, told, state } => write!(f, "other end: job {job} was told to be {told}, and is {state} at the end"),
            Self::BrokenText { view, channel, job, seq } => {
                write!(f, "broken text: {view} was told piece {seq} of job {job} on {channel}, which does not follow the one before it")
            }
            Self::OtherText { view, channel, job } => {
                write!(f, "other text: the end of job {job} on {channel} says another text than the pieces {view} was told")
            }
            Self::Presence { server, channel } => write!(f, "presence: server {server} is wrong about who is in {channel}"),
            Self::WrongAnswer { server, saw } => write!(f, "wrong answer of server {server}: {saw}"),
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "view {}", self.0)
    }
}
