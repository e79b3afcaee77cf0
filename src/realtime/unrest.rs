//! What has changed in a room and is not all told yet, or was told a moment ago.
//!
//! It goes when all is told: a room in which nothing happens, of which there are very many, does not pay for it. Pure: time comes
//! in as an argument.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use crate::id::UserId;

/// Frames a second, at most.
pub const FRAMES_A_SECOND: usize = 4;
/// In which they are counted.
pub const SECOND: Duration = Duration::from_secs(1);

/// What has changed and is not all told yet, or was a moment ago.
#[derive(Debug, Default)]
pub struct Unrest {
    /// Those with no stream left and when their grace ends, soonest first.
    pub leaving: VecDeque<(Instant, UserId)>,
    /// Those of whom something may be to tell.
    pub untold: Vec<UserId>,
    /// Those of whom something may be to say to other processes.
    pub unsaid: Vec<UserId>,
    /// When the newest frames were told, in no order. Most rooms tell one, as the one who is there comes.
    frames: SmallVec<[Instant; 1]>,
    /// After a summary, and in a large room after any frame, the next one waits for this.
    pub not_before: Option<Instant>,
}

impl Unrest {
    /// How many frames may be told now.
    pub fn free(&mut self, now: Instant) -> usize {
        self.frames.retain(|told| now.duration_since(*told) < SECOND);
        FRAMES_A_SECOND.saturating_sub(self.frames.len())
    }

    /// So many frames are told now.
    pub fn told(&mut self, frames: usize, not_before: Option<Instant>, now: Instant) {
        self.not_before = not_before;
        self.frames.extend(std::iter::repeat_n(now, frames));
    }

    /// When there is something to tell, or, where nothing is, when all this may be forgotten.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let grace = self.leaving.front().map(|(until, _)| *until);
        if self.untold.is_empty() {
            return grace.or_else(|| self.settles());
        }
        let is_full = self.frames.len() >= FRAMES_A_SECOND;
        let oldest = self.frames.iter().min().filter(|_| is_full).map(|told| *told + SECOND);
        let frame = oldest.max(self.not_before).unwrap_or_else(Instant::now);
        Some(grace.map_or(frame, |grace| grace.min(frame)))
    }

    /// When what was told no longer matters.
    fn settles(&self) -> Option<Instant> {
        let frames = self.frames.iter().max().map(|told| *told + SECOND);
        frames.max(self.not_before)
    }

    /// Whether all is told, and long enough ago.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.leaving.is_empty() && self.untold.is_empty() && self.unsaid.is_empty() && self.settles().is_none_or(|settles| settles <= now)
    }
}
