//! The host: one on each HTTP thread, holds that thread's connections and knows which of them are in which room.
//!
//! A room's event reaches it as one message; it walks the room's members and calls their handlers. Members of a room stand
//! side by side, and each connection knows where it stands, so that leaving costs the same in a room of ten and of ten
//! thousand. Refuses to look at what it delivers.

use std::{collections::HashMap, time::Instant};

use actix::prelude::*;
use bytes::Bytes;
use slab::Slab;

use super::{
    Manners,
    connection::{Close, Connection, Deliver, Encoded, Hosted, Interrupt, Nudge, Opening, Show, Tick, Welcome},
    frame::Frame,
    registry::RoomRegistry,
    room::{Join, Leave},
};
use crate::{
    channel::Channel,
    event::{ClosingReason, ResetReason},
    log::Position,
};

/// Where a connection sits in its host's slab. The generation tells it from who sat there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    index: usize,
    generation: u64,
}

/// Take a connection in; it joins all its channels.
#[derive(Message)]
#[rtype(result = "Seat")]
pub struct Open(pub Opening);

/// A logged event, for all members of its channel on this thread.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Fanout {
    pub channel: Channel,
    pub frame: Frame,
}

/// An event that is not logged, for all members of its channel on this thread.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Tell {
    pub channel: Channel,
    pub data: Bytes,
}

/// A channel has lost events.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Gap {
    pub channel: Channel,
    pub reason: ResetReason,
}

/// The room has let a connection in.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Joined {
    pub seat: Seat,
    pub channel: Channel,
    /// The newest event before those it will be told.
    pub head: Position,
    /// Why the place it asked for could not be taken up.
    pub gap: Option<ResetReason>,
    /// What it has missed, up to `head`.
    pub replay: Vec<Frame>,
    /// What a newcomer is shown first.
    pub greeting: Option<Bytes>,
}

/// The reader is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Gone(pub Seat);

/// The reader may be gone: write something to find out.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Poke(pub Seat);

/// End all streams, as the server stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

/// One HTTP thread's connections.
pub struct Host {
    registry: Addr<RoomRegistry>,
    manners: Manners,
    connections: Slab<(u64, Connection)>,
    generations: u64,
    rooms: HashMap<Channel, Vec<Member>>,
}

#[derive(Clone, Copy)]
struct Member {
    seat: usize,
    /// Which of the connection's channels this is.
    slot: usize,
}

impl Host {
    /// A host without connections.
    #[must_use]
    pub fn new(registry: Addr<RoomRegistry>, manners: Manners) -> Self {
        Self { registry, manners, connections: Slab::new(), generations: 0, rooms: HashMap::new() }
    }

    /// Calls a handler of the connection at `index`, and lets go of it if it has stopped.
    fn call<M>(&mut self, index: usize, message: M, ctx: &mut Context<Self>)
    where
        M: Message,
        Connection: Handler<M>,
    {
        let Some((_, connection)) = self.connections.get_mut(index) else { return };
        let mut hosted = Hosted::running();
        connection.handle(message, &mut hosted);
        if !hosted.state().alive() {
            self.let_go(index, ctx);
        }
    }

    /// Calls a handler of every member of `channel`.
    fn call_members<M>(&mut self, channel: &Channel, ctx: &mut Context<Self>, mut message: impl FnMut(Member) -> M)
    where
        M: Message,
        Connection: Handler<M>,
    {
        let Some(members) = self.rooms.get(channel) else { return };
        let mut stopped = Vec::new();
        for member in members {
            let Some((_, connection)) = self.connections.get_mut(member.seat) else { continue };
            let mut hosted = Hosted::running();
            connection.handle(message(*member), &mut hosted);
            if !hosted.state().alive() {
                stopped.push(member.seat);
            }
        }
        for index in stopped {
            self.let_go(index, ctx);
        }
    }

    fn let_go(&mut self, index: usize, ctx: &mut Context<Self>) {
        let Some((_, connection)) = self.connections.try_remove(index) else { return };
        for place in &connection.places {
            self.remove_member(&place.channel, place.member);
            self.registry.do_send(Leave { channel: place.channel.clone(), host: ctx.address(), user: connection.person.user_id.clone() });
        }
    }

    fn remove_member(&mut self, channel: &Channel, position: usize) {
        let Some(members) = self.rooms.get_mut(channel) else { return };
        if position >= members.len() {
            return;
        }
        members.swap_remove(position);
        if let Some(moved) = members.get(position)
            && let Some((_, connection)) = self.connections.get_mut(moved.seat)
        {
            connection.places[moved.slot].member = position;
        }
        if members.is_empty() {
            self.rooms.remove(channel);
        }
    }

    fn sits(&self, seat: Seat) -> bool {
        self.connections.get(seat.index).is_some_and(|(generation, _)| *generation == seat.generation)
    }

    fn call_all<M>(&mut self, ctx: &mut Context<Self>, message: impl Fn() -> M)
    where
        M: Message,
        Connection: Handler<M>,
    {
        let seats: Vec<usize> = self.connections.iter().map(|(index, _)| index).collect();
        for index in seats {
            self.call(index, message(), ctx);
        }
    }
}

impl Actor for Host {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let every = (self.manners.ping_after / 4).min(std::time::Duration::from_secs(1));
        ctx.run_interval(every, |host, ctx| {
            let (now, ping_after) = (Instant::now(), host.manners.ping_after);
            host.call_all(ctx, || Tick { now, ping_after });
        });
    }
}

impl Handler<Open> for Host {
    type Result = MessageResult<Open>;

    fn handle(&mut self, Open(opening): Open, ctx: &mut Context<Self>) -> Self::Result {
        self.generations += 1;
        let asked: Vec<_> = opening.channels.clone();
        let person = opening.person.clone();
        let index = self.connections.insert((self.generations, Connection::new(opening)));
        let seat = Seat { index, generation: self.generations };
        for (channel, after) in asked {
            self.registry.do_send(Join { channel, host: ctx.address(), seat, person: person.clone(), after });
        }
        MessageResult(seat)
    }
}

impl Handler<Joined> for Host {
    type Result = ();

    fn handle(&mut self, joined: Joined, ctx: &mut Context<Self>) {
        if !self.sits(joined.seat) {
            return;
        }
        let Joined { seat, channel, head, gap, replay, greeting } = joined;
        let Some((_, connection)) = self.connections.get_mut(seat.index) else { return };
        let Some(slot) = connection.places.iter().position(|place| place.channel == channel) else { return };
        let members = self.rooms.entry(channel).or_default();
        connection.places[slot].member = members.len();
        members.push(Member { seat: seat.index, slot });
        self.call(seat.index, Welcome { slot, head, gap, replay, greeting }, ctx);
    }
}

impl Handler<Fanout> for Host {
    type Result = ();

    fn handle(&mut self, Fanout { channel, frame }: Fanout, ctx: &mut Context<Self>) {
        let mut encoded = Encoded::default();
        let Some(members) = self.rooms.get(&channel) else { return };
        let mut stopped = Vec::new();
        for member in members {
            let Some((_, connection)) = self.connections.get_mut(member.seat) else { continue };
            let mut hosted = Hosted::running();
            connection.handle(Deliver { slot: member.slot, frame: &frame, encoded: &mut encoded }, &mut hosted);
            if !hosted.state().alive() {
                stopped.push(member.seat);
            }
        }
        for index in stopped {
            self.let_go(index, ctx);
        }
    }
}

impl Handler<Tell> for Host {
    type Result = ();

    fn handle(&mut self, Tell { channel, data }: Tell, ctx: &mut Context<Self>) {
        self.call_members(&channel, ctx, |_| Show(data.clone()));
    }
}

impl Handler<Gap> for Host {
    type Result = ();

    fn handle(&mut self, Gap { channel, reason }: Gap, ctx: &mut Context<Self>) {
        self.call_members(&channel, ctx, |member| Interrupt { slot: member.slot, reason });
    }
}

impl Handler<Gone> for Host {
    type Result = ();

    fn handle(&mut self, Gone(seat): Gone, ctx: &mut Context<Self>) {
        if self.sits(seat) {
            if let Some((_, connection)) = self.connections.get(seat.index) {
                connection.cut();
            }
            self.let_go(seat.index, ctx);
        }
    }
}

impl Handler<Poke> for Host {
    type Result = ();

    fn handle(&mut self, Poke(seat): Poke, ctx: &mut Context<Self>) {
        if self.sits(seat) {
            self.call(seat.index, Nudge, ctx);
        }
    }
}

impl Handler<Drain> for Host {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) {
        self.call_all(ctx, || Close(ClosingReason::Drain));
    }
}
