//! The room registry: routes every message to its room, and alone creates and stops rooms, which it holds in its slab.
//!
//! While a room waits for the log, what it is told waits with it, in order. A room lives while somebody listens. Refuses to
//! look into what it routes.

mod private;

use std::{
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use futures_util::future::join;
use slab::Slab;

pub(super) use self::private::Forgo;
use super::{
    Manners, Vital,
    audience::RoomKey,
    host::{HostId, Line},
    idle::Idle,
    index::Index,
    metrics::LOG_READS,
    room::{Answer, Hear, Hosted, Join, Leave, Publish, Question, ReadUpTo, Room, SetTyping, Wake, WhoIsThere},
    typing::Pace,
    wheel::{Tick, Wheel},
};
use crate::{
    channel::Channel,
    log::{
        EventLog, Replay,
        elsewhere::{Heard, Said, Typing},
    },
};

/// Each user may start typing once in this time.
const TYPING_PACE: Duration = Duration::from_secs(1);

/// A thread has a host: rooms are told of it by its number.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Enlist {
    pub id: HostId,
    pub host: Line,
}

/// How many channels have listeners.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct CountRooms;

/// Somebody started typing more than once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("typing may be told once a second")]
pub struct TooSoon;

/// Holds the rooms, and routes to them.
pub struct RoomRegistry {
    /// The rooms by their channels.
    keys: Index,
    rooms: Slab<Entry>,
    /// The channels that have listeners, but no room as yet.
    idle: Idle,
    /// What is told to rooms that wait for the log, which they will be told then.
    waiting: HashMap<RoomKey, Vec<Waiting>>,
    hosts: Rc<Vec<Option<Line>>>,
    wheel: Wheel,
    pace: Pace,
    log: Arc<dyn EventLog>,
    manners: Manners,
    _vital: Vital,
}

struct Entry {
    room: Room,
    /// The tick that its timer is set to.
    alarm: Tick,
}

/// What waits for a room.
enum Waiting {
    Join(Join),
    Leave(Leave),
    Publish(Publish),
    ReadUpTo(ReadUpTo),
    SetTyping(SetTyping),
    Hear(Hear),
}

impl Waiting {
    fn tell(self, room: &mut Room, hosted: &mut Hosted) {
        match self {
            Self::Join(join) => room.handle(join, hosted),
            Self::Leave(leave) => room.handle(leave, hosted),
            Self::Publish(publish) => room.handle(publish, hosted),
            Self::ReadUpTo(read) => room.handle(read, hosted),
            Self::Hear(hear) => room.handle(hear, hosted),
            Self::SetTyping(typing) => {
                let _ = room.handle(typing, hosted);
            }
        }
    }

    /// Goes to its channel anew, which has another room now, or none.
    fn route(self, registry: &mut RoomRegistry, ctx: &mut Context<RoomRegistry>) {
        match self {
            Self::Join(join) => registry.handle(join, ctx),
            Self::Publish(publish) => registry.handle(publish, ctx),
            Self::ReadUpTo(read) => registry.handle(read, ctx),
            Self::Hear(hear) => registry.handle(hear, ctx),
            // Nobody was in that room, to leave it or to type there.
            Self::Leave(_) | Self::SetTyping(_) => {}
        }
    }
}

impl RoomRegistry {
    /// A registry over `log`, which must tell it of every event.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, manners: Manners) -> Self {
        Self {
            keys: Index::default(),
            rooms: Slab::new(),
            idle: Idle::default(),
            waiting: HashMap::new(),
            hosts: Rc::default(),
            wheel: Wheel::new(Instant::now()),
            pace: Pace::new(TYPING_PACE),
            log,
            manners,
            _vital: Vital("room registry"),
        }
    }

    fn key(&self, channel: &Channel) -> Option<RoomKey> {
        self.keys.find(channel, |key| &self.rooms[key as usize].room.channel)
    }

    /// Tells a room, or keeps it for when the room has its answer.
    fn tell(&mut self, room: RoomKey, message: Waiting, ctx: &mut Context<Self>) {
        match self.waiting.get_mut(&room) {
            Some(waiting) => waiting.push(message),
            None => self.call(room, |room, hosted| message.tell(room, hosted), ctx),
        }
    }

    /// Calls a room's handler, and sees to what it asks for.
    fn call(&mut self, key: RoomKey, handler: impl FnOnce(&mut Room, &mut Hosted), ctx: &mut Context<Self>) {
        let Some(entry) = self.rooms.get_mut(key as usize) else { return };
        let mut hosted = Hosted::new(key, self.hosts.clone(), self.manners, Instant::now());
        handler(&mut entry.room, &mut hosted);
        for said in hosted.said.drain(..) {
            self.log.tell_elsewhere(&entry.room.channel, said);
        }
        if hosted.asks_elsewhere {
            self.log.ask_elsewhere(&entry.room.channel);
        }
        if !hosted.state().alive() {
            let room = self.remove(key);
            self.log.unfollow(&room.channel);
            return;
        }
        if let Some(alarm) = hosted.alarm.map(|alarm| self.wheel.tick_after(alarm)).filter(|alarm| *alarm < entry.alarm) {
            entry.alarm = self.wheel.set(key, alarm);
            self.set_alarm(ctx);
        }
        if let Some(question) = hosted.question {
            self.ask(key, question, ctx);
        }
    }

    /// Asks the log; the room is told nothing else until it has the answer.
    fn ask(&mut self, key: RoomKey, question: Question, ctx: &mut Context<Self>) {
        let Some(entry) = self.rooms.get(key as usize) else { return };
        self.waiting.entry(key).or_default();
        LOG_READS.inc();
        let (log, channel) = (self.log.clone(), entry.room.channel.clone());
        let asks_elsewhere = channel.is_room() && entry.room.is_beginning();
        let answer = async move {
            // Where it can't be had now, it comes later.
            let elsewhere = async { if asks_elsewhere { log.elsewhere(&channel).await.unwrap_or_default() } else { Vec::new() } };
            let replay = async {
                match question {
                    Question::Head => Replay { complete: true, events: Vec::new(), head: insist(|| log.head(&channel)).await },
                    Question::After(after) => insist(|| log.read(&channel, after)).await,
                }
            };
            let (Replay { complete, events, head }, elsewhere) = join(replay, elsewhere).await;
            Answer { events, complete, head, elsewhere }
        };
        ctx.spawn(answer.into_actor(self).map(move |answer, registry, ctx| registry.answer(key, answer, ctx)));
    }

    fn answer(&mut self, key: RoomKey, answer: Answer, ctx: &mut Context<Self>) {
        let waiting = self.waiting.remove(&key).unwrap_or_default();
        if let Some(first) = self.lay_idle(key, &answer) {
            self.handle(first, ctx);
            return waiting.into_iter().for_each(|message| message.route(self, ctx));
        }
        self.call(key, |room, hosted| room.handle(answer, hosted), ctx);
        for message in waiting {
            self.tell(key, message, ctx);
        }
    }

    fn insert(&mut self, room: Room) -> RoomKey {
        let key = self.rooms.insert(Entry { room, alarm: Tick::NEVER }) as RoomKey;
        self.keys.insert(key, |key| &self.rooms[key as usize].room.channel);
        key
    }

    fn remove(&mut self, key: RoomKey) -> Room {
        let Entry { room, .. } = self.rooms.remove(key as usize);
        self.keys.remove(key, &room.channel);
        // Thousands may have gone at once.
        if self.rooms.is_empty() {
            self.rooms.shrink_to_fit();
        }
        room
    }

    /// Wakes the rooms that are due, and sees to it that it is called again when more are.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        for (tick, key) in self.wheel.turn(Instant::now()) {
            let Some(entry) = self.rooms.get_mut(key as usize).filter(|entry| entry.alarm == tick) else { continue };
            entry.alarm = Tick::NEVER;
            if self.waiting.contains_key(&key) {
                entry.alarm = self.wheel.set(key, tick.after(Duration::from_secs(1)));
            } else {
                self.call(key, |room, hosted| room.handle(Wake, hosted), ctx);
            }
        }
        self.retire_idle();
        self.set_alarm(ctx);
    }

    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        if let Some(pause) = self.wheel.arm(Instant::now()) {
            ctx.run_later(pause, Self::turn);
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

impl Actor for RoomRegistry {
    type Context = Context<Self>;
}

impl Handler<Enlist> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, Enlist { id, host }: Enlist, _: &mut Self::Context) {
        let hosts = Rc::make_mut(&mut self.hosts);
        hosts.resize((usize::from(id) + 1).max(hosts.len()), None);
        hosts[usize::from(id)] = Some(host);
    }
}

impl Handler<Join> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) {
        match self.key(&join.channel) {
            Some(room) => self.tell(room, Waiting::Join(join), ctx),
            None => self.begin(join, ctx),
        }
    }
}

impl Handler<Leave> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, leave: Leave, ctx: &mut Self::Context) {
        self.tell(leave.room, Waiting::Leave(leave), ctx);
    }
}

impl Handler<Publish> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, publish: Publish, ctx: &mut Self::Context) {
        if let Some(room) = self.key(&publish.0.channel).or_else(|| self.rouse(&publish.0.channel)) {
            self.tell(room, Waiting::Publish(publish), ctx);
        }
    }
}

impl Handler<ReadUpTo> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, read: ReadUpTo, ctx: &mut Self::Context) {
        let ReadUpTo(channel, newest) = &read;
        let is_passed = channel.user_id().is_some_and(|user| self.idle.is_passed(user, *newest));
        let room = if is_passed { self.rouse(channel) } else { self.key(channel) };
        if let Some(room) = room {
            self.tell(room, Waiting::ReadUpTo(read), ctx);
        }
    }
}

impl Handler<SetTyping> for RoomRegistry {
    type Result = Result<(), TooSoon>;

    fn handle(&mut self, typing: SetTyping, ctx: &mut Self::Context) -> Self::Result {
        if typing.is_typing && !self.pace.admit(&typing.user, Instant::now()) {
            return Err(TooSoon);
        }
        match self.key(&typing.channel) {
            Some(room) => self.tell(room, Waiting::SetTyping(typing), ctx),
            // Nobody here would see it.
            None => {
                let SetTyping { channel, user: user_id, is_typing } = typing;
                self.log.tell_elsewhere(&channel, Said::Typing(Typing { user_id, is_typing }));
            }
        }
        Ok(())
    }
}

impl Handler<WhoIsThere> for RoomRegistry {
    type Result = MessageResult<WhoIsThere>;

    fn handle(&mut self, WhoIsThere(channel): WhoIsThere, _: &mut Self::Context) -> Self::Result {
        let entry = self.key(&channel).and_then(|key| self.rooms.get(key as usize));
        MessageResult(entry.and_then(|entry| entry.room.who_is_there()))
    }
}

impl Handler<Hear> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, Hear(channel, heard): Hear, ctx: &mut Self::Context) {
        match (self.key(&channel), heard) {
            (Some(room), heard) => self.tell(room, Waiting::Hear(Hear(channel, heard)), ctx),
            (None, Heard::TellEverybody) => self.log.tell_elsewhere(&channel, Said::Everybody(Vec::new())),
            (None, _) => {}
        }
    }
}

impl Handler<CountRooms> for RoomRegistry {
    type Result = usize;

    fn handle(&mut self, _: CountRooms, _: &mut Self::Context) -> usize {
        self.rooms.len() + self.idle.count()
    }
}
