//! The poller: claims jobs for all executors of this process.
//!
//! One claim serves every executor that is free or soon will be. It looks when it is woken, when executors run low, after a
//! claim that left some at once, when a job's time comes, and otherwise now and then, since a wake-up may be lost; the longer
//! nothing comes, the more seldom, so that an idle worker asks about twice a minute. Of workers that are woken together, those
//! that came too late before wait a little the next time. Refuses to run jobs itself, and to renew leases: no job can hold
//! that up.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError},
    time::timeout,
};

use super::{
    Tools, WorkerConfig, attempt,
    buffer::{Buffer, Held},
    completer::Completer,
    executor::{Abort, Executor, Reason, Shared, Which},
    heartbeat::Pulse,
    lease::{Lease, Leases, Moment},
    metrics,
    rescuer::{Rescue, Rescuer},
    rest::{Herd, Rest},
};
use crate::{
    id::JobId,
    job::Fence,
    store::{Batch, Store, StoreError, Then},
    wake::Wakeup,
};

/// The most that one claim asks for.
const CLAIM: usize = 500;
/// How long after a claim that left or found nothing it asks what comes next. A wake-up within that time doesn't have to wait for it.
const AFTER_ALL: Duration = Duration::from_millis(10);
/// How often the worker's thread shows that it isn't stuck, and looks whether what it has claimed is.
const PULSE: Duration = Duration::from_millis(500);
/// How long what was given back may take to be written.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// Executors want more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wanted;

/// Somebody asked to stop these while no wake-up came through.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopAsked(pub Vec<Fence>);

/// Whatever was held under this lease is no longer this worker's.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LeaseLost(pub Arc<Lease>);

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
    leases: Leases,
    pulse: Pulse,
    buffer: Rc<Buffer>,
    completer: Rc<Completer>,
    executors: Vec<Addr<Executor>>,
    rescuer: Addr<Rescuer>,
    /// Taken while a look is under way.
    looking: Arc<Semaphore>,
    /// Another look is wanted after it.
    look_again: bool,
    /// Something may be there that no look has been for: executors that want more are worth one.
    may_be_more: bool,
    is_stopping: bool,
    rest: Rest,
    herd: Herd,
    next_look: Option<SpawnHandle>,
}

/// One look, no longer than a lease lasts: what would come later would be void.
async fn look(store: Arc<dyn Store>, lease: Arc<Lease>, room: usize, only_asks: bool) -> Result<Found, StoreError> {
    let look = async {
        if only_asks {
            let due = store.next_look(lease.worker).await?;
            if due.is_none_or(|due| !due.is_zero()) {
                return Ok(Found::Nothing(due));
            }
        }
        let batch = store.claim(lease.worker, room, lease.lasts).await?;
        metrics::CLAIMS.inc();
        if !batch.jobs.is_empty() || batch.more || batch.lost {
            return Ok(Found::Jobs(batch));
        }
        metrics::EMPTY_CLAIMS.inc();
        if only_asks { store.next_look(lease.worker).await.map(Found::Nothing) } else { Ok(Found::Gone) }
    };
    timeout(lease.lasts, look).await.unwrap_or_else(|_| Err(StoreError::Unavailable("it doesn't answer in time".into())))
}

/// What a look has found.
enum Found {
    Jobs(Batch),
    /// Nothing is there any longer, or yet.
    Gone,
    /// Nothing; there may be something after so long.
    Nothing(Option<Duration>),
}

impl Poller {
    /// A poller with as many executors as the settings say; to be called in its own context.
    #[must_use]
    pub fn new(tools: Tools, config: WorkerConfig, leases: Leases, pulse: Pulse, me: &Addr<Self>) -> Self {
        let asked = me.clone();
        let buffer = Buffer::new(move || asked.do_send(Wanted));
        let completer = Completer::start(tools.clone());
        let shared = Rc::new(Shared { tools: tools.clone(), buffer: buffer.clone(), completer: completer.clone(), limit: config.job_limit });
        let executors = (0..config.slots).map(|_| Executor::new(shared.clone()).start()).collect();
        let rescuer = Rescuer::new(tools.clone(), leases.clone(), completer.clone()).start();
        Self {
            tools,
            config,
            leases,
            pulse,
            buffer,
            completer,
            executors,
            rescuer,
            looking: Arc::new(Semaphore::new(1)),
            look_again: false,
            may_be_more: true,
            is_stopping: false,
            rest: Rest::new(config.rest_at_most),
            herd: Herd::default(),
            next_look: None,
        }
    }

    /// Looks for jobs, at once; `only_asks` where nobody said that there are any.
    fn look(&mut self, only_asks: bool, ctx: &mut Context<Self>) {
        let room = self.buffer.room().min(CLAIM);
        if self.is_stopping || room == 0 {
            self.may_be_more = true;
            return;
        }
        let Ok(turn) = self.looking.clone().try_acquire_owned() else {
            self.look_again = true;
            return;
        };
        self.may_be_more = false;
        let (store, lease, sent) = (self.tools.store.clone(), self.leases.current(), Moment::now());
        let look = look(store, lease.clone(), room, only_asks);
        ctx.spawn(look.into_actor(self).map(move |found, poller, ctx| {
            drop(turn);
            poller.take(found, &lease, sent, ctx);
        }));
    }

    fn take(&mut self, found: Result<Found, StoreError>, lease: &Arc<Lease>, sent: Moment, ctx: &mut Context<Self>) {
        let again = std::mem::take(&mut self.look_again);
        match found {
            Ok(Found::Jobs(batch)) => {
                self.rest.end();
                self.herd.came_in_time();
                let more = batch.more || batch.lost || again;
                self.may_be_more = more;
                self.hand_out(batch, lease, sent);
                self.look_in(if more { Duration::ZERO } else { AFTER_ALL }, !more, ctx);
            }
            Ok(Found::Gone) => {
                if !again {
                    self.herd.came_too_late();
                }
                self.look_in(if again { Duration::ZERO } else { AFTER_ALL }, !again, ctx);
            }
            Ok(Found::Nothing(due)) => {
                if due == Some(Duration::ZERO) {
                    self.rescuer.do_send(Rescue);
                }
                // A wake-up came meanwhile, and its look is planned: no rest may take its place.
                if !again && self.herd.is_woken() && self.next_look.is_some() {
                    return;
                }
                let pause = if again { Duration::ZERO } else { self.rest.next(due, rand::random()) };
                self.look_in(pause, !again, ctx);
            }
            Err(error) => {
                log::error!("no jobs can be claimed: {error}");
                // The answer may be lost and the claim be made: what it has claimed must not live on with this lease.
                self.leases.succeed(lease);
                let pause = self.rest.after_fault(rand::random());
                self.look_in(pause, false, ctx);
            }
        }
    }

    fn hand_out(&mut self, batch: Batch, lease: &Arc<Lease>, sent: Moment) {
        if batch.lost && self.leases.give_up(lease) {
            return self.give_up(lease);
        }
        if batch.jobs.is_empty() {
            return;
        }
        if batch.renewed {
            lease.renewed(sent);
        }
        lease.hold(batch.jobs.len());
        if self.is_stopping || !lease.holds() {
            // Where giving it back comes too late as well, it is rescued.
            return self.give_back(batch.jobs.into_iter().map(|job| Held { job, lease: lease.clone() }).collect());
        }
        self.buffer.put(batch.jobs, lease);
    }

    fn give_back(&self, jobs: Vec<Held>) {
        for Held { job, lease } in jobs {
            self.completer.put(job.fence, metrics::of(&job), Then::GiveBack, lease);
        }
    }

    fn give_up(&self, lease: &Arc<Lease>) {
        let (lost, kept): (Vec<_>, Vec<_>) = self.buffer.drain().into_iter().partition(|held| held.lease.worker == lease.worker);
        lease.release(lost.len());
        for Held { job, lease } in kept {
            self.buffer.put(vec![job], &lease);
        }
        self.tell_all(Abort(Which::AllOf(lease.worker), Reason::LeaseLost));
    }

    fn tell_all(&self, abort: Abort) {
        for executor in &self.executors {
            executor.do_send(abort);
        }
    }

    /// Stops a job, wherever in this process it is.
    fn stop_job(&self, job: JobId) {
        let Some(Held { job, lease }) = self.buffer.take_out(job) else {
            return self.tell_all(Abort(Which::One(job), Reason::Asked));
        };
        let (tools, completer) = (self.tools.clone(), self.completer.clone());
        actix_rt::spawn(async move {
            let then = attempt::cancel(&tools, &job).await;
            completer.put(job.fence, metrics::of(&job), then, lease);
        });
    }

    fn look_in(&mut self, pause: Duration, only_asks: bool, ctx: &mut Context<Self>) {
        if let Some(planned) = self.next_look.take() {
            ctx.cancel_future(planned);
        }
        if pause.is_zero() {
            self.look(only_asks, ctx);
        } else {
            self.next_look = Some(ctx.run_later(pause, move |poller, ctx| {
                poller.next_look = None;
                poller.look(only_asks, ctx);
            }));
        }
    }
}

impl Actor for Poller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
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
        ctx.run_interval(PULSE, |poller, _| {
            poller.pulse.beat();
            poller.give_back(poller.buffer.stuck());
        });
        ctx.run_interval(self.config.lease / 2, |poller, _| {
            // An idle worker learns from its looks that somebody has died.
            if poller.leases.all().iter().any(|lease| lease.held() > 0) {
                poller.rescuer.do_send(Rescue);
            }
        });
        self.look(false, ctx);
    }
}

impl Handler<Wanted> for Poller {
    type Result = ();

    fn handle(&mut self, _: Wanted, ctx: &mut Context<Self>) {
        if self.may_be_more {
            self.look(false, ctx);
        }
    }
}

impl Handler<Woken> for Poller {
    type Result = ();

    fn handle(&mut self, Woken(wakeup): Woken, ctx: &mut Context<Self>) {
        match wakeup {
            // Its look is planned already.
            Wakeup::Jobs if self.herd.is_woken() && self.next_look.is_some() => {}
            Wakeup::Jobs => {
                let pause = self.herd.woken(rand::random());
                self.look_in(pause, false, ctx);
            }
            Wakeup::Stop(job) => self.stop_job(job),
        }
    }
}

impl Handler<StopAsked> for Poller {
    type Result = ();

    fn handle(&mut self, StopAsked(fences): StopAsked, _: &mut Context<Self>) {
        for fence in fences {
            self.stop_job(fence.job);
        }
    }
}

impl Handler<LeaseLost> for Poller {
    type Result = ();

    fn handle(&mut self, LeaseLost(lease): LeaseLost, ctx: &mut Context<Self>) {
        self.give_up(&lease);
        self.look(false, ctx);
    }
}

impl Handler<StopClaiming> for Poller {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopClaiming, _: &mut Context<Self>) -> Self::Result {
        self.is_stopping = true;
        self.give_back(self.buffer.drain());
        let (leases, executors, soft) = (self.leases.clone(), self.executors.clone(), self.config.stop_within);
        let (store, looking) = (self.tools.store.clone(), self.looking.clone());
        Box::pin(async move {
            // What a claim that is under way brings is given back as well.
            let _ = timeout(soft, looking.acquire()).await;
            if timeout(soft, leases.settled()).await.is_err() {
                for lease in leases.all() {
                    for executor in &executors {
                        executor.do_send(Abort(Which::AllOf(lease.worker), Reason::GivenBack));
                    }
                }
                if timeout(GIVING_BACK, leases.settled()).await.is_err() {
                    log::error!("some jobs could not be given back; they are rescued when the worker's lease is over");
                }
            }
            for lease in leases.all() {
                if let Err(error) = store.retire(lease.worker).await {
                    log::warn!("the worker can't be taken off the list: {error}");
                }
            }
        })
    }
}
