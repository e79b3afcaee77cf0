//! Leaves alone for a while what has failed: briefly where time mends it, long where only an operator can.
//!
//! After its rest a target gets one request; only when that succeeds does it get all of them again. Refuses to count what
//! lies in the request, and not in the target.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    model::Target,
    providers::{Fault, ProviderError},
};

/// How long a target rests.
#[derive(Debug, Clone, Copy)]
pub struct Rests {
    /// After a fault that time mends, where the provider does not say how long; doubled with each in a row.
    pub short: Duration,
    /// After one that only its operator can mend.
    pub long: Duration,
}

/// How many faults in a row may be chance.
const CHANCE: u32 = 3;
/// How often a short rest is doubled.
const MAX_DOUBLINGS: u32 = 4;

#[derive(Debug, Clone, Copy)]
struct Breaker {
    faults: u32,
    rests_until: Option<Instant>,
    /// Whether only its operator can mend it.
    is_account: bool,
}

impl Breaker {
    fn at(&self, now: Instant) -> Admission {
        match self.rests_until {
            Some(until) if now < until => Admission::Resting { rest: until - now, is_account: self.is_account },
            _ => Admission::Granted,
        }
    }
}

/// Whether a target may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Granted,
    /// It rests for so long.
    Resting {
        rest: Duration,
        /// Whether only its operator can mend it; asking all the same costs nothing.
        is_account: bool,
    },
}

/// The breakers of all targets.
#[derive(Debug)]
pub struct Breakers {
    rests: Rests,
    broken: Mutex<HashMap<Target, Breaker>>,
}

impl Breakers {
    /// Breakers that rest so long.
    #[must_use]
    pub fn new(rests: Rests) -> Self {
        Self { rests, broken: Mutex::default() }
    }

    /// Whether `target` may be asked now. The first one to ask after a rest is the probe, and the others wait for it.
    #[must_use]
    pub fn admit(&self, target: &Target) -> Admission {
        self.admit_at(target, Instant::now())
    }

    fn admit_at(&self, target: &Target, now: Instant) -> Admission {
        let mut broken = self.broken();
        let Some(breaker) = broken.get_mut(target) else { return Admission::Granted };
        if let admission @ Admission::Resting { .. } = breaker.at(now) {
            return admission;
        }
        if breaker.rests_until.is_none() {
            return Admission::Granted;
        }
        // A probe that is never heard of again must not close the target for ever.
        breaker.rests_until = Some(now + self.rests.short);
        Admission::Granted
    }

    /// Whether it could be asked now, without being asked.
    #[must_use]
    pub fn peek(&self, target: &Target) -> Admission {
        self.broken().get(target).map_or(Admission::Granted, |breaker| breaker.at(Instant::now()))
    }

    /// The target has done its work.
    pub fn succeeded(&self, target: &Target) {
        self.broken().remove(target);
    }

    /// The target has failed.
    pub fn failed(&self, target: &Target, error: &ProviderError) {
        self.failed_at(target, error, Instant::now());
    }

    fn failed_at(&self, target: &Target, error: &ProviderError, now: Instant) {
        let is_account = match error.fault {
            Fault::OutOfCredit | Fault::Unauthorized | Fault::ModelMissing => true,
            Fault::Unreachable | Fault::TimedOut | Fault::Overloaded | Fault::NoRoom | Fault::BrokeOff | Fault::Malformed => false,
            Fault::Rejected | Fault::Blocked | Fault::SaidNothing => return,
        };
        let mut broken = self.broken();
        let breaker = broken.entry(target.clone()).or_insert(Breaker { faults: 0, rests_until: None, is_account });
        breaker.faults += 1;
        breaker.is_account = is_account;
        let in_a_row = if error.fault == Fault::Overloaded { breaker.faults } else { breaker.faults.saturating_sub(CHANCE - 1) };
        let doubled = |times: u32| self.rests.short * 2_u32.pow(times.min(MAX_DOUBLINGS));
        let rest = match error.retry_after {
            // A quota for a day names a pause of seconds: heeded once.
            Some(asked) if is_account && breaker.faults > 1 => Some(asked.max(self.rests.long)),
            Some(asked) => Some(asked),
            None if is_account => Some(self.rests.long),
            None => in_a_row.checked_sub(1).map(doubled),
        };
        // Spread, so that not all come back in the same moment; never before they were asked to.
        breaker.rests_until = rest.map(|rest| now + rest.mul_f64(rand::random_range(1.0..1.3)));
    }

    fn broken(&self) -> MutexGuard<'_, HashMap<Target, Breaker>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Case {
        breakers: Breakers,
        target: Target,
        begun: Instant,
    }

    impl Case {
        fn new() -> Self {
            let rests = Rests { short: 10 * SECOND, long: 600 * SECOND };
            Self { breakers: Breakers::new(rests), target: "openai/m".parse().unwrap(), begun: Instant::now() }
        }

        fn fails(&self, fault: Fault, retry_after: Option<u64>, at: Duration) {
            let error = ProviderError { retry_after: retry_after.map(Duration::from_secs), ..ProviderError::new("openai", fault, "detail") };
            self.breakers.failed_at(&self.target, &error, self.begun + at);
        }

        fn is_asked(&self, at: Duration) -> bool {
            self.breakers.admit_at(&self.target, self.begun + at) == Admission::Granted
        }
    }

    #[test]
    fn an_overload_rests_briefly_and_longer_each_time_and_then_one_request_tries() {
        let case = Case::new();
        case.fails(Fault::Overloaded, None, Duration::ZERO);
        assert!(!case.is_asked(9 * SECOND) && case.is_asked(13 * SECOND));
        assert!(!case.is_asked(13 * SECOND), "a second request while the first one tries");
        case.fails(Fault::Overloaded, None, 14 * SECOND);
        assert!(!case.is_asked(33 * SECOND) && case.is_asked(40 * SECOND));
        case.breakers.succeeded(&case.target);
        assert!(case.is_asked(40 * SECOND) && case.is_asked(40 * SECOND));
    }

    #[test]
    fn the_pause_that_is_asked_for_is_never_cut() {
        let case = Case::new();
        case.fails(Fault::Overloaded, Some(60), Duration::ZERO);
        assert!(!case.is_asked(Duration::from_millis(59_999)) && case.is_asked(78 * SECOND));
    }

    #[test]
    fn an_account_rests_long_and_a_short_pause_of_it_counts_once() {
        let case = Case::new();
        case.fails(Fault::OutOfCredit, None, Duration::ZERO);
        assert!(!case.is_asked(599 * SECOND) && case.is_asked(780 * SECOND));
        let case = Case::new();
        case.fails(Fault::OutOfCredit, Some(36), Duration::ZERO);
        assert!(!case.is_asked(35 * SECOND) && case.is_asked(47 * SECOND));
        case.fails(Fault::OutOfCredit, Some(36), 48 * SECOND);
        assert!(!case.is_asked(640 * SECOND));
    }

    #[test]
    fn a_break_may_be_chance_twice_and_what_lies_in_the_request_is_not_counted() {
        let case = Case::new();
        for fault in [Fault::BrokeOff, Fault::Rejected, Fault::Blocked, Fault::TimedOut] {
            case.fails(fault, None, Duration::ZERO);
            assert!(case.is_asked(Duration::ZERO), "{fault:?}");
        }
        case.fails(Fault::Unreachable, None, Duration::ZERO);
        assert!(!case.is_asked(9 * SECOND) && case.is_asked(13 * SECOND));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_is_followed_by_another() {
        let case = Case::new();
        case.fails(Fault::Overloaded, None, Duration::ZERO);
        assert!(case.is_asked(13 * SECOND) && !case.is_asked(22 * SECOND) && case.is_asked(23 * SECOND));
    }
}
