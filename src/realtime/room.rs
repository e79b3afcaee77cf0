//! A room: one live channel, a person's private one included.
//!
//! Keeps the channel's events in order and without a hole: an event that is not the next one sends it to the log for what is
//! missing. Serves who comes back from its own ring of recent frames, and from the log where the ring is too short. Keeps
//! presence and typing, which are never logged. Refuses to know connections one by one: it knows the threads that have some.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;

use super::{
    Manners, Vital,
    frame::{self, Frame},
    host::{Fanout, Gap, Host, Joined, Seat, Tell},
    presence::Attendance,
    registry::{Retire, RoomRegistry, TooSoon},
    typing::Typists,
};
use crate::{
    channel::Channel,
    event::{Event, Fact, Person, Presence, ResetReason},
    id::UserId,
    log::{EventLog, Logged, Position, Replay},
};

/// How much of the newest is kept at hand for those who come back.
const RECENT_FRAMES: usize = 512;
const RECENT_BYTES: usize = 512 * 1024;
/// How long a room waits for somebody before it goes.
const LINGER: Duration = Duration::from_secs(10);

/// A connection would get this channel's events.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Join {
    pub channel: Channel,
    pub host: Addr<Host>,
    pub seat: Seat,
    pub person: Person,
    /// The place after which it goes on; without one it begins with what comes next.
    pub after: Option<Position>,
}

/// A connection that has joined is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave {
    pub channel: Channel,
    pub host: Addr<Host>,
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

/// Who is in the room.
#[derive(Message)]
#[rtype(result = "Presence")]
pub struct WhoIsThere(pub Channel);

/// The registry has forgotten this room.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// One live channel.
pub struct Room {
    channel: Channel,
    log: Arc<dyn EventLog>,
    registry: Addr<RoomRegistry>,
    /// The newest event that was told; known once the room has started.
    head: Option<Position>,
    /// The newest frames, the last one at `head`.
    recent: VecDeque<Frame>,
    recent_bytes: usize,
    /// The threads that have members, and how many.
    hosts: Vec<(Addr<Host>, usize)>,
    joins: u64,
    attendance: Attendance,
    typists: Typists,
    /// When the room last had nobody.
    empty_since: Instant,
    alarm: Option<(Instant, SpawnHandle)>,
    _vital: Vital,
}

impl Room {
    pub(super) fn new(channel: Channel, log: Arc<dyn EventLog>, registry: Addr<RoomRegistry>, manners: Manners) -> Self {
        Self {
            channel,
            log,
            registry,
            head: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            hosts: Vec::new(),
            joins: 0,
            attendance: Attendance::new(manners.presence_grace),
            typists: Typists::new(manners.typing_lasts),
            empty_since: Instant::now(),
            alarm: None,
            _vital: Vital("room"),
        }
    }

    fn tell(&self, fact: Fact) {
        let event = Event::now(self.channel.clone(), fact);
        let data = frame::data(event.to_json().as_bytes());
        for (host, _) in &self.hosts {
            host.do_send(Tell { channel: self.channel.clone(), data: data.clone() });
        }
    }

    /// Tells what presence and typing owe by now, and sets the alarm for what comes next.
    fn attend(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for presence in self.attendance.due(now) {
            self.tell(Fact::Presence(presence));
        }
        for user_id in self.typists.ended(now) {
            self.tell(Fact::Typing { user_id, is_typing: false });
        }
        if self.hosts.is_empty() && self.attendance.is_empty() && now >= self.empty_since + LINGER {
            self.registry.do_send(Retire { channel: self.channel.clone(), joins: self.joins });
        }
        self.set_alarm(ctx, now);
    }

    fn set_alarm(&mut self, ctx: &mut Context<Self>, now: Instant) {
        let retire = self.hosts.is_empty().then(|| (self.empty_since + LINGER).max(now + LINGER / 10));
        let Some(next) = [self.attendance.next_due(), self.typists.next_end(), retire].into_iter().flatten().min() else { return };
        match self.alarm {
            Some((at, _)) if at <= next && at > now => return,
            Some((_, alarm)) => ctx.cancel_future(alarm),
            None => false,
        };
        let handle = ctx.run_later(next.saturating_duration_since(now), |room, ctx| {
            room.alarm = None;
            room.attend(ctx);
        });
        self.alarm = Some((next, handle));
    }

    /// Takes the event that follows `head`.
    fn accept(&mut self, logged: &Logged) {
        let frame = Frame { position: logged.position, data: frame::data(&logged.json) };
        self.head = Some(logged.position);
        for (host, _) in &self.hosts {
            host.do_send(Fanout { channel: self.channel.clone(), frame: frame.clone() });
        }
        self.recent_bytes += frame.data.len();
        self.recent.push_back(frame);
        while self.recent.len() > RECENT_FRAMES || self.recent_bytes > RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else { return };
            self.recent_bytes -= oldest.data.len();
        }
    }

    /// Reads what is missing between `head` and an event that is not the next one.
    fn catch_up(&mut self, ctx: &mut Context<Self>, head: Position) {
        self.read(ctx, head, move |room, replay, _| {
            if !replay.complete {
                let reason = if head.continues_in(replay.head) { ResetReason::Trimmed } else { ResetReason::Epoch };
                log::warn!("{}: events were lost between {head:?} and {:?}", room.channel, replay.head);
                room.recent.clear();
                room.recent_bytes = 0;
                for (host, _) in &room.hosts {
                    host.do_send(Gap { channel: room.channel.clone(), reason });
                }
            }
            replay.events.iter().for_each(|logged| room.accept(logged));
            room.head = Some(replay.head);
        });
    }

    /// Reads the log from `after`; the room does nothing else until it has the answer.
    fn read(&self, ctx: &mut Context<Self>, after: Position, then: impl FnOnce(&mut Self, Replay, &mut Context<Self>) + 'static) {
        let (log, channel) = (self.log.clone(), self.channel.clone());
        let read = async move { insist(|| log.read(&channel, after)).await };
        ctx.wait(read.into_actor(self).map(then_with(then)));
    }

    fn welcome(&mut self, join: Join, ctx: &mut Context<Self>) {
        let Some(head) = self.head else { return };
        let Some(asked) = join.after else { return self.admit(join, head, None, Vec::new()) };
        let (gap, after) = if asked.continues_in(head) {
            (None, asked.offset)
        } else {
            // Another life of this channel: all that is kept of this one is news.
            (Some(ResetReason::Epoch), 0)
        };
        let ring_begins = head.offset + 1 - self.recent.len() as u64;
        if after + 1 >= ring_begins {
            let replay = self.recent.iter().skip((after + 1 - ring_begins) as usize).cloned().collect();
            return self.admit(join, head, gap, replay);
        }
        self.read(ctx, Position { epoch: head.epoch, offset: after }, move |room, replay, _| {
            let gap = gap.or((!replay.complete).then_some(ResetReason::Trimmed));
            // What the log has beyond `head` is on its way to this room.
            let known = replay.events.into_iter().filter(|logged| logged.position.epoch == head.epoch && logged.position.offset <= head.offset);
            let frames = known.map(|logged| Frame { position: logged.position, data: frame::data(&logged.json) }).collect();
            room.admit(join, head, gap, frames);
        });
    }

    fn admit(&mut self, join: Join, head: Position, gap: Option<ResetReason>, replay: Vec<Frame>) {
        let greeting = self.channel.is_room().then(|| {
            let event = Event::now(self.channel.clone(), Fact::Presence(self.attendance.snapshot()));
            frame::data(event.to_json().as_bytes())
        });
        join.host.do_send(Joined { seat: join.seat, channel: self.channel.clone(), head, gap, replay, greeting });
        match self.hosts.iter_mut().find(|(host, _)| *host == join.host) {
            Some((_, members)) => *members += 1,
            None => self.hosts.push((join.host, 1)),
        }
    }
}

/// Asks again, ever more slowly, until there is an answer: without its log a room can only wait.
async fn insist<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(mut ask: impl FnMut() -> F) -> T {
    let mut pause = Duration::from_millis(50);
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => log::warn!("{error}; asking again in {pause:?}"),
        }
        actix_rt::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

fn then_with<T>(then: impl FnOnce(&mut Room, T, &mut Context<Room>)) -> impl FnOnce(T, &mut Room, &mut Context<Room>) {
    move |answer, room, ctx| then(room, answer, ctx)
}

impl Actor for Room {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let (log, channel) = (self.log.clone(), self.channel.clone());
        log.follow(&channel);
        let head = async move { insist(|| log.head(&channel)).await };
        ctx.wait(head.into_actor(self).map(|head, room, _| room.head = Some(head)));
    }
}

impl Handler<Join> for Room {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Context<Self>) {
        self.joins += 1;
        if self.channel.is_room() {
            self.attendance.join(&join.person);
            self.attend(ctx);
        }
        self.welcome(join, ctx);
    }
}

impl Handler<Leave> for Room {
    type Result = ();

    fn handle(&mut self, leave: Leave, ctx: &mut Context<Self>) {
        if let Some(index) = self.hosts.iter().position(|(host, _)| *host == leave.host) {
            self.hosts[index].1 -= 1;
            if self.hosts[index].1 == 0 {
                self.hosts.swap_remove(index);
            }
        }
        let now = Instant::now();
        self.empty_since = now;
        if self.channel.is_room() {
            self.attendance.leave(&leave.user, now);
        }
        self.attend(ctx);
    }
}

impl Handler<Publish> for Room {
    type Result = ();

    fn handle(&mut self, Publish(logged): Publish, ctx: &mut Context<Self>) {
        let Some(head) = self.head else { return };
        let next = logged.position;
        match next.epoch == head.epoch {
            true if next.offset <= head.offset => {}
            true if next.offset == head.offset + 1 => self.accept(&logged),
            // An idle channel's epoch begins with its first event.
            false if head.offset == 0 && next.offset == 1 && next.epoch.dataset() == head.epoch.dataset() => self.accept(&logged),
            _ => self.catch_up(ctx, head),
        }
    }
}

impl Handler<ReadUpTo> for Room {
    type Result = ();

    fn handle(&mut self, ReadUpTo(_, newest): ReadUpTo, ctx: &mut Context<Self>) {
        if let Some(head) = self.head.filter(|head| *head != newest) {
            self.catch_up(ctx, head);
        }
    }
}

impl Handler<SetTyping> for Room {
    type Result = Result<(), TooSoon>;

    fn handle(&mut self, typing: SetTyping, ctx: &mut Context<Self>) -> Self::Result {
        if self.typists.set(&typing.user, typing.is_typing, Instant::now()) {
            self.tell(Fact::Typing { user_id: typing.user, is_typing: typing.is_typing });
            self.attend(ctx);
        }
        Ok(())
    }
}

impl Handler<WhoIsThere> for Room {
    type Result = MessageResult<WhoIsThere>;

    fn handle(&mut self, _: WhoIsThere, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.attendance.snapshot())
    }
}

impl Handler<Stop> for Room {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        self.log.unfollow(&self.channel);
        ctx.stop();
    }
}
