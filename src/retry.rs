//! Retries: what follows from an attempt at a job that went wrong, by the job's kind.
//!
//! The pause grows twofold from one failure to the next, up to a bound, and is jittered, so that jobs which failed together
//! don't come back together. Who asks to be left alone for a while is left alone, within bounds. Pure: refuses to touch the
//! store, the clock and chance.

use std::time::Duration;

use crate::job::Kind;

/// What went wrong with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Time may heal it; `asked` is how long whoever it is due to asks to be left alone.
    Passing { asked: Option<Duration> },
    /// It would go wrong again.
    Lasting,
    /// It took its worker down with it, or would have.
    Crash,
    /// What is to be done can't be read here. A newer version may have written it, whose worker can.
    Unreadable,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try again that much later.
    Retry(Duration),
    /// Give up.
    Discard,
}

/// How often a job may crash before it is given up: it would take down one worker after the other.
pub const MAX_CRASHES: u32 = 3;
/// The longest that somebody may ask to be left alone.
const ASKED_AT_MOST: Duration = Duration::from_mins(10);

/// How stubbornly a kind is tried.
struct Policy {
    /// How often it may fail before it is given up.
    failures: u32,
    /// The pause after the first failure.
    first: Duration,
    /// The longest pause.
    longest: Duration,
}

/// Somebody waits for a reply and looks at it: soon, and not for long. A picture costs more, and its provider recovers slower.
/// What nobody waits for has time.
fn policy(kind: Option<Kind>) -> Policy {
    let (failures, first, longest) = match kind {
        Some(Kind::AiChatResponse | Kind::GenerateText) => (5, 1, 30),
        Some(Kind::GenerateImage) => (5, 2, 120),
        Some(Kind::ProcessUpload) => (6, 2, 120),
        Some(Kind::Noop) => (5, 1, 10),
        Some(Kind::Housekeeping) => (3, 10, 60),
        None => (5, 2, 60),
    };
    Policy { failures, first: Duration::from_secs(first), longest: Duration::from_secs(longest) }
}

/// What follows from `fault` for a job of this kind, or one whose kind can't be read, that failed `failures` times before, of
/// these `crashes` times with its worker. `chance` lies in 0..1.
#[must_use]
pub fn after(fault: Fault, kind: Option<Kind>, failures: u32, crashes: u32, chance: f64) -> AfterFailure {
    let policy = policy(kind);
    let is_over = match fault {
        Fault::Lasting => true,
        Fault::Crash => crashes + 1 >= MAX_CRASHES || failures + 1 >= policy.failures,
        Fault::Passing { .. } | Fault::Unreadable => failures + 1 >= policy.failures,
    };
    if is_over {
        return AfterFailure::Discard;
    }
    let doubled = policy.first.saturating_mul(1 << failures.min(16)).min(policy.longest);
    let own = doubled.mul_f64(0.8 + 0.4 * chance);
    let asked = if let Fault::Passing { asked } = fault { asked.unwrap_or_default().min(ASKED_AT_MOST) } else { Duration::ZERO };
    // Never sooner than asked.
    AfterFailure::Retry(own.max(asked.mul_f64(1.0 + 0.2 * chance)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSING: Fault = Fault::Passing { asked: None };

    fn pause(after: AfterFailure) -> Duration {
        match after {
            AfterFailure::Retry(pause) => pause,
            AfterFailure::Discard => panic!("given up"),
        }
    }

    #[test]
    fn a_failed_job_waits_twice_as_long_each_time_within_bounds_and_is_given_up_in_the_end() {
        let after = |failures| after(PASSING, Some(Kind::AiChatResponse), failures, 0, 0.5);
        let pauses: Vec<u64> = (0..4).map(|failures| pause(after(failures)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8]);
        assert_eq!(after(4), AfterFailure::Discard);
    }

    #[test]
    fn jobs_that_failed_together_come_back_apart() {
        let [early, late] = [0.0, 0.99].map(|chance| pause(after(PASSING, Some(Kind::GenerateImage), 1, 0, chance)));
        assert!(early >= Duration::from_secs(3) && late > early + Duration::from_secs(1), "{early:?} {late:?}");
    }

    #[test]
    fn who_asks_to_be_left_alone_is_not_asked_sooner_but_not_for_ever_either() {
        let asked = |seconds, chance| {
            let fault = Fault::Passing { asked: Some(Duration::from_secs(seconds)) };
            pause(after(fault, Some(Kind::GenerateText), 0, 0, chance))
        };
        assert_eq!(asked(60, 0.0), Duration::from_mins(1));
        assert!(asked(60, 0.9) > Duration::from_mins(1));
        assert_eq!(asked(86_400, 0.0), ASKED_AT_MOST);
    }

    #[test]
    fn a_job_that_takes_its_workers_down_is_given_up_after_the_third_and_one_that_cannot_succeed_at_once() {
        let kind = Some(Kind::GenerateImage);
        assert!(matches!(after(Fault::Crash, kind, 1, 1, 0.5), AfterFailure::Retry(_)));
        assert_eq!(after(Fault::Crash, kind, 2, 2, 0.5), AfterFailure::Discard);
        assert_eq!(after(Fault::Lasting, kind, 0, 0, 0.5), AfterFailure::Discard);
    }

    #[test]
    fn what_cannot_be_read_is_kept_for_a_while_for_a_worker_that_can() {
        assert!(matches!(after(Fault::Unreadable, None, 0, 0, 0.5), AfterFailure::Retry(_)));
        assert_eq!(after(Fault::Unreadable, None, 4, 0, 0.5), AfterFailure::Discard);
    }
}
