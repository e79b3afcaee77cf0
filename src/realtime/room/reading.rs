//! When a room has to ask the log, and what it makes of the answer.

use std::time::{Duration, Instant};

use super::{Answer, Hosted, Ring, Room};
use crate::{
    event::ResetReason,
    log::{Logged, Position},
    realtime::{
        connection,
        frame::{self, Frame},
        news::News,
    },
};

/// How long the log's word counts for those who come from another data set.
const SURE_FOR: Duration = Duration::from_secs(1);

impl Room {
    /// Whether somebody at this place may know more than the room, as one who comes from a process whose messages were quicker.
    /// Those of another data set, of whom there are many where the log began anew, have the log asked now and then.
    pub(super) fn may_be_behind(&self, asked: Position, head: Position, now: Instant) -> bool {
        if asked.epoch.dataset() != head.epoch.dataset() {
            return now.duration_since(self.asked_at) > SURE_FOR;
        }
        let is_ahead = (asked.epoch.generation(), asked.offset) > (head.epoch.generation(), head.offset);
        is_ahead && !asked.continues_in(head) && now > self.asked_at
    }

    /// The log has what was missing since `head`.
    pub(super) fn fill_hole(&mut self, head: Position, answer: Answer, ctx: &mut Hosted) {
        let Answer { events, complete, head: newest, .. } = answer;
        if !complete {
            let reason = if head.continues_in(newest) { ResetReason::Trimmed } else { ResetReason::Epoch };
            log::warn!("{}: events were lost between {head:?} and {newest:?}", self.channel);
            let after = events.first().map_or(newest, |first| Position { offset: first.position.offset - 1, ..first.position });
            self.ring = None;
            self.head = Some(after);
            self.tell(&News::Gap { reset: connection::reset(&self.channel, reason), after }, ctx);
        }
        for logged in &events {
            self.accept(logged, ctx);
        }
        self.head = Some(newest);
    }

    /// What the log had from `floor` on, up to what this room has told.
    pub(super) fn take_ring(&mut self, events: Vec<Logged>, floor: u64, head: Position, now: Instant) {
        // What the log has beyond `head` is on its way to this room.
        let known = events.into_iter().filter(|logged| logged.position.epoch == head.epoch && logged.position.offset <= head.offset);
        let frames = known.map(|logged| Frame { position: logged.position, data: frame::data(&logged.json) });
        self.ring = Some(Box::new(Ring::read(frames, floor, now)));
    }
}
