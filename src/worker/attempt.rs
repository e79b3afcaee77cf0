//! One attempt at a job: its handler runs until it is done, fails, panics, takes too long or is stopped; then it is said what
//! follows.
//!
//! Whatever becomes of it, exactly one thing follows: the job ends with its one terminal event, is put back, or, where its
//! lease is lost, is left alone. Refuses to write that to the store: the completer does.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::{
    Tools, ending,
    executor::{Reason, StopSign},
    jobs::{self, Run},
    lease::Lease,
    place,
    publisher::{Broken, Streamed},
};
use crate::{
    failure::{Failure, FailureCode},
    job::{Claimed, Work},
    log::Running,
    providers::Fault::NoRoom,
    retry::{AfterFailure, Fault, after},
    store::{Conclusion, Ending, Then},
};

/// How long a job rests that has failed as often as it may, where all that is missing is the event log.
const WHILE_LOG_IS_AWAY: Duration = Duration::from_secs(15);

/// A job in the hands of its executor.
pub struct Attempt<'a> {
    pub tools: &'a Tools,
    pub job: &'a Claimed,
    pub lease: &'a Lease,
    pub stop: &'a StopSign,
    /// How long it may run.
    pub limit: Duration,
}

/// How the handler came to its end.
enum Outcome {
    Ran(Result<Box<Ending>, Broken>),
    Panicked,
    TookTooLong,
    Stopped(Reason),
    Unreadable(String),
}

/// Runs it, and says what follows; nothing where the lease is lost.
pub async fn run(attempt: Attempt<'_>) -> Option<Conclusion> {
    let mut streamed = Streamed::default();
    let outcome = if attempt.job.cancel_asked { Outcome::Stopped(Reason::Asked) } else { attempt.handle(&mut streamed).await };
    let usage = std::mem::take(&mut streamed.meter).read(&attempt.job.user, &attempt.tools.prices, &streamed.text);
    let then = attempt.follow(outcome, streamed).await?;
    Some(Conclusion { fence: attempt.job.fence, then, usage })
}

/// What follows where a job that nobody runs is to be cancelled.
pub async fn cancel(tools: &Tools, job: &Claimed) -> Then {
    let told = ending::told_so_far(&*tools.log, job.fence.job, job.work.as_ref().ok()).await;
    end(job, FailureCode::Cancelled.into(), told)
}

/// What follows where the worker of a job has died.
pub async fn after_crash(tools: &Tools, job: &Claimed) -> Then {
    if job.cancel_asked {
        return cancel(tools, job).await;
    }
    let failure = Failure::from(FailureCode::WorkerLost);
    match judged(job, Fault::Crash) {
        AfterFailure::Retry(pause) => Then::Retry { pause, error: failure.error, crash: true },
        AfterFailure::Discard => {
            let told = ending::told_so_far(&*tools.log, job.fence.job, job.work.as_ref().ok()).await;
            end(job, failure, told)
        }
    }
}

impl Attempt<'_> {
    async fn handle(&self, streamed: &mut Streamed) -> Outcome {
        let work = match &self.job.work {
            Ok(work) => work,
            Err(error) => return Outcome::Unreadable(error.clone()),
        };
        let run = Run { tools: self.tools, fence: self.job.fence, lease: self.lease, owner: &self.job.user, streamed };
        // What is broken off by a panic is only read as text afterwards.
        let handled = timeout(self.limit, AssertUnwindSafe(jobs::run(run, work)).catch_unwind());
        tokio::select! {
            biased;
            reason = self.stop.raised() => Outcome::Stopped(reason),
            ended = handled => match ended {
                Ok(Ok(ended)) => Outcome::Ran(ended.map(Box::new)),
                Ok(Err(_)) => Outcome::Panicked,
                Err(_) => Outcome::TookTooLong,
            },
        }
    }

    async fn follow(&self, outcome: Outcome, streamed: Streamed) -> Option<Then> {
        let job = self.job;
        match outcome {
            Outcome::Ran(Ok(ending)) => Some(Then::End(ending)),
            Outcome::Stopped(Reason::LeaseLost) => None,
            Outcome::Stopped(Reason::GivenBack) => Some(Then::GiveBack),
            Outcome::Stopped(Reason::Asked) => Some(match self.partial(&streamed) {
                Some(partial) => end(job, FailureCode::Cancelled.into(), Some(partial)),
                None => cancel(self.tools, job).await,
            }),
            // Others have their turn: no failure.
            Outcome::Ran(Err(Broken::Provider(error))) if error.fault == NoRoom => Some(Then::Snooze { pause: place::away() }),
            Outcome::Ran(Err(error)) => {
                log::warn!("job {}: attempt {} failed: {error}", job.fence.job, job.fence.attempt);
                let (failure, fault) = told(&error);
                Some(match self.failed(failure, fault, &streamed) {
                    // No fault of the job's, and it cost nothing.
                    Then::End(_) if matches!(error, Broken::Log(_)) && streamed.provider.is_none() => Then::Snooze { pause: WHILE_LOG_IS_AWAY },
                    then => then,
                })
            }
            Outcome::Panicked => {
                log::error!("job {}: attempt {} has panicked", job.fence.job, job.fence.attempt);
                Some(self.failed(FailureCode::WorkerLost.into(), Fault::Crash, &streamed))
            }
            Outcome::TookTooLong => {
                log::error!("job {}: attempt {} took longer than {:?}", job.fence.job, job.fence.attempt, self.limit);
                Some(self.failed(FailureCode::TookTooLong.into(), Fault::Passing { asked: None }, &streamed))
            }
            Outcome::Unreadable(error) => {
                log::error!("job {}: it can't be read: {error}", job.fence.job);
                Some(self.failed(FailureCode::RequestUnreadable.into(), Fault::Unreadable, &streamed))
            }
        }
    }

    fn failed(&self, failure: Failure, fault: Fault, streamed: &Streamed) -> Then {
        match judged(self.job, fault) {
            AfterFailure::Retry(pause) => Then::Retry { pause, error: failure.error, crash: fault == Fault::Crash },
            AfterFailure::Discard => end(self.job, failure, self.partial(streamed)),
        }
    }

    /// What this attempt has said of a reply, told or not.
    fn partial(&self, streamed: &Streamed) -> Option<Running> {
        let Ok(Work::AiChatResponse(answer)) = &self.job.work else { return None };
        if streamed.text.is_empty() {
            return None;
        }
        let provider = Some(streamed.provider.unwrap_or(self.tools.provider.name()).to_owned());
        Some(Running { text: streamed.text.clone(), provider, ..Running::begun(answer.stream_id, self.job.fence.job) })
    }
}

fn judged(job: &Claimed, fault: Fault) -> AfterFailure {
    after(fault, job.work.as_ref().ok().map(Work::kind), job.failures, job.crashes, rand::random())
}

fn end(job: &Claimed, failure: Failure, partial: Option<Running>) -> Then {
    Then::End(Box::new(ending::of_failure(job.fence.job, &job.user, job.work.as_ref().ok(), failure, partial)))
}

/// What the user may know of a failure, and what it means for the next attempt.
fn told(error: &Broken) -> (Failure, Fault) {
    let fault = |is_retryable: bool, asked| if is_retryable { Fault::Passing { asked } } else { Fault::Lasting };
    match error {
        Broken::Provider(error) => (error.failure(), fault(error.is_retryable(), error.retry_after)),
        Broken::Store(error) => (FailureCode::DatabaseUnavailable.into(), fault(error.is_retryable(), None)),
        Broken::Log(_) => (FailureCode::LogUnavailable.into(), fault(true, None)),
        Broken::Media(_) => (FailureCode::MediaUnavailable.into(), fault(true, None)),
        Broken::DailyLimit(_) => (FailureCode::DailyLimit.into(), Fault::Lasting),
        Broken::PictureLost(_) => (FailureCode::PictureLost.into(), Fault::Lasting),
    }
}
