//! An executor: runs one job at a time and sees it to its end.
//!
//! It takes the next job from the buffer as soon as it is free, runs it as one [`attempt`], and hands what follows from it to
//! the completer; so a job that is short costs no message between actors. What it is told is to stop. Refuses to claim, to
//! write to the store, and to decide what follows from a failure.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use tokio::{sync::Notify, task::coop::consume_budget};

use super::{
    Tools,
    attempt::{self, Attempt},
    buffer::{Buffer, Held},
    completer::Completer,
    lease::Lease,
    metrics,
};
use crate::id::{JobId, WorkerId};

/// Stop these jobs at once.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub struct Abort(pub Which, pub Reason);

/// Which jobs to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    One(JobId),
    /// All that are held under the lease of this worker.
    AllOf(WorkerId),
}

/// Why a running job is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its user asked for it.
    Asked,
    /// Another attempt may have begun: nothing of this one counts any more.
    LeaseLost,
    /// The worker stops: another one shall do it.
    GivenBack,
}

/// What all executors of a worker have in common.
pub struct Shared {
    pub tools: Tools,
    pub buffer: Rc<Buffer>,
    pub completer: Rc<Completer>,
    /// How long a job may run.
    pub limit: Duration,
}

/// Runs one job at a time.
pub struct Executor {
    shared: Rc<Shared>,
    stop: Rc<StopSign>,
}

/// How the job that runs is told to stop.
#[derive(Debug, Default)]
pub struct StopSign {
    running: Cell<Option<(JobId, WorkerId)>>,
    reason: Cell<Option<Reason>>,
    raised: Notify,
}

impl StopSign {
    /// Waits until the job is to be stopped.
    pub async fn raised(&self) -> Reason {
        loop {
            if let Some(reason) = self.reason.get() {
                return reason;
            }
            self.raised.notified().await;
        }
    }

    fn raise(&self, which: Which, reason: Reason) {
        let is_meant = self.running.get().is_some_and(|(job, worker)| match which {
            Which::One(wanted) => job == wanted,
            Which::AllOf(wanted) => worker == wanted,
        });
        // A lost lease outweighs whatever else was the reason.
        if is_meant && (self.reason.get().is_none() || reason == Reason::LeaseLost) {
            self.reason.set(Some(reason));
            self.raised.notify_one();
        }
    }

    fn begin(&self, job: JobId, lease: &Lease) {
        self.running.set(Some((job, lease.worker)));
        self.reason.set(None);
    }

    fn end(&self) {
        self.running.set(None);
    }
}

impl Executor {
    /// An executor that takes from the buffer.
    #[must_use]
    pub fn new(shared: Rc<Shared>) -> Self {
        Self { shared, stop: Rc::default() }
    }
}

impl Actor for Executor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(work(self.shared.clone(), self.stop.clone()).into_actor(self));
    }
}

impl Handler<Abort> for Executor {
    type Result = ();

    fn handle(&mut self, Abort(which, reason): Abort, _: &mut Self::Context) {
        self.stop.raise(which, reason);
    }
}

/// One job after the other, for as long as the executor lives.
async fn work(shared: Rc<Shared>, stop: Rc<StopSign>) {
    loop {
        let Held { job, lease } = shared.buffer.next().await;
        stop.begin(job.fence.job, &lease);
        let figures = metrics::of(&job);
        figures.waited.observe(job.waited);
        let begun = Instant::now();
        let attempt = Attempt { tools: &shared.tools, job: &job, lease: &lease, stop: &stop, limit: shared.limit };
        let conclusion = attempt::run(attempt).await;
        figures.ran.observe(begun.elapsed());
        stop.end();
        shared.completer.conclude(job.fence, figures, conclusion, lease).await;
        // Where jobs end at once, others of this thread have their turn all the same.
        consume_budget().await;
    }
}
