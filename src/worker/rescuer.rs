//! The rescuer: takes back the jobs of workers that have died.
//!
//! A running job whose lease is over belongs to nobody: it counts as failed, and is tried again or given up, with its one
//! terminal event. Refuses to touch a job whose lease still runs.

use std::time::Duration;

use actix::prelude::*;

use super::{Tools, ending};
use crate::{
    failure::{Failure, FailureCode},
    job::{AfterFailure, Claimed, after_failure},
    store::StoreError,
};

/// How many are taken back at once.
const BATCH: usize = 100;

/// Takes back what nobody works on.
pub struct Rescuer {
    tools: Tools,
    every: Duration,
}

impl Rescuer {
    /// A rescuer that looks twice a lease.
    #[must_use]
    pub fn new(tools: Tools, lease: Duration) -> Self {
        Self { tools, every: lease / 2 }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let tools = self.tools.clone();
        let rescue = async move {
            if let Err(error) = rescue(&tools).await {
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
        ctx.run_interval(self.every, Self::look);
    }
}

async fn rescue(tools: &Tools) -> Result<(), StoreError> {
    loop {
        let abandoned = tools.store.expired(BATCH).await?;
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
    let failure = match after_failure(job.failures + 1, true) {
        _ if job.cancel_asked => FailureCode::Cancelled.into(),
        AfterFailure::Retry(pause) => return tools.store.retry(job.fence, pause, &lost.error).await.map(drop),
        AfterFailure::Discard => lost,
    };
    let partial = ending::told_so_far(&*tools.log, job.fence.job, work).await;
    let ending = ending::of_failure(job.fence.job, &job.user, work, failure, partial);
    ending::end(&*tools.store, &tools.outbox, job.fence, ending).await.map(drop)
}
