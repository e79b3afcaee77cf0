//! Private channels in which nothing has been told yet, and who listens to them.
//!
//! Every stream has such a channel, and most stay silent: a room and an audience for each were a fifth of what a stream holds.
//! So neither is made before there is something to tell. All of these channels are at one place, before the first event of
//! their data set, and what is kept of each is how many listen to it on which thread. Pure: time comes in as an argument.
//! Refuses to hold a channel of which the log has an event.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use super::{host::HostId, listeners::Listeners, room::LINGER};
use crate::{id::UserId, log::Position};

/// The channels, by whose they are.
#[derive(Debug)]
pub struct Idle {
    at: Position,
    users: HashMap<UserId, Listeners>,
    /// Whose last stream went, and when: they are about to come back, more often than not.
    left: VecDeque<(Instant, UserId)>,
}

impl Default for Idle {
    fn default() -> Self {
        Self { at: Position::NOWHERE, users: HashMap::new(), left: VecDeque::new() }
    }
}

impl Idle {
    /// Whether a channel whose newest place is `head` may be one of these.
    #[must_use]
    pub fn suits(&self, head: Position) -> bool {
        head.offset == 0 && (self.users.is_empty() || head.epoch.dataset() == self.at.epoch.dataset())
    }

    /// The channel of `user` is one of these; its newest place, `head`, suits.
    pub fn insert(&mut self, user: UserId, head: Position) {
        if self.users.is_empty() {
            self.at = head;
        }
        self.users.entry(user).or_default();
    }

    /// One more listener on `host`, who goes on after `after`. Gives the place where all of these are; nothing where the channel
    /// is none of these, or the listener comes from somewhere else.
    pub fn join(&mut self, user: &UserId, host: HostId, after: Option<Position>) -> Option<Position> {
        let listeners = self.users.get_mut(user).filter(|_| after.is_none_or(|after| after.continues_in(self.at)))?;
        listeners.add(host);
        Some(self.at)
    }

    /// One listener on `host` less. Gives whether there was one.
    pub fn leave(&mut self, user: &UserId, host: HostId, now: Instant) -> bool {
        let Some(listeners) = self.users.get_mut(user) else { return false };
        if !listeners.remove(host) {
            return false;
        }
        if listeners.is_empty() {
            self.left.push_back((now, user.clone()));
        }
        true
    }

    /// Whether the channel of `user` is one of these, and the log's newest place of it is no longer the one before its first event.
    #[must_use]
    pub fn is_passed(&self, user: &str, newest: Position) -> bool {
        self.users.contains_key(user) && !self.suits(newest)
    }

    /// The channel of `user` is none of these any more, as something is told in it: whose, where it was, and who listens.
    pub fn rouse(&mut self, user: &str) -> Option<(UserId, Position, Listeners)> {
        self.users.remove_entry(user).map(|(user, listeners)| (user, self.at, listeners))
    }

    /// Lets go of the channels that nobody came back to.
    pub fn retire(&mut self, now: Instant) -> Vec<UserId> {
        let mut retired = Vec::new();
        while let Some((_, user)) = self.left.pop_front_if(|(since, _)| now.duration_since(*since) >= LINGER) {
            if self.users.get(&user).is_some_and(Listeners::is_empty) {
                self.users.remove(&user);
                retired.push(user);
            }
        }
        if self.left.is_empty() {
            self.left = VecDeque::new();
            // Thousands may have left at once.
            if self.users.len() < self.users.capacity() / 8 {
                self.users.shrink_to_fit();
            }
        }
        retired
    }

    /// When [`Self::retire`] is worth asking.
    #[must_use]
    pub fn next_retired(&self) -> Option<Instant> {
        self.left.front().map(|(since, _)| *since + LINGER)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.users.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Epoch;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn place(dataset: u32, generation: u32, offset: u64) -> Position {
        Position { epoch: Epoch::new(dataset, generation), offset }
    }

    #[test]
    fn who_listens_is_known_when_something_is_told() {
        let (mut idle, ada, now) = (Idle::default(), user("ada"), Instant::now());
        assert_eq!(idle.join(&ada, 0, None), None);
        idle.insert(ada.clone(), place(7, 0, 0));
        for (host, after) in [(0, None), (1, Some(place(7, 3, 0))), (1, None)] {
            assert_eq!(idle.join(&ada, host, after), Some(place(7, 0, 0)));
        }
        assert!(idle.leave(&ada, 0, now) && !idle.leave(&ada, 0, now));
        assert_eq!(idle.rouse("ada"), Some((ada.clone(), place(7, 0, 0), Listeners::OneThread(1, 2))));
        assert_eq!((idle.rouse("ada"), idle.leave(&ada, 1, now)), (None, false));
    }

    #[test]
    fn only_what_is_before_its_first_event_is_idle() {
        let mut idle = Idle::default();
        assert!(idle.suits(place(7, 0, 0)) && !idle.suits(place(7, 0, 1)));
        idle.insert(user("ada"), place(7, 0, 0));
        // All are at one place, for which any generation of the data set will do.
        assert!(idle.suits(place(7, 1, 0)) && !idle.suits(place(8, 0, 0)));
        for other in [place(7, 0, 1), place(8, 0, 0)] {
            assert_eq!(idle.join(&user("ada"), 0, Some(other)), None);
            assert!(idle.is_passed("ada", other) && !idle.is_passed("bob", other));
        }
    }

    #[test]
    fn a_channel_that_everybody_left_is_kept_for_a_while() {
        let (mut idle, now) = (Idle::default(), Instant::now());
        for name in ["ada", "bob"] {
            idle.insert(user(name), place(7, 0, 0));
            idle.join(&user(name), 0, None);
            idle.leave(&user(name), 0, now);
        }
        assert_eq!((idle.retire(now), idle.next_retired()), (vec![], Some(now + LINGER)));
        idle.join(&user("bob"), 0, None);
        assert_eq!((idle.retire(now + LINGER), idle.count(), idle.next_retired()), (vec![user("ada")], 1, None));
    }
}
