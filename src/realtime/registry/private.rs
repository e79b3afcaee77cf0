//! What the registry does for private channels: they have no room before something is told in them.

use std::time::Instant;

use actix::prelude::*;

use super::{RoomRegistry, Waiting};
use crate::{
    channel::Channel,
    id::UserId,
    realtime::{
        audience::RoomKey,
        host::{FromRegistry, HostId, Rouse, Wait},
        room::{Answer, Join, Leave, Room},
    },
};

/// The number that the wheel has for what is due to no room.
const NO_ROOM: RoomKey = RoomKey::MAX;

/// A connection whose private channel waited for its first event is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::realtime) struct Forgo {
    pub host: HostId,
    pub user: UserId,
}

impl RoomRegistry {
    /// Gives up the room of a private channel in which nothing has been told. Gives who would have been the first in it.
    pub(super) fn lay_idle(&mut self, key: RoomKey, answer: &Answer) -> Option<Join> {
        let entry = self.rooms.get_mut(key as usize).filter(|_| self.idle.suits(answer.head))?;
        let first = entry.room.take_idle(answer)?;
        self.remove(key);
        self.idle.insert(first.person.user_id.clone(), answer.head);
        Some(first)
    }

    /// Makes the room of a private channel that had listeners but none.
    pub(super) fn rouse(&mut self, channel: &Channel) -> Option<RoomKey> {
        let (user, at, listeners) = self.idle.rouse(channel.user_id()?)?;
        if listeners.is_empty() {
            self.log.unfollow(channel);
            return None;
        }
        let key = self.insert(Room::roused(channel.clone(), at, listeners.clone(), Instant::now()));
        for host in listeners.hosts() {
            if let Some(host) = self.hosts.get(usize::from(host)).and_then(Option::as_ref) {
                host.send(FromRegistry::Rouse(Rouse { room: key, channel: channel.clone(), user: user.clone(), at }));
            }
        }
        Some(key)
    }

    /// A channel without a room has one listener more.
    pub(super) fn begin(&mut self, join: Join, ctx: &mut Context<Self>) {
        let Join { ref channel, host, seat, slot, ref person, after } = join;
        let is_idle = if channel.is_room() { None } else { self.idle.join(&person.user_id, host, after) };
        if let Some(at) = is_idle {
            if let Some(host) = self.hosts.get(usize::from(host)).and_then(Option::as_ref) {
                host.send(FromRegistry::Wait(Wait { seat, slot, user: person.user_id.clone(), at }));
            }
            return;
        }
        let room = self.rouse(channel).unwrap_or_else(|| {
            self.log.follow(channel);
            self.insert(Room::new(channel.clone(), Instant::now()))
        });
        self.tell(room, Waiting::Join(join), ctx);
    }

    /// Lets go of the channels that nobody came back to.
    pub(super) fn retire_idle(&mut self) {
        let next = self.idle.next_retired();
        for user in self.idle.retire(Instant::now()) {
            self.log.unfollow(&Channel::of_user(&user));
        }
        if self.idle.next_retired() != next {
            self.arm_retirement();
        }
    }

    fn arm_retirement(&mut self) {
        if let Some(at) = self.idle.next_retired() {
            self.wheel.set(NO_ROOM, self.wheel.tick_after(at));
        }
    }
}

impl Handler<Forgo> for RoomRegistry {
    type Result = ();

    fn handle(&mut self, Forgo { host, user }: Forgo, ctx: &mut Self::Context) {
        let nobody_was_missing = self.idle.next_retired().is_none();
        if self.idle.leave(&user, host, Instant::now()) {
            if nobody_was_missing {
                self.arm_retirement();
                self.set_alarm(ctx);
            }
            return;
        }
        // Something was told in it meanwhile.
        if let Some(room) = self.key(&Channel::of_user(&user)) {
            self.tell(room, Waiting::Leave(Leave { room, host, user }), ctx);
        }
    }
}
