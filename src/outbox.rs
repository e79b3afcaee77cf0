//! From the store's outbox to the event log.
//!
//! What a transaction has written is published right after it; a sweep publishes what a crash, or a log that was away, has
//! left. The log takes an outbox event once, so that both may try. What is published is forgotten in batches. Refuses to
//! publish anything that isn't durable yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    id::OutboxId,
    log::{EventLog, LogError, Publication},
    store::{Outgoing, Store, StoreError},
};

/// How many published events are forgotten in one statement.
const BATCH: usize = 1000;
/// How often the sweep looks.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// What is younger is left to whoever wrote it.
const SWEEP_AGE: Duration = Duration::from_secs(5);
/// How long idempotency keys are good.
const KEYS_LAST: Duration = Duration::from_hours(24);

/// Publishes what is durable. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    store: Arc<dyn Store>,
    log: Arc<dyn EventLog>,
    published: mpsc::UnboundedSender<OutboxId>,
    /// How many are published and not forgotten yet.
    remembered: Arc<AtomicUsize>,
}

impl Outbox {
    /// An outbox between `store` and `log`; what runs in the background does so on the current thread.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, log: Arc<dyn EventLog>) -> Self {
        let (published, to_forget) = mpsc::unbounded_channel();
        let outbox = Self { store: store.clone(), log, published, remembered: Arc::default() };
        actix_rt::spawn(forget(store, to_forget, outbox.remembered.clone()));
        actix_rt::spawn(outbox.clone().sweep());
        outbox
    }

    /// Publishes an event that is durable. Where the log can't be reached it stays for the sweep.
    pub async fn publish(&self, outgoing: &Outgoing) {
        match self.log.publish(Publication::once(&outgoing.event, outgoing.id)).await {
            Ok(_) => {
                self.remembered.fetch_add(1, Ordering::Relaxed);
                // The receiver lives as long as this process serves; what it misses the sweep finds again.
                let _ = self.published.send(outgoing.id);
            }
            Err(error @ LogError::Unavailable(_)) => log::warn!("{error}; the event waits in the outbox"),
            Err(error @ LogError::Fenced(_)) => log::error!("{error}, though outbox events have no fence"),
        }
    }

    /// Publishes one event now, if it still waits: for who must not come before it.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn publish_first(&self, id: OutboxId) -> Result<(), StoreError> {
        if let Some(outgoing) = self.store.unpublished_one(id).await? {
            self.publish(&outgoing).await;
        }
        Ok(())
    }

    /// Publishes all that a former life of the product has left.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn publish_left_over(&self, age: Duration) -> Result<(), StoreError> {
        for outgoing in self.store.unpublished(age, BATCH).await? {
            self.publish(&outgoing).await;
        }
        Ok(())
    }

    /// Waits a little until what is published is forgotten, so that the next life has nothing to publish again.
    pub async fn settle(&self) {
        for _ in 0..100 {
            if self.remembered.load(Ordering::Relaxed) == 0 {
                return;
            }
            actix_rt::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn sweep(self) {
        let mut age = Duration::ZERO;
        loop {
            if let Err(error) = self.publish_left_over(age).await {
                log::warn!("the outbox can't be swept: {error}");
            }
            if let Err(error) = self.store.forget_keys(KEYS_LAST).await {
                log::warn!("old idempotency keys can't be forgotten: {error}");
            }
            actix_rt::time::sleep(SWEEP_EVERY).await;
            age = SWEEP_AGE;
        }
    }
}

async fn forget(store: Arc<dyn Store>, mut published: mpsc::UnboundedReceiver<OutboxId>, remembered: Arc<AtomicUsize>) {
    let mut ids = Vec::new();
    while published.recv_many(&mut ids, BATCH).await > 0 {
        let count = ids.len();
        if let Err(error) = store.forget_published(std::mem::take(&mut ids)).await {
            // They are published again by the sweep, and the log takes them once.
            log::warn!("published events can't be forgotten yet: {error}");
        }
        remembered.fetch_sub(count, Ordering::Relaxed);
        // Lets more come together; nobody waits for this.
        actix_rt::time::sleep(Duration::from_millis(20)).await;
    }
}
