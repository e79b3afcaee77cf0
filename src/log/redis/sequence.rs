//! Puts what reaches this process about a channel into the order of the log, each event once.
//!
//! An event comes twice where this process has published it itself: with the answer to the publication, at once, and over the
//! subscription. Two events may overtake each other, since one came this way and the other that. What is early waits for a
//! moment for what is missing, and is then told all the same: the room sees the hole and reads it from the log. Refuses to
//! read the log itself.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    channel::Channel,
    log::{Listener, Logged, News, Position},
};

/// How long an early event waits for those before it.
pub const PATIENCE: Duration = Duration::from_millis(30);
/// How many early events of a channel may wait.
const MOST_EARLY: usize = 1024;

/// The places of all channels that somebody here listens to.
pub struct Sequence {
    places: Mutex<HashMap<Channel, Place>>,
    /// How many channels have early events.
    holding: AtomicUsize,
    listener: Listener,
}

#[derive(Default)]
struct Place {
    /// The newest event that was told; not known before the first.
    told: Option<Position>,
    early: BTreeMap<u64, Logged>,
    waits_since: Option<Instant>,
}

impl Sequence {
    /// Nobody listens yet; `listener` is told in order.
    pub fn new(listener: Listener) -> Self {
        Self { places: Mutex::default(), holding: AtomicUsize::new(0), listener }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Channel, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody listens to a channel from now on.
    pub fn follow(&self, channel: &Channel) {
        self.lock().entry(channel.clone()).or_default();
    }

    /// Nobody listens to a channel any more.
    pub fn unfollow(&self, channel: &Channel) {
        if self.lock().remove(channel).is_some_and(|place| !place.early.is_empty()) {
            self.holding.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whoever listens to the channel begins after `head`, unless something was told already.
    pub fn begin(&self, channel: &Channel, head: Position) {
        if let Some(place) = self.lock().get_mut(channel) {
            place.told.get_or_insert(head);
        }
    }

    /// The newest event that was told.
    pub fn told(&self, channel: &Channel) -> Option<Position> {
        self.lock().get(channel)?.told
    }

    /// Takes an event from either way, and tells what is next in order.
    pub fn take(&self, logged: Logged) {
        let mut places = self.lock();
        let Some(place) = places.get_mut(&logged.channel) else { return };
        let held_before = !place.early.is_empty();
        place.take(logged, &self.listener);
        self.count(held_before, !place.early.is_empty());
    }

    /// Tells the room to read up to `head`, which has not come here by itself.
    pub fn skip_to(&self, channel: &Channel, head: Position) {
        let mut places = self.lock();
        let Some(place) = places.get_mut(channel) else { return };
        let held_before = !place.early.is_empty();
        place.told = Some(head);
        place.forget_early();
        self.count(held_before, false);
        (self.listener)(News::Head(channel.clone(), head));
    }

    /// Tells what has waited for too long.
    pub fn release(&self, now: Instant) {
        if self.holding.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut places = self.lock();
        for place in places.values_mut() {
            if place.waits_since.is_some_and(|since| now.duration_since(since) >= PATIENCE) {
                place.tell_early(&self.listener);
                self.count(true, false);
            }
        }
    }

    fn count(&self, before: bool, after: bool) {
        match (before, after) {
            (false, true) => self.holding.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.holding.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
    }
}

impl Place {
    fn take(&mut self, logged: Logged, listener: &Listener) {
        let position = logged.position;
        match self.told.and_then(|told| next_after(told, position)) {
            // Another life of the channel, or the first that is heard of it: the room knows what to make of it.
            None => {
                self.forget_early();
                self.tell(logged, listener);
            }
            Some(next) if position.offset < next => {}
            Some(next) if position.offset == next => {
                self.tell(logged, listener);
                self.tell_following(listener);
            }
            Some(_) => {
                self.early.insert(position.offset, logged);
                self.waits_since.get_or_insert_with(Instant::now);
                if self.early.len() > MOST_EARLY {
                    self.tell_early(listener);
                }
            }
        }
    }

    fn tell(&mut self, logged: Logged, listener: &Listener) {
        self.told = Some(logged.position);
        listener(News::Logged(logged));
    }

    fn tell_following(&mut self, listener: &Listener) {
        while let Some(told) = self.told
            && let Some(entry) = self.early.first_entry()
            && next_after(told, entry.get().position).is_none_or(|next| *entry.key() <= next)
        {
            let logged = entry.remove();
            if next_after(told, logged.position) == Some(logged.position.offset) {
                self.tell(logged, listener);
            }
        }
        if self.early.is_empty() {
            self.waits_since = None;
        }
    }

    fn tell_early(&mut self, listener: &Listener) {
        self.waits_since = None;
        for (_, logged) in std::mem::take(&mut self.early) {
            self.tell(logged, listener);
        }
    }

    fn forget_early(&mut self) {
        self.early.clear();
        self.waits_since = None;
    }
}

/// The offset that follows `told` in the life of the channel that `position` belongs to, if `told` is of that life.
fn next_after(told: Position, position: Position) -> Option<u64> {
    // An idle channel's epoch begins with its first event.
    let begins = told.offset == 0 && told.epoch.dataset() == position.epoch.dataset();
    (begins || told.epoch == position.epoch).then_some(told.offset + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::log::Epoch;

    fn logged(generation: u32, offset: u64) -> Logged {
        let position = Position { epoch: Epoch::new(1, generation), offset };
        Logged { channel: "channel:general".parse().unwrap(), position, json: Bytes::new() }
    }

    fn sequence() -> (Sequence, mpsc::Receiver<u64>) {
        let (sender, told) = mpsc::channel();
        let sequence = Sequence::new(Arc::new(move |news| match news {
            News::Logged(logged) => sender.send(logged.position.offset).unwrap(),
            News::Head(_, head) => sender.send(1_000_000 + head.offset).unwrap(),
            News::Elsewhere(..) => panic!("a sequence knows of nobody"),
        }));
        let general = "channel:general".parse().unwrap();
        sequence.follow(&general);
        sequence.begin(&general, Position { epoch: Epoch::new(1, 0), offset: 0 });
        (sequence, told)
    }

    fn take_all(sequence: &Sequence, generation: u32, offsets: &[u64]) {
        for offset in offsets {
            sequence.take(logged(generation, *offset));
        }
    }

    proptest! {
        #[test]
        fn events_that_come_twice_and_in_any_order_are_told_once_and_in_order(order in Just((1..=20).chain(1..=20).collect::<Vec<u64>>()).prop_shuffle()) {
            let (sequence, told) = sequence();
            take_all(&sequence, 7, &order);
            prop_assert_eq!(told.try_iter().collect::<Vec<_>>(), (1..=20).collect::<Vec<u64>>());
            prop_assert_eq!(sequence.holding.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn what_is_early_is_told_all_the_same_once_it_has_waited() {
        let (sequence, told) = sequence();
        take_all(&sequence, 7, &[1, 3, 4]);
        sequence.release(Instant::now());
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1]);
        sequence.release(Instant::now() + PATIENCE);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [3, 4]);
        sequence.take(logged(7, 2));
        sequence.take(logged(7, 5));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn another_life_of_the_channel_is_told_at_once() {
        let (sequence, told) = sequence();
        take_all(&sequence, 7, &[1, 2, 9]);
        take_all(&sequence, 8, &[1, 2]);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2, 1, 2]);
    }

    #[test]
    fn what_nobody_listens_to_is_not_told() {
        let (sequence, told) = sequence();
        sequence.unfollow(&"channel:general".parse().unwrap());
        sequence.take(logged(7, 1));
        assert_eq!(told.try_iter().count(), 0);
    }
}
