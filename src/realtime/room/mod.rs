//! A room: one live channel, a person's private one included.
//!
//! An actor without a mailbox of its own: the [`RoomRegistry`](super::registry::RoomRegistry) calls its handlers, so that a
//! hundred thousand rooms are no burden. Keeps the channel's events in order and without a hole: an event that is not the next
//! one sends it to the log for what is missing. Serves who comes back from its [`Ring`], and from the log where that is too
//! short. Keeps presence and typing, which are never logged. Refuses to know connections one by one: it knows the threads
//! that have some.

mod company;
mod hosted;
mod reading;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, Handler, Message};

pub(super) use self::hosted::{Hosted, Question};
use super::{
    audience::RoomKey,
    behind::Replay,
    frame::{self, Frame},
    host::{FromRegistry, HostId, Joined, Seat, Tell},
    listeners::Listeners,
    news::News,
    presence::Attendance,
    registry::TooSoon,
    ring::Ring,
    typing::Typists,
};
use crate::{
    channel::Channel,
    event::{Person, Presence, ResetReason},
    id::UserId,
    log::{
        Logged, Position,
        elsewhere::{Crowd, Heard},
    },
};

/// How long a room waits for somebody before it goes.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// A connection would get this channel's events.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Join {
    pub channel: Channel,
    pub host: HostId,
    pub seat: Seat,
    /// Which of the connection's channels this is.
    pub slot: u16,
    pub person: Arc<Person>,
    /// The place after which it goes on; without one it begins with what comes next.
    pub after: Option<Position>,
}

/// A connection that had joined is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave {
    pub room: RoomKey,
    pub host: HostId,
    pub user: UserId,
}

/// The log has a new event.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Publish(pub Logged);

/// The log's newest place is this: what is missing up to it is to be read.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReadUpTo(pub Channel, pub Position);

/// A user types, or types no longer.
#[derive(Message)]
#[rtype(result = "Result<(), TooSoon>")]
pub struct SetTyping {
    pub channel: Channel,
    pub user: UserId,
    pub is_typing: bool,
}

/// Who is in the room; nothing where nobody here listens to it.
#[derive(Message)]
#[rtype(result = "Option<Presence>")]
pub struct WhoIsThere(pub Channel);

/// Other processes say something of the room.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Hear(pub Channel, pub Heard);

/// The log has answered.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Answer {
    /// All it has after the place it was asked for.
    pub events: Vec<Logged>,
    pub complete: bool,
    pub head: Position,
    /// Who is in the room at other processes, where it was asked for.
    pub elsewhere: Vec<Crowd>,
}

/// What the room wanted to be woken for may be due.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// One live channel.
pub struct Room {
    pub(super) channel: Channel,
    /// The newest event that was told; known once the log has answered for the first time.
    head: Option<Position>,
    /// The newest frames, the last one at `head`, once there are any.
    ring: Option<Box<Ring>>,
    /// Why the log was asked.
    asking: Option<Box<Asking>>,
    /// The threads that have members, and how many.
    hosts: Listeners,
    attendance: Option<Box<Attendance>>,
    typists: Option<Box<Typists>>,
    /// When the room last had nobody.
    empty_since: Instant,
    /// When the log last answered.
    asked_at: Instant,
}

enum Asking {
    /// The room begins with this join.
    First(Join),
    /// This join wants what the ring does not have.
    More(Join),
    /// This join comes from a place that the room does not know.
    Further(Join),
    /// An event was not the next one.
    Hole,
}

impl Room {
    pub(super) fn new(channel: Channel, now: Instant) -> Self {
        Self {
            channel,
            head: None,
            ring: None,
            asking: None,
            hosts: Listeners::None,
            attendance: None,
            typists: None,
            empty_since: now,
            asked_at: now,
        }
    }

    /// A private channel in which something is about to be told, after `at`, to those who listen already.
    pub(super) fn roused(channel: Channel, at: Position, hosts: Listeners, now: Instant) -> Self {
        // The log was asked long ago.
        let asked_at = now.checked_sub(LINGER).unwrap_or(now);
        Self { head: Some(at), hosts, asked_at, ..Self::new(channel, now) }
    }

    /// The join that a private channel begins with, where the log has nothing of it to tell, so that it need not begin.
    pub(super) fn take_idle(&mut self, answer: &Answer) -> Option<Join> {
        if self.channel.is_room() || answer.head.offset > 0 {
            return None;
        }
        let begins = |join: &Join| join.after.is_none_or(|after| after.continues_in(answer.head));
        match *self.asking.take_if(|asking| matches!(&**asking, Asking::First(join) if begins(join)))? {
            Asking::First(join) => Some(join),
            _ => None,
        }
    }

    /// Whether the log has not answered it yet.
    pub(super) fn is_beginning(&self) -> bool {
        self.head.is_none()
    }

    fn tell(&self, news: &News, ctx: &Hosted) {
        for host in self.hosts.hosts() {
            if let Some(host) = ctx.host(host) {
                host.send(FromRegistry::Tell(Tell { room: ctx.room, news: news.clone() }));
            }
        }
    }

    /// Takes the event that follows `head`.
    fn accept(&mut self, logged: &Logged, ctx: &Hosted) {
        let frame = Frame { position: logged.position, data: frame::data(&logged.json) };
        self.tell(&News::Event(frame.clone()), ctx);
        let before = self.head.replace(logged.position).unwrap_or(logged.position);
        self.ring.get_or_insert_with(|| Box::new(Ring::new(before))).push(frame, ctx.now);
    }

    fn ask(&mut self, asking: Asking, question: Question, ctx: &mut Hosted) {
        self.asking = Some(Box::new(asking));
        ctx.question = Some(question);
    }

    /// Shows a newcomer what it has missed, or asks the log for it.
    fn welcome(&mut self, join: Join, head: Position, ctx: &mut Hosted) {
        let Some(asked) = join.after else { return self.admit(join, head, head, None, Replay::default(), ctx) };
        if self.may_be_behind(asked, head, ctx.now) {
            return self.ask(Asking::Further(join), Question::After(head), ctx);
        }
        // Another life of this channel: all that is kept of this one is news.
        let gap = (!asked.continues_in(head)).then_some(ResetReason::Epoch);
        let after = if gap.is_some() { 0 } else { asked.offset };
        let known = match &mut self.ring {
            None if after >= head.offset => Some((Replay::default(), true)),
            None => None,
            Some(ring) => ring.after(after),
        };
        let Some((replay, complete)) = known else {
            let floor = Position { epoch: head.epoch, offset: Ring::floor_for(after) };
            return self.ask(Asking::More(join), Question::After(floor), ctx);
        };
        let gap = gap.or((!complete).then_some(ResetReason::Trimmed));
        let from = if gap.is_some() { replay.first().map_or(head.offset, |first| first.position.offset - 1) } else { after };
        self.admit(join, head, Position { epoch: head.epoch, offset: from }, gap, replay, ctx);
    }

    fn admit(&mut self, join: Join, head: Position, from: Position, gap: Option<ResetReason>, replay: Replay, ctx: &mut Hosted) {
        let Join { channel, host, seat, slot, person, .. } = join;
        let greeting = self.greeting();
        self.hosts.add(host);
        if let Some(host) = ctx.host(host) {
            let joined = Joined { seat, slot, person, room: ctx.room, channel, head, from, gap, replay, greeting };
            host.send(FromRegistry::Joined(Box::new(joined)));
        }
    }

    fn join(&mut self, join: Join, ctx: &mut Hosted) {
        if self.channel.is_room() {
            ctx.asks_elsewhere |= self.attendance.is_none();
            self.attendance().join(&join.person);
        }
        self.attend(ctx);
        if let Some(head) = self.head {
            self.welcome(join, head, ctx);
        }
    }
}

impl Actor for Room {
    type Context = Hosted;
}

impl Handler<Join> for Room {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Hosted) {
        if self.head.is_some() {
            return self.join(join, ctx);
        }
        let question = match join.after {
            Some(after) => Question::After(Position { offset: Ring::floor_for(after.offset), ..after }),
            None => Question::Head,
        };
        self.ask(Asking::First(join), question, ctx);
    }
}

impl Handler<Answer> for Room {
    type Result = ();

    fn handle(&mut self, answer: Answer, ctx: &mut Hosted) {
        let Some(asking) = self.asking.take() else { return };
        self.asked_at = ctx.now;
        match (*asking, self.head) {
            (Asking::First(join), _) => {
                let head = answer.head;
                if let Some(after) = join.after {
                    let floor = if after.continues_in(head) { Ring::floor_for(after.offset) } else { 0 };
                    self.take_ring(answer.events, floor, head, ctx.now);
                }
                self.head = Some(head);
                if self.channel.is_room() {
                    self.attendance().hear(Heard::Everybody(answer.elsewhere), ctx.now);
                }
                self.join(join, ctx);
            }
            (Asking::More(join), Some(head)) => {
                let after = join.after.filter(|after| after.continues_in(head)).map_or(0, |after| after.offset);
                self.take_ring(answer.events, Ring::floor_for(after), head, ctx.now);
                self.welcome(join, head, ctx);
                self.attend(ctx);
            }
            (Asking::Further(join), Some(head)) => {
                self.fill_hole(head, answer, ctx);
                self.welcome(join, self.head.unwrap_or(head), ctx);
            }
            (Asking::Hole, Some(head)) => self.fill_hole(head, answer, ctx),
            (_, None) => {}
        }
    }
}

impl Handler<Leave> for Room {
    type Result = ();

    fn handle(&mut self, leave: Leave, ctx: &mut Hosted) {
        self.hosts.remove(leave.host);
        self.empty_since = ctx.now;
        if let Some(attendance) = &mut self.attendance {
            attendance.leave(&leave.user, ctx.manners.presence_grace, ctx.now);
        }
        self.attend(ctx);
    }
}

impl Handler<Publish> for Room {
    type Result = ();

    fn handle(&mut self, Publish(logged): Publish, ctx: &mut Hosted) {
        let Some(head) = self.head else { return };
        let next = logged.position;
        match next.epoch == head.epoch {
            true if next.offset <= head.offset => {}
            true if next.offset == head.offset + 1 => self.accept(&logged, ctx),
            // An idle channel's epoch begins with its first event.
            false if head.offset == 0 && next.offset == 1 && next.epoch.dataset() == head.epoch.dataset() => self.accept(&logged, ctx),
            _ => self.ask(Asking::Hole, Question::After(head), ctx),
        }
    }
}

impl Handler<ReadUpTo> for Room {
    type Result = ();

    fn handle(&mut self, ReadUpTo(_, newest): ReadUpTo, ctx: &mut Hosted) {
        if let Some(head) = self.head.filter(|head| *head != newest) {
            self.ask(Asking::Hole, Question::After(head), ctx);
        }
    }
}

impl Handler<Wake> for Room {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Hosted) {
        self.attend(ctx);
    }
}
