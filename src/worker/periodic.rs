//! Periodic jobs: what has to be done now and then, once, however many workers there are.
//!
//! Time is divided into ticks. A tick is begun by whoever first writes its row, and with the row, in one transaction, its job is
//! enqueued: from then on it is a job as any other, with a lease, retries and a worker that may die. Nobody is elected: who was
//! first goes on being first, and the others look the more seldom the more often they came too late. A tick that nobody
//! began, because nobody was there, is made up for by the next one. Refuses to do the work itself.

use std::time::Duration;

use super::Tools;
use crate::{
    id::UserId,
    job::{Chore, NewJob, Priority, Work},
    store::StoreError,
    timestamp::Timestamp,
};

/// What is done, and how often.
const CHORES: &[(Chore, Duration)] = &[
    (Chore::PublishLeftOvers, Duration::from_secs(30)),
    (Chore::ForgetJobs, Duration::from_mins(10)),
    (Chore::ForgetKeys, Duration::from_mins(10)),
    (Chore::ForgetMessages, Duration::from_hours(1)),
    (Chore::ForgetMedia, Duration::from_hours(1)),
];
/// Who the jobs belong to.
const OWNER: &str = "housekeeping";
/// How many ticks are let pass at most by those that always come too late.
const MOST_PASSED: u32 = 8;
/// How long the first look may be put off after the start.
const SPREAD: Duration = Duration::from_secs(1);

/// Begins ticks for as long as the current thread lives.
pub fn start(tools: &Tools) {
    for (chore, every) in CHORES {
        actix_rt::spawn(keep(tools.clone(), *chore, *every));
    }
}

async fn keep(tools: Tools, chore: Chore, every: Duration) {
    let mut turns = Turns::default();
    actix_rt::time::sleep(SPREAD.mul_f64(rand::random())).await;
    loop {
        let now = Timestamp::now();
        let is_first = begin(&tools, chore, tick(now, every)).await.unwrap_or_else(|error| {
            log::warn!("no {chore} can be begun: {error}");
            false
        });
        if is_first {
            // A fleet that is woken for each chore would never be idle.
            tools.wakeups.send_here(crate::wake::Wakeup::Jobs);
        }
        actix_rt::time::sleep(turns.next(is_first, now, every, rand::random())).await;
    }
}

async fn begin(tools: &Tools, chore: Chore, tick: Timestamp) -> Result<bool, StoreError> {
    // Most come too late, and need no transaction to learn it.
    if tools.store.last_tick(chore.as_str()).await?.is_some_and(|last| last >= tick) {
        return Ok(false);
    }
    let owner: UserId = OWNER.parse().expect("a plain word is an id");
    let job = NewJob { priority: Priority::Low, ..NewJob::new(owner, Work::Housekeeping { chore }) };
    tools.store.begin_tick(chore.as_str(), tick, job).await
}

/// The tick that `now` lies in.
fn tick(now: Timestamp, every: Duration) -> Timestamp {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    Timestamp::from_millis(now.millis().div_euclid(every) * every)
}

/// When to look again.
#[derive(Debug, Default)]
struct Turns {
    /// Ticks in a row for which this worker came too late.
    late: u32,
}

impl Turns {
    /// How long to wait: until the next tick for who was first, and into a later one for who was not. `chance` lies in 0..1.
    fn next(&mut self, is_first: bool, now: Timestamp, every: Duration, chance: f64) -> Duration {
        self.late = if is_first { 0 } else { self.late + 1 };
        let next = tick(now, every).after(every).millis() - now.millis();
        let until_next = Duration::from_millis(next.unsigned_abs());
        if is_first {
            // The others may stand at the same mark by chance.
            return until_next + every.mul_f64(0.02 * chance);
        }
        let passed = (1u32 << self.late.min(16)).min(MOST_PASSED) - 1;
        until_next + every * passed + every.mul_f64(0.1 + 0.9 * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    #[test]
    fn a_tick_begins_at_the_same_moment_for_everybody() {
        let tick_of = |millis| tick(Timestamp::from_millis(millis), EVERY).millis();
        assert_eq!([0, 9_999, 10_000, 123_456].map(tick_of), [0, 0, 10_000, 120_000]);
    }

    #[test]
    fn who_was_first_is_there_for_the_next_tick_and_the_others_come_more_and_more_seldom() {
        let now = Timestamp::from_millis(12_000);
        let mut first = Turns::default();
        let wait = first.next(true, now, EVERY, 0.5);
        assert!(wait >= Duration::from_secs(8) && wait < Duration::from_secs(9), "{wait:?}");
        let mut late = Turns::default();
        let waits: Vec<u64> = (0..6).map(|_| late.next(false, now, EVERY, 0.0).as_secs()).collect();
        assert_eq!(waits, [19, 39, 79, 79, 79, 79]);
        assert!(late.next(true, now, EVERY, 0.5) < Duration::from_secs(9));
    }

    #[test]
    fn a_hundred_workers_ask_less_than_twice_a_second_for_all_chores_together() {
        let seldom = |every: Duration| 100.0 / (every.as_secs_f64() * f64::from(MOST_PASSED));
        let a_second: f64 = CHORES.iter().map(|(_, every)| seldom(*every)).sum();
        assert!(a_second < 2.0, "{a_second}");
    }
}
