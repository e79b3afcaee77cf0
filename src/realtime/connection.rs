//! A connection: one reader's stream over all its channels.
//!
//! An actor without a mailbox of its own: its [`Host`](super::host::Host) calls its handlers, one after the other. Until every
//! channel has joined it holds back what it is told, so that the first cursor it sends covers them all. Refuses to wait for
//! its reader: a reader that falls too far behind is closed, and resumes from the log.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorState, Handler, Message};
use bytes::Bytes;

use super::{
    cursor::{self, Key},
    frame::{self, Frame},
    limits::Permit,
    outlet::{Outlet, Pushed},
};
use crate::{
    channel::Channel,
    event::{ClosingReason, Control, Person, ResetReason},
    log::Position,
    timestamp::Timestamp,
};

/// The context of an actor that lives in its host's slab.
#[derive(Debug)]
pub struct Hosted(ActorState);

impl Hosted {
    pub(super) fn running() -> Self {
        Self(ActorState::Running)
    }
}

impl ActorContext for Hosted {
    fn stop(&mut self) {
        self.0 = ActorState::Stopping;
    }

    fn terminate(&mut self) {
        self.0 = ActorState::Stopped;
    }

    fn state(&self) -> ActorState {
        self.0
    }
}

/// A logged event of one of its channels.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Deliver<'a> {
    pub slot: usize,
    pub frame: &'a Frame,
    pub encoded: &'a mut Encoded,
}

/// An event that is not logged.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Show(pub Bytes);

/// One of its channels has joined.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Welcome {
    pub slot: usize,
    pub head: Position,
    pub gap: Option<ResetReason>,
    pub replay: Vec<Frame>,
    pub greeting: Option<Bytes>,
}

/// One of its channels has lost events.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Interrupt {
    pub slot: usize,
    pub reason: ResetReason,
}

/// A moment has passed: pings, lifetimes and identities may be due.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Tick {
    pub now: Instant,
    pub ping_after: Duration,
}

/// Write something, so that a reader who is gone is noticed.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Nudge;

/// End, and say why.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Close(pub ClosingReason);

/// The frame of an event with its `id:` line, kept while the next reader's cursor is the same.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    cursor: String,
    scratch: String,
    bytes: Bytes,
}

impl Encoded {
    fn encode(&mut self, frame: &Frame, places: &(impl Iterator<Item = (Key, Position)> + Clone)) -> Bytes {
        self.scratch.clear();
        cursor::write(places, &mut self.scratch);
        if self.bytes.is_empty() || self.scratch != self.cursor {
            std::mem::swap(&mut self.cursor, &mut self.scratch);
            self.bytes = with_id(&self.cursor, &frame.data);
        }
        self.bytes.clone()
    }
}

fn with_id(cursor: &str, data: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(cursor.len() + data.len() + 5);
    bytes.extend_from_slice(b"id: ");
    bytes.extend_from_slice(cursor.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(data);
    bytes.into()
}

/// One of a stream's channels.
#[derive(Debug)]
pub(super) struct Place {
    pub channel: Channel,
    key: Key,
    /// The newest event it was told; unknown until joined, where no cursor was given.
    position: Option<Position>,
    /// Where it stands among its host's members of this channel.
    pub member: usize,
}

enum Held {
    Frame(usize, Frame),
    Bare(Bytes),
}

/// One reader's stream.
pub struct Connection {
    pub(super) person: Person,
    pub(super) places: Vec<Place>,
    outlet: Outlet,
    resumed: bool,
    /// Channels that have not joined yet.
    joining: usize,
    held: Vec<Held>,
    last_sent: Instant,
    /// When the stream ends for its age, or because its identity does.
    ends: (Instant, ClosingReason),
    _permit: Permit,
}

/// What a connection begins with.
pub struct Opening {
    pub person: Person,
    /// Each channel and where to go on in it.
    pub channels: Vec<(Channel, Option<Position>)>,
    /// Resets to tell at once, as the cursor was no good.
    pub resets: Option<ResetReason>,
    pub resumed: bool,
    pub outlet: Outlet,
    pub ends: (Instant, ClosingReason),
    pub permit: Permit,
}

impl Connection {
    pub(super) fn new(opening: Opening) -> Self {
        let Opening { person, channels, resets, resumed, outlet, ends, permit } = opening;
        let held = resets.into_iter().flat_map(|reason| channels.iter().map(move |(channel, _)| Held::Bare(reset(channel, reason)))).collect();
        let places: Vec<Place> = channels
            .into_iter()
            .map(|(channel, position)| Place { key: Key::of(&channel, &person.user_id), channel, position, member: usize::MAX })
            .collect();
        Self { person, joining: places.len(), places, outlet, resumed, held, last_sent: Instant::now(), ends, _permit: permit }
    }

    fn cursor(&self) -> impl Iterator<Item = (Key, Position)> + Clone {
        self.places.iter().filter_map(|place| Some((place.key, place.position?)))
    }

    /// The frame of the newest event of a channel, under the cursor that has it.
    fn advance(&mut self, slot: usize, frame: &Frame, encoded: &mut Encoded) -> Bytes {
        self.places[slot].position = Some(frame.position);
        encoded.encode(frame, &self.cursor())
    }

    fn push(&mut self, frame: Bytes, ctx: &mut Hosted) {
        match self.outlet.push(frame) {
            Pushed::Taken => self.last_sent = Instant::now(),
            Pushed::Full => self.close(ClosingReason::Slow, ctx),
            Pushed::Gone => ctx.stop(),
        }
    }

    /// Ends the response; what was held back is not lost, as no cursor covers it.
    fn close(&mut self, reason: ClosingReason, ctx: &mut Hosted) {
        let closing = frame::control(&Control::Closing { timestamp: Timestamp::now(), reason, reconnect: true });
        self.outlet.finish(closing.into(), reason == ClosingReason::Slow);
        ctx.stop();
    }

    /// All channels have joined: says so, with the cursor of all, and tells what was held back.
    fn begin(&mut self) {
        let channels = self.places.iter().map(|place| place.channel.clone()).collect();
        let ready = frame::control(&Control::Ready { timestamp: Timestamp::now(), channels, resumed: self.resumed });
        let mut first = frame::retry(rand::random_range(2_000..=5_000));
        first.push_str("id: ");
        cursor::write(&self.cursor(), &mut first);
        let _ = write!(first, "\n{ready}");
        let mut frames = vec![Bytes::from(first)];
        let mut encoded = Encoded::default();
        for held in std::mem::take(&mut self.held) {
            frames.push(match held {
                Held::Bare(frame) => frame,
                Held::Frame(slot, frame) => {
                    encoded.bytes.clear();
                    self.advance(slot, &frame, &mut encoded)
                }
            });
        }
        self.outlet.push_replay(frames.into_iter());
        self.last_sent = Instant::now();
    }

    /// Nobody reads any more.
    pub(super) fn cut(&self) {
        self.outlet.cut();
    }
}

fn reset(channel: &Channel, reason: ResetReason) -> Bytes {
    frame::control(&Control::Reset { timestamp: Timestamp::now(), channel: channel.clone(), reason }).into()
}

impl Actor for Connection {
    type Context = Hosted;
}

impl Handler<Deliver<'_>> for Connection {
    type Result = ();

    fn handle(&mut self, Deliver { slot, frame, encoded }: Deliver<'_>, ctx: &mut Hosted) {
        if self.joining > 0 {
            self.held.push(Held::Frame(slot, frame.clone()));
            return;
        }
        let frame = self.advance(slot, frame, encoded);
        self.push(frame, ctx);
    }
}

impl Handler<Show> for Connection {
    type Result = ();

    fn handle(&mut self, Show(frame): Show, ctx: &mut Hosted) {
        if self.joining > 0 {
            self.held.push(Held::Bare(frame));
        } else if self.outlet.queued() < super::outlet::MAX_QUEUED / 4 {
            // Whoever is behind misses ephemeral events first.
            self.push(frame, ctx);
        }
    }
}

impl Handler<Welcome> for Connection {
    type Result = ();

    fn handle(&mut self, welcome: Welcome, _: &mut Hosted) {
        let Welcome { slot, head, gap, replay, greeting } = welcome;
        let place = &mut self.places[slot];
        if gap.is_some() || place.position.is_none() {
            // Before the first event that it will be told.
            let first = replay.first().map_or(head.offset, |frame| frame.position.offset - 1);
            place.position = Some(Position { epoch: head.epoch, offset: first });
        }
        self.held.extend(gap.map(|reason| Held::Bare(reset(&place.channel, reason))));
        self.held.extend(greeting.map(Held::Bare));
        self.held.extend(replay.into_iter().map(|frame| Held::Frame(slot, frame)));
        self.joining -= 1;
        if self.joining == 0 {
            self.begin();
        }
    }
}

impl Handler<Interrupt> for Connection {
    type Result = ();

    fn handle(&mut self, Interrupt { slot, reason }: Interrupt, ctx: &mut Hosted) {
        let reset = reset(&self.places[slot].channel, reason);
        if self.joining > 0 {
            self.held.push(Held::Bare(reset));
        } else {
            self.push(reset, ctx);
        }
    }
}

impl Handler<Tick> for Connection {
    type Result = ();

    fn handle(&mut self, Tick { now, ping_after }: Tick, ctx: &mut Hosted) {
        if now >= self.ends.0 {
            self.close(self.ends.1, ctx);
        } else if now.duration_since(self.last_sent) >= ping_after {
            Handler::<Nudge>::handle(self, Nudge, ctx);
        }
    }
}

impl Handler<Nudge> for Connection {
    type Result = ();

    fn handle(&mut self, _: Nudge, ctx: &mut Hosted) {
        if self.joining > 0 {
            // Nothing but `ready` may come first; a comment is no event.
            return self.push(Bytes::from_static(b":\n\n"), ctx);
        }
        // The id keeps the cursor of an idle stream young.
        let mut ping = String::from("id: ");
        cursor::write(&self.cursor(), &mut ping);
        ping.push('\n');
        ping.push_str(&frame::control(&Control::Ping { timestamp: Timestamp::now() }));
        self.push(ping.into(), ctx);
    }
}

impl Handler<Close> for Connection {
    type Result = ();

    fn handle(&mut self, Close(reason): Close, ctx: &mut Hosted) {
        self.close(reason, ctx);
    }
}
