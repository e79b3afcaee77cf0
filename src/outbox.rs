//! From the store's outbox to the event log.
//!
//! What a transaction has written is published right after it. What a log that was away has left is published by whoever
//! could not, once it is back; what a crash has left, by the next start and by a periodic job. The log takes an outbox event
//! once, so that all may try. What is published is forgotten in batches. Refuses to publish anything that isn't durable yet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc};

use crate::{
    id::OutboxId,
    log::{EventLog, LogError, Publication},
    metrics::{Histogram, Metric},
    store::{Outgoing, Store, StoreError},
};

/// How many published events are forgotten in one statement.
const BATCH: usize = 1000;
/// How long a request waits for the log.
const REQUEST_WAITS: Duration = Duration::from_millis(100);
/// How long to wait until what could not be published is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// From durable to told here.
pub static PUBLISHED: Metric<Histogram> =
    Metric::new("persona_publish_seconds", "How long durable events took to be logged and told to the hub of this process.");

/// Publishes what is durable. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    store: Arc<dyn Store>,
    log: Arc<dyn EventLog>,
    published: mpsc::UnboundedSender<OutboxId>,
    /// How many are published and not forgotten yet.
    remembered: Arc<AtomicUsize>,
    /// Something could not be published.
    left: Arc<Notify>,
    /// The log could not be reached the last time.
    is_away: Arc<AtomicBool>,
}

impl Outbox {
    /// An outbox between `store` and `log`; what runs in the background does so on the current thread.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, log: Arc<dyn EventLog>) -> Self {
        let (published, to_forget) = mpsc::unbounded_channel();
        let outbox = Self { store: store.clone(), log, published, remembered: Arc::default(), left: Arc::default(), is_away: Arc::default() };
        actix_rt::spawn(forget(store, to_forget, outbox.remembered.clone()));
        actix_rt::spawn(outbox.clone().catch_up());
        outbox
    }

    /// Publishes an event that is durable. Where the log can't be reached it stays until that is back.
    pub async fn publish(&self, outgoing: &Outgoing) {
        if !self.try_publish(outgoing).await {
            self.left.notify_one();
        }
    }

    /// Publishes an event that is durable, for a request: it is answered soon, also where the log is slow, which gets the
    /// event all the same.
    pub async fn publish_for_request(&self, outgoing: &Outgoing) {
        let (outbox, outgoing) = (self.clone(), outgoing.clone());
        let mut publishing = Box::pin(async move { outbox.publish(&outgoing).await });
        if tokio::time::timeout(REQUEST_WAITS, &mut publishing).await.is_err() {
            actix_rt::spawn(publishing);
        }
    }

    /// Publishes an event, and says whether it came through.
    async fn try_publish(&self, outgoing: &Outgoing) -> bool {
        let began = Instant::now();
        match self.log.publish(Publication::once(&outgoing.event, outgoing.id)).await {
            Ok(_) => {
                PUBLISHED.observe(began.elapsed());
                self.note_away(false);
                self.remembered.fetch_add(1, Ordering::Relaxed);
                // The receiver lives as long as this process serves; what it misses is found again.
                let _ = self.published.send(outgoing.id);
                true
            }
            Err(error @ LogError::Unavailable(_)) => {
                if self.note_away(true) {
                    log::warn!("{error}; events wait in the outbox until it is back");
                }
                false
            }
            Err(error @ LogError::Fenced(_)) => {
                log::error!("{error}, though outbox events have no fence");
                true
            }
        }
    }

    /// Says whether this is news.
    fn note_away(&self, is_away: bool) -> bool {
        // What happens with each event doesn't write.
        self.is_away.load(Ordering::Relaxed) != is_away && self.is_away.swap(is_away, Ordering::Relaxed) != is_away
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

    /// Publishes all that has waited at least so long. Says whether nothing is left of it.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn publish_left_over(&self, age: Duration) -> Result<bool, StoreError> {
        let waiting = self.store.unpublished(age, BATCH).await?;
        let is_all = waiting.len() < BATCH;
        for outgoing in &waiting {
            if !self.try_publish(outgoing).await {
                return Ok(false);
            }
        }
        Ok(is_all)
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

    /// Publishes what a former life has left, and from then on what could not be published.
    async fn catch_up(self) {
        let mut age = Duration::ZERO;
        loop {
            match self.publish_left_over(age).await {
                Ok(true) => self.left.notified().await,
                Ok(false) => {}
                Err(error) => log::warn!("the outbox can't be read: {error}"),
            }
            age = AGAIN_AFTER;
            actix_rt::time::sleep(AGAIN_AFTER).await;
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
