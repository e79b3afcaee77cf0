//! Who is in a room, and what the room is told of it.
//!
//! A user is there while at least one of their streams is, and for a grace after, so that a reload is no leave. Changes are
//! told one by one while they are few; when more than four a second happen they are told together, at most four times a
//! second. What is there and what was told are kept apart: a newcomer is shown what was told, and every later frame
//! continues from there.
//!
//! Pure: time comes in as an argument. Refuses to send anything itself.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    event::{Person, Presence},
    id::UserId,
};

/// How many people a list names; the count tells of the rest.
const NAMED: usize = 100;
/// Frames a second, at most.
const FRAMES_A_SECOND: usize = 4;
const SECOND: Duration = Duration::from_secs(1);

/// Everybody in one room.
#[derive(Debug)]
pub struct Attendance {
    grace: Duration,
    here: HashMap<UserId, Attendee>,
    /// Those with no stream left and when their grace ends, soonest first.
    leaving: VecDeque<(Instant, UserId)>,
    /// What the room was told, by order of coming.
    told: BTreeMap<u64, Person>,
    /// Changes not told yet: who, and the number they came under.
    untold: BTreeMap<u64, Change>,
    arrivals: u64,
    /// When the newest frames were told, at most [`FRAMES_A_SECOND`].
    frames: VecDeque<Instant>,
    /// After a summary the next frame waits for this.
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Attendee {
    arrival: u64,
    streams: usize,
    /// The end of the grace, where no stream is left.
    until: Option<Instant>,
}

#[derive(Debug, Clone)]
enum Change {
    Joined(Person),
    Left(Person),
}

impl Attendance {
    /// An empty room whose users may be away for `grace` without leaving.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            here: HashMap::new(),
            leaving: VecDeque::new(),
            told: BTreeMap::new(),
            untold: BTreeMap::new(),
            arrivals: 0,
            frames: VecDeque::new(),
            not_before: None,
        }
    }

    /// One more stream of `person`.
    pub fn join(&mut self, person: &Person) {
        if let Some(attendee) = self.here.get_mut(&person.user_id) {
            attendee.streams += 1;
            attendee.until = None;
            return;
        }
        self.arrivals += 1;
        self.here.insert(person.user_id.clone(), Attendee { arrival: self.arrivals, streams: 1, until: None });
        self.untold.insert(self.arrivals, Change::Joined(person.clone()));
    }

    /// One stream of `user` less.
    pub fn leave(&mut self, user: &UserId, now: Instant) {
        let Some(attendee) = self.here.get_mut(user) else { return };
        attendee.streams = attendee.streams.saturating_sub(1);
        if attendee.streams == 0 {
            let until = now + self.grace;
            attendee.until = Some(until);
            self.leaving.push_back((until, user.clone()));
        }
    }

    /// Whether nobody is there, not even in their grace, and all is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.here.is_empty() && self.untold.is_empty()
    }

    /// Who is there, as the room was told.
    #[must_use]
    pub fn snapshot(&self) -> Presence {
        Presence::Snapshot { count: self.told.len(), users: self.told.values().take(NAMED).cloned().collect() }
    }

    /// The frames that are due.
    pub fn due(&mut self, now: Instant) -> Vec<Presence> {
        self.end_graces(now);
        while self.frames.front().is_some_and(|told| now.duration_since(*told) >= SECOND) {
            self.frames.pop_front();
        }
        let free = FRAMES_A_SECOND - self.frames.len();
        if self.untold.is_empty() || free == 0 || self.not_before.is_some_and(|soonest| now < soonest) {
            return Vec::new();
        }
        let changes: Vec<Change> = std::mem::take(&mut self.untold).into_iter().map(|(arrival, change)| self.record(arrival, change)).collect();
        let frames = if changes.len() <= free { singly(changes) } else { vec![self.summary(changes)] };
        self.not_before = matches!(frames[..], [Presence::Update { .. }]).then(|| now + SECOND / FRAMES_A_SECOND as u32);
        self.frames.extend(frames.iter().map(|_| now));
        frames
    }

    /// When [`Self::due`] is worth asking again.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let grace = self.leaving.front().map(|(until, _)| *until);
        let frame = (!self.untold.is_empty()).then(|| {
            let oldest = self.frames.front().filter(|_| self.frames.len() == FRAMES_A_SECOND).map(|told| *told + SECOND);
            oldest.max(self.not_before).unwrap_or_else(Instant::now)
        });
        [grace, frame].into_iter().flatten().min()
    }

    fn end_graces(&mut self, now: Instant) {
        while let Some((until, user)) = self.leaving.pop_front_if(|(until, _)| *until <= now) {
            // Who came back, or came back and left again, has another end of grace or none.
            if self.here.get(&user).is_none_or(|attendee| attendee.until != Some(until)) {
                continue;
            }
            let Some(attendee) = self.here.remove(&user) else { continue };
            match self.told.get(&attendee.arrival) {
                Some(person) => self.untold.insert(attendee.arrival, Change::Left(person.clone())),
                None => self.untold.remove(&attendee.arrival),
            };
        }
    }

    fn record(&mut self, arrival: u64, change: Change) -> Change {
        match &change {
            Change::Joined(person) => self.told.insert(arrival, person.clone()),
            Change::Left(_) => self.told.remove(&arrival),
        };
        change
    }

    fn summary(&self, changes: Vec<Change>) -> Presence {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Joined(person) if joined.len() < NAMED => joined.push(person),
                Change::Left(person) if left.len() < NAMED => left.push(person),
                _ => {}
            }
        }
        Presence::Update { count: self.told.len(), joined, left }
    }
}

fn singly(changes: Vec<Change>) -> Vec<Presence> {
    let tell = |change| match change {
        Change::Joined(person) => Presence::Join(person),
        Change::Left(person) => Presence::Leave(person),
    };
    changes.into_iter().map(tell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn person(name: &str) -> Person {
        Person { user_id: name.parse().unwrap(), user_name: name.into() }
    }

    #[test]
    fn three_tabs_join_once_and_leave_once_after_the_grace() {
        let (mut room, now) = (Attendance::new(GRACE), Instant::now());
        (0..3).for_each(|_| room.join(&person("ada")));
        assert_eq!(room.due(now), [Presence::Join(person("ada"))]);
        (0..3).for_each(|_| room.leave(&person("ada").user_id, now));
        assert_eq!(room.due(now + GRACE / 2), []);
        assert_eq!(room.due(now + GRACE), [Presence::Leave(person("ada"))]);
        assert!(room.is_empty());
    }

    #[test]
    fn a_reload_within_the_grace_is_told_to_nobody() {
        let (mut room, now) = (Attendance::new(GRACE), Instant::now());
        room.join(&person("ada"));
        assert_eq!(room.due(now).len(), 1);
        room.leave(&person("ada").user_id, now);
        room.join(&person("ada"));
        assert_eq!(room.due(now + GRACE * 2), []);
        // The second leave has a grace of its own.
        room.leave(&person("ada").user_id, now + GRACE * 2);
        assert_eq!(room.due(now + GRACE * 5 / 2), []);
        assert_eq!(room.due(now + GRACE * 3).len(), 1);
    }

    #[test]
    fn ten_thousand_joins_cost_at_most_four_frames_a_second_and_add_up() {
        let (mut room, start) = (Attendance::new(GRACE), Instant::now());
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
    fn who_comes_and_goes_untold_is_never_told() {
        let (mut room, now) = (Attendance::new(Duration::ZERO), Instant::now());
        for name in ["a", "b", "c", "d"] {
            room.join(&person(name));
            assert_eq!(room.due(now).len(), 1);
        }
        room.join(&person("ghost"));
        assert_eq!(room.due(now), []);
        room.leave(&person("ghost").user_id, now);
        assert_eq!(room.due(now + SECOND), []);
        assert!(matches!(room.snapshot(), Presence::Snapshot { count: 4, .. }));
    }
}
