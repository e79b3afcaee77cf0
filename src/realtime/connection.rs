//! A connection: one reader's stream over all its channels.
//!
//! An actor without a mailbox of its own: its [`Host`](super::host::Host) calls its handlers, one after the other. What it is
//! told goes straight out, and where it can't, because a channel has yet to join or the reader takes less than comes, into its
//! [`Behind`], which exists only then. Refuses to wait for its reader: one that falls too far behind is closed, and resumes
//! from the log.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorState, Handler, Message};
use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    audience::{Audiences, Place},
    behind::{Behind, Replay},
    frame::{self, PieceWriter},
    limits::Permit,
    news::{Batch, Places},
    outlet::{Outlet, Wrote},
    wheel::Tick,
};
use crate::{
    channel::Channel,
    event::{ClosingReason, Control, Person, ResetReason},
    id::UserId,
    log::Position,
    timestamp::Timestamp,
};

/// So long a stream may take to get its last words out.
const PARTING: Duration = Duration::from_secs(5);
/// So long a stream may have nothing to say while its channels join, before its reader is given a sign of life.
const JOINING: Duration = Duration::from_secs(1);

/// The context of an actor that lives in its host's slab: stopping, it takes its leave; stopped, it is gone.
#[derive(Debug)]
pub struct Hosted {
    state: ActorState,
    /// The tick that has begun.
    pub(super) now: Tick,
}

impl Hosted {
    pub(super) fn running(now: Tick) -> Self {
        Self { state: ActorState::Running, now }
    }
}

impl ActorContext for Hosted {
    fn stop(&mut self) {
        self.state = ActorState::Stopping;
    }

    fn terminate(&mut self) {
        self.state = ActorState::Stopped;
    }

    fn state(&self) -> ActorState {
        self.state
    }
}

/// What one of its channels tells in this turn.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Deliver<'a, 'b> {
    pub slot: usize,
    pub batch: &'a mut Batch<'b>,
    pub audiences: &'a Audiences,
}

/// One of its channels has joined.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Welcome<'a> {
    pub slot: usize,
    pub place: Place,
    /// The place before the first event that it will be told.
    pub from: Position,
    pub gap: Option<ResetReason>,
    pub replay: Replay,
    pub greeting: Option<Bytes>,
    pub audiences: &'a Audiences,
}

/// Its reader takes more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Proceed;

/// A timer has come due: a ping, or an end.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wake<'a> {
    pub index: u32,
    pub ping_after: Duration,
    pub audiences: &'a Audiences,
}

/// Write something, so that a reader who is gone is noticed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Nudge<'a>(pub &'a Audiences);

/// End, and say why.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Close(pub ClosingReason);

/// One reader's stream.
pub struct Connection {
    pub(super) generation: u32,
    /// The tick that its timer is set to.
    pub(super) alarm: Tick,
    pub(super) places: SmallVec<[Place; 2]>,
    outlet: Outlet,
    behind: Option<Box<Behind>>,
    last_sent: Tick,
    /// When the stream ends for its age, or because its identity does; once it has, when it is cut.
    ends: Tick,
    /// Why it will.
    ends_for: ClosingReason,
    is_parting: bool,
    resumed: bool,
    permit: Permit,
}

/// What a connection begins with.
pub struct Opening {
    pub person: Arc<Person>,
    /// Each channel and where to go on in it.
    pub channels: Vec<(Channel, Option<Position>)>,
    /// What is to be told at once of all channels, as the cursor was no good.
    pub reset: Option<ResetReason>,
    pub resumed: bool,
    pub outlet: Outlet,
    /// What leaves before the first frame.
    pub head: Bytes,
    pub ends: (Instant, ClosingReason),
    pub permit: Permit,
}

impl Connection {
    pub(super) fn new(generation: u32, opening: Opening, now: Tick, ends: Tick) -> Self {
        let Opening { channels, reset, resumed, outlet, head, ends: (_, ends_for), permit, .. } = opening;
        let mut behind = Box::new(Behind::joining(channels.len(), head));
        if let Some(reason) = reset {
            for (channel, _) in &channels {
                behind.reset(&self::reset(channel, reason));
            }
        }
        Self {
            generation,
            alarm: Tick::NEVER,
            places: channels.iter().map(|_| Place::NONE).collect(),
            outlet,
            behind: Some(behind),
            last_sent: now,
            ends,
            ends_for,
            is_parting: false,
            resumed,
            permit,
        }
    }

    pub(super) fn user(&self) -> &UserId {
        self.permit.user()
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Whether it has left its rooms, and only gets its last words out.
    pub(super) fn is_parting(&self) -> bool {
        self.is_parting
    }

    /// When it wants to be woken. Those who were told something at the same time are pinged at different ones.
    pub(super) fn due(&self, index: u32, ping_after: Duration) -> Tick {
        let patience = match &self.behind {
            _ if self.is_parting => return self.ends,
            Some(behind) if behind.is_joining() => ping_after.min(JOINING),
            _ => ping_after.mul_f64(1.0 - 0.2 * f64::from(index.wrapping_mul(0x9e37_79b9) >> 16) / 65_536.0),
        };
        self.last_sent.after(patience).min(self.ends)
    }

    /// Where its reader is, having been told everything.
    fn cursor(&self, audiences: &Audiences) -> Places {
        self.places.iter().map(|place| audiences.at(*place)).collect()
    }

    /// All channels have joined: says so, before what has gathered.
    fn begin(&mut self, audiences: &Audiences, ctx: &mut Hosted) {
        let Some(behind) = &mut self.behind else { return };
        let user = self.permit.user();
        let channel = |place: &Place| match place.audience() {
            Some(audience) => audiences.get(audience).map(|audience| audience.channel.clone()),
            None => Some(Channel::of_user(user)),
        };
        let channels = self.places.iter().filter_map(channel).collect();
        let ready = frame::control(&Control::Ready { timestamp: Timestamp::now(), channels, resumed: self.resumed });
        behind.begin(&frame::retry(rand::random_range(2_000..=5_000)), &ready);
        self.proceed(ctx);
    }

    /// Writes what waits, as far as the reader takes it.
    fn proceed(&mut self, ctx: &mut Hosted) {
        let Some(behind) = &mut self.behind else { return };
        while let Some((piece, from)) = behind.next_piece() {
            match self.outlet.write(&piece, from) {
                Wrote::All => self.last_sent = ctx.now,
                Wrote::Until(taken) => return behind.put_back(piece, taken),
                Wrote::Gone => return ctx.terminate(),
            }
        }
        if behind.ends() {
            self.outlet.end();
            ctx.terminate();
        } else if !behind.is_joining() {
            self.behind = None;
        }
    }

    /// Ends the stream; what was not told is not lost, as no cursor covers it.
    fn close(&mut self, reason: ClosingReason, ctx: &mut Hosted) {
        let closing = frame::control(&Control::Closing { timestamp: Timestamp::now(), reason, reconnect: true });
        let behind = self.behind.get_or_insert_with(|| Box::new(Behind::joining(0, Bytes::new())));
        behind.end(closing.into(), reason == ClosingReason::Slow);
        self.is_parting = true;
        self.ends = ctx.now.after(PARTING);
        ctx.stop();
        self.proceed(ctx);
    }
}

/// The frame that says that a channel has a gap.
pub(super) fn reset(channel: &Channel, reason: ResetReason) -> Bytes {
    frame::control(&Control::Reset { timestamp: Timestamp::now(), channel: channel.clone(), reason }).into()
}

impl Actor for Connection {
    type Context = Hosted;
}

impl Handler<Deliver<'_, '_>> for Connection {
    type Result = ();

    fn handle(&mut self, Deliver { slot, batch, audiences }: Deliver<'_, '_>, ctx: &mut Hosted) {
        if let Some(behind) = &mut self.behind {
            if !behind.push(slot, batch.news()) {
                self.close(ClosingReason::Slow, ctx);
            }
            return;
        }
        let made = batch.encode(slot, &self.places, audiences);
        match self.outlet.write(&made.piece, 0) {
            Wrote::All => self.last_sent = ctx.now,
            Wrote::Until(taken) => self.behind = Some(Box::new(Behind::blocked(made.after.clone(), made.piece.clone(), taken))),
            Wrote::Gone => ctx.terminate(),
        }
    }
}

impl Handler<Welcome<'_>> for Connection {
    type Result = ();

    fn handle(&mut self, welcome: Welcome<'_>, ctx: &mut Hosted) {
        let Welcome { slot, place, from, gap, replay, greeting, audiences } = welcome;
        self.places[slot] = place;
        let Some(behind) = &mut self.behind else { return };
        if let Some(reason) = gap
            && let Some(audience) = place.audience().and_then(|index| audiences.get(index))
        {
            behind.reset(&reset(&audience.channel, reason));
        }
        if let Some(greeting) = greeting {
            behind.say(greeting);
        }
        behind.replay(slot, replay);
        if behind.joined(slot, audiences.at(place).0, from) {
            self.begin(audiences, ctx);
        }
    }
}

impl Handler<Proceed> for Connection {
    type Result = ();

    fn handle(&mut self, _: Proceed, ctx: &mut Hosted) {
        self.proceed(ctx);
    }
}

impl Handler<Wake<'_>> for Connection {
    type Result = ();

    fn handle(&mut self, Wake { index, ping_after, audiences }: Wake<'_>, ctx: &mut Hosted) {
        if ctx.now >= self.ends {
            if self.is_parting { ctx.terminate() } else { self.close(self.ends_for, ctx) }
        } else if ctx.now >= self.due(index, ping_after) {
            Handler::<Nudge<'_>>::handle(self, Nudge(audiences), ctx);
        }
    }
}

impl Handler<Nudge<'_>> for Connection {
    type Result = ();

    fn handle(&mut self, Nudge(audiences): Nudge<'_>, ctx: &mut Hosted) {
        self.last_sent = ctx.now;
        let piece = match &mut self.behind {
            // Nothing but `ready` may come first; a comment is no event.
            Some(behind) if behind.is_joining() => behind.murmur(),
            // What waits will tell.
            Some(_) => return,
            None => {
                // The id keeps the cursor of an idle stream young.
                let mut writer = PieceWriter::new(&[], 160);
                writer.id(&self.cursor(audiences));
                writer.push(frame::control(&Control::Ping { timestamp: Timestamp::now() }).as_bytes());
                writer.finish(false)
            }
        };
        match (self.outlet.write(&piece, 0), &mut self.behind) {
            (Wrote::All, _) => {}
            (Wrote::Until(taken), Some(behind)) => behind.put_back(piece, taken),
            (Wrote::Until(taken), None) => self.behind = Some(Box::new(Behind::blocked(self.cursor(audiences), piece, taken))),
            (Wrote::Gone, _) => ctx.terminate(),
        }
    }
}

impl Handler<Close> for Connection {
    type Result = ();

    fn handle(&mut self, Close(reason): Close, ctx: &mut Hosted) {
        if !self.is_parting {
            self.close(reason, ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 144, "{} bytes", size_of::<Connection>());
    }
}
