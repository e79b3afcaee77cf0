//! The rescuer: takes over the jobs of workers that have died.
//!
//! A job whose worker's lease is over belongs to nobody. It is taken over under a new fence, so that nothing of the old attempt
//! counts any more, and counts as crashed: it is tried again, or given up with its one terminal event. Refuses to touch a job
//! whose worker still lives, and to run one.

use std::rc::Rc;

use actix::prelude::*;

use super::{
    Tools, attempt,
    completer::Completer,
    lease::{Leases, Moment},
    metrics,
};
use crate::store::{Conclusion, StoreError};

/// How many are taken over at once.
const BATCH: usize = 100;

/// Look for jobs whose worker has died.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Rescue;

/// Takes over what nobody works on.
pub struct Rescuer {
    tools: Tools,
    leases: Leases,
    completer: Rc<Completer>,
    is_looking: bool,
}

impl Rescuer {
    /// A rescuer that takes jobs over as the worker that these leases belong to.
    #[must_use]
    pub fn new(tools: Tools, leases: Leases, completer: Rc<Completer>) -> Self {
        Self { tools, leases, completer, is_looking: false }
    }
}

impl Actor for Rescuer {
    type Context = Context<Self>;
}

impl Handler<Rescue> for Rescuer {
    type Result = ();

    fn handle(&mut self, _: Rescue, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_looking, true) {
            return;
        }
        let (tools, leases, completer) = (self.tools.clone(), self.leases.clone(), self.completer.clone());
        let rescue = async move {
            if let Err(error) = rescue(&tools, &leases, &completer).await {
                log::error!("abandoned jobs can't be rescued: {error}");
            }
        };
        ctx.spawn(rescue.into_actor(self).map(|(), rescuer, _| rescuer.is_looking = false));
    }
}

async fn rescue(tools: &Tools, leases: &Leases, completer: &Completer) -> Result<(), StoreError> {
    loop {
        let (lease, sent) = (leases.current(), Moment::now());
        // Where the answer is lost, what was taken over must not live on with this lease.
        let abandoned = tools.store.abandoned(lease.worker, BATCH, lease.lasts).await.inspect_err(|_| leases.succeed(&lease))?;
        if !abandoned.is_empty() {
            lease.renewed(sent);
            lease.hold(abandoned.len());
        }
        for job in &abandoned {
            log::warn!("job {}: its worker has died with it", job.fence.job);
            metrics::RESCUED.inc();
            let conclusion = Conclusion::new(job.fence, attempt::after_crash(tools, job).await);
            completer.conclude(job.fence, metrics::of(job), Some(conclusion), lease.clone()).await;
        }
        if abandoned.len() < BATCH {
            return Ok(());
        }
    }
}
