//! The event log of a single process: a ring a channel, under one lock.
//!
//! Offsets and the order in which the hub is told are the same, since both happen under the lock. Bounded three ways: events
//! and bytes a channel, and the age of channels nobody wrote to. Refuses to survive its process: a new one is a new data
//! set, and old cursors are told so.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Epoch, EventLog, Limits, Listener, LogError, Logged, News, Position, Publication, Replay, Running, Snapshot, Voice, streaming};
use crate::{
    channel::Channel,
    event::{Event, Fact},
    id::{JobId, MessageId, OutboxId},
};

/// The event log in this process's memory.
pub struct MemoryLog {
    limits: Limits,
    dataset: u32,
    state: Mutex<State>,
    listener: Listener,
}

struct State {
    channels: HashMap<Channel, ChannelLog>,
    /// How often idle channels were forgotten: a channel that comes back then has another epoch.
    generation: u32,
    swept: Instant,
}

struct ChannelLog {
    head: Position,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The newest attempt that published, of every job among the entries, and by which voice.
    attempts: HashMap<JobId, (u32, Voice)>,
    /// The outbox ids among the entries.
    once: HashSet<OutboxId>,
    streaming: Vec<Running>,
    written: Instant,
}

struct Entry {
    json: Bytes,
    message: Option<MessageId>,
    once: Option<OutboxId>,
    /// The job whose terminal event this is: with it, its fence may be forgotten.
    ended: Option<JobId>,
}

impl MemoryLog {
    /// An empty log that tells `listener` of what it logs.
    #[must_use]
    pub fn new(limits: Limits, listener: Listener) -> Self {
        let state = State { channels: HashMap::new(), generation: 0, swept: Instant::now() };
        Self { limits, dataset: rand::random(), state: Mutex::new(state), listener }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head_in(&self, state: &State, channel: &Channel) -> Position {
        let none = Position { epoch: Epoch::new(self.dataset, state.generation), offset: 0 };
        state.channels.get(channel).map_or(none, |log| log.head)
    }

    /// Forgets channels that nobody wrote to for the retention, at most once a minute.
    fn forget_idle(&self, state: &mut State) {
        if state.swept.elapsed() < Duration::from_mins(1) {
            return;
        }
        state.swept = Instant::now();
        let before = state.channels.len();
        // A cursor is trusted for the retention; a channel outlives every cursor that could still name it.
        state.channels.retain(|_, log| log.written.elapsed() < self.limits.retention * 2);
        if state.channels.len() < before {
            state.generation += 1;
            state.channels.shrink_to_fit();
        }
    }
}

impl ChannelLog {
    fn new(epoch: Epoch) -> Self {
        Self {
            head: Position { epoch, offset: 0 },
            entries: VecDeque::new(),
            bytes: 0,
            attempts: HashMap::new(),
            once: HashSet::new(),
            streaming: Vec::new(),
            written: Instant::now(),
        }
    }

    /// The offset of the oldest event that is kept; one past the head where none is.
    fn first_offset(&self) -> u64 {
        self.head.offset + 1 - self.entries.len() as u64
    }

    fn check(&self, publication: &Publication<'_>) -> Result<bool, LogError> {
        if let Some((fence, voice)) = publication.right
            && let Some((newest, by)) = self.attempts.get(&fence.job)
            && (*newest > fence.attempt || (*newest == fence.attempt && *by != voice))
        {
            return Err(LogError::Fenced(fence));
        }
        Ok(publication.once.is_none_or(|id| !self.once.contains(&id)))
    }

    fn append(&mut self, publication: &Publication<'_>, json: Bytes) {
        let event = publication.event;
        self.head.offset += 1;
        self.written = Instant::now();
        self.bytes += json.len();
        streaming::fold(&mut self.streaming, event);
        if let Some((fence, voice)) = publication.right {
            self.attempts.insert(fence.job, (fence.attempt, voice));
        }
        let ended = ended_job(event);
        if let Some(job) = ended {
            // Whoever still believes to work on it can publish no more; who tries it once more begins another attempt.
            self.attempts.entry(job).or_insert((0, Voice::NOBODY)).1 = Voice::NOBODY;
        }
        self.once.extend(publication.once);
        self.entries.push_back(Entry { json, message: event.fact.message_id(), once: publication.once, ended });
    }

    fn trim(&mut self, limits: Limits) {
        while self.entries.len() > limits.events || (self.bytes > limits.bytes && self.entries.len() > 1) {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.json.len();
            if let Some(id) = entry.once {
                self.once.remove(&id);
            }
            if let Some(job) = entry.ended {
                self.attempts.remove(&job);
            }
        }
    }
}

fn ended_job(event: &Event) -> Option<JobId> {
    match &event.fact {
        Fact::AiChat { job_id, .. } | Fact::GenerationComplete { job_id, .. } | Fact::GenerationFailed { job_id, .. } => Some(*job_id),
        _ => None,
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn publish(&self, publication: Publication<'_>) -> Result<Option<Position>, LogError> {
        let channel = &publication.event.channel;
        let json = Bytes::from(publication.event.to_json());
        let mut state = self.lock();
        self.forget_idle(&mut state);
        let epoch = Epoch::new(self.dataset, state.generation);
        let log = state.channels.entry(channel.clone()).or_insert_with(|| ChannelLog::new(epoch));
        if !log.check(&publication)? {
            return Ok(None);
        }
        log.append(&publication, json.clone());
        log.trim(self.limits);
        let position = log.head;
        (self.listener)(News::Logged(Logged { channel: channel.clone(), position, json }));
        Ok(Some(position))
    }

    async fn head(&self, channel: &Channel) -> Result<Position, LogError> {
        Ok(self.head_in(&self.lock(), channel))
    }

    async fn read(&self, channel: &Channel, after: Position) -> Result<Replay, LogError> {
        let state = self.lock();
        let head = self.head_in(&state, channel);
        let continues = after.continues_in(head);
        let Some(log) = state.channels.get(channel) else {
            return Ok(Replay { complete: continues, events: Vec::new(), head });
        };
        let first = log.first_offset();
        let wanted = if continues { after.offset + 1 } else { 1 };
        let start = wanted.max(first);
        let events = log.entries.iter().zip(first..).skip((start - first) as usize).map(|(entry, offset)| Logged {
            channel: channel.clone(),
            position: Position { epoch: head.epoch, offset },
            json: entry.json.clone(),
        });
        Ok(Replay { complete: continues && wanted >= first, events: events.collect(), head })
    }

    async fn snapshot(&self, channel: &Channel) -> Result<Snapshot, LogError> {
        let state = self.lock();
        let head = self.head_in(&state, channel);
        let Some(log) = state.channels.get(channel) else {
            return Ok(Snapshot { head, messages: Vec::new(), streaming: Vec::new() });
        };
        let offsets = log.first_offset()..;
        let messages = log.entries.iter().zip(offsets).filter_map(|(entry, offset)| Some((offset, entry.message?))).collect();
        Ok(Snapshot { head, messages, streaming: log.streaming.clone() })
    }

    fn retention(&self) -> Duration {
        self.limits.retention
    }

    async fn check(&self) -> Result<(), LogError> {
        Ok(())
    }
}
