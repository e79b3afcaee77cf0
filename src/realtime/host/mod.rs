//! The host: one for each HTTP thread, holds that thread's connections and calls their handlers, on a thread of its own: to tell
//! thousands takes a while, in which no request is to wait.
//!
//! A room's event reaches it once, over its `Line`, and is put by; when all that has come is put by, each room's news go to all its
//! members at once, so that many events are one write. Sockets and timers of the thread wake connections through it too.
//! Refuses to look at what it delivers.

mod line;
mod private;
mod telling;

use std::{io, rc::Rc, sync::Arc, time::Instant};

use actix::prelude::*;
use bytes::Bytes;
use slab::Slab;

use self::{line::Queue, telling::Told};
pub(super) use self::{
    line::{FromRegistry, Line},
    private::{Rouse, Wait},
    telling::Tell,
};
use super::{
    Manners, Vital,
    audience::{Audiences, Member, RoomKey},
    behind::Replay,
    connection::{Close, Connection, Hosted, Nudge, Opening, Proceed, Wake, Welcome},
    index::Index,
    outlet::Outlet,
    registry::{Enlist, RoomRegistry},
    room::{Join, Leave},
    watch::{Noticed, Watch},
    wheel::{Tick, Wheel},
};
use crate::{
    channel::Channel,
    event::{ClosingReason, Person, ResetReason},
    log::Position,
};

/// Which of the process's hosts one is.
pub type HostId = u16;

/// Where a connection sits in its host's slab. The generation tells it from who sat there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Seat {
    /// A bit less than 32 of them: a seat and a mark are to fit into the 64 bits that an epoll gives back.
    const GENERATIONS: u32 = u32::MAX >> 1;
}

/// Take a connection in; it joins all its channels.
#[derive(Message)]
#[rtype(result = "Seat")]
pub struct Open(pub Opening);

/// A room has let a connection in.
pub(super) struct Joined {
    pub seat: Seat,
    pub slot: u16,
    pub person: Arc<Person>,
    pub room: RoomKey,
    pub channel: Channel,
    /// The newest place the room has told.
    pub head: Position,
    /// The place before the first event that the connection is told.
    pub from: Position,
    /// Why the place it asked for could not be taken up.
    pub gap: Option<ResetReason>,
    /// What it has missed, up to `head`.
    pub replay: Replay,
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

/// The reader takes more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ready(pub Seat);

/// End all streams, as the server stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

/// The connections of one thread.
pub struct Host {
    id: HostId,
    registry: Addr<RoomRegistry>,
    manners: Manners,
    watch: Rc<Watch>,
    connections: Slab<Connection>,
    generations: u32,
    audiences: Audiences,
    /// Which connections wait for the first event of their private channels, by whose they are.
    idle: Index,
    told: Told,
    queue: Queue,
    wheel: Wheel,
    _vital: Vital,
}

impl Host {
    /// Starts a host without connections on `thread`.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn start_on(thread: &ArbiterHandle, id: HostId, registry: Addr<RoomRegistry>, manners: Manners) -> io::Result<Addr<Self>> {
        let epoll = Watch::epoll()?;
        Ok(Self::start_in_arbiter(thread, move |_| Self::new(id, registry, manners, Watch::over(epoll))))
    }

    fn new(id: HostId, registry: Addr<RoomRegistry>, manners: Manners, watch: Rc<Watch>) -> Self {
        Self {
            id,
            registry,
            manners,
            watch,
            connections: Slab::new(),
            generations: 0,
            audiences: Audiences::default(),
            idle: Index::default(),
            told: Told::new(),
            queue: Queue::default(),
            wheel: Wheel::new(Instant::now()),
            _vital: Vital("host of a thread"),
        }
    }

    /// Whether the connection is there, and not about to go.
    fn is_open(&self, seat: Seat) -> bool {
        let connection = self.connections.get(seat.index as usize);
        connection.is_some_and(|connection| connection.generation == seat.generation && !connection.is_parting())
    }

    fn now(&self) -> Tick {
        self.wheel.tick(Instant::now())
    }

    /// Calls a handler of the connection at `index`, and sees to it that it is let go where it stops.
    fn call(&mut self, index: u32, handler: impl FnOnce(&mut Connection, &Audiences, &mut Hosted)) {
        let mut hosted = Hosted::running(self.now());
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        handler(connection, &self.audiences, &mut hosted);
        self.after_call(index, &hosted);
    }

    fn call_at(&mut self, seat: Seat, handler: impl FnOnce(&mut Connection, &Audiences, &mut Hosted)) {
        if self.connections.get(seat.index as usize).is_some_and(|connection| connection.generation == seat.generation) {
            self.call(seat.index, handler);
        }
    }

    /// A connection that stops leaves its rooms, and has a little time for its last words; one that has stopped is gone.
    fn after_call(&mut self, index: u32, hosted: &Hosted) {
        match hosted.state() {
            ActorState::Started | ActorState::Running => {}
            ActorState::Stopping => {
                self.leave_rooms(index);
                self.set_timer(index);
            }
            ActorState::Stopped => {
                self.leave_rooms(index);
                self.connections.try_remove(index as usize);
                // Thousands may have left at once.
                if self.connections.is_empty() {
                    self.connections.shrink_to_fit();
                }
            }
        }
    }

    fn leave_rooms(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        let (places, user) = (std::mem::take(&mut connection.places), connection.user().clone());
        for place in places {
            if place.is_idle() {
                self.forgo(index, user.clone());
            }
            let Some(audience) = place.audience().and_then(|audience| self.audiences.get(audience)) else { continue };
            self.registry.do_send(Leave { room: audience.room, host: self.id, user: user.clone() });
            if let Some((moved, place)) = self.audiences.leave(place)
                && let Some(connection) = self.connections.get_mut(moved.seat as usize)
            {
                connection.places[usize::from(moved.slot)] = place;
            }
        }
    }

    /// A room has let a connection in.
    fn admit(&mut self, joined: Joined) {
        let Joined { seat, slot, person, room, channel, head, from, gap, replay, greeting } = joined;
        // What has gathered comes before what a newcomer is told.
        self.flush(room);
        if !self.is_open(seat) {
            self.registry.do_send(Leave { room, host: self.id, user: person.user_id.clone() });
            return;
        }
        let place = self.audiences.enter(room, channel, head, Member { seat: seat.index, slot });
        self.call(seat.index, |connection, audiences, hosted| {
            connection.handle(Welcome { slot: slot.into(), place, from, gap, replay, greeting, audiences }, hosted);
        });
    }

    fn set_timer(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        connection.alarm = self.wheel.set(index, connection.due(index, self.manners.ping_after));
    }

    /// Sees to what is due, and that it is called again when more is.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        for (tick, index) in self.wheel.turn(Instant::now()) {
            if self.connections.get(index as usize).is_some_and(|connection| connection.alarm == tick) {
                let ping_after = self.manners.ping_after;
                self.call(index, |connection, audiences, hosted| connection.handle(Wake { index, ping_after, audiences }, hosted));
                self.set_timer(index);
            }
        }
        self.set_alarm(ctx);
    }

    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        if let Some(pause) = self.wheel.arm(Instant::now()) {
            ctx.run_later(pause, Self::turn);
        }
    }
}

impl Actor for Host {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.registry.do_send(Enlist { id: self.id, host: Line::new(ctx.address(), self.queue.clone()) });
        self.watch.clone().start(ctx.address());
    }
}

impl Handler<Open> for Host {
    type Result = MessageResult<Open>;

    fn handle(&mut self, Open(opening): Open, ctx: &mut Context<Self>) -> Self::Result {
        self.generations = self.generations.wrapping_add(1) & Seat::GENERATIONS;
        let entry = self.connections.vacant_entry();
        let seat = Seat { index: entry.key() as u32, generation: self.generations };
        for (slot, (channel, after)) in (0..).zip(&opening.channels) {
            let person = opening.person.clone();
            self.registry.do_send(Join { channel: channel.clone(), host: self.id, seat, slot, person, after: *after });
        }
        let (now, ends) = (self.wheel.tick(Instant::now()), self.wheel.tick_after(opening.ends.0));
        let connection = entry.insert(Connection::new(seat.generation, opening, now, ends));
        if let Outlet::Socket(socket) = connection.outlet()
            && let Err(error) = self.watch.add(socket, seat)
        {
            // It is found when it is written to.
            log::error!("a socket can't be watched: {error}");
        }
        self.set_timer(seat.index);
        self.set_alarm(ctx);
        MessageResult(seat)
    }
}

impl Handler<Noticed> for Host {
    type Result = ();

    fn handle(&mut self, Noticed(noticed): Noticed, _: &mut Context<Self>) {
        for (seat, is_gone) in noticed {
            self.call_at(seat, |connection, _, hosted| if is_gone { hosted.terminate() } else { connection.handle(Proceed, hosted) });
        }
    }
}

impl Handler<Gone> for Host {
    type Result = ();

    fn handle(&mut self, Gone(seat): Gone, _: &mut Context<Self>) {
        self.call_at(seat, |_, _, hosted| hosted.terminate());
    }
}

impl Handler<Ready> for Host {
    type Result = ();

    fn handle(&mut self, Ready(seat): Ready, _: &mut Context<Self>) {
        self.call_at(seat, |connection, _, hosted| connection.handle(Proceed, hosted));
    }
}

impl Handler<Poke> for Host {
    type Result = ();

    fn handle(&mut self, Poke(seat): Poke, _: &mut Context<Self>) {
        self.call_at(seat, |connection, audiences, hosted| connection.handle(Nudge(audiences), hosted));
    }
}

impl Handler<Drain> for Host {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) {
        let seats: Vec<u32> = self.connections.iter().map(|(index, _)| index as u32).collect();
        for index in seats {
            self.call(index, |connection, _, hosted| connection.handle(Close(ClosingReason::Drain), hosted));
        }
        self.set_alarm(ctx);
    }
}
