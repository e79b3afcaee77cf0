//! Holds a trace against the delivery contract. Pure: a trace in, what is wrong with it out.
//!
//! Each view is held against the places that its cursors name (no hole, nothing twice, no untold gap), all views against
//! each other (one event a place), and what was acknowledged against what was told and kept. Refuses to trust the places
//! alone: messages, texts and ends of jobs are counted by what they say as well.

mod shrink;
mod sight;
mod texts;
mod violation;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use self::sight::Sight;
pub use self::{shrink::shortest, violation::Violation};
use super::trace::{Heard, Place, Places, Record, View, What};
use crate::{
    channel::Channel,
    event::{Event, Fact, FinishReason, ResetReason},
    failure::FailureCode,
    id::{JobId, MessageId},
    job::State,
};

/// What the run makes legitimate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// The log keeps less than the run writes, so that a view may be told `trimmed`.
    pub may_trim: bool,
    /// The log may be lost at any time, by the hand of somebody who writes no trace.
    pub may_lose: bool,
}

/// Everything that is wrong with `trace`.
#[must_use]
pub fn violations(trace: &[Record], rules: Rules) -> Vec<Violation> {
    let mut books = Books { may_lose: rules.may_lose, rules, ..Books::default() };
    for record in trace {
        books.enter(record);
    }
    books.close()
}

/// The state that a job is in by what its terminal event says.
fn told_state(fact: &Fact) -> Option<State> {
    match fact {
        Fact::AiChat { result, .. } => Some(match result.finish_reason {
            FinishReason::Cancelled => State::Cancelled,
            FinishReason::Error => State::Discarded,
            _ => State::Completed,
        }),
        Fact::GenerationComplete { .. } => Some(State::Completed),
        Fact::GenerationFailed { failure, .. } if failure.code == FailureCode::Cancelled => Some(State::Cancelled),
        Fact::GenerationFailed { .. } => Some(State::Discarded),
        _ => None,
    }
}

/// What a message says, where the event is one.
fn content(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::Chat { result } => Some(&result.content),
        Fact::AiChat { result, .. } => Some(&result.content),
        _ => None,
    }
}

/// The job whose terminal event this is.
fn ended_job(fact: &Fact) -> Option<JobId> {
    match fact {
        Fact::AiChat { job_id, .. } | Fact::GenerationComplete { job_id, .. } | Fact::GenerationFailed { job_id, .. } => Some(*job_id),
        _ => None,
    }
}

#[derive(Default)]
struct Books {
    rules: Rules,
    /// Whether the log can have lost anything by now.
    may_lose: bool,
    sights: BTreeMap<(View, Channel), Sight>,
    left: BTreeSet<View>,
    /// What was told at each place, by whichever view came first.
    log: HashMap<(Channel, Place), Heard>,
    /// The newest place of each channel, in the epoch that began last.
    newest: HashMap<Channel, Place>,
    epochs: HashSet<(Channel, (u32, u32))>,
    said: Vec<Acknowledged>,
    jobs: Vec<(u64, Channel, JobId)>,
    kept: HashMap<Channel, HashMap<MessageId, String>>,
    /// How jobs have ended, by their first terminal event and by the queue.
    told_ends: BTreeMap<JobId, State>,
    ends: BTreeMap<JobId, State>,
    found: Vec<Violation>,
}

struct Acknowledged {
    channel: Channel,
    message: MessageId,
    content: String,
}

impl Books {
    fn sight(&mut self, view: View, channel: &Channel) -> &mut Sight {
        self.sights.entry((view, channel.clone())).or_insert_with(|| Sight::new(view, channel.clone()))
    }

    fn enter(&mut self, record: &Record) {
        match &record.what {
            What::Page { view, channel, messages, older, streaming } => self.sight(*view, channel).heed_page(messages, older, streaming),
            What::Opened { view, asked, cursor, channels, .. } => self.open(record.at, *view, channels, asked, cursor),
            What::Told { view, cursor, event } => self.tell(*view, cursor, event),
            What::Passed { view, cursor } => self.pass(*view, cursor, None),
            What::Reset { view, channel, reason } => {
                let could_lose = match reason {
                    ResetReason::Epoch => self.may_lose,
                    ResetReason::Trimmed => self.rules.may_trim,
                    // A cursor is given back as it came.
                    ResetReason::Cursor => false,
                };
                let needless = self.sight(*view, channel).heed_reset(record.at, *reason, could_lose);
                self.found.extend(needless);
            }
            What::Left { view } => drop(self.left.insert(*view)),
            What::Said { since, channel, message, content, job } => {
                self.said.push(Acknowledged { channel: channel.clone(), message: *message, content: content.clone() });
                self.jobs.extend(job.map(|job| (*since, channel.clone(), job)));
            }
            What::Asked { since, channel, job } => self.jobs.push((*since, channel.clone(), *job)),
            What::Wrong { server, saw } => self.found.push(Violation::WrongAnswer { server: *server, saw: saw.clone() }),
            What::Fault { loses_log, .. } => self.may_lose |= loses_log,
            What::Kept { channel, messages } => self.keep(channel, messages),
            What::Ended { job, state } if !state.is_final() => self.found.push(Violation::Unfinished { job: *job, state: *state }),
            What::Ended { job, state } => drop(self.ends.insert(*job, *state)),
            What::Cut { .. } => {}
            What::Present { server, channel, said, open } => {
                if said.iter().collect::<BTreeSet<_>>() != open.iter().collect::<BTreeSet<_>>() {
                    self.found.push(Violation::Presence { server: *server, channel: channel.clone() });
                }
            }
        }
    }

    fn open(&mut self, at: u64, view: View, channels: &[Channel], asked: &Places, cursor: &Places) {
        for channel in channels {
            let sight = self.sight(view, channel);
            let is_first = sight.opened.is_none();
            sight.opened.get_or_insert(at);
            if is_first && let Some(place) = asked.get(channel) {
                // The first place there is can't be wrong.
                let _ = sight.heed_cursor(*place);
            }
        }
        self.pass(view, cursor, None);
    }

    fn tell(&mut self, view: View, cursor: &Places, Heard(event): &Heard) {
        let channel = &event.channel;
        self.pass(view, cursor, Some(channel));
        if let (Some(job), Some(state)) = (ended_job(&event.fact), told_state(&event.fact)) {
            self.told_ends.entry(job).or_insert(state);
        }
        let place = cursor.get(channel).copied();
        if let Some(place) = place {
            self.log_event(channel, place, event);
        }
        let mut found = Vec::new();
        self.sight(view, channel).heed_event(place, event, &mut found);
        self.found.append(&mut found);
    }

    /// What a cursor says of every channel but the one whose event it came with.
    fn pass(&mut self, view: View, cursor: &Places, told: Option<&Channel>) {
        for (channel, place) in cursor.iter().filter(|(channel, _)| Some(*channel) != told) {
            self.reach(channel, *place);
            let needless = self.sight(view, channel).heed_cursor(*place);
            self.found.extend(needless);
        }
    }

    fn log_event(&mut self, channel: &Channel, place: Place, event: &std::sync::Arc<Event>) {
        let first = self.log.entry((channel.clone(), place)).or_insert_with(|| Heard(event.clone()));
        if !std::sync::Arc::ptr_eq(&first.0, event) && first.0 != *event {
            self.found.push(Violation::Disagreement { channel: channel.clone(), place });
        }
        self.reach(channel, place);
    }

    /// The log of a channel was at this place. An epoch that nobody has seen before is the newest one, though nothing be told
    /// in it.
    fn reach(&mut self, channel: &Channel, place: Place) {
        let is_new_epoch = self.epochs.insert((channel.clone(), place.epoch));
        let newest = self.newest.entry(channel.clone()).or_insert(place);
        if is_new_epoch || (newest.epoch == place.epoch && newest.offset < place.offset) {
            *newest = place;
        }
    }

    fn keep(&mut self, channel: &Channel, messages: &[(MessageId, String)]) {
        let kept = self.kept.entry(channel.clone()).or_default();
        let mut contents = HashSet::new();
        for (message, content) in messages {
            // The people of a run never say the same twice; replies may.
            let is_repeated = content.starts_with(super::MARK) && !contents.insert(content);
            if kept.insert(*message, content.clone()).is_some() || is_repeated {
                self.found.push(Violation::Doubled { channel: channel.clone(), content: content.clone() });
            }
        }
    }

    fn close(mut self) -> Vec<Violation> {
        let mut found = std::mem::take(&mut self.found);
        for ((view, channel), sight) in &self.sights {
            let Some(opened) = sight.opened.filter(|_| !self.left.contains(view)) else { continue };
            let (view, channel) = (*view, channel.clone());
            if let (Some(at), Some(newest)) = (sight.place(), self.newest.get(&channel))
                && !at.is_same(*newest)
                && (at.epoch != newest.epoch || at.offset < newest.offset)
            {
                found.push(Violation::Behind { view, channel: channel.clone() });
            }
            for said in self.said.iter().filter(|said| said.channel == channel && !sight.had.contains(&said.message)) {
                found.push(Violation::Untold { view, channel: channel.clone(), message: said.message });
            }
            // What ended before the view began, or in a gap that it was told of, it is not owed.
            let is_owed = |since: u64| opened < since && sight.reset.is_none_or(|reset| reset < since);
            for (_, _, job) in self.jobs.iter().filter(|(since, on, job)| *on == channel && is_owed(*since) && !sight.ended.contains(job)) {
                found.push(Violation::NoEnd { view, channel: channel.clone(), job: *job });
            }
        }
        self.close_history(&mut found);
        found
    }

    fn close_history(&self, found: &mut Vec<Violation>) {
        for said in &self.said {
            let Some(kept) = self.kept.get(&said.channel) else { continue };
            if kept.get(&said.message) != Some(&said.content) {
                found.push(Violation::Lost { channel: said.channel.clone(), message: said.message });
            }
        }
        for (job, state) in &self.ends {
            if let Some(told) = self.told_ends.get(job).filter(|told| *told != state) {
                found.push(Violation::OtherEnd { job: *job, told: *told, state: *state });
            }
        }
        let (mut phantoms, mut others) = (BTreeSet::new(), BTreeSet::new());
        for ((channel, _), Heard(event)) in &self.log {
            let (Some(message), Some(kept)) = (event.fact.message_id(), self.kept.get(channel)) else { continue };
            match kept.get(&message) {
                None => drop(phantoms.insert((channel.clone(), message))),
                Some(kept) if content(&event.fact) != Some(kept) => drop(others.insert((channel.clone(), message))),
                Some(_) => {}
            }
        }
        found.extend(others.into_iter().map(|(channel, message)| Violation::KeptOtherwise { channel, message }));
        found.extend(phantoms.into_iter().map(|(channel, message)| Violation::Phantom { channel, message }));
    }
}
