//! What the readers of texts count together, on their one thread. Refuses to know where the texts come from.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::bench::load::{Latency, fake::now_nanos, histogram::Histogram};

/// How long tokens were on their way.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Measured {
    pub tokens: u64,
    #[serde(flatten)]
    pub latency: Latency,
}

/// What all readers count together.
pub struct Tally {
    wanted: usize,
    begun: Cell<usize>,
    tokens: Cell<u64>,
    first: RefCell<Histogram>,
    later: RefCell<Histogram>,
    all_begun: Notify,
}

/// What was read of one text.
#[derive(Debug, Default)]
pub struct Text {
    pub tokens: u32,
}

impl Tally {
    /// Counts so many texts.
    pub fn new(wanted: usize) -> Self {
        let (first, later) = Default::default();
        Self { wanted, begun: Cell::new(0), tokens: Cell::new(0), first, later, all_begun: Notify::new() }
    }

    /// Counts the tokens in a piece of a text; none of them stands in two pieces.
    pub fn count(&self, text: &mut Text, piece: &str) {
        let now = now_nanos();
        for sent in piece.split_ascii_whitespace().filter_map(|stamp| stamp.parse::<u64>().ok()) {
            let way = Duration::from_nanos(now.saturating_sub(sent));
            if text.tokens == 0 {
                self.first.borrow_mut().record(way);
                self.begun.set(self.begun.get() + 1);
                if self.begun.get() == self.wanted {
                    self.all_begun.notify_one();
                }
            } else {
                self.later.borrow_mut().record(way);
            }
            text.tokens += 1;
            self.tokens.set(self.tokens.get() + 1);
        }
    }

    /// Waits until every text has begun.
    pub async fn all_begun(&self) {
        self.all_begun.notified().await;
    }

    /// The first tokens of all texts.
    pub fn first(&self) -> Measured {
        Measured { tokens: self.begun.get() as u64, latency: self.first.borrow().latency() }
    }

    /// How long all but the first tokens were on their way, and how many tokens there were in all.
    pub fn later(&self) -> Measured {
        Measured { tokens: self.tokens.get(), latency: self.later.borrow().latency() }
    }
}
