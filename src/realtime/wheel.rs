//! The timer wheel: one a thread for all that is due later, so that ten thousand timers cost no more than a list of numbers.
//!
//! Time is cut into ticks of [`TICK`]; each slot of the wheel has what is due at one tick. Nothing is ever taken out early:
//! whoever no longer wants to be woken, or wants it at another time, remembers the tick that counts and passes over the
//! others. What lies beyond the wheel's round is woken at its end, and sets itself anew. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

/// How exact a timer is: it is never early, and late by this at most.
pub const TICK: Duration = Duration::from_millis(25);
/// A round of the wheel, in ticks.
const ROUND: u32 = 1024;

/// A moment on a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u32);

impl Tick {
    /// Later than all others.
    pub const NEVER: Self = Self(u32::MAX);

    /// The moment `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u32::try_from(duration.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u32::MAX)))
    }

    /// The moment `duration` earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u32::try_from(duration.as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX)))
    }
}

/// Numbers that are due at ticks.
#[derive(Debug)]
pub struct Wheel {
    start: Instant,
    /// All before it, itself included, is told.
    now: Tick,
    slots: Vec<Vec<u32>>,
    waiting: usize,
    /// The turn that is seen to already.
    armed: Option<Instant>,
}

impl Wheel {
    /// A wheel on which nothing is due.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self { start, now: Tick(0), slots: vec![Vec::new(); ROUND as usize], waiting: 0, armed: None }
    }

    /// The tick that has begun at `at`.
    #[must_use]
    pub fn tick(&self, at: Instant) -> Tick {
        Tick(u32::try_from(at.duration_since(self.start).as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX - 1))
    }

    /// The first tick that is not before `at`.
    #[must_use]
    pub fn tick_after(&self, at: Instant) -> Tick {
        Tick(0).after(at.saturating_duration_since(self.start))
    }

    /// `number` is due at `tick`, or at the end of the round where that is farther. Gives the tick that it was set to.
    pub fn set(&mut self, number: u32, tick: Tick) -> Tick {
        let tick = Tick(tick.0.clamp(self.now.0 + 1, self.now.0 + ROUND - 1));
        self.slots[(tick.0 % ROUND) as usize].push(number);
        self.waiting += 1;
        tick
    }

    /// What has come due by `now`, with the tick that it was set to.
    pub fn turn(&mut self, now: Instant) -> Vec<(Tick, u32)> {
        self.armed = None;
        let (now, mut due) = (self.tick(now), Vec::new());
        while self.now < now {
            self.now.0 += 1;
            let slot = std::mem::take(&mut self.slots[(self.now.0 % ROUND) as usize]);
            self.waiting -= slot.len();
            due.extend(slot.into_iter().map(|number| (self.now, number)));
            if self.waiting == 0 {
                self.now = now;
            }
        }
        due
    }

    /// How long until it is to be turned next, unless a turn that is not later was told of before.
    pub fn arm(&mut self, now: Instant) -> Option<Duration> {
        let next = self.next().filter(|next| self.armed.is_none_or(|armed| *next < armed))?;
        self.armed = Some(next);
        Some(next.saturating_duration_since(now))
    }

    /// When the next is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        let ahead = (1..=ROUND).find(|ahead| !self.slots[((self.now.0 + ahead) % ROUND) as usize].is_empty())?;
        Some(self.start + TICK * (self.now.0 + ahead))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_set_comes_once_never_early_and_soon(waits in prop::collection::vec(0_u64..40_000, 1..200), step in 1_u64..5_000) {
            let start = Instant::now();
            let mut wheel = Wheel::new(start);
            let due: Vec<Instant> = waits.iter().map(|wait| start + Duration::from_millis(*wait)).collect();
            let mut set: Vec<Tick> = due.iter().enumerate().map(|(number, at)| wheel.set(number as u32, wheel.tick_after(*at))).collect();
            let mut came = vec![None; due.len()];
            let mut now = start;
            while wheel.next().is_some() {
                now += Duration::from_millis(step);
                for (tick, number) in wheel.turn(now) {
                    let index = number as usize;
                    prop_assert_eq!(tick, set[index]);
                    if now < due[index] {
                        // Beyond the round: set anew.
                        set[index] = wheel.set(number, wheel.tick_after(due[index]));
                    } else {
                        prop_assert_eq!(came[index].replace(now), None);
                    }
                }
            }
            for (due, came) in due.iter().zip(came) {
                let late = came.unwrap().duration_since(*due);
                prop_assert!(late <= Duration::from_millis(step) + TICK * 2, "{late:?}");
            }
        }
    }

    #[test]
    fn the_next_is_told_and_nothing_where_nothing_is_due() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        assert_eq!(wheel.next(), None);
        let tick = wheel.set(7, wheel.tick_after(start + TICK * 3));
        assert_eq!(wheel.next(), Some(start + TICK * 3));
        assert_eq!((wheel.turn(start + TICK * 2), wheel.turn(start + TICK * 3)), (vec![], vec![(tick, 7)]));
        assert_eq!(wheel.next(), None);
    }
}
