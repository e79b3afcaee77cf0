//! What the store keeps of events that are not told yet, and of requests that may be repeated.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::{event::Event, id::OutboxId};

/// An event that is to be published once what it tells is durable.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub id: OutboxId,
    pub event: Event,
}

/// Makes a repeated request harmless.
#[derive(Debug, Clone)]
pub struct Idempotency {
    pub key: String,
    /// What the request asks for, so that another request under the same key is noticed.
    pub fingerprint: [u8; 32],
    /// The answer, to be given again.
    pub response: String,
}

/// Events that wait to be published, and the keys of requests.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Events of the outbox that are at least so old, oldest first.
    async fn unpublished(&self, age: Duration, limit: usize) -> Result<Vec<Outgoing>, StoreError>;

    /// One event of the outbox, where it waits.
    async fn unpublished_one(&self, id: OutboxId) -> Result<Option<Outgoing>, StoreError>;

    /// These events of the outbox are published.
    async fn forget_published(&self, ids: Vec<OutboxId>) -> Result<(), StoreError>;

    /// Forgets idempotency keys that are at least so old.
    async fn forget_keys(&self, age: Duration) -> Result<(), StoreError>;
}
