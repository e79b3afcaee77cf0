//! How far back a look at the waiting jobs reaches.
//!
//! Claims begin at a lane's lowest turn, past the remains of what was claimed before, which on both engines lie at the head of
//! the index and make each claim dearer. A job whose enqueueing was slow may stand below: so a look reaches back a few turns
//! always, and to the very beginning once a second. Refuses to be right about anything but cost.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many turns a look reaches back.
const OVERLAP: i64 = 16;
/// To the very beginning.
pub(super) const ALL: i64 = 1 << 60;
/// How often.
const ALL_EVERY: Duration = Duration::from_secs(1);

/// When it was looked from the very beginning.
#[derive(Debug, Default)]
pub(in super::super) struct Sight(Mutex<Option<Instant>>);

impl Sight {
    /// How many turns the next look reaches back.
    pub(super) fn overlap(&self) -> i64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < ALL_EVERY) {
            return OVERLAP;
        }
        *last = Some(Instant::now());
        ALL
    }
}
