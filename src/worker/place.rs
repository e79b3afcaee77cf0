//! A job's place among those that use a provider at once, whichever worker runs them.
//!
//! The running job's own row holds it, so that it is free again when the job ends or is put back, and whatever becomes of the
//! worker. Waits a little, since most requests are short; then the job makes room for others and comes again. Where no limit is
//! set a request costs nothing. Refuses to count: the store does, under the lock of the limit.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::Instant};

use super::Tools;
use crate::{
    id::WorkerId,
    job::Fence,
    providers::router::turns::Places,
    store::{Scope, Store, StoreError},
};

/// How long a job waits with a slot of its worker in its hands.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it asks, a half more or less.
const EVERY: Duration = Duration::from_millis(100);
/// How long it leaves the slot to others then, a half more or less.
const AWAY: Duration = Duration::from_secs(1);

/// How long what is known of limits counts: a new one is heeded by who asks later.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// Which providers have a limit, read once in a while for all jobs of a worker.
#[derive(Clone, Default)]
pub struct Limited(Arc<Mutex<Option<Known>>>);

/// What was known at a moment.
struct Known {
    read: Instant,
    names: HashSet<String>,
}

impl Limited {
    async fn has(&self, store: &dyn Store, provider: &str) -> Result<bool, StoreError> {
        let mut known = self.0.lock().await;
        if let Some(Known { read, names }) = &*known
            && read.elapsed() < KNOWN_FOR
        {
            return Ok(names.contains(provider));
        }
        let limits = store.limits().await?.into_iter();
        let names = limits.filter_map(|limit| if let Scope::Provider(name) = limit.scope { Some(name) } else { None }).collect();
        Ok(known.insert(Known { read: Instant::now(), names }).names.contains(provider))
    }
}

/// The place of one attempt at a job.
pub(super) struct Place {
    store: Arc<dyn Store>,
    limited: Limited,
    worker: WorkerId,
    fence: Fence,
}

impl Place {
    /// One that isn't taken yet.
    pub(super) fn of(tools: &Tools, worker: WorkerId, fence: Fence) -> Arc<Self> {
        Arc::new(Self { store: tools.store.clone(), limited: tools.limited.clone(), worker, fence })
    }
}

/// How long a job that got no place is to stay away.
pub(super) fn away() -> Duration {
    about(AWAY)
}

/// A half more or less, so that those who wait don't come together.
fn about(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + rand::random::<f64>())
}

#[async_trait]
impl Places for Place {
    async fn take(&self, provider: &str) -> bool {
        if matches!(self.limited.has(&*self.store, provider).await, Ok(false)) {
            return true;
        }
        let until = Instant::now() + PATIENCE;
        loop {
            match self.store.acquire(self.worker, self.fence, provider, usize::MAX).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => log::warn!("job {}: no place at {provider} can be taken: {error}", self.fence.job),
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(about(EVERY)).await;
        }
    }
}
