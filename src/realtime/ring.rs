//! A room's newest frames: what those who come back are shown without asking the log.
//!
//! Knows how far back it is the whole truth: after its floor it has all that the log had. When somebody asks for what is older,
//! the log is read once for all who may ask the same, and what it gave is kept for a while. Pure. Refuses to hold what isn't
//! in order.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{behind::Replay, frame::Frame};
use crate::log::Position;

/// How much of the newest is kept at hand.
const MOST_FRAMES: usize = 512;
const MOST_BYTES: usize = 512 * 1024;
/// How long what was read from the log is kept, be it more than that.
const KEPT: Duration = Duration::from_secs(10);

/// The newest frames of one room, in order, without a hole.
#[derive(Debug)]
pub struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// What comes after this offset, and is neither here nor yet to come, is lost.
    floor: u64,
    /// Until then it may be larger than it should.
    kept: Option<Instant>,
    /// All frames, as they are lent to those who come back.
    lent: Option<Arc<Vec<Frame>>>,
}

impl Ring {
    /// An empty ring of a room whose newest event is at `head`.
    #[must_use]
    pub fn new(head: Position) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, floor: head.offset, kept: None, lent: None }
    }

    /// What the log was asked for: all after `floor`.
    #[must_use]
    pub fn read(frames: impl IntoIterator<Item = Frame>, floor: u64, now: Instant) -> Self {
        let frames: VecDeque<Frame> = frames.into_iter().collect();
        let bytes = frames.iter().map(|frame| frame.data.len()).sum();
        Self { frames, bytes, floor, kept: Some(now + KEPT), lent: None }
    }

    /// Takes the next frame in.
    pub fn push(&mut self, frame: Frame, now: Instant) {
        self.lent = None;
        self.bytes += frame.data.len();
        self.frames.push_back(frame);
        self.trim(now);
    }

    /// Lets go of what is too old to be kept. Gives when there will be more to let go.
    pub fn trim(&mut self, now: Instant) -> Option<Instant> {
        if self.kept.is_some_and(|kept| now < kept) {
            return self.kept;
        }
        self.kept = None;
        while self.frames.len() > MOST_FRAMES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.data.len();
            self.floor = self.floor.max(oldest.position.offset);
            self.lent = None;
        }
        None
    }

    /// What comes after `offset`, and whether nothing is missing before it; nothing at all where only the log can tell.
    pub fn after(&mut self, offset: u64) -> Option<(Replay, bool)> {
        if offset < self.floor {
            return None;
        }
        let first = self.frames.front().map_or(offset + 1, |frame| frame.position.offset);
        let next = usize::try_from((offset + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let frames = &self.frames;
        let lent = self.lent.get_or_insert_with(|| Arc::new(frames.iter().cloned().collect()));
        Some((Replay::new(lent.clone(), next), offset + 1 >= first))
    }

    /// From where on the log is asked when somebody was last told `offset`: others will have been told a little less.
    #[must_use]
    pub fn floor_for(offset: u64) -> u64 {
        offset.saturating_sub(MOST_FRAMES as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Epoch;

    fn frame(offset: u64) -> Frame {
        Frame { position: Position { epoch: Epoch::new(1, 0), offset }, data: vec![b'x'; 100].into() }
    }

    fn told(ring: &mut Ring, offset: u64) -> Option<(Option<u64>, bool)> {
        ring.after(offset).map(|(replay, complete)| (replay.first().map(|frame| frame.position.offset), complete))
    }

    #[test]
    fn what_it_has_it_tells_and_for_the_rest_the_log_is_asked() {
        let now = Instant::now();
        let mut ring = Ring::new(frame(10).position);
        assert_eq!((told(&mut ring, 10), told(&mut ring, 9)), (Some((None, true)), None));
        (11..=600).for_each(|offset| ring.push(frame(offset), now));
        assert_eq!((told(&mut ring, 87), told(&mut ring, 88), told(&mut ring, 600)), (None, Some((Some(89), true)), Some((None, true))));
    }

    #[test]
    fn what_the_log_no_longer_had_is_missing_and_what_it_had_is_kept_for_a_while() {
        let now = Instant::now();
        let mut ring = Ring::read((101..=900).map(frame), 50, now);
        assert_eq!(told(&mut ring, 49), None);
        assert_eq!((told(&mut ring, 50), told(&mut ring, 100)), (Some((Some(101), false)), Some((Some(101), true))));
        ring.push(frame(901), now + KEPT / 2);
        assert_eq!(told(&mut ring, 100), Some((Some(101), true)));
        assert_eq!(ring.trim(now + KEPT), None);
        assert_eq!((told(&mut ring, 100), told(&mut ring, 389)), (None, Some((Some(390), true))));
    }
}
