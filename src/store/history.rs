//! What the store keeps of conversations.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;

use super::StoreError;
use crate::{
    channel::Channel,
    event::FinishReason,
    id::{MessageId, StreamId, UserId},
    persona::Speaker,
    timestamp::Timestamp,
};

/// A message of history.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub channel: Channel,
    pub content: String,
    pub author: Author,
    pub timestamp: Timestamp,
}

/// Who a message is by.
#[derive(Debug, Clone, PartialEq)]
pub enum Author {
    /// A person.
    Person { user_id: UserId, user_name: String, client_id: Option<String> },
    /// An AI.
    Assistant { provider: String, stream_id: StreamId, reply_to: Option<MessageId>, finish_reason: FinishReason, persona: Option<Speaker> },
}

/// A page of history.
#[derive(Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Those whose event may not be published yet.
    pub unpublished: HashSet<MessageId>,
    /// Whether there are older ones.
    pub more: bool,
}

/// Rooms' messages.
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// The newest messages of a channel before `before`, at most `limit`.
    async fn messages(&self, channel: &Channel, before: Option<MessageId>, limit: usize) -> Result<Page, StoreError>;

    /// The first channel, in order, that has messages and comes after this one.
    async fn next_channel(&self, after: Option<&Channel>) -> Result<Option<Channel>, StoreError>;

    /// Forgets up to `limit` messages of a channel that are at least so old, oldest first, and says how many.
    async fn prune_messages(&self, channel: &Channel, age: Duration, limit: usize) -> Result<usize, StoreError>;
}
