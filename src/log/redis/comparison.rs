//! Finds what has not arrived: compares the places that were told with those of the log.
//!
//! A channel is compared soon after Redis has confirmed its subscription, and otherwise when its turn comes in a round over
//! all channels. A place that the log has and that was not told is suspect; it may be under way. Only where it still was not
//! told a moment later is it a hole. Pure: time comes in as an argument. Refuses to ask Redis.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::RngExt as _;

use crate::{channel::Channel, log::Position};

/// How long a round over all channels takes, at least; jittered, so that processes don't ask all at once.
const ROUND: Duration = Duration::from_secs(4);
/// How many channels are compared at a time, at most.
const MOST: usize = 100;
/// How long an event may be under way before it counts as lost.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// What is to be compared, and what was found.
pub struct Comparison {
    /// Subscriptions that were confirmed.
    due: VecDeque<Channel>,
    /// Those whose turn comes in this round.
    round: VecDeque<Channel>,
    round_ends: Instant,
    suspects: Vec<Suspect>,
}

struct Suspect {
    hole: Hole,
    since: Instant,
}

/// A place of the log that was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    pub channel: Channel,
    pub head: Position,
    /// Whether it was found by the round, so that a message was lost; and not after subscribing, when some may be missing.
    pub by_round: bool,
}

/// A channel to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub channel: Channel,
    pub by_round: bool,
}

impl Comparison {
    /// Nothing to compare yet.
    pub fn new(now: Instant) -> Self {
        Self { due: VecDeque::new(), round: VecDeque::new(), round_ends: now + ROUND, suspects: Vec::new() }
    }

    /// The subscription of a channel was confirmed.
    pub fn confirmed(&mut self, channel: Channel) {
        self.due.push_back(channel);
    }

    /// Whose turn it is; `followed` is asked for all channels where a new round begins. Asked again every `tick`.
    pub fn turns(&mut self, now: Instant, tick: Duration, followed: impl FnOnce() -> Vec<Channel>) -> Vec<Turn> {
        let confirmed = self.due.drain(..self.due.len().min(MOST));
        let mut turns: Vec<Turn> = confirmed.map(|channel| Turn { channel, by_round: false }).collect();
        if self.round.is_empty() && now >= self.round_ends {
            self.round = followed().into();
            self.round_ends = now + ROUND.mul_f64(rand::rng().random_range(0.75..1.25));
        }
        let ticks_left = self.round_ends.saturating_duration_since(now).as_secs_f64() / tick.as_secs_f64();
        let share = (self.round.len() as f64 / ticks_left.max(1.0)).ceil() as usize;
        let share = share.min(MOST - turns.len().min(MOST)).min(self.round.len());
        turns.extend(self.round.drain(..share).map(|channel| Turn { channel, by_round: true }));
        turns
    }

    /// The log has `head`, asked for when `told` was the newest that was told. Gives a hole where there is no doubt.
    pub fn compare(&mut self, turn: Turn, told: Option<Position>, head: Position, now: Instant) -> Option<Hole> {
        let Turn { channel, by_round } = turn;
        let hole = Hole { channel, head, by_round };
        match told {
            Some(told) if is_told(told, head) => None,
            // What was told before is not in the log any more: it has gone back, or begun anew.
            Some(told) if !told.continues_in(head) => Some(hole),
            _ => {
                self.suspects.push(Suspect { hole, since: now });
                None
            }
        }
    }

    /// Suspects that are not told to this moment, though they have had the time.
    pub fn holes(&mut self, now: Instant, told: impl Fn(&Channel) -> Option<Position>) -> Vec<Hole> {
        let ripe = self.suspects.extract_if(.., |suspect| now.duration_since(suspect.since) >= UNDER_WAY);
        let is_hole = |hole: &Hole| told(&hole.channel).is_none_or(|told| told.continues_in(hole.head) && !is_told(told, hole.head));
        ripe.map(|suspect| suspect.hole).filter(is_hole).collect()
    }
}

/// Whether `head` was told where `told` is the newest that was.
fn is_told(told: Position, head: Position) -> bool {
    told == head || (told.offset == 0 && head.offset == 0 && told.epoch.dataset() == head.epoch.dataset())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Epoch;

    fn at(generation: u32, offset: u64) -> Position {
        Position { epoch: Epoch::new(1, generation), offset }
    }

    fn turn() -> Turn {
        Turn { channel: "channel:general".parse().unwrap(), by_round: true }
    }

    fn compared(told: Option<Position>, head: Position, told_later: Option<Position>) -> (bool, bool) {
        let now = Instant::now();
        let mut comparison = Comparison::new(now);
        let at_once = comparison.compare(turn(), told, head, now).is_some();
        assert_eq!(comparison.holes(now, |_| told), []);
        (at_once, !comparison.holes(now + UNDER_WAY, |_| told_later).is_empty())
    }

    #[test]
    fn only_what_stays_untold_is_a_hole() {
        assert_eq!(compared(Some(at(1, 5)), at(1, 5), None), (false, false));
        assert_eq!(compared(Some(at(0, 0)), at(0, 0), None), (false, false));
        assert_eq!(compared(Some(at(1, 5)), at(1, 7), Some(at(1, 8))), (false, false));
        assert_eq!(compared(Some(at(1, 5)), at(1, 7), Some(at(1, 6))), (false, true));
        assert_eq!(compared(None, at(1, 7), None), (false, true));
    }

    #[test]
    fn a_log_that_has_gone_back_or_begun_anew_is_a_hole_at_once() {
        assert_eq!(compared(Some(at(1, 5)), at(1, 3), None), (true, false));
        assert_eq!(compared(Some(at(1, 5)), at(2, 9), None), (true, false));
        let other = Position { epoch: Epoch::new(2, 0), offset: 0 };
        assert_eq!(compared(Some(at(0, 0)), other, None), (true, false));
    }

    #[test]
    fn every_channel_has_its_turn_once_a_round() {
        let (start, tick) = (Instant::now(), Duration::from_millis(20));
        let channels: Vec<Channel> = (0..1_000).map(|number| format!("channel:{number}").parse().unwrap()).collect();
        let mut comparison = Comparison::new(start);
        let (mut seen, mut most) = (Vec::new(), 0);
        for step in 0..450 {
            let turns = comparison.turns(start + tick * step, tick, || channels.clone());
            most = most.max(turns.len());
            seen.extend(turns.into_iter().map(|turn| turn.channel));
        }
        assert_eq!(seen[..1_000], channels);
        assert!(most < 20, "{most} at a time");
    }
}
