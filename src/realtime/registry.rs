//! The room registry: routes every message to its room, and alone creates and stops rooms.
//!
//! A room lives while somebody listens. Since all that a room is told goes through here in order, a room that asks to be
//! retired can be refused when somebody has joined in the meantime. Refuses to look into what it routes.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;

use super::{
    Manners, Vital,
    room::{Join, Leave, Publish, ReadUpTo, Room, SetTyping, Stop, WhoIsThere},
    typing::Pace,
};
use crate::{channel::Channel, event::Presence, log::EventLog};

/// Each user may start typing once in this time.
const TYPING_PACE: Duration = Duration::from_secs(1);

/// A room has had nobody for a while and would go.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Retire {
    pub channel: Channel,
    /// How many joins the room has seen: if more were sent, it stays.
    pub joins: u64,
}

/// How many rooms are live.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct CountRooms;

/// Somebody started typing more than once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("typing may be told once a second")]
pub struct TooSoon;

/// Routes to rooms.
pub struct RoomRegistry {
    rooms: HashMap<Channel, Entry>,
    pace: Pace,
    log: Arc<dyn EventLog>,
    manners: Manners,
    _vital: Vital,
}

struct Entry {
    room: Addr<Room>,
    joins: u64,
}

impl RoomRegistry {
    /// A registry over `log`, which must tell it of every event.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, manners: Manners) -> Self {
        Self { rooms: HashMap::new(), pace: Pace::new(TYPING_PACE), log, manners, _vital: Vital("room registry") }
    }

    fn room(&self, channel: &Channel) -> Option<&Addr<Room>> {
        self.rooms.get(channel).map(|entry| &entry.room)
    }
}

impl Actor for RoomRegistry {
    type Context = Context<Self>;
}

impl Handler<Join> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) {
        let (log, manners) = (&self.log, self.manners);
        let entry = self.rooms.entry(join.channel.clone()).or_insert_with(|| {
            let room = Room::new(join.channel.clone(), log.clone(), ctx.address(), manners);
            Entry { room: room.start(), joins: 0 }
        });
        entry.joins += 1;
        entry.room.do_send(join);
    }
}

impl Handler<Leave> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, leave: Leave, _: &mut Self::Context) {
        if let Some(room) = self.room(&leave.channel) {
            room.do_send(leave);
        }
    }
}

impl Handler<Publish> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, publish: Publish, _: &mut Self::Context) {
        if let Some(room) = self.room(&publish.0.channel) {
            room.do_send(publish);
        }
    }
}

impl Handler<ReadUpTo> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, read: ReadUpTo, _: &mut Self::Context) {
        if let Some(room) = self.room(&read.0) {
            room.do_send(read);
        }
    }
}

impl Handler<SetTyping> for RoomRegistry {
    type Result = Result<(), TooSoon>;

    fn handle(&mut self, typing: SetTyping, _: &mut Self::Context) -> Self::Result {
        if typing.is_typing && !self.pace.admit(&typing.user, Instant::now()) {
            return Err(TooSoon);
        }
        if let Some(room) = self.room(&typing.channel) {
            room.do_send(typing);
        }
        Ok(())
    }
}

impl Handler<WhoIsThere> for RoomRegistry {
    type Result = ResponseFuture<Presence>;

    fn handle(&mut self, question: WhoIsThere, _: &mut Self::Context) -> Self::Result {
        let room = self.room(&question.0).cloned();
        Box::pin(async move {
            let nobody = Presence::Snapshot { count: 0, users: Vec::new() };
            match room {
                Some(room) => room.send(question).await.unwrap_or(nobody),
                None => nobody,
            }
        })
    }
}

impl Handler<Retire> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, retire: Retire, _: &mut Self::Context) {
        if self.rooms.get(&retire.channel).is_some_and(|entry| entry.joins == retire.joins)
            && let Some(entry) = self.rooms.remove(&retire.channel)
        {
            entry.room.do_send(Stop);
        }
    }
}

impl Handler<CountRooms> for RoomRegistry {
    type Result = usize;

    fn handle(&mut self, _: CountRooms, _: &mut Self::Context) -> usize {
        self.rooms.len()
    }
}
