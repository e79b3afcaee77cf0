//! What is claimed and waits for an executor: a short queue in the worker's thread.
//!
//! It makes one claim serve many short jobs, and it is only as long as the executors empty within `AHEAD`: where jobs take
//! seconds it is empty, so that no job waits here while another worker has nothing to do. Where jobs turn out to take longer
//! than those before, what waits is [`stuck`](Buffer::stuck) and goes back. Executors take from it by
//! themselves, in the order of the claim, which is the users' turns; the poller is told once when it runs low. Refuses to
//! belong to a thread other than the worker's.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::lease::Lease;
use crate::{id::JobId, job::Claimed};

/// How far ahead jobs are claimed.
const AHEAD: Duration = Duration::from_millis(50);
/// The most jobs that wait here.
const MOST: usize = 1000;
/// Fewer are not worth it: claimed one by one they cost little.
const FEWEST: usize = 8;
/// How long a job may wait here.
const PATIENCE: Duration = Duration::from_millis(250);
/// Over which time the pace of the executors is measured.
const WINDOW: Duration = Duration::from_millis(100);

/// A job, and the lease it is claimed under.
#[derive(Debug)]
pub struct Held {
    pub job: Claimed,
    pub lease: Arc<Lease>,
}

/// The queue between the poller and its executors.
pub struct Buffer {
    /// With the moment since when each waits.
    jobs: RefCell<VecDeque<(Instant, Held)>>,
    arrived: Notify,
    /// Executors that wait for a job.
    idle: Cell<usize>,
    pace: RefCell<Pace>,
    /// The poller knows that more is wanted.
    is_asked: Cell<bool>,
    ask: Box<dyn Fn()>,
}

impl Buffer {
    /// An empty one; `ask` tells the poller that more is wanted.
    #[must_use]
    pub fn new(ask: impl Fn() + 'static) -> Rc<Self> {
        Rc::new(Self {
            jobs: RefCell::default(),
            arrived: Notify::new(),
            idle: Cell::new(0),
            pace: RefCell::new(Pace::new(Instant::now())),
            is_asked: Cell::new(false),
            ask: Box::new(ask),
        })
    }

    /// How many jobs a claim should bring now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.is_asked.set(false);
        (self.idle.get() + self.ahead()).saturating_sub(self.jobs.borrow().len())
    }

    /// Puts claimed jobs behind those that wait.
    pub fn put(&self, jobs: Vec<Claimed>, lease: &Arc<Lease>) {
        for _ in 0..jobs.len().min(self.idle.get()) {
            self.arrived.notify_one();
        }
        let now = Instant::now();
        self.jobs.borrow_mut().extend(jobs.into_iter().map(|job| (now, Held { job, lease: lease.clone() })));
    }

    /// The next job, as soon as there is one.
    pub async fn next(&self) -> Held {
        loop {
            if let Some(held) = self.take() {
                return held;
            }
            let _idle = Idle::count(&self.idle);
            self.want();
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<Held> {
        let (_, held) = self.jobs.borrow_mut().pop_front()?;
        self.pace.borrow_mut().count();
        if self.jobs.borrow().len() < self.ahead() / 2 {
            self.want();
        }
        Some(held)
    }

    /// Takes one job out of its turn.
    pub fn take_out(&self, job: JobId) -> Option<Held> {
        let mut jobs = self.jobs.borrow_mut();
        let place = jobs.iter().position(|(_, held)| held.job.fence.job == job)?;
        jobs.remove(place).map(|(_, held)| held)
    }

    /// Takes all that waits where it has waited for too long: the executors are busy with something else.
    pub fn stuck(&self) -> Vec<Held> {
        let is_stuck = self.jobs.borrow().front().is_some_and(|(since, _)| since.elapsed() > PATIENCE);
        if is_stuck { self.drain() } else { Vec::new() }
    }

    /// Takes all that waits.
    pub fn drain(&self) -> Vec<Held> {
        self.jobs.borrow_mut().drain(..).map(|(_, held)| held).collect()
    }

    fn ahead(&self) -> usize {
        let ahead = self.pace.borrow_mut().within(AHEAD, Instant::now()).min(MOST);
        if ahead < FEWEST { 0 } else { ahead }
    }

    fn want(&self) {
        if !self.is_asked.replace(true) {
            (self.ask)();
        }
    }
}

/// Counts an executor as idle for as long as it waits.
struct Idle<'a>(&'a Cell<usize>);

impl<'a> Idle<'a> {
    fn count(idle: &'a Cell<usize>) -> Self {
        idle.set(idle.get() + 1);
        Self(idle)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// How many jobs begin in a while.
#[derive(Debug)]
struct Pace {
    since: Instant,
    begun: usize,
    /// Jobs a second, in the window before.
    rate: f64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { since: now, begun: 0, rate: 0.0 }
    }

    fn count(&mut self) {
        self.begun += 1;
    }

    /// How many to expect within `ahead`. Rises at once, so that a burst is not starved, and falls within a window.
    fn within(&mut self, ahead: Duration, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.since);
        let measured = self.begun as f64 / WINDOW.as_secs_f64();
        if passed >= WINDOW {
            self.rate = self.begun as f64 / passed.as_secs_f64();
            (self.since, self.begun) = (now, 0);
        }
        (self.rate.max(measured) * ahead.as_secs_f64()) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn as_much_is_claimed_ahead_as_is_begun_meanwhile_and_nothing_where_jobs_are_long() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        assert_eq!(pace.within(AHEAD, begun), 0);
        for _ in 0..1000 {
            pace.count();
        }
        assert_eq!(pace.within(AHEAD, begun + WINDOW), 500);
        // One job in a second is none in a twentieth of it.
        pace.count();
        assert_eq!(pace.within(AHEAD, begun + WINDOW + Duration::from_secs(1)), 0);
    }
}
