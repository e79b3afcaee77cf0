//! Wake-ups: tells workers that there may be something to do.
//!
//! A wake-up is a hint, never the only way: workers also look by themselves, so a lost one costs time and nothing else.

use tokio::sync::broadcast;

use crate::id::JobId;

/// What a worker is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    /// Jobs may be available.
    Jobs,
    /// Somebody asked to stop this job while it ran.
    Stop(JobId),
}

/// Wakes the workers of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wakeups(broadcast::Sender<Wakeup>);

impl Default for Wakeups {
    fn default() -> Self {
        Self(broadcast::Sender::new(1024))
    }
}

impl Wakeups {
    /// Wakes whoever listens.
    pub fn send(&self, wakeup: Wakeup) {
        // Nobody listens while the worker starts or stops; it looks by itself.
        let _ = self.0.send(wakeup);
    }

    /// Listens from now on. Who lags behind is told so, and should look by itself.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Wakeup> {
        self.0.subscribe()
    }
}
