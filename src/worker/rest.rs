//! How long the poller waits before it looks again. Pure: the clock and chance are given.

use std::time::Duration;

/// How long a worker first rests after it has found nothing; it doubles each time.
const FIRST: Duration = Duration::from_millis(500);
/// The same while something is due that it doesn't get: a limit is reached, or another was faster.
const MOST_WHILE_DUE: Duration = Duration::from_secs(1);
/// How long it first waits after the store has failed; it doubles each time.
const AFTER_FAULT: Duration = Duration::from_millis(200);
/// The most of that: who comes back is found soon.
const MOST_AFTER_FAULT: Duration = Duration::from_secs(3);
/// Over which time those spread who wait for the same job's time.
const SPREAD: Duration = Duration::from_millis(20);

/// The pauses between looks that find nothing.
#[derive(Debug)]
pub struct Rest {
    /// How long it rests at most, though no wake-up came: one may have been lost.
    most: Duration,
    /// Looks in a row that found nothing, or failed.
    in_vain: u32,
}

impl Rest {
    /// Pauses of at most `most`, or a third more.
    #[must_use]
    pub fn new(most: Duration) -> Self {
        Self { most, in_vain: 0 }
    }

    /// Something was found.
    pub fn end(&mut self) {
        self.in_vain = 0;
    }

    /// How long to rest after nothing was found, where the store says that something is due after `due`. `chance` lies in
    /// 0..1.
    pub fn next(&mut self, due: Option<Duration>, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.in_vain.min(16));
        self.in_vain = self.in_vain.saturating_add(1);
        // One third more or less, so that workers which started together don't ask together.
        let rest = doubled.min(self.most).mul_f64(1.0 + chance / 3.0);
        match due {
            Some(Duration::ZERO) => (rest / 25).min(MOST_WHILE_DUE),
            Some(due) => rest.min(due + SPREAD.mul_f64(chance)),
            None => rest,
        }
    }

    /// How long to rest after the store has failed.
    pub fn after_fault(&mut self, chance: f64) -> Duration {
        let doubled = AFTER_FAULT.saturating_mul(1 << self.in_vain.min(16));
        self.in_vain = self.in_vain.saturating_add(1);
        doubled.min(MOST_AFTER_FAULT).mul_f64(0.5 + chance)
    }
}

/// How long a worker waits after a wake-up that came to many. Those that came too late the last time wait a little the next
/// time, so that of a fleet only a few run for one job, and who is alone or fast doesn't wait at all.
#[derive(Debug, Default)]
pub struct Herd {
    spread: Duration,
    /// A wake-up is what the next look is for.
    is_woken: bool,
    /// The look before brought jobs; those of the wake-up may have been among them.
    was_served: bool,
}

impl Herd {
    const FIRST: Duration = Duration::from_millis(2);
    const MOST: Duration = Duration::from_millis(50);

    /// A wake-up has come. Says how long to wait before the look that it is for; `chance` lies in 0..1.
    #[must_use]
    pub fn woken(&mut self, chance: f64) -> Duration {
        self.is_woken = true;
        self.spread.mul_f64(chance)
    }

    /// Whether a look is wanted for a wake-up.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        self.is_woken
    }

    /// A look has brought jobs.
    pub fn came_in_time(&mut self) {
        *self = Self { was_served: true, ..Self::default() };
    }

    /// A look has brought nothing. If a wake-up was its reason, and it has claimed nothing just before, others were faster.
    pub fn came_too_late(&mut self) {
        if self.is_woken && !self.was_served {
            self.spread = (2 * self.spread).clamp(Self::FIRST, Self::MOST);
        }
        (self.is_woken, self.was_served) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    #[test]
    fn a_worker_that_finds_nothing_asks_more_and_more_seldom() {
        let mut rest = Rest::new(MOST);
        let pauses: Vec<u128> = (0..9).map(|_| rest.next(None, 0.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        rest.end();
        assert_eq!(rest.next(None, 0.0), FIRST);
    }

    #[test]
    fn a_hundred_idle_workers_ask_less_than_five_times_a_second() {
        let mut rest = Rest { in_vain: 10, ..Rest::new(MOST) };
        assert!(100.0 / rest.next(None, 0.0).as_secs_f64() < 5.0);
    }

    #[test]
    fn it_is_there_when_a_jobs_time_comes_and_waits_a_little_where_it_gets_nothing_of_what_is_due() {
        let mut rest = Rest { in_vain: 10, ..Rest::new(MOST) };
        let due = Duration::from_secs(3);
        assert!(rest.next(Some(due), 0.0) == due && rest.next(Some(due), 1.0) <= due + SPREAD);
        let waits: Vec<Duration> = (0..20).map(|_| rest.next(Some(Duration::ZERO), 0.5)).collect();
        assert!(waits.iter().all(|wait| *wait > Duration::from_millis(10) && *wait <= MOST_WHILE_DUE));
    }

    #[test]
    fn a_store_that_is_away_is_asked_again_within_seconds_however_long_it_was() {
        let mut rest = Rest::new(MOST);
        let last = (0..100).map(|_| rest.after_fault(0.9)).last().unwrap();
        assert!(last <= 2 * MOST_AFTER_FAULT);
    }

    #[test]
    fn who_is_always_late_gives_way_and_who_is_in_time_does_not() {
        let mut herd = Herd::default();
        for _ in 0..10 {
            let _ = herd.woken(0.9);
            herd.came_too_late();
        }
        assert!(herd.woken(0.9) > Duration::from_millis(40) && herd.woken(1.0) <= Herd::MOST);
        herd.came_in_time();
        assert_eq!(herd.woken(0.9), Duration::ZERO);
    }

    #[test]
    fn who_looks_by_itself_or_has_just_taken_what_it_is_woken_for_is_not_late() {
        let mut herd = Herd::default();
        for _ in 0..10 {
            herd.came_too_late();
        }
        assert_eq!(herd.woken(0.9), Duration::ZERO);
        for _ in 0..10 {
            herd.came_in_time();
            assert_eq!(herd.woken(0.9), Duration::ZERO);
            herd.came_too_late();
        }
        assert_eq!(herd.woken(0.9), Duration::ZERO);
    }
}
