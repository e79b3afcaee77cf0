//! Wake-ups: tells workers that there may be something to do.
//!
//! A wake-up is a hint, never the only way: workers also look by themselves, so a lost one costs time and nothing else.

use std::{fmt, str::FromStr};

use tokio::sync::{broadcast, mpsc};

use crate::id::{InvalidId, JobId};

/// What a worker is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wakeup {
    /// Jobs may be available.
    Jobs,
    /// Somebody asked to stop this job while it ran.
    Stop(JobId),
}

impl fmt::Display for Wakeup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs => f.write_str("jobs"),
            Self::Stop(job) => write!(f, "stop {job}"),
        }
    }
}

impl FromStr for Wakeup {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.split_once(' ') {
            None if text == "jobs" => Ok(Self::Jobs),
            Some(("stop", job)) => Ok(Self::Stop(job.parse()?)),
            _ => Err(InvalidId),
        }
    }
}

/// Wakes the workers of this process, and through a [`Relay`] those of others. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wakeups {
    here: broadcast::Sender<Wakeup>,
    away: Option<mpsc::UnboundedSender<Wakeup>>,
}

/// Carries wake-ups between processes, for whoever can.
#[derive(Debug)]
pub struct Relay {
    here: broadcast::Sender<Wakeup>,
    outgoing: mpsc::UnboundedReceiver<Wakeup>,
}

impl Default for Wakeups {
    /// Wakes this process alone.
    fn default() -> Self {
        Self { here: broadcast::Sender::new(1024), away: None }
    }
}

impl Wakeups {
    /// Wakes this process, and gives to the relay what others are to hear.
    #[must_use]
    pub fn relayed() -> (Self, Relay) {
        let (away, outgoing) = mpsc::unbounded_channel();
        let wakeups = Self { away: Some(away), ..Self::default() };
        let relay = Relay { here: wakeups.here.clone(), outgoing };
        (wakeups, relay)
    }

    /// Wakes whoever listens.
    pub fn send(&self, wakeup: Wakeup) {
        self.send_here(wakeup);
        if let Some(away) = &self.away {
            // The relay ends with the process.
            let _ = away.send(wakeup);
        }
    }

    /// Wakes this process alone: for what is soon enough done by whoever is awake.
    pub fn send_here(&self, wakeup: Wakeup) {
        // Nobody listens while the worker starts or stops; it looks by itself.
        let _ = self.here.send(wakeup);
    }

    /// Listens from now on. Who lags behind is told so, and should look by itself.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Wakeup> {
        self.here.subscribe()
    }
}

impl Relay {
    /// The two ends: where what others said is told, and where what they are to hear comes from.
    #[must_use]
    pub fn split(self) -> (Incoming, Outgoing) {
        (Incoming(self.here), Outgoing(self.outgoing))
    }
}

/// Where wake-ups of other processes are told.
#[derive(Debug, Clone)]
pub struct Incoming(broadcast::Sender<Wakeup>);

impl Incoming {
    /// Wakes whoever listens here.
    pub fn wake(&self, wakeup: Wakeup) {
        let _ = self.0.send(wakeup);
    }
}

/// Where wake-ups for other processes come from.
#[derive(Debug)]
pub struct Outgoing(mpsc::UnboundedReceiver<Wakeup>);

impl Outgoing {
    /// What others are to be woken for: all that waits, each once. Nothing where nobody is left to wake them.
    pub async fn next(&mut self) -> Option<Vec<Wakeup>> {
        let mut waiting = vec![self.0.recv().await?];
        while let Ok(wakeup) = self.0.try_recv() {
            if !waiting.contains(&wakeup) {
                waiting.push(wakeup);
            }
        }
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_print_and_parse_back() {
        for wakeup in [Wakeup::Jobs, Wakeup::Stop(JobId::new())] {
            assert_eq!(wakeup.to_string().parse(), Ok(wakeup));
        }
        for text in ["", "job", "jobs ", "stop", "stop x"] {
            assert!(text.parse::<Wakeup>().is_err(), "{text:?}");
        }
    }

    #[tokio::test]
    async fn what_is_for_this_process_alone_goes_no_further() {
        let (wakeups, relay) = Wakeups::relayed();
        let (_, mut outgoing) = relay.split();
        let mut here = wakeups.listen();
        wakeups.send_here(Wakeup::Jobs);
        let stop = Wakeup::Stop(JobId::new());
        wakeups.send(stop);
        assert_eq!((here.recv().await.unwrap(), here.recv().await.unwrap()), (Wakeup::Jobs, stop));
        assert_eq!(outgoing.next().await.unwrap(), [stop]);
    }

    #[tokio::test]
    async fn what_waits_for_others_goes_out_once() {
        let (wakeups, relay) = Wakeups::relayed();
        let (_, mut outgoing) = relay.split();
        let mut here = wakeups.listen();
        (0..3).for_each(|_| wakeups.send(Wakeup::Jobs));
        assert_eq!(outgoing.next().await, Some(vec![Wakeup::Jobs]));
        assert_eq!(here.recv().await, Ok(Wakeup::Jobs));
    }
}
