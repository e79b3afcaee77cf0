//! The poller: claims jobs for all executors of this process, and renews their leases.
//!
//! One claim serves every free executor. It looks when it is woken, when a job's time comes, after a full batch at once, and
//! otherwise now and then, since a wake-up may be lost. Refuses to run jobs itself, so that no job can hold up the leases of
//! the others.

use std::{collections::HashMap, time::Duration};

use actix::prelude::*;
use tokio::sync::{broadcast::error::RecvError, oneshot};

use super::{
    Tools, WorkerConfig,
    executor::{Abort, Execute, Executor, Reason},
    metrics,
};
use crate::{
    id::JobId,
    job::{Claimed, Fence},
    store::{Heartbeat, StoreError},
    wake::Wakeup,
};

/// How often it looks without being woken.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long it waits after the store has failed.
const AFTER_FAULT: Duration = Duration::from_millis(500);

/// An executor is free again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Freed {
    pub fence: Fence,
    pub executor: Addr<Executor>,
}

/// Claim nothing more; give running jobs a while, then have them given back. Answers when nothing runs.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopClaiming;

#[derive(Message)]
#[rtype(result = "()")]
struct Woken(Wakeup);

/// Claims for all executors.
pub struct Poller {
    tools: Tools,
    config: WorkerConfig,
    idle: Vec<Addr<Executor>>,
    running: HashMap<JobId, (Fence, Addr<Executor>)>,
    /// A claim is on its way; another look is wanted after it.
    claiming: bool,
    look_again: bool,
    stopping: Stopping,
    next_look: Option<SpawnHandle>,
}

/// How far a stop has come.
enum Stopping {
    No,
    /// Nothing is claimed any more; who waits is told when nothing runs.
    Wanted(oneshot::Sender<()>),
    Done,
}

impl Poller {
    /// A poller with as many executors as the settings say.
    #[must_use]
    pub fn new(tools: Tools, config: WorkerConfig) -> Self {
        Self { tools, config, idle: Vec::new(), running: HashMap::new(), claiming: false, look_again: false, stopping: Stopping::No, next_look: None }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.claiming || !matches!(self.stopping, Stopping::No) || self.idle.is_empty() {
            self.look_again = self.claiming;
            return;
        }
        self.claiming = true;
        let (store, worker, free, lease) = (self.tools.store.clone(), self.tools.worker, self.idle.len(), self.config.lease);
        let claim = async move {
            let batch = store.claim(worker, free, lease).await?;
            let due = if batch.jobs.is_empty() && !batch.more { store.next_look(worker).await? } else { None };
            Ok((batch.jobs, batch.more, due))
        };
        ctx.spawn(claim.into_actor(self).map(move |claimed, poller, ctx| poller.take(claimed, ctx)));
    }

    fn take(&mut self, claimed: Result<(Vec<Claimed>, bool, Option<Duration>), StoreError>, ctx: &mut Context<Self>) {
        self.claiming = false;
        let again = std::mem::take(&mut self.look_again);
        match claimed {
            Ok((jobs, more, due)) => {
                metrics::CLAIMS.inc();
                metrics::EMPTY_CLAIMS.add(u64::from(jobs.is_empty()));
                for job in jobs {
                    self.hand_out(job);
                }
                let pause = if more || again { Duration::ZERO } else { due.unwrap_or(LOOK_EVERY).min(LOOK_EVERY) };
                self.look_in(pause, ctx);
            }
            Err(error) => {
                log::error!("no jobs can be claimed: {error}");
                self.look_in(AFTER_FAULT, ctx);
            }
        }
        self.settle();
    }

    fn hand_out(&mut self, job: Claimed) {
        // Asked for as many as are idle; only a stop in between could leave too few, and then leases run out by themselves.
        let Some(executor) = self.idle.pop() else { return };
        self.running.insert(job.fence.job, (job.fence, executor.clone()));
        executor.do_send(Execute(job));
    }

    fn look_in(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        if let Some(planned) = self.next_look.take() {
            ctx.cancel_future(planned);
        }
        if pause.is_zero() {
            self.look(ctx);
        } else {
            self.next_look = Some(ctx.run_later(pause, Self::look));
        }
    }

    fn renew(&mut self, ctx: &mut Context<Self>) {
        if self.running.is_empty() {
            return;
        }
        let fences: Vec<Fence> = self.running.values().map(|(fence, _)| *fence).collect();
        let (store, worker, lease) = (self.tools.store.clone(), self.tools.worker, self.config.lease);
        let renew = async move { store.heartbeat(worker, lease).await };
        ctx.spawn(renew.into_actor(self).map(move |heartbeat, poller, _| match heartbeat {
            Ok(heartbeat) => poller.heed(&fences, &heartbeat),
            Err(error) => log::error!("leases can't be renewed: {error}"),
        }));
    }

    /// Stops what has lost its lease, or was asked to stop while no wake-up came through.
    fn heed(&self, asked: &[Fence], heartbeat: &Heartbeat) {
        for fence in asked.iter().filter(|_| !heartbeat.alive) {
            self.abort(fence.job, Reason::LeaseLost);
        }
        for fence in &heartbeat.cancel_asked {
            self.abort(fence.job, Reason::Asked);
        }
    }

    /// Tells whoever waits for the stop, once nothing runs.
    fn settle(&mut self) {
        let busy = !self.running.is_empty() || self.claiming;
        if busy || !matches!(self.stopping, Stopping::Wanted(_)) {
            return;
        }
        if let Stopping::Wanted(settled) = std::mem::replace(&mut self.stopping, Stopping::Done) {
            // Who no longer waits needn't be told.
            let _ = settled.send(());
        }
    }

    fn abort(&self, job: JobId, reason: Reason) {
        if let Some((fence, executor)) = self.running.get(&job) {
            executor.do_send(Abort(*fence, reason));
        }
    }
}

impl Actor for Poller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.idle = (0..self.config.slots).map(|_| Executor::new(self.tools.clone(), ctx.address()).start()).collect();
        let mut wakeups = self.tools.wakeups.listen();
        let me = ctx.address();
        actix_rt::spawn(async move {
            loop {
                match wakeups.recv().await {
                    Ok(wakeup) => me.do_send(Woken(wakeup)),
                    Err(RecvError::Lagged(_)) => me.do_send(Woken(Wakeup::Jobs)),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        ctx.run_interval(self.config.lease / 3, Self::renew);
        self.look(ctx);
    }
}

impl Handler<Woken> for Poller {
    type Result = ();

    fn handle(&mut self, Woken(wakeup): Woken, ctx: &mut Context<Self>) {
        match wakeup {
            Wakeup::Jobs => self.look(ctx),
            Wakeup::Stop(job) => self.abort(job, Reason::Asked),
        }
    }
}

impl Handler<Freed> for Poller {
    type Result = ();

    fn handle(&mut self, Freed { fence, executor }: Freed, ctx: &mut Context<Self>) {
        self.running.remove(&fence.job);
        self.idle.push(executor);
        self.settle();
        self.look(ctx);
    }
}

impl Handler<StopClaiming> for Poller {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopClaiming, ctx: &mut Context<Self>) -> Self::Result {
        ctx.run_later(self.config.stop_within, |poller, _| {
            for job in poller.running.keys() {
                poller.abort(*job, Reason::GivenBack);
            }
        });
        let (settled, wait) = oneshot::channel();
        self.stopping = Stopping::Wanted(settled);
        self.settle();
        // An error means that the poller is gone, and with it all that ran.
        Box::pin(async move { wait.await.unwrap_or(()) })
    }
}
