//! Writes down what the clients of a run do and see.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    trace::{Heard, Record, What},
    verify::{Rules, Violation, violations},
};
use crate::event::Event;

/// The trace of a run, while it is written. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    begun: Instant,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Default)]
struct Pages {
    records: Vec<Record>,
    /// Every event that was read, by its text.
    events: HashMap<Box<str>, Arc<Event>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { begun: Instant::now(), pages: Arc::default() }
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the run began.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// Writes this down.
    pub fn note(&self, what: What) {
        let at = self.now();
        self.lock().records.push(Record { at, what });
    }

    /// Something is about to be done to the servers.
    pub fn fault(&self, did: impl Into<String>, loses_log: bool) {
        self.note(What::Fault { did: did.into(), loses_log });
    }

    /// A server gave an answer that it must never give.
    pub fn wrong(&self, server: usize, saw: impl Into<String>) {
        self.note(What::Wrong { server, saw: saw.into() });
    }

    /// The event that this text is.
    ///
    /// # Errors
    /// Where it is none.
    pub fn hear(&self, json: &str) -> Result<Heard, serde_json::Error> {
        let mut pages = self.lock();
        if let Some(event) = pages.events.get(json) {
            return Ok(Heard(event.clone()));
        }
        let event: Arc<Event> = Arc::new(json.parse()?);
        pages.events.insert(json.into(), event.clone());
        Ok(Heard(event))
    }

    /// What is wrong with the trace so far.
    #[must_use]
    pub fn violations(&self, rules: Rules) -> Vec<Violation> {
        violations(&self.lock().records, rules)
    }

    /// The trace so far.
    #[must_use]
    pub fn trace(&self) -> Vec<Record> {
        self.lock().records.clone()
    }
}
