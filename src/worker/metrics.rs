//! What the worker counts.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use crate::{
    job::{Claimed, Kind, State, Work},
    metrics::{Counter, Family, Histogram, Metric},
    store::Then,
};

pub static CLAIMS: Metric<Counter> = Metric::new("persona_queue_claims_total", "Claims that were made.");
pub static EMPTY_CLAIMS: Metric<Counter> = Metric::new("persona_queue_empty_claims_total", "Claims that brought no job.");
pub static HEARTBEATS: Metric<Counter> = Metric::new("persona_queue_heartbeats_total", "Times that a worker's lease was renewed by its heartbeat.");
pub static LEASES_LOST: Metric<Counter> = Metric::new("persona_queue_leases_lost_total", "Times that a worker has lost its lease.");
pub static RESCUED: Metric<Counter> = Metric::new("persona_queue_rescued_total", "Jobs that were taken over from workers that have died.");
pub static WAITED: Family<Histogram> = Family::new("persona_job_wait_seconds", "How long jobs were ready and not begun.", &["kind"]);
pub static RAN: Family<Histogram> = Family::new("persona_job_run_seconds", "How long attempts at jobs took.", &["kind"]);
pub static OUTCOMES: Family<Counter> = Family::new("persona_job_outcomes_total", "What became of attempts at jobs.", &["kind", "outcome"]);

/// What is measured of a kind of job.
#[derive(Debug)]
pub struct OfKind {
    kind: &'static str,
    pub waited: Arc<Histogram>,
    pub ran: Arc<Histogram>,
    outcomes: RefCell<HashMap<Outcome, Arc<Counter>>>,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Completed,
    Cancelled,
    Discarded,
    Retried,
    Snoozed,
    GivenBack,
    /// The lease was lost, or another attempt had begun.
    Lost,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
            Self::Retried => "retried",
            Self::Snoozed => "snoozed",
            Self::GivenBack => "given_back",
            Self::Lost => "lost",
        }
    }
}

impl OfKind {
    fn new(kind: Option<Kind>) -> Self {
        let kind = kind.map_or("unreadable", Kind::as_str);
        Self { kind, waited: WAITED.with(&[kind]), ran: RAN.with(&[kind]), outcomes: RefCell::default() }
    }

    /// One more attempt came to this.
    pub fn came_to(&self, outcome: Outcome) {
        self.outcomes.borrow_mut().entry(outcome).or_insert_with(|| OUTCOMES.with(&[self.kind, outcome.as_str()])).inc();
    }
}

impl From<&Then> for Outcome {
    fn from(then: &Then) -> Self {
        match then {
            Then::End(ending) => match ending.state {
                State::Completed => Self::Completed,
                State::Cancelled => Self::Cancelled,
                _ => Self::Discarded,
            },
            Then::Retry { .. } => Self::Retried,
            Then::Snooze { .. } => Self::Snoozed,
            Then::GiveBack => Self::GivenBack,
        }
    }
}

thread_local! {
    static KINDS: RefCell<HashMap<Option<Kind>, Rc<OfKind>>> = RefCell::default();
}

/// What is measured of this job's kind; jobs that can't be read have one of their own.
pub fn of(job: &Claimed) -> Rc<OfKind> {
    let kind = job.work.as_ref().ok().map(Work::kind);
    KINDS.with_borrow_mut(|kinds| kinds.entry(kind).or_insert_with(|| Rc::new(OfKind::new(kind))).clone())
}
