//! The people of one room, each once. Small where they are few: of such rooms there are very many.

use std::{collections::HashMap, sync::Arc, time::Instant};

use smallvec::SmallVec;

use crate::{event::Person, id::UserId};

/// So many people are found by looking at each.
pub const FEW: usize = 8;

/// Somebody who is in a room.
#[derive(Debug)]
pub struct Attendee {
    pub person: Arc<Person>,
    pub streams: u32,
    /// Whether the room was told that they are there.
    pub told: bool,
    /// The end of the grace, where no stream is left here.
    pub until: Option<Instant>,
    /// Whether other processes were told that they are here.
    pub said: bool,
    /// At how many other processes they are.
    pub elsewhere: u16,
}

impl Attendee {
    /// Whether they have a stream here, or had one a moment ago.
    pub fn is_here(&self, now: Instant) -> bool {
        self.streams > 0 || self.until.is_some_and(|until| until > now)
    }
}

/// Attendees in no order, found by their id.
#[derive(Debug, Default)]
pub struct People {
    all: SmallVec<[Attendee; 1]>,
    /// Where each is, where they are many.
    #[expect(clippy::box_collection, reason = "a room of few, of which there are very many, does not pay for it")]
    index: Option<Box<HashMap<UserId, u32>>>,
}

impl People {
    fn position(&self, user: &UserId) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(user).map(|position| *position as usize),
            None => self.all.iter().position(|attendee| attendee.person.user_id == *user),
        }
    }

    /// Somebody, where they are known.
    pub fn get_mut(&mut self, user: &UserId) -> Option<&mut Attendee> {
        self.position(user).map(|position| &mut self.all[position])
    }

    /// Somebody; `is_new` is called where they were not known.
    pub fn get_or_insert(&mut self, person: &Arc<Person>, is_new: impl FnOnce()) -> &mut Attendee {
        let position = self.position(&person.user_id).unwrap_or_else(|| {
            is_new();
            self.insert(Attendee { person: person.clone(), streams: 0, told: false, until: None, said: false, elsewhere: 0 });
            self.all.len() - 1
        });
        &mut self.all[position]
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Attendee> {
        self.all.iter()
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Attendee> {
        self.all.iter_mut()
    }

    fn insert(&mut self, attendee: Attendee) {
        if let Some(index) = &mut self.index {
            index.insert(attendee.person.user_id.clone(), self.all.len() as u32);
        }
        self.all.push(attendee);
        if self.index.is_none() && self.all.len() > FEW {
            let positions = (0..).zip(&self.all).map(|(position, attendee)| (attendee.person.user_id.clone(), position));
            self.index = Some(Box::new(positions.collect()));
        }
    }

    /// Forgets somebody.
    pub fn remove(&mut self, user: &UserId) {
        let Some(position) = self.position(user) else { return };
        self.all.swap_remove(position);
        if let Some(index) = &mut self.index {
            index.remove(user);
            if let Some(moved) = self.all.get(position) {
                index.insert(moved.person.user_id.clone(), position as u32);
            }
        }
        if self.all.is_empty() {
            *self = Self::default();
        }
    }
}
