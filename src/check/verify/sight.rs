//! One channel as one view was told of it.

use std::collections::HashSet;

use super::{
    Violation,
    texts::{Breach, Texts},
};
use crate::{
    channel::Channel,
    check::trace::{Place, Streaming, View},
    event::{Event, ResetReason},
    id::{JobId, MessageId},
};

/// Where a view is in a channel.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Nothing said so yet.
    Unknown,
    /// After this place.
    Known(Place),
    /// A new stream claims to be at `to`, which only a reset would explain.
    Jumped { from: Place, to: Place },
    /// A reset was told, and nothing after it. Before it, the view was at `from`.
    Reset { from: Option<Place>, reason: ResetReason },
}

/// One channel of one view.
#[derive(Debug)]
pub struct Sight {
    view: View,
    channel: Channel,
    at: At,
    /// When its first stream was ready.
    pub opened: Option<u64>,
    /// When a reset was last told.
    pub reset: Option<u64>,
    /// Messages of the first page, until a reset.
    page: HashSet<MessageId>,
    /// Messages told since the beginning or the last reset.
    recent: HashSet<MessageId>,
    texts: Texts,
    /// Every message that was told or stood in a page.
    pub had: HashSet<MessageId>,
    /// Every job whose terminal event was told.
    pub ended: HashSet<JobId>,
}

impl Sight {
    pub fn new(view: View, channel: Channel) -> Self {
        let texts = Texts::midway();
        let (page, recent, had, ended) = Default::default();
        Self { view, channel, at: At::Unknown, opened: None, reset: None, page, recent, texts, had, ended }
    }

    /// The place it is at, where that is known.
    pub fn place(&self) -> Option<Place> {
        match self.at {
            At::Known(place) | At::Jumped { from: place, .. } => Some(place),
            At::Unknown | At::Reset { .. } => None,
        }
    }

    pub fn heed_page(&mut self, messages: &[MessageId], older: &[MessageId], streaming: &[Streaming]) {
        self.had.extend(messages.iter().chain(older));
        // What is read after a reset stands beside a stream that goes on: both may have the same message.
        if self.opened.is_none() {
            self.page = messages.iter().copied().collect();
            self.texts = Texts::of_page(streaming);
        }
    }

    /// A cursor names this place of the channel.
    pub fn heed_cursor(&mut self, place: Place) -> Option<Violation> {
        self.at = match self.at {
            At::Known(known) if known.is_same(place) => return None,
            At::Reset { from: Some(from), .. } if from.is_same(place) => return None,
            At::Unknown | At::Reset { .. } => return self.arrive(place),
            At::Known(from) | At::Jumped { from, .. } => At::Jumped { from, to: place },
        };
        None
    }

    pub fn heed_reset(&mut self, at: u64, reason: ResetReason, could_lose: bool) -> Option<Violation> {
        let (from, to) = match self.at {
            At::Jumped { from, to } => (Some(from), Some(to)),
            At::Known(from) => (Some(from), None),
            At::Reset { from, .. } => (from, None),
            At::Unknown => (None, None),
        };
        self.at = At::Reset { from, reason };
        self.reset = Some(at);
        self.page.clear();
        self.recent.clear();
        self.texts = Texts::midway();
        let needless = (!could_lose).then(|| self.needless(reason));
        needless.or_else(|| to.and_then(|to| self.arrive(to)))
    }

    /// An event of the channel, and the place its cursor names.
    pub fn heed_event(&mut self, place: Option<Place>, event: &Event, found: &mut Vec<Violation>) {
        found.extend(place.and_then(|place| self.advance(place)));
        if let Some(message) = event.fact.message_id() {
            self.had.insert(message);
            if !self.recent.insert(message) || self.page.contains(&message) {
                found.push(Violation::MessageTwice { view: self.view, channel: self.channel.clone(), message });
            }
        }
        if let Err(breach) = self.texts.heed(&event.fact) {
            found.push(self.told(breach));
        }
        self.ended.extend(super::ended_job(&event.fact));
    }

    fn advance(&mut self, next: Place) -> Option<Violation> {
        let (view, channel) = (self.view, self.channel.clone());
        let violation = match self.at {
            At::Unknown | At::Reset { .. } => return self.arrive(next),
            At::Known(at) if at.is_before(next) => None,
            At::Known(at) if at.epoch == next.epoch && next.offset <= at.offset => {
                // It stays where it is, so that one repetition is told once.
                return Some(Violation::Again { view, channel, place: next });
            }
            At::Known(at) if at.epoch == next.epoch => Some(Violation::Hole { view, channel, missing: at.next() }),
            At::Known(from) | At::Jumped { from, .. } => Some(Violation::UntoldGap { view, channel, from }),
        };
        self.at = At::Known(next);
        violation
    }

    /// The first place after a reset, or at all: an epoch that ends begins another.
    fn arrive(&mut self, place: Place) -> Option<Violation> {
        let before = std::mem::replace(&mut self.at, At::Known(place));
        match before {
            At::Reset { from: Some(from), reason: ResetReason::Epoch } if from.epoch == place.epoch && from.offset > 0 => {
                Some(self.needless(ResetReason::Epoch))
            }
            _ => None,
        }
    }

    fn needless(&self, reason: ResetReason) -> Violation {
        Violation::NeedlessReset { view: self.view, channel: self.channel.clone(), reason }
    }

    fn told(&self, breach: Breach) -> Violation {
        let (view, channel) = (self.view, self.channel.clone());
        match breach {
            Breach::SecondEnd(job) => Violation::SecondEnd { view, channel, job },
            Breach::AfterTheEnd(job) => Violation::AfterTheEnd { view, channel, job },
            Breach::BrokenText(job, seq) => Violation::BrokenText { view, channel, job, seq },
            Breach::OtherText(job) => Violation::OtherText { view, channel, job },
        }
    }
}
