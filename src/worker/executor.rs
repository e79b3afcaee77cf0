//! An executor: runs one job at a time and sees it to its end.
//!
//! Whatever becomes of the job, exactly one of these follows: it is ended, put back for another try, or left alone because
//! its lease is lost. Refuses to claim: it is given jobs by the poller, and tells it when it is free.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{
    Tools, ending,
    jobs::{self, Run},
    poller::{Freed, Poller},
    publisher::{Broken, Streamed},
};
use crate::{
    failure::{Failure, FailureCode},
    job::{AfterFailure, Claimed, Fence, Work, after_failure},
    log::{LogError, Running},
    store::{Ending, StoreError, Then},
};

/// Do this job.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Execute(pub Claimed);

/// Stop the job at once.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Abort(pub Fence, pub Reason);

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

/// Runs one job at a time.
pub struct Executor {
    tools: Tools,
    poller: Addr<Poller>,
    /// The job that runs, and how to stop it.
    running: Option<(Fence, oneshot::Sender<Reason>)>,
}

impl Executor {
    /// An executor that `poller` gives jobs to.
    #[must_use]
    pub fn new(tools: Tools, poller: Addr<Poller>) -> Self {
        Self { tools, poller, running: None }
    }
}

impl Actor for Executor {
    type Context = Context<Self>;
}

impl Handler<Execute> for Executor {
    type Result = ();

    fn handle(&mut self, Execute(job): Execute, ctx: &mut Self::Context) {
        let (abort, aborted) = oneshot::channel();
        let fence = job.fence;
        self.running = Some((fence, abort));
        let done = execute(self.tools.clone(), job, aborted).into_actor(self).map(move |(), executor, ctx| {
            executor.running = None;
            executor.poller.do_send(Freed { fence, executor: ctx.address() });
        });
        ctx.spawn(done);
    }
}

impl Handler<Abort> for Executor {
    type Result = ();

    fn handle(&mut self, Abort(fence, reason): Abort, _: &mut Self::Context) {
        if let Some((_, abort)) = self.running.take_if(|(running, _)| *running == fence) {
            // The job may have come to its end just now.
            let _ = abort.send(reason);
        }
    }
}

async fn execute(tools: Tools, job: Claimed, aborted: oneshot::Receiver<Reason>) {
    let mut streamed = Streamed::default();
    let outcome = if job.cancel_asked {
        Outcome::Stopped(Reason::Asked)
    } else {
        match &job.work {
            Ok(work) => {
                let run = Run { tools: &tools, fence: job.fence, owner: &job.user, streamed: &mut streamed };
                tokio::select! {
                    biased;
                    reason = aborted => Outcome::Stopped(reason.unwrap_or(Reason::GivenBack)),
                    ended = jobs::run(run, work) => Outcome::Ran(Box::new(ended)),
                }
            }
            Err(error) => Outcome::Unreadable(error.clone()),
        }
    };
    if let Err(error) = conclude(&tools, &job, outcome, streamed).await {
        // Its lease runs out, and the rescuer takes it up.
        log::error!("job {}: its end can't be written: {error}", job.fence.job);
    }
}

enum Outcome {
    Ran(Box<Result<Ending, Broken>>),
    Stopped(Reason),
    Unreadable(String),
}

async fn conclude(tools: &Tools, job: &Claimed, outcome: Outcome, streamed: Streamed) -> Result<(), StoreError> {
    let work = job.work.as_ref().ok();
    let ending = match outcome {
        Outcome::Ran(ended) => match *ended {
            Ok(ending) => ending,
            Err(Broken::Log(LogError::Fenced(_))) => return lost(job),
            Err(error) => match failed(tools, job, &error, streamed).await? {
                Some(ending) => ending,
                None => return Ok(()),
            },
        },
        Outcome::Stopped(Reason::LeaseLost) => return lost(job),
        Outcome::Stopped(Reason::GivenBack) => {
            return ending::conclude(&*tools.store, tools.worker, job.fence, Then::GiveBack).await.map(drop);
        }
        Outcome::Stopped(Reason::Asked) => {
            let partial = match partial(work, job, streamed, tools.provider.name()) {
                Some(partial) => Some(partial),
                None => ending::told_so_far(&*tools.log, job.fence.job, work).await,
            };
            ending::of_failure(job.fence.job, &job.user, work, FailureCode::Cancelled.into(), partial)
        }
        Outcome::Unreadable(error) => {
            log::error!("job {}: its arguments can't be read: {error}", job.fence.job);
            ending::of_failure(job.fence.job, &job.user, None, FailureCode::RequestUnreadable.into(), None)
        }
    };
    if !ending::end(&*tools.store, &tools.outbox, tools.worker, job.fence, ending).await? {
        log::warn!("job {}: attempt {} came too late to end it", job.fence.job, job.fence.attempt);
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "one way for a job to be concluded")]
fn lost(job: &Claimed) -> Result<(), StoreError> {
    log::warn!("job {}: attempt {} has lost its lease", job.fence.job, job.fence.attempt);
    Ok(())
}

/// Puts a failed job back, or says how it ends.
async fn failed(tools: &Tools, job: &Claimed, error: &Broken, streamed: Streamed) -> Result<Option<Ending>, StoreError> {
    log::warn!("job {}: attempt {} failed: {error}", job.fence.job, job.fence.attempt);
    let (failure, retryable) = told(error);
    match after_failure(job.failures + 1, retryable) {
        AfterFailure::Retry(pause) => {
            let asked_for = if let Broken::Provider(error) = error { error.retry_after } else { None };
            let then = Then::Retry { pause: pause.max(asked_for.unwrap_or_default()), error: failure.error, crash: false };
            ending::conclude(&*tools.store, tools.worker, job.fence, then).await?;
            Ok(None)
        }
        AfterFailure::Discard => {
            let work = job.work.as_ref().ok();
            let partial = partial(work, job, streamed, tools.provider.name());
            Ok(Some(ending::of_failure(job.fence.job, &job.user, work, failure, partial)))
        }
    }
}

/// What the user may know of a failure, and whether this job is to be tried again.
fn told(error: &Broken) -> (Failure, bool) {
    match error {
        Broken::Provider(error) => (error.failure(), error.is_retryable()),
        Broken::Store(error) => (FailureCode::DatabaseUnavailable.into(), error.is_retryable()),
        Broken::Log(_) => (FailureCode::LogUnavailable.into(), true),
        Broken::Media(_) => (FailureCode::MediaUnavailable.into(), true),
        Broken::PictureLost(_) => (FailureCode::PictureLost.into(), false),
    }
}

/// What this attempt has said of a reply, told or not.
fn partial(work: Option<&Work>, job: &Claimed, streamed: Streamed, provider: &str) -> Option<Running> {
    let Some(Work::AiChatResponse(answer)) = work else { return None };
    if streamed.text.is_empty() {
        return None;
    }
    let provider = Some(streamed.provider.unwrap_or(provider).to_owned());
    Some(Running { text: streamed.text, provider, ..Running::begun(answer.stream_id, job.fence.job) })
}
