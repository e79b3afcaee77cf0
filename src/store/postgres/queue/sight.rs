//! How far back a look at the waiting jobs reaches.
//!
//! Claims begin at a lane's lowest turn, past the remains of what was claimed before, which on both engines lie at the head of
//! the index and make each claim dearer. A job whose enqueueing was slow may stand below: so a look reaches back a few turns
//! always, and to the very beginning once a second, a shard at a time, as that may take as long as many claims. Where much waits, what a look has found serves the next claims as well; where
//! little does, the next claim does without one. When a lease was renewed is kept here too, as that spares asking.
//! Refuses to be right about anything but cost.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{SHARDS, claim::Place};
use crate::id::WorkerId;

/// How many turns a lane goes on now and then while nothing waits there, so that the remains of its jobs come out of sight; half as
/// many as a look reaches back, so that whatever is being enqueued meanwhile stays in it.
pub(super) const LEAP: i64 = 8;
/// How often a shard is looked through from the very beginning.
const ALL_EVERY: Duration = Duration::from_secs(1);
/// Of how much time that takes one part at most, over all shards: of remains that can't be removed there may be many.
const ALL_SHARE: u32 = 20;
/// What any look may take without being one of those.
const USUAL: Duration = Duration::from_millis(5);

/// For how long what a look has found is worth a claim without another look.
const FRESH: Duration = Duration::from_millis(50);

/// Shards that are looked through from the very beginning: a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Beginnings(u16);

impl Beginnings {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, shard: i16) -> bool {
        self.0 & (1 << shard) != 0
    }

    pub(super) fn shards(self) -> Vec<i16> {
        (0..SHARDS).filter(|shard| self.contains(*shard)).collect()
    }
}

/// What was seen last.
#[derive(Debug, Default)]
pub(in super::super) struct Sight {
    /// When each shard is to be looked through from the very beginning.
    due: Mutex<[Option<Instant>; SHARDS as usize]>,
    /// Where a look has found something that nobody here has claimed since, and when.
    left: Mutex<Option<(Instant, Vec<Place>)>>,
    /// The last claim has brought something, and there was little.
    has_little: AtomicBool,
    /// Whose lease was renewed last, and when that was asked for.
    renewed: Mutex<Option<(WorkerId, Instant)>>,
}

impl Sight {
    /// Where the look that begins now is to begin at the very beginning. What was due together is not due together again, unless
    /// looks are rare.
    pub(super) fn due(&self, now: Instant) -> Beginnings {
        let (mut due, mut beginnings, mut spread) = (self.due.lock().unwrap_or_else(PoisonError::into_inner), Beginnings::default(), 0);
        for (shard, due) in due.iter_mut().enumerate() {
            if due.is_none_or(|due| due <= now) {
                *due = Some(now + ALL_EVERY + spread * ALL_EVERY / u32::from(SHARDS.cast_unsigned()));
                spread += 1;
                beginnings.0 |= 1 << shard;
            }
        }
        beginnings
    }

    /// A look with these beginnings took so long, and ends now.
    pub(super) fn looked(&self, beginnings: Beginnings, took: Duration, now: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in beginnings.shards() {
            let not_before = now + took.saturating_sub(USUAL) * ALL_SHARE * u32::from(SHARDS.cast_unsigned()) / beginnings.0.count_ones();
            if let Some(due) = due.get_mut(shard as usize) {
                *due = due.map(|due| due.max(not_before));
            }
        }
    }

    /// Whether the last claim has brought something, and had little to choose from: so it will be the next time.
    pub(super) fn had_little(&self) -> bool {
        self.has_little.load(Ordering::Relaxed)
    }

    /// A claim has brought something, and had little to choose from.
    pub(super) fn has_little(&self, has_little: bool) {
        self.has_little.store(has_little, Ordering::Relaxed);
    }

    /// Whether a claim should renew the lease of a worker. Each renewal leaves the remains of a row, and one in a while is enough.
    pub(super) fn renews(&self, worker: WorkerId, lease: Duration) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.is_none_or(|(whose, at)| whose != worker || at.elapsed() > lease / 4)
    }

    /// The lease of a worker was renewed, as was asked for then.
    pub(super) fn renewed(&self, worker: WorkerId, asked: Instant) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some((worker, asked));
    }

    /// What is left of the last look, for one to claim from. Nothing where that is too long ago.
    pub(super) fn take(&self) -> Option<(Instant, Vec<Place>)> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        left.filter(|(looked, places)| looked.elapsed() < FRESH && !places.is_empty())
    }

    /// This is left of a look.
    pub(super) fn leave(&self, looked: Instant, places: Vec<Place>) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some((looked, places));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_often_looks_through_one_shard_at_a_time_and_through_all_within_two_seconds() {
        let (sight, begun, step) = (Sight::default(), Instant::now(), Duration::from_millis(5));
        assert_eq!(sight.due(begun).shards().len(), SHARDS as usize);
        let looks: Vec<Beginnings> = (1..=400).map(|look| sight.due(begun + look * step)).collect();
        assert!(looks.iter().all(|look| look.shards().len() <= 1));
        assert_eq!(looks.iter().fold(0, |seen, look| seen | look.0), u16::MAX);
        // Who looks rarely looks through all.
        assert_eq!(sight.due(begun + Duration::from_mins(1)).shards().len(), SHARDS as usize);
    }

    #[test]
    fn what_takes_long_is_looked_through_the_more_rarely() {
        let (sight, now) = (Sight::default(), Instant::now());
        let all = sight.due(now);
        sight.looked(all, Duration::from_secs(1), now);
        assert!(sight.due(now + Duration::from_secs(19)).is_empty() && !sight.due(now + Duration::from_secs(21)).is_empty());
    }
}
