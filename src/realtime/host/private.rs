//! The host's part in private channels: who waits here for the first event in one, and what happens when it comes.

use actix::Handler as _;

use super::{Host, Seat};
use crate::{
    channel::Channel,
    id::UserId,
    log::Position,
    realtime::{
        audience::{Member, Place, RoomKey},
        behind::Replay,
        connection::Welcome,
        registry::Forgo,
    },
};

/// Nothing has been told in a connection's private channel: it has joined, and will be roused when something is.
pub(in crate::realtime) struct Wait {
    pub seat: Seat,
    pub slot: u16,
    pub user: UserId,
    /// Where all such channels are.
    pub at: Position,
}

/// Something is about to be told, by `room`, to all connections of a user that wait.
pub(in crate::realtime) struct Rouse {
    pub room: RoomKey,
    pub channel: Channel,
    pub user: UserId,
    /// Where the channel is.
    pub at: Position,
}

impl Host {
    /// A connection that waited for the first event of its private channel does so no longer.
    pub(super) fn forgo(&mut self, index: u32, user: UserId) {
        self.idle.remove(index, &user);
        self.registry.do_send(Forgo { host: self.id, user });
    }

    /// A connection has joined its private channel, in which nothing has been told.
    pub(super) fn let_wait(&mut self, Wait { seat, slot, user, at }: Wait) {
        if !self.is_open(seat) {
            return self.registry.do_send(Forgo { host: self.id, user });
        }
        self.audiences.idle_at = at;
        self.idle.insert(seat.index, |index| self.connections[index as usize].user());
        self.call(seat.index, |connection, audiences, hosted| {
            let (place, replay) = (Place::IDLE, Replay::default());
            connection.handle(Welcome { slot: slot.into(), place, from: at, gap: None, replay, greeting: None, audiences }, hosted);
        });
    }

    /// Those who wait become members of the room that is about to tell them something.
    pub(super) fn rouse(&mut self, Rouse { room, channel, user, at }: Rouse) {
        let seats: Vec<u32> = self.idle.find_all(&user, |index| self.connections[index as usize].user()).collect();
        for seat in seats {
            self.idle.remove(seat, &user);
            let places = &mut self.connections[seat as usize].places;
            for (slot, place) in (0..).zip(places).filter(|(_, place)| place.is_idle()) {
                *place = self.audiences.enter(room, channel.clone(), at, Member { seat, slot });
            }
        }
    }
}
