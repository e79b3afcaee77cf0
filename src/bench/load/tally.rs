//! What the readers of `bench hub` count together, on their one thread.
//!
//! Knows how many deliveries there must be in the end, so that what is missing shows. Refuses to know sockets.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::timeout};

use super::{Latency, histogram::Histogram, sse::Mark, streams::Plan};

/// How long nothing may come before what is missing is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of the messages so far, in all turns together.
#[derive(Debug, Serialize, Deserialize)]
pub struct Delivered {
    pub published: u64,
    /// From the first message of a turn to its last delivery.
    pub window_seconds: f64,
    pub deliveries: u64,
    pub missed: u64,
    pub duplicates: u64,
    #[serde(flatten)]
    pub latency: Latency,
    /// That of this turn alone.
    pub turn: Latency,
}

/// What all readers count together.
pub struct Tally {
    since: Instant,
    published: Cell<u64>,
    /// How many deliveries there must be when the turn ends.
    wanted: Cell<u64>,
    window: Cell<Duration>,
    ready: Cell<usize>,
    /// Deliveries, each message once a stream.
    deliveries: Cell<u64>,
    duplicates: Cell<u64>,
    last: Cell<Instant>,
    latency: RefCell<Histogram>,
    /// Of the turns before this one.
    latency_before: RefCell<Histogram>,
    /// Told when a stream is ready, and when all is delivered.
    changed: Notify,
}

/// The messages that one stream has got, a bit for each.
#[derive(Debug, Default)]
pub struct Seen(Vec<u64>);

impl Tally {
    pub fn new() -> Self {
        Self {
            since: Instant::now(),
            published: Cell::default(),
            wanted: Cell::default(),
            window: Cell::default(),
            ready: Cell::default(),
            deliveries: Cell::default(),
            duplicates: Cell::default(),
            last: Cell::new(Instant::now()),
            latency: RefCell::default(),
            latency_before: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// These messages are about to be sent.
    pub fn expect(&self, plan: Plan, numbers: Range<u64>) {
        // The rooms take turns, and so do the streams.
        let of_room = |count: u64, room: u64| count / plan.rooms as u64 + u64::from(count % plan.rooms as u64 > room);
        let readers = (plan.streams * plan.rooms_each) as u64;
        let said = |room| of_room(numbers.end, room) - of_room(numbers.start, room);
        let wanted: u64 = (0..plan.rooms as u64).map(|room| said(room) * of_room(readers, room)).sum();
        self.published.set(self.published.get() + numbers.end - numbers.start);
        self.wanted.set(self.wanted.get() + wanted);
        self.latency_before.borrow_mut().add(&self.latency.take());
    }

    /// The mark of a message that is sent now.
    pub fn mark(&self, number: u64) -> Mark {
        Mark { number, nanos: self.since.elapsed().as_nanos() as u64 }
    }

    /// One more stream is ready.
    pub fn stream_ready(&self) {
        self.ready.set(self.ready.get() + 1);
        self.changed.notify_one();
    }

    /// A message has come, for the first time on its stream or not.
    pub fn deliver(&self, mark: Mark, now: Instant, is_new: bool) {
        if !is_new {
            self.duplicates.set(self.duplicates.get() + 1);
            return;
        }
        let age = now.duration_since(self.since).saturating_sub(Duration::from_nanos(mark.nanos));
        self.latency.borrow_mut().record(age);
        self.last.set(now);
        self.deliveries.set(self.deliveries.get() + 1);
        if self.deliveries.get() == self.wanted.get() {
            self.changed.notify_one();
        }
    }

    /// All streams are gone: they will be counted anew.
    pub fn all_gone(&self) {
        self.ready.set(0);
    }

    /// Waits until so many streams are ready.
    pub async fn all_ready(&self, streams: usize) {
        while self.ready.get() < streams {
            self.changed.notified().await;
        }
    }

    /// Waits until all is delivered, or nothing more comes, and tells the result of what was sent since `began`.
    pub async fn settle(&self, began: Instant) -> Delivered {
        while self.deliveries.get() < self.wanted.get() {
            let late = timeout(PATIENCE, self.changed.notified()).await.is_err();
            if late && self.last.get().elapsed() >= PATIENCE {
                break;
            }
        }
        self.window.set(self.window.get() + self.last.get().duration_since(began));
        let mut all = self.latency_before.borrow().clone();
        all.add(&self.latency.borrow());
        Delivered {
            published: self.published.get(),
            window_seconds: self.window.get().as_secs_f64(),
            deliveries: self.deliveries.get(),
            missed: self.wanted.get() - self.deliveries.get(),
            duplicates: self.duplicates.get(),
            latency: all.latency(),
            turn: self.latency.borrow().latency(),
        }
    }
}

impl Seen {
    /// Whether this message has not been seen before.
    pub fn insert(&mut self, index: u64) -> bool {
        let (word, bit) = ((index / 64) as usize, 1 << (index % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::dialect::Dialect;

    #[test]
    fn a_message_is_new_once() {
        let mut seen = Seen::default();
        let new: Vec<u64> = [3, 64, 3, 0, 200, 64].into_iter().filter(|index| seen.insert(*index)).collect();
        assert_eq!(new, [3, 64, 0, 200]);
    }

    #[test]
    fn every_stream_of_a_room_is_to_get_every_message_of_it() {
        let plan = Plan {
            server: ([127, 0, 0, 1], 1).into(),
            beside: None,
            dialect: Dialect::Persona,
            streams: 5,
            users: 5,
            rooms: 2,
            rooms_each: 1,
            rate: 3,
            burst: 1,
            seconds: 1,
            turns: 1,
            comebacks: 1,
            bytes: 1,
        };
        // Streams 0, 2, 4 and messages 0, 2 are of the first room.
        let tally = Tally::new();
        tally.expect(plan, 0..3);
        assert_eq!(tally.wanted.get(), 3 * 2 + 2);
        // And the next message is one of the second room.
        tally.expect(plan, 3..4);
        assert_eq!(tally.wanted.get(), 3 * 2 + 2 + 2);
    }
}
