//! Who is in a room, and what the room is told of it.
//!
//! A user is there while at least one of their streams is, and for a grace after, so that a reload is no leave. Changes are
//! told one by one while they are few; when more than four a second happen they are told together, at most four times a
//! second, and ever more rarely the more are to be told, or a full room that fills would cost the square of its size. What is there
//! and what was told are kept apart: a newcomer is shown what was told, and every later frame continues from there.
//!
//! Pure: time comes in as an argument. Refuses to send anything itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    elsewhere::{Elsewhere, Shift},
    people::{Attendee, FEW, People},
    unrest::{SECOND, Unrest},
};
use crate::{
    event::{Person, Presence},
    id::UserId,
    log::elsewhere::{Heard, Said},
};

/// How many people a list names; the count tells of the rest.
const NAMED: usize = 100;
/// The least and the most time between a summary and the next frame.
const SHORTEST: Duration = Duration::from_millis(250);
const SLOWEST: Duration = Duration::from_secs(5);
/// In between, a room's people together are told so much a second.
const TOLD_A_SECOND: u32 = 4_000;

/// Everybody in one room. Small while nothing changes: of rooms with one or two people there are very many.
#[derive(Debug, Default)]
pub struct Attendance {
    people: People,
    /// How many the room was told are there.
    told: u32,
    /// What is under way, where something is.
    unrest: Option<Box<Unrest>>,
    /// The snapshot for newcomers, encoded, as long as it holds.
    greeting: Option<Box<Bytes>>,
    elsewhere: Option<Box<Elsewhere>>,
}

impl Attendance {
    /// One more stream of `person`.
    pub fn join(&mut self, person: &Arc<Person>) {
        let attendee = self.attendee(person);
        attendee.streams += 1;
        attendee.until = None;
        if !attendee.said {
            self.unrest().unsaid.push(person.user_id.clone());
        }
    }

    fn unrest(&mut self) -> &mut Unrest {
        self.unrest.get_or_insert_default()
    }

    fn attendee(&mut self, person: &Arc<Person>) -> &mut Attendee {
        let unrest = &mut self.unrest;
        self.people.get_or_insert(person, || unrest.get_or_insert_default().untold.push(person.user_id.clone()))
    }

    /// One stream of `user` less, who may be away for `grace` without leaving.
    pub fn leave(&mut self, user: &UserId, grace: Duration, now: Instant) {
        let Some(attendee) = self.people.get_mut(user) else { return };
        attendee.streams = attendee.streams.saturating_sub(1);
        if attendee.streams == 0 {
            let until = now + grace;
            attendee.until = Some(until);
            self.unrest().leaving.push_back((until, user.clone()));
        }
    }

    /// Whether nobody is there, not even in their grace, and all is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Whether nobody is here, not even in their grace, though somebody may be elsewhere. To be asked where no stream is left.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.unrest.as_ref().is_none_or(|unrest| unrest.leaving.is_empty() && unrest.unsaid.is_empty())
    }

    /// Takes what other processes say of who is there. Says whether they must be asked for everybody.
    pub fn hear(&mut self, heard: Heard, now: Instant) -> bool {
        let is_nobody = match &heard {
            Heard::Everybody(crowds) => crowds.is_empty(),
            Heard::Versions(versions) => versions.is_empty(),
            _ => false,
        };
        // A room of people who are all here, of which there are very many, pays nothing for others.
        if is_nobody && self.elsewhere.is_none() {
            return false;
        }
        let elsewhere = self.elsewhere.get_or_insert_default();
        let shift = match heard {
            Heard::Everybody(crowds) => elsewhere.take(crowds, now),
            Heard::Changed { at, version, changes } => match elsewhere.change(at, version, changes) {
                Some(shift) => shift,
                None => return true,
            },
            Heard::Versions(versions) => return elsewhere.compare(&versions, now),
            Heard::TellEverybody | Heard::Typing(_) => return false,
        };
        self.shift(shift);
        false
    }

    fn shift(&mut self, Shift { more, less }: Shift) {
        for person in more {
            self.attendee(&Arc::new(person)).elsewhere += 1;
        }
        for user in less {
            if let Some(attendee) = self.people.get_mut(&user) {
                attendee.elsewhere = attendee.elsewhere.saturating_sub(1);
                self.unrest().untold.push(user);
            }
        }
    }

    /// Everybody who is here, to be said to other processes.
    pub fn say_everybody(&mut self, now: Instant) -> Said {
        if let Some(unrest) = &mut self.unrest {
            unrest.unsaid.clear();
        }
        let here = self.people.iter_mut().filter(|attendee| attendee.is_here(now));
        let say = |attendee: &mut Attendee| {
            attendee.said = true;
            attendee.person.clone()
        };
        Said::Everybody(here.map(say).collect())
    }

    /// What other processes are not told yet of who is here; to be asked before [`Self::due`] forgets who has left.
    pub fn say(&mut self, now: Instant) -> Option<Said> {
        self.end_graces(now);
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for user in self.unrest.as_mut().map(|unrest| std::mem::take(&mut unrest.unsaid)).unwrap_or_default() {
            let Some(attendee) = self.people.get_mut(&user) else { continue };
            let is_here = attendee.is_here(now);
            match (std::mem::replace(&mut attendee.said, is_here), is_here) {
                (false, true) => joined.push(attendee.person.clone()),
                (true, false) => left.push(user),
                _ => {}
            }
        }
        (!joined.is_empty() || !left.is_empty()).then_some(Said::Changed { joined, left })
    }

    /// Who is there, as the room was told.
    #[must_use]
    pub fn snapshot(&self) -> Presence {
        let told = self.people.iter().filter(|attendee| attendee.told);
        Presence::Snapshot { count: self.told as usize, users: told.take(NAMED).map(|attendee| Person::clone(&attendee.person)).collect() }
    }

    /// The snapshot, encoded by `encode`, or as it was encoded before where nothing has changed. Among few, it is not kept.
    pub fn greeting(&mut self, encode: impl FnOnce(Presence) -> Bytes) -> Bytes {
        if self.told as usize <= FEW {
            return encode(self.snapshot());
        }
        if self.greeting.is_none() {
            self.greeting = Some(Box::new(encode(self.snapshot())));
        }
        self.greeting.as_deref().cloned().unwrap_or_default()
    }

    /// The frames that are due.
    pub fn due(&mut self, now: Instant) -> Vec<Presence> {
        self.end_graces(now);
        let gone = self.elsewhere.as_mut().map(|elsewhere| elsewhere.gone(now)).unwrap_or_default();
        self.shift(Shift { more: Vec::new(), less: gone });
        let Some(unrest) = &mut self.unrest else { return Vec::new() };
        let free = unrest.free(now);
        if unrest.untold.is_empty() || free == 0 || unrest.not_before.is_some_and(|soonest| now < soonest) {
            self.unrest.take_if(|unrest| unrest.is_over(now));
            return Vec::new();
        }
        let untold = std::mem::take(&mut unrest.untold);
        let changes: Vec<Change> = untold.iter().filter_map(|user| self.settle(user, now)).collect();
        if changes.is_empty() {
            self.unrest.take_if(|unrest| unrest.is_over(now));
            return Vec::new();
        }
        self.greeting = None;
        let pause = self.pause();
        let few = if pause > SHORTEST { 1 } else { free };
        let frames = if changes.len() <= few { singly(changes) } else { vec![self.summary(changes)] };
        let is_summary = matches!(frames[..], [Presence::Update { .. }]);
        let not_before = (is_summary || pause > SHORTEST).then(|| now + pause);
        self.unrest().told(frames.len(), not_before, now);
        frames
    }

    /// How long so many are left in peace after a frame.
    fn pause(&self) -> Duration {
        (SECOND * self.told.min(1_000_000) / TOLD_A_SECOND).clamp(SHORTEST, SLOWEST)
    }

    /// When [`Self::due`] is worth asking again.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let unrest = self.unrest.as_ref().and_then(|unrest| unrest.next_due());
        let gone = self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.next_gone());
        [unrest, gone].into_iter().flatten().min()
    }

    fn end_graces(&mut self, now: Instant) {
        let Some(unrest) = &mut self.unrest else { return };
        while let Some((until, user)) = unrest.leaving.pop_front_if(|(until, _)| *until <= now) {
            // Who came back, or came back and left again, has another end of grace or none.
            if self.people.get_mut(&user).is_some_and(|attendee| attendee.until == Some(until)) {
                unrest.untold.push(user.clone());
                unrest.unsaid.push(user);
            }
        }
    }

    /// What is to be told of `user`, if anything; who is gone for good is forgotten.
    fn settle(&mut self, user: &UserId, now: Instant) -> Option<Change> {
        let attendee = self.people.get_mut(user)?;
        let is_here = attendee.is_here(now) || attendee.elsewhere > 0;
        let (was_told, person) = (std::mem::replace(&mut attendee.told, is_here), attendee.person.clone());
        if !is_here {
            self.people.remove(user);
        }
        match (was_told, is_here) {
            (false, true) => {
                self.told += 1;
                Some(Change::Joined(person))
            }
            (true, false) => {
                self.told -= 1;
                Some(Change::Left(person))
            }
            _ => None,
        }
    }

    fn summary(&self, changes: Vec<Change>) -> Presence {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Joined(person) if joined.len() < NAMED => joined.push(Person::clone(&person)),
                Change::Left(person) if left.len() < NAMED => left.push(Person::clone(&person)),
                _ => {}
            }
        }
        Presence::Update { count: self.told as usize, joined, left }
    }
}

enum Change {
    Joined(Arc<Person>),
    Left(Arc<Person>),
}

fn singly(changes: Vec<Change>) -> Vec<Presence> {
    let tell = |change| match change {
        Change::Joined(person) => Presence::Join(Person::clone(&person)),
        Change::Left(person) => Presence::Leave(Person::clone(&person)),
    };
    changes.into_iter().map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::unrest::FRAMES_A_SECOND;

    const GRACE: Duration = Duration::from_secs(5);

    fn person(name: &str) -> Arc<Person> {
        Arc::new(Person { user_id: name.parse().unwrap(), user_name: name.into() })
    }

    fn joined(name: &str) -> Presence {
        Presence::Join(Person::clone(&person(name)))
    }

    #[test]
    fn three_tabs_join_once_and_leave_once_after_the_grace() {
        let (mut room, now) = (Attendance::default(), Instant::now());
        (0..3).for_each(|_| room.join(&person("ada")));
        assert_eq!(room.due(now), [joined("ada")]);
        (0..3).for_each(|_| room.leave(&person("ada").user_id, GRACE, now));
        assert_eq!(room.due(now + GRACE / 2), []);
        assert_eq!(room.due(now + GRACE), [Presence::Leave(Person::clone(&person("ada")))]);
        assert!(room.is_empty());
    }

    #[test]
    fn a_reload_within_the_grace_is_told_to_nobody() {
        let (mut room, now) = (Attendance::default(), Instant::now());
        room.join(&person("ada"));
        assert_eq!(room.due(now).len(), 1);
        room.leave(&person("ada").user_id, GRACE, now);
        room.join(&person("ada"));
        assert_eq!(room.due(now + GRACE * 2), []);
        // The second leave has a grace of its own.
        room.leave(&person("ada").user_id, GRACE, now + GRACE * 2);
        assert_eq!(room.due(now + GRACE * 5 / 2), []);
        assert_eq!(room.due(now + GRACE * 3).len(), 1);
    }

    #[test]
    fn ten_thousand_joins_cost_at_most_four_frames_a_second_and_add_up() {
        let (mut room, start) = (Attendance::default(), Instant::now());
        let (mut frames, mut told) = (Vec::new(), 0);
        for step in 0..10_000_u32 {
            let now = start + Duration::from_micros(300) * step;
            room.join(&person(&format!("u_{step}")));
            frames.extend(room.due(now).into_iter().map(|frame| (now, frame)));
        }
        let end = start + Duration::from_secs(10);
        frames.extend(room.due(end).into_iter().map(|frame| (end, frame)));
        for (index, (at, frame)) in frames.iter().enumerate() {
            let within = frames[index..].iter().filter(|(other, _)| other.duration_since(*at) < SECOND).count();
            assert!(within <= FRAMES_A_SECOND, "{within} frames within a second");
            told = match frame {
                Presence::Join(_) => told + 1,
                Presence::Update { count, joined, .. } => {
                    assert!(joined.len() <= NAMED);
                    *count
                }
                other => panic!("{other:?}"),
            };
        }
        assert_eq!(told, 10_000);
        assert!(matches!(room.snapshot(), Presence::Snapshot { count: 10_000, users } if users.len() == NAMED));
    }

    #[test]
    fn a_room_that_fills_costs_each_second_the_same_however_full_it_is() {
        let (mut room, start) = (Attendance::default(), Instant::now());
        let (mut readers, mut told) = (0_u64, 0);
        for step in 0..40_000_u32 {
            let now = start + Duration::from_millis(1) * step;
            room.join(&person(&format!("u_{step}")));
            told += readers * room.due(now).len() as u64;
            readers += 1;
        }
        let most = 40 * u64::from(TOLD_A_SECOND) * 2;
        assert!(told <= most, "{told} deliveries, {most} at most");
        let next = room.next_due().unwrap();
        assert!(next.duration_since(start + Duration::from_secs(40)) <= SLOWEST);
        assert!(matches!(room.due(next)[..], [Presence::Update { count: 40_000, .. }]));
    }

    #[test]
    fn who_comes_and_goes_untold_is_never_told() {
        let (mut room, now) = (Attendance::default(), Instant::now());
        for name in ["a", "b", "c", "d"] {
            room.join(&person(name));
            assert_eq!(room.due(now).len(), 1);
        }
        room.join(&person("ghost"));
        assert_eq!(room.due(now), []);
        room.leave(&person("ghost").user_id, Duration::ZERO, now);
        assert_eq!(room.due(now + SECOND), []);
        assert!(matches!(room.snapshot(), Presence::Snapshot { count: 4, .. }));
    }
}
