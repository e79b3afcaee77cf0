//! Random operations on the queue, beside a model of it that is as simple as can be: both must say the same at every step.

use std::{collections::BTreeMap, time::Duration};

use persona_community::{
    id::{JobId, WorkerId},
    job::{Chore, Claimed, Fence, Kind, NewJob, State, Work},
    store::{Scope, Stopping, Then},
};
use proptest::{prelude::*, sample::Index, test_runner::TestRunner};

use crate::support::queue::{Engine, LATER, LEASE, Queue, end, id, retry};

/// What may be done; an index picks one of the jobs or workers that there are.
#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        user: u8,
        chore: bool,
        key: Option<u8>,
        later: bool,
    },
    Claim {
        worker: Index,
        room: usize,
    },
    Conclude {
        job: Index,
        then: Outcome,
    },
    /// As somebody who has lost the job would.
    ConcludeLate {
        job: Index,
        then: Outcome,
    },
    Die {
        worker: Index,
    },
    Rescue {
        worker: Index,
        most: usize,
    },
    Stop {
        job: Index,
    },
    Retry {
        job: Index,
    },
    Pause {
        chores: bool,
        paused: bool,
    },
    Limit {
        of_user: bool,
        most: Option<u32>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Complete,
    Discard,
    Cancel,
    Retry { due: bool },
    Snooze { due: bool },
    GiveBack,
}

impl Outcome {
    fn then(self) -> Then {
        let pause = |due: bool| if due { Duration::ZERO } else { LATER };
        match self {
            Self::Complete => end(State::Completed),
            Self::Discard => end(State::Discarded),
            Self::Cancel => end(State::Cancelled),
            Self::Retry { due } => retry(pause(due)),
            Self::Snooze { due } => Then::Snooze { pause: pause(due) },
            Self::GiveBack => Then::GiveBack,
        }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Complete),
        Just(Outcome::Discard),
        Just(Outcome::Cancel),
        any::<bool>().prop_map(|due| Outcome::Retry { due }),
        any::<bool>().prop_map(|due| Outcome::Snooze { due }),
        Just(Outcome::GiveBack),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = proptest::option::weighted(0.3, 0..2u8);
    prop_oneof![
        6 => (0..3u8, prop::bool::weighted(0.2), key, prop::bool::weighted(0.2))
            .prop_map(|(user, chore, key, later)| Step::Enqueue { user, chore, key, later }),
        5 => (any::<Index>(), 1..6usize).prop_map(|(worker, room)| Step::Claim { worker, room }),
        6 => (any::<Index>(), outcome()).prop_map(|(job, then)| Step::Conclude { job, then }),
        2 => (any::<Index>(), outcome()).prop_map(|(job, then)| Step::ConcludeLate { job, then }),
        1 => any::<Index>().prop_map(|worker| Step::Die { worker }),
        2 => (any::<Index>(), 1..4usize).prop_map(|(worker, most)| Step::Rescue { worker, most }),
        1 => any::<Index>().prop_map(|job| Step::Stop { job }),
        1 => any::<Index>().prop_map(|job| Step::Retry { job }),
        1 => any::<(bool, bool)>().prop_map(|(chores, paused)| Step::Pause { chores, paused }),
        1 => (any::<bool>(), proptest::option::of(0..4u32)).prop_map(|(of_user, most)| Step::Limit { of_user, most }),
    ]
}

/// A job, as it should be.
#[derive(Debug, Clone)]
struct Job {
    user: u8,
    chore: bool,
    key: Option<u8>,
    state: State,
    /// Waits for a time that has come.
    is_due: bool,
    fence: u32,
    tries: u32,
    /// Since it was last forgiven.
    failures: u32,
    /// Ever.
    history: usize,
    worker: Option<WorkerId>,
    cancel_asked: bool,
}

#[derive(Default)]
struct Model {
    jobs: BTreeMap<JobId, Job>,
    /// The three workers that there are now; one that dies is followed by another.
    workers: Vec<WorkerId>,
    dead: Vec<WorkerId>,
    paused: [bool; 2],
    of_kind: Option<u32>,
    of_user: Option<u32>,
}

impl Model {
    fn new() -> Self {
        Self { workers: (0..3).map(|_| WorkerId::new()).collect(), ..Self::default() }
    }

    fn pick(&self, index: Index, is_meant: impl Fn(&Job) -> bool) -> Option<JobId> {
        let meant: Vec<JobId> = self.jobs.iter().filter(|(_, job)| is_meant(job)).map(|(id, _)| *id).collect();
        (!meant.is_empty()).then(|| *index.get(&meant))
    }

    fn lives(&self, key: u8) -> bool {
        self.jobs.values().any(|job| job.key == Some(key) && !job.state.is_final())
    }

    fn running(&self, is_meant: impl Fn(&Job) -> bool) -> usize {
        self.jobs.values().filter(|job| job.state == State::Running && is_meant(job)).count()
    }

    fn can_begin(job: &Job) -> bool {
        job.state == State::Available || job.is_due
    }

    /// How many a claim must bring: users' limits and the limit of one kind cut across each other, so this counts by user.
    fn claimable(&self, room: usize) -> std::ops::RangeInclusive<usize> {
        let (mut noops, mut chores) = (0, 0);
        for user in 0..3 {
            let waits = |chore: bool| {
                let waiting = self.jobs.values().filter(|job| job.user == user && job.chore == chore && Self::can_begin(job)).count();
                if self.paused[usize::from(chore)] { 0 } else { waiting }
            };
            let left = self.of_user.map_or(usize::MAX, |most| (most as usize).saturating_sub(self.running(|job| job.user == user)));
            noops += waits(false).min(left);
            chores += waits(true).min(left);
        }
        let of_kind = self.of_kind.map_or(usize::MAX, |most| (most as usize).saturating_sub(self.running(|job| !job.chore)));
        // What a user may run is spent on either kind.
        let most = (noops.min(of_kind) + chores).min(room);
        let least = if self.of_user.is_some() { noops.min(of_kind).max(chores).min(room) } else { most };
        least..=most
    }

    fn claim(&mut self, worker: WorkerId, claimed: &[Claimed]) {
        for given in claimed {
            let job = self.jobs.get_mut(&given.fence.job).expect("only what was enqueued is claimed");
            assert!(Self::can_begin(job) && !self.paused[usize::from(job.chore)], "{job:?}");
            (job.state, job.is_due, job.worker) = (State::Running, false, Some(worker));
            (job.fence, job.tries) = (job.fence + 1, job.tries + 1);
            assert_eq!((given.fence.attempt, given.failures, given.cancel_asked), (job.fence, job.failures, job.cancel_asked));
        }
        for user in 0..3 {
            let begun = claimed.iter().any(|given| self.jobs[&given.fence.job].user == user);
            assert!(!begun || self.of_user.is_none_or(|most| self.running(|job| job.user == user) <= most as usize), "the limit of a user");
        }
        let begun = claimed.iter().any(|given| !self.jobs[&given.fence.job].chore);
        assert!(!begun || self.of_kind.is_none_or(|most| self.running(|job| !job.chore) <= most as usize), "the limit of a kind");
    }

    fn conclude(&mut self, id: JobId, outcome: Outcome) {
        let job = self.jobs.get_mut(&id).unwrap();
        job.worker = None;
        (job.state, job.is_due) = match outcome {
            Outcome::Complete => (State::Completed, false),
            Outcome::Discard => (State::Discarded, false),
            Outcome::Cancel => (State::Cancelled, false),
            Outcome::Retry { due } => (State::Retryable, due),
            Outcome::Snooze { due } => (State::Scheduled, due),
            Outcome::GiveBack => (State::Available, false),
        };
        match outcome {
            Outcome::Retry { .. } => (job.failures, job.history) = (job.failures + 1, job.history + 1),
            Outcome::Discard => job.history += 1,
            Outcome::Snooze { .. } | Outcome::GiveBack => job.tries = job.tries.saturating_sub(1),
            Outcome::Complete | Outcome::Cancel => {}
        }
    }
}

async fn take(queue: &Queue, model: &mut Model, step: &Step) {
    match step {
        Step::Enqueue { user, chore, key, later } => {
            let work = if *chore { Work::Housekeeping { chore: Chore::ForgetKeys } } else { Work::Noop {} };
            let run_at = later.then(|| persona_community::timestamp::Timestamp::now().after(LATER));
            let unique_key = key.map(|key| key.to_string());
            let new = NewJob { run_at, unique_key, ..NewJob::new(id(&format!("user-{user}")), work) };
            let job_id = new.id;
            let is_new = queue.store.enqueue(vec![new]).await.unwrap()[0];
            assert_eq!(is_new, key.is_none_or(|key| !model.lives(key)));
            if is_new {
                let state = if *later { State::Scheduled } else { State::Available };
                let (user, chore, key) = (*user, *chore, *key);
                let (fence, tries, failures, history) = (0, 0, 0, 0);
                let job = Job { user, chore, key, state, is_due: false, fence, tries, failures, history, worker: None, cancel_asked: false };
                model.jobs.insert(job_id, job);
            }
        }
        Step::Claim { worker, room } => {
            let worker = *worker.get(&model.workers);
            let wanted = model.claimable(*room);
            let claimed = queue.claim(worker, *room).await;
            assert!(wanted.contains(&claimed.len()), "{} jobs instead of {wanted:?}", claimed.len());
            model.claim(worker, &claimed);
        }
        Step::Conclude { job, then } => {
            let Some(job) = model.pick(*job, |job| job.worker.is_some_and(|worker| model.workers.contains(&worker))) else { return };
            let (worker, attempt) = (model.jobs[&job].worker.unwrap(), model.jobs[&job].fence);
            assert!(queue.conclude(worker, Fence { job, attempt }, then.then()).await);
            model.conclude(job, *then);
        }
        Step::ConcludeLate { job, then } => {
            let Some(job) = model.pick(*job, |job| job.fence > 0) else { return };
            let Job { fence, worker, .. } = model.jobs[&job];
            // An old fence of its own worker, and the newest one of somebody else or of the dead.
            for (worker, attempt) in [(worker.unwrap_or(model.workers[0]), fence - 1), (WorkerId::new(), fence)] {
                assert!(!queue.conclude(worker, Fence { job, attempt }, then.then()).await);
            }
            if let Some(worker) = worker.filter(|worker| model.dead.contains(worker)) {
                assert!(!queue.conclude(worker, Fence { job, attempt: fence }, then.then()).await);
            }
        }
        Step::Die { worker } => {
            let place = worker.index(model.workers.len());
            let dead = std::mem::replace(&mut model.workers[place], WorkerId::new());
            queue.store.retire(dead).await.unwrap();
            model.dead.push(dead);
        }
        Step::Rescue { worker, most } => {
            let worker = *worker.get(&model.workers);
            let is_left = |job: &Job| job.worker.is_some_and(|worker| model.dead.contains(&worker));
            let wanted = model.running(is_left).min(*most);
            let taken = queue.store.abandoned(worker, *most, LEASE).await.unwrap();
            assert_eq!(taken.len(), wanted);
            for given in taken {
                let job = model.jobs.get_mut(&given.fence.job).unwrap();
                assert!(job.worker.is_some_and(|worker| model.dead.contains(&worker)), "{job:?}");
                (job.worker, job.fence) = (Some(worker), job.fence + 1);
                assert_eq!((given.fence.attempt, given.failures), (job.fence, job.failures));
            }
        }
        Step::Stop { job } => stop_job(queue, model, *job).await,
        Step::Retry { job } => retry_job(queue, model, *job).await,
        Step::Pause { chores, paused } => {
            let kind = if *chores { Kind::Housekeeping } else { Kind::Noop };
            queue.store.pause_kind(kind, *paused).await.unwrap();
            model.paused[usize::from(*chores)] = *paused;
        }
        Step::Limit { of_user, most } => {
            let scope = if *of_user { Scope::User } else { Scope::Kind(Kind::Noop) };
            queue.store.set_limit(scope, *most).await.unwrap();
            *(if *of_user { &mut model.of_user } else { &mut model.of_kind }) = *most;
        }
    }
}

async fn stop_job(queue: &Queue, model: &mut Model, job: Index) {
    let Some(id) = model.pick(job, |_| true) else { return };
    let stopping = queue.store.stop_any_job(id, LEASE).await.unwrap();
    let job = model.jobs.get_mut(&id).unwrap();
    match (job.state, stopping) {
        (State::Running, Stopping::Running) => job.cancel_asked = true,
        (state, Stopping::Finished) if state.is_final() => {}
        (State::Available | State::Scheduled | State::Retryable, Stopping::Held { worker, job: held }) => {
            (job.state, job.is_due, job.cancel_asked, job.fence) = (State::Running, false, true, job.fence + 1);
            assert_eq!(held.fence, Fence { job: id, attempt: job.fence });
            assert!(queue.conclude(worker, held.fence, end(State::Cancelled)).await);
            model.conclude(id, Outcome::Cancel);
        }
        (state, stopping) => panic!("a job that is {state} became {stopping:?}"),
    }
}

async fn retry_job(queue: &Queue, model: &mut Model, job: Index) {
    let Some(id) = model.pick(job, |_| true) else { return };
    let Job { state, key, .. } = model.jobs[&id];
    let is_ended = matches!(state, State::Cancelled | State::Discarded);
    let may = match state {
        State::Running | State::Completed => false,
        _ => !is_ended || key.is_none_or(|key| !model.lives(key)),
    };
    assert_eq!(queue.store.retry_job(id).await.unwrap(), may);
    if may {
        let job = model.jobs.get_mut(&id).unwrap();
        (job.state, job.is_due) = (State::Available, false);
        if is_ended {
            job.cancel_asked = false;
        }
        if state != State::Available {
            job.failures = 0;
        }
    }
}

async fn compare(queue: &Queue, model: &Model) {
    for (id, job) in &model.jobs {
        let shown = queue.show(*id).await;
        // One whose time has come may be available already, whether or not it was claimed since; forgiven are its failures then.
        assert!(shown.job.state == job.state || (job.is_due && shown.job.state == State::Available), "{shown:?} {job:?}");
        assert_eq!(
            (shown.job.attempt, shown.failures.len(), shown.cancel_asked),
            (job.tries, job.history, job.cancel_asked && !job.state.is_final())
        );
        assert_eq!(shown.worker, job.worker);
    }
}

fn agrees_with_its_model(engine: Engine, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() });
    let steps = prop::collection::vec(step(), 1..60);
    let run = |steps: Vec<Step>| {
        let (queue, mut model) = (Queue::open(engine), Model::new());
        runtime.block_on(async {
            for step in &steps {
                take(&queue, &mut model, step).await;
            }
            compare(&queue, &model).await;
            queue.store.close().await;
        });
        Ok(())
    };
    runner.run(&steps, run).unwrap();
}

#[test]
fn the_queue_of_sqlite_agrees_with_its_model() {
    agrees_with_its_model(Engine::Sqlite, 48);
}

#[test]
fn the_queue_of_postgresql_agrees_with_its_model() {
    agrees_with_its_model(Engine::Postgres, 24);
}

#[test]
fn the_queue_of_postgresql_agrees_with_its_model_where_transactions_are_serializable() {
    agrees_with_its_model(Engine::Serializable, 12);
}
