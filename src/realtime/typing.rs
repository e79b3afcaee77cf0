//! Who is typing in a room, and how often they may say so. Typing ends by itself when nobody renews it.
//!
//! Pure: time comes in as an argument.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use crate::id::UserId;

/// Everybody who is typing in one room.
#[derive(Debug)]
pub struct Typists {
    lasts: Duration,
    since: HashMap<UserId, Instant>,
}

impl Typists {
    /// Nobody yet; typing lasts for `lasts`.
    #[must_use]
    pub fn new(lasts: Duration) -> Self {
        Self { lasts, since: HashMap::new() }
    }

    /// `user` says that they type, or that they don't. Gives whether the room is to be told.
    pub fn set(&mut self, user: &UserId, is_typing: bool, now: Instant) -> bool {
        if is_typing {
            self.since.insert(user.clone(), now);
            return true;
        }
        self.since.remove(user).is_some()
    }

    /// Those whose typing ended by itself.
    pub fn ended(&mut self, now: Instant) -> Vec<UserId> {
        let ended: Vec<UserId> =
            self.since.iter().filter(|(_, since)| now.duration_since(**since) >= self.lasts).map(|(user, _)| user.clone()).collect();
        for user in &ended {
            self.since.remove(user);
        }
        ended
    }

    /// When the next one ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.since.values().min().map(|since| *since + self.lasts)
    }
}

/// Lets each user start typing at most once in a while.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    recent: HashSet<UserId>,
    order: VecDeque<(Instant, UserId)>,
}

impl Pace {
    /// Once in `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, recent: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether `user` may, now; counts as having done so.
    pub fn admit(&mut self, user: &UserId, now: Instant) -> bool {
        while let Some((_, old)) = self.order.pop_front_if(|(at, _)| now.duration_since(*at) >= self.every) {
            self.recent.remove(&old);
        }
        let first = self.recent.insert(user.clone());
        if first {
            self.order.push_back((now, user.clone()));
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_ends_by_itself_unless_renewed() {
        let (mut typists, now, ada) = (Typists::new(Duration::from_secs(6)), Instant::now(), "ada".parse().unwrap());
        assert!(typists.set(&ada, true, now));
        assert!(typists.set(&ada, true, now + Duration::from_secs(1)));
        assert_eq!(typists.ended(now + Duration::from_secs(6)), []);
        assert_eq!(typists.ended(now + Duration::from_secs(7)), std::slice::from_ref(&ada));
        assert!(!typists.set(&ada, false, now + Duration::from_secs(8)));
    }

    #[test]
    fn each_user_is_admitted_once_a_second() {
        let (mut pace, now) = (Pace::new(Duration::from_secs(1)), Instant::now());
        let (ada, ben) = ("ada".parse().unwrap(), "ben".parse().unwrap());
        assert!(pace.admit(&ada, now) && pace.admit(&ben, now));
        assert!(!pace.admit(&ada, now + Duration::from_millis(999)));
        assert!(pace.admit(&ada, now + Duration::from_secs(1)));
    }
}
