//! The rescuer: takes back the jobs of workers that have died.
//!
//! A running job whose lease is over belongs to nobody: it counts as failed, and is tried again or given up, with its one
//! terminal event. Refuses to touch a job whose lease still runs.

use std::time::Duration;

use actix::prelude::*;

use super::{Tools, ending};
use crate::{
    failure::{Failure, FailureCode},
    job::{AfterFailure, Claimed, MAX_CRASHES, after_failure},
    store::{StoreError, Then},
};

/// How many are taken back at once.
const BATCH: usize = 100;

/// Takes back what nobody works on.
pub struct Rescuer {
    tools: Tools,
    lease: Duration,
}

impl Rescuer {
    /// A rescuer that looks twice a lease.
    #[must_use]
    pub fn new(tools: Tools, lease: Duration) -> Self {
        Self { tools, lease }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let (tools, lease) = (self.tools.clone(), self.lease);
        let rescue = async move {
            if let Err(error) = rescue(&tools, lease).await {
                log::error!("abandoned jobs can't be rescued: {error}");
            }
        };
        ctx.spawn(rescue.into_actor(self));
    }
}

impl Actor for Rescuer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.look(ctx);
        ctx.run_interval(self.lease / 2, Self::look);
    }
}

async fn rescue(tools: &Tools, lease: Duration) -> Result<(), StoreError> {
    loop {
        let abandoned = tools.store.abandoned(tools.worker, BATCH, lease).await?;
        let full = abandoned.len() == BATCH;
        for job in &abandoned {
            take_back(tools, job).await?;
        }
        if !full {
            return Ok(());
        }
    }
}

async fn take_back(tools: &Tools, job: &Claimed) -> Result<(), StoreError> {
    let work = job.work.as_ref().ok();
    log::warn!("job {}: attempt {} was abandoned", job.fence.job, job.fence.attempt);
    let lost = Failure::from(FailureCode::WorkerLost);
    let failure = match after_failure(job.failures + 1, job.crashes + 1 < MAX_CRASHES) {
        _ if job.cancel_asked => FailureCode::Cancelled.into(),
        AfterFailure::Retry(pause) => {
            let then = Then::Retry { pause, error: lost.error, crash: true };
            return ending::conclude(&*tools.store, tools.worker, job.fence, then).await.map(drop);
        }
        AfterFailure::Discard => lost,
    };
    let partial = ending::told_so_far(&*tools.log, job.fence.job, work).await;
    let ending = ending::of_failure(job.fence.job, &job.user, work, failure, partial);
    ending::end(&*tools.store, &tools.outbox, tools.worker, job.fence, ending).await.map(drop)
}
