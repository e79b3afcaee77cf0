//! How far back a look at the waiting jobs reaches.
//!
//! Claims begin at a lane's lowest turn, past the remains of what was claimed before, which on both engines lie at the head of
//! the index and make each claim dearer. A job whose enqueueing was slow may stand below: so a look reaches back a few turns
//! always, and to the very beginning once a second. Where much waits, what a look has found serves the next claims as well.
//! Refuses to be right about anything but cost.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::claim::Place;

/// How many turns a look reaches back.
const OVERLAP: i64 = 16;
/// How many turns a lane goes on now and then while nothing waits there, so that the remains of its jobs come out of sight; few
/// enough that whatever is being enqueued meanwhile stays in it.
pub(super) const LEAP: i64 = OVERLAP / 2;
/// To the very beginning.
pub(super) const ALL: i64 = 1 << 60;
/// How often.
const ALL_EVERY: Duration = Duration::from_secs(1);
/// How many times as long as it took passes before the next one, at least: of remains that can't be removed there may be many.
const ALL_SHARE: u32 = 20;

/// For how long what a look has found is worth a claim without another look.
const FRESH: Duration = Duration::from_millis(50);

/// What was seen last.
#[derive(Debug, Default)]
pub(in super::super) struct Sight {
    /// When it is to be looked from the very beginning.
    from_the_beginning: Mutex<Option<Instant>>,
    /// Where a look has found something that nobody here has claimed since, and when.
    left: Mutex<Option<(Instant, Vec<Place>)>>,
}

impl Sight {
    /// How many turns the next look reaches back.
    pub(super) fn overlap(&self) -> i64 {
        let (mut due, now) = (self.from_the_beginning.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        if due.is_some_and(|due| now < due) {
            return OVERLAP;
        }
        *due = Some(now + ALL_EVERY);
        ALL
    }

    /// A look has reached back so far, and begun then.
    pub(super) fn looked(&self, overlap: i64, begun: Instant) {
        if overlap == ALL {
            let pause = (ALL_SHARE * begun.elapsed()).max(ALL_EVERY);
            *self.from_the_beginning.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
        }
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
