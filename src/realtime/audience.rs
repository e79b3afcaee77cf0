//! The rooms of one thread: which of its connections are in which, where each room is, and what it has yet to tell them.
//!
//! All members of a room have been told the same, so where they are in it is kept once, here. Members stand side by side,
//! and each connection knows where it stands, so that leaving costs the same in a room of ten and of ten thousand. Refuses to
//! know connections: they are numbers here.

use slab::Slab;
use smallvec::SmallVec;

use super::{cursor::Key, index::Index, news::News};
use crate::{channel::Channel, log::Position};

/// A live room, as the registry numbers them.
pub type RoomKey = u32;

/// The members of one room on this thread.
pub struct Audience {
    pub room: RoomKey,
    pub channel: Channel,
    key: Key,
    /// The newest place that the members were told.
    head: Position,
    members: SmallVec<[Member; 2]>,
    /// Where what it has to tell at the end of this turn stands in its host's list; [`u32::MAX`] where it has nothing.
    pub told_at: u32,
}

/// One of a room's members.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Where its connection sits.
    pub seat: u32,
    /// Which of the connection's channels this is.
    pub slot: u16,
}

/// Where a connection stands in one of its channels' audiences.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    audience: u32,
    member: u32,
}

impl Place {
    /// That of a channel that has not joined yet.
    pub const NONE: Self = Self { audience: u32::MAX, member: u32::MAX };

    /// That of a private channel that waits for its first event.
    pub const IDLE: Self = Self { audience: u32::MAX - 1, member: u32::MAX };

    /// The audience, where the channel has joined one.
    #[must_use]
    pub fn audience(self) -> Option<usize> {
        (self.audience < Self::IDLE.audience).then_some(self.audience as usize)
    }

    /// Whether it is that of a private channel that waits for its first event.
    #[must_use]
    pub fn is_idle(self) -> bool {
        self.audience == Self::IDLE.audience
    }
}

/// All audiences of this thread.
pub struct Audiences {
    all: Slab<Audience>,
    of_room: Index,
    /// Where all private channels are that wait for their first event.
    pub idle_at: Position,
}

impl Default for Audiences {
    fn default() -> Self {
        Self { all: Slab::new(), of_room: Index::default(), idle_at: Position::NOWHERE }
    }
}

impl Audiences {
    /// The number of the room's audience, where it has one here.
    #[must_use]
    pub fn of_room(&self, room: RoomKey) -> Option<usize> {
        self.of_room.find(&room, |index| &self.all[index as usize].room).map(|index| index as usize)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Audience> {
        self.all.get(index)
    }

    /// One of them, to change it.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Audience> {
        self.all.get_mut(index)
    }

    /// Where the members at `place` are in their channel.
    #[must_use]
    pub fn at(&self, place: Place) -> (Key, Position) {
        if place.is_idle() {
            return (Key::OWN, self.idle_at);
        }
        let audience = &self.all[place.audience as usize];
        (audience.key, audience.head)
    }

    /// A new member of `room`, which is at `head`.
    pub fn enter(&mut self, room: RoomKey, channel: Channel, head: Position, member: Member) -> Place {
        let index = self.of_room(room).unwrap_or_else(|| {
            let key = Key::of(&channel);
            let index = self.all.insert(Audience { room, told_at: u32::MAX, channel, key, head, members: SmallVec::new() });
            self.of_room.insert(index as u32, |index| &self.all[index as usize].room);
            index
        });
        let members = &mut self.all[index].members;
        members.push(member);
        Place { audience: index as u32, member: members.len() as u32 - 1 }
    }

    /// Takes a member out. Gives the member that stands in its place now, and where that is; and whether anybody is left.
    pub fn leave(&mut self, place: Place) -> Option<(Member, Place)> {
        let index = place.audience()?;
        let audience = self.all.get_mut(index)?;
        audience.members.swap_remove(place.member as usize);
        let moved = audience.members.get(place.member as usize).map(|moved| (*moved, place));
        if audience.members.is_empty() {
            let audience = self.all.remove(index);
            self.of_room.remove(index as u32, &audience.room);
            if self.all.is_empty() {
                self.all.shrink_to_fit();
            }
        }
        moved
    }
}

impl Audience {
    /// Who is in it.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Its members have been told so much.
    pub fn advance(&mut self, news: &[News]) {
        for news in news {
            match news {
                News::Event(frame) => self.head = frame.position,
                News::Gap { after, .. } => self.head = *after,
                News::Show(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_that_all_have_left_leave_nothing_behind() {
        let mut audiences = Audiences::default();
        let enter = |room: RoomKey| {
            let channel = format!("channel:room-{room}").parse().unwrap();
            audiences.enter(room, channel, Position::NOWHERE, Member { seat: room, slot: 0 })
        };
        let places: Vec<Place> = (0..1_000).map(enter).collect();
        assert!(places.into_iter().all(|place| audiences.leave(place).is_none()));
        assert_eq!((audiences.all.capacity(), audiences.of_room(7)), (0, None));
    }
}
