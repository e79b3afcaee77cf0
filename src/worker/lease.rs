//! A worker's lease, as the worker itself sees it.
//!
//! Whether a worker lives is decided by the store, on the store's clock. The worker keeps a deadline of its own that can't be
//! later: counted from the moment *before* the last good claim or heartbeat was sent, on a clock that goes on while the
//! process is stopped and while the machine sleeps. Past it the worker neither publishes nor concludes, and gives up whatever
//! it runs. A lease that is lost is never good again: what comes after it is another worker, with an id of its own, so that
//! nothing of the old one comes back to life with it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, mpsc};

use crate::id::WorkerId;

/// A moment on the clock that never stops, in nanoseconds since the machine's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        Self(now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned())
    }

    /// How long after the machine's start it is.
    #[must_use]
    pub fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long ago it was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(Self::now().0.saturating_sub(self.0))
    }
}

/// The right of one worker to what it runs.
#[derive(Debug)]
pub struct Lease {
    /// Whose it is.
    pub worker: WorkerId,
    /// How long it is renewed for.
    pub lasts: Duration,
    /// As [`Moment`]; zero until the first claim.
    until: AtomicU64,
    lost: AtomicBool,
    /// Nothing more is claimed under it.
    is_succeeded: AtomicBool,
    /// How many jobs it covers: running, in the buffer, or about to be concluded.
    held: AtomicUsize,
    /// It begins to cover some, or ends to.
    changed: Notify,
}

impl Lease {
    /// The lease of a worker that has claimed nothing yet.
    #[must_use]
    pub fn new(lasts: Duration) -> Self {
        Self {
            worker: WorkerId::new(),
            lasts,
            until: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            is_succeeded: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }

    /// The store has renewed it; what asked it to was sent at `sent`.
    pub fn renewed(&self, sent: Moment) {
        self.until.fetch_max(sent.0 + u64::try_from(self.lasts.as_nanos()).unwrap_or(u64::MAX / 2), Ordering::AcqRel);
    }

    /// Whether what it covers is surely still this worker's.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.lost.load(Ordering::Acquire) && Moment::now().0 < self.until.load(Ordering::Acquire)
    }

    /// It is over, for good. Says whether it was not before.
    pub fn lose(&self) -> bool {
        let is_news = !self.lost.swap(true, Ordering::AcqRel);
        self.changed.notify_waiters();
        is_news
    }

    /// Whether nothing is covered by it and never will be.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_succeeded.load(Ordering::Acquire) && self.held() == 0
    }

    /// How long it still holds.
    #[must_use]
    pub fn left(&self) -> Duration {
        Duration::from_nanos(self.until.load(Ordering::Acquire).saturating_sub(Moment::now().0))
    }

    /// It covers so many jobs more.
    pub fn hold(&self, jobs: usize) {
        if jobs > 0 && self.held.fetch_add(jobs, Ordering::AcqRel) == 0 {
            self.changed.notify_waiters();
        }
    }

    /// So many of its jobs are concluded.
    pub fn release(&self, jobs: usize) {
        if jobs > 0 && self.held.fetch_sub(jobs, Ordering::AcqRel) == jobs {
            self.changed.notify_waiters();
        }
    }

    /// How many jobs it covers.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Waits until it covers a job, or none; no longer than until it is lost or done.
    pub async fn until(&self, covers_some: bool) {
        loop {
            let changed = self.changed.notified();
            if (self.held() > 0) == covers_some || self.lost.load(Ordering::Acquire) || self.is_done() {
                return;
            }
            changed.await;
        }
    }
}

/// The leases of this process, shared by its threads: one under which it claims, and those before it that still cover jobs.
#[derive(Debug, Clone)]
pub struct Leases {
    leases: Arc<Mutex<Vec<Arc<Lease>>>>,
    /// Told of every lease, so that its heartbeat begins.
    begun: mpsc::UnboundedSender<Arc<Lease>>,
}

impl Leases {
    /// A first lease, and where each one is told.
    #[must_use]
    pub fn begin(lasts: Duration) -> (Self, mpsc::UnboundedReceiver<Arc<Lease>>) {
        let (begun, told) = mpsc::unbounded_channel();
        let leases = Self { leases: Arc::default(), begun };
        leases.add(&mut leases.lock(), lasts);
        (leases, told)
    }

    /// The one to claim under.
    #[must_use]
    pub fn current(&self) -> Arc<Lease> {
        self.lock().last().expect("there is always a lease to claim under").clone()
    }

    /// All that may cover jobs.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Lease>> {
        self.lock().clone()
    }

    /// Claims no more under `lease`, which goes on for as long as it covers jobs.
    pub fn succeed(&self, lease: &Lease) {
        let mut leases = self.lock();
        let current = leases.last().map(|current| current.worker);
        leases.retain(|known| known.held() > 0 || known.worker == lease.worker || Some(known.worker) == current);
        if current == Some(lease.worker) {
            self.add(&mut leases, lease.lasts);
        }
        lease.is_succeeded.store(true, Ordering::Release);
        lease.changed.notify_waiters();
    }

    /// Gives `lease` up, with all that it covers. Says whether it was not given up before.
    #[must_use]
    pub fn give_up(&self, lease: &Lease) -> bool {
        self.succeed(lease);
        lease.lose()
    }

    /// Waits until none of them covers a job.
    pub async fn settled(&self) {
        for lease in self.all() {
            lease.until(false).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Lease>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, leases: &mut Vec<Arc<Lease>>, lasts: Duration) {
        let lease = Arc::new(Lease::new(lasts));
        leases.push(lease.clone());
        // Where nobody listens, the process stops.
        let _ = self.begun.send(lease);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_holds_from_its_first_renewal_until_its_time_is_over() {
        let lease = Lease::new(Duration::from_millis(40));
        assert!(!lease.holds());
        let sent = Moment::now();
        lease.renewed(sent);
        assert!(lease.holds() && lease.left() <= Duration::from_millis(40));
        // An older answer that comes late takes nothing back.
        lease.renewed(Moment(0));
        assert!(lease.holds());
        while sent.elapsed() < Duration::from_millis(40) {
            std::thread::yield_now();
        }
        assert!(!lease.holds() && lease.left().is_zero());
    }

    #[test]
    fn a_lost_lease_is_never_good_again_and_the_next_one_is_another_workers() {
        let (leases, mut begun) = Leases::begin(Duration::from_mins(1));
        let first = leases.current();
        first.renewed(Moment::now());
        assert!(leases.give_up(&first) && !leases.give_up(&first));
        first.renewed(Moment::now());
        assert!(!first.holds());
        let second = leases.current();
        assert_ne!(second.worker, first.worker);
        assert_eq!([begun.try_recv().unwrap().worker, begun.try_recv().unwrap().worker], [first.worker, second.worker]);
        assert!(begun.try_recv().is_err());
    }

    #[test]
    fn a_lease_that_has_a_successor_goes_on_for_what_it_covers() {
        let (leases, _begun) = Leases::begin(Duration::from_mins(1));
        let first = leases.current();
        first.renewed(Moment::now());
        first.hold(1);
        leases.succeed(&first);
        leases.succeed(&first);
        assert!(first.holds() && !first.is_done());
        assert_eq!(leases.all().len(), 2);
        first.release(1);
        assert!(first.is_done());
    }

    #[tokio::test]
    async fn whoever_waits_learns_when_the_first_job_comes_and_when_the_last_one_goes() {
        let lease = Arc::new(Lease::new(Duration::from_mins(1)));
        let (waiting, watched) = (lease.clone(), lease.clone());
        let watch = tokio::spawn(async move {
            waiting.until(true).await;
            waiting.until(false).await;
        });
        lease.hold(2);
        tokio::task::yield_now().await;
        lease.release(1);
        tokio::task::yield_now().await;
        assert!(!watch.is_finished());
        watched.release(1);
        watch.await.unwrap();
    }
}
