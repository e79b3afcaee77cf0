//! Whole workers on one store: what they do when jobs, handlers and other workers go wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use diesel::RunQueryDsl as _;
use futures_util::{StreamExt as _, future::join_all, stream};
use persona_community::{
    event::FinishReason,
    id::{JobId, StreamId, WorkerId},
    job::{NewJob, State, Work},
    providers::{ImageRequest, ImageStep, Provider, Steps, TextRequest, TextStep},
    store::{AdminFilter, Conclusion, PostgresStore, QueueStore as _, Scope, SqliteStore, Stopping, Store, Then},
    wake::Wakeup,
    worker::{Tools, Worker, WorkerConfig},
};
use tempfile::TempDir;

use crate::support::{
    DEADLINE, eventually,
    postgres::Database,
    queue::{end, id, noop, tools},
    sqlite,
};

const LEASE: Duration = Duration::from_secs(1);

/// A provider that does what its prompt says.
#[derive(Default)]
struct Obedient {
    /// How often it was asked.
    asked: AtomicUsize,
}

impl Provider for Obedient {
    fn name(&self) -> &'static str {
        "obedient"
    }

    fn text(self: Arc<Self>, request: TextRequest) -> Steps<TextStep> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let done = || Ok(TextStep::Done { model: "none".into(), finish_reason: FinishReason::Stop, usage: None });
        match request.turns[0].1.as_str() {
            "panic" => panic!("as it was told"),
            "hang" => {
                stream::once(async { Ok(TextStep::Begin { provider: "obedient", model: "none".into() }) }).chain(stream::pending()).boxed_local()
            }
            "block" => stream::once(async move {
                #[expect(clippy::disallowed_methods, reason = "nothing else of this worker's thread can run meanwhile, and that is meant")]
                std::thread::sleep(3 * LEASE);
                done()
            })
            .boxed_local(),
            _ => stream::once(async move { done() }).boxed_local(),
        }
    }

    fn image(self: Arc<Self>, _: ImageRequest) -> Steps<ImageStep> {
        stream::pending().boxed_local()
    }
}

/// Workers on one store, which is this process's alone.
struct Fleet {
    store: Arc<dyn Store>,
    provider: Arc<Obedient>,
    tools: Tools,
    folder: TempDir,
}

impl Fleet {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("persona.sqlite")).unwrap());
        let provider = Arc::new(Obedient::default());
        let tools = tools(&store, provider.clone(), folder.path());
        Self { store, provider, tools, folder }
    }

    fn worker(&self) -> Worker {
        self.worker_that(Duration::from_millis(200), DEADLINE)
    }

    /// A worker that waits so long for what runs when it stops, and lets an attempt take so long.
    fn worker_that(&self, stop_within: Duration, job_limit: Duration) -> Worker {
        let config = WorkerConfig { slots: 4, lease: LEASE, job_limit, rest_at_most: Duration::from_secs(1), stop_within };
        Worker::start(self.tools.clone(), config).unwrap()
    }

    /// Enqueues a text, of which no worker is told.
    async fn ask(&self, user: &str, what: &str) -> JobId {
        let work = Work::GenerateText { prompt: what.into(), model: None, max_tokens: None, stream_id: StreamId::new() };
        let job = NewJob::new(id(user), work);
        let id = job.id;
        assert_eq!(self.store.enqueue(vec![job]).await.unwrap(), [true]);
        id
    }

    async fn job_in(&self, job: JobId, state: State) {
        eventually(&format!("job {job} is {state}"), async || (self.store.show_job(job).await.unwrap()?.job.state == state).then_some(())).await;
    }

    /// Writes to the database what no method of the store would.
    fn sql(&self, statement: &str) {
        let mut connection = sqlite::open(&self.folder.path().join("persona.sqlite"));
        assert!(diesel::sql_query(statement).execute(&mut connection).unwrap() > 0, "{statement}");
    }
}

/// Runs a test as workers run: in an actix system.
fn in_a_system(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

#[test]
fn a_handler_that_blocks_its_thread_keeps_its_lease() {
    in_a_system(async {
        let fleet = Fleet::new();
        let (one, two) = (fleet.worker(), fleet.worker());
        let job = fleet.ask("ada", "block").await;
        fleet.job_in(job, State::Completed).await;
        let shown = fleet.store.show_job(job).await.unwrap().unwrap();
        assert_eq!((shown.job.attempt, shown.failures.len(), fleet.provider.asked.load(Ordering::SeqCst)), (1, 0, 1));
        tokio::join!(one.stop(), two.stop());
    });
}

#[test]
fn a_job_that_takes_its_worker_down_again_and_again_is_given_up_and_blocks_nobody() {
    in_a_system(async {
        let fleet = Fleet::new();
        let worker = fleet.worker();
        let poison = fleet.ask("ada", "panic").await;
        let good: Vec<JobId> = [fleet.ask("ada", "go").await, fleet.ask("ben", "go").await].into();
        for job in good {
            fleet.job_in(job, State::Completed).await;
        }
        fleet.job_in(poison, State::Discarded).await;
        let shown = fleet.store.show_job(poison).await.unwrap().unwrap();
        assert_eq!(shown.failures.iter().filter(|failure| failure.crash).count(), 2, "and the third is its end: {shown:?}");
        assert_eq!((shown.failures.len(), shown.job.attempt), (3, 3));
        worker.stop().await;
    });
}

#[test]
fn what_this_program_cannot_read_is_kept_for_a_while_then_given_up_and_blocks_nobody() {
    in_a_system(async {
        let fleet = Fleet::new();
        let (unknown, bad) = (fleet.ask("ada", "go").await, fleet.ask("ada", "go").await);
        let named = |job: JobId| format!("lower(hex(id)) = '{}'", job.to_string().replace('-', ""));
        fleet.sql(&format!(r#"update job set kind = 'of_tomorrow', work = '{{"kind":"of_tomorrow"}}' where {}"#, named(unknown)));
        fleet.sql(&format!("update job set work = 'no json' where {}", named(bad)));
        let worker = fleet.worker();
        let good = fleet.ask("ada", "go").await;
        fleet.job_in(good, State::Completed).await;
        fleet.job_in(bad, State::Retryable).await;
        eventually("the unknown one waits as well", async || {
            let stats = fleet.store.queue_stats().await.unwrap();
            stats.iter().any(|stats| stats.kind == "of_tomorrow" && stats.retryable == 1).then_some(())
        })
        .await;
        // Lists leave out what they can't name, and show the rest.
        let filter = AdminFilter { user: Some(id("ada")), limit: 10, ..AdminFilter::default() };
        let listed = fleet.store.list_jobs(filter).await.unwrap();
        assert_eq!(listed.iter().map(|record| record.job.job_id).collect::<Vec<_>>(), [bad]);
        // After the last of its failures it ends.
        fleet.sql("update job set failures = 4, run_at = 0 where state = 2");
        fleet.tools.wakeups.send(Wakeup::Jobs);
        fleet.job_in(bad, State::Discarded).await;
        eventually("nothing waits", async || (fleet.store.depth().await.unwrap().waiting == 0).then_some(())).await;
        worker.stop().await;
    });
}

#[test]
fn a_stop_gives_back_what_runs_and_no_attempt_is_counted() {
    in_a_system(async {
        let fleet = Fleet::new();
        let worker = fleet.worker();
        let mut jobs = Vec::new();
        for _ in 0..12 {
            jobs.push(fleet.ask("ada", "hang").await);
        }
        fleet.tools.wakeups.send(Wakeup::Jobs);
        eventually("four run", async || (fleet.provider.asked.load(Ordering::SeqCst) == 4).then_some(())).await;
        worker.stop().await;
        let depth = fleet.store.depth().await.unwrap();
        assert_eq!(depth.running, 0);
        for job in jobs {
            let shown = fleet.store.show_job(job).await.unwrap().unwrap();
            assert_eq!((shown.job.state, shown.job.attempt, shown.failures.len()), (State::Available, 0, 0));
        }
    });
}

#[test]
fn a_cancel_reaches_the_handler_by_wake_up_and_without_one_by_the_heartbeat() {
    in_a_system(async {
        let fleet = Fleet::new();
        let worker = fleet.worker();
        for is_told in [true, false] {
            let job = fleet.ask("ada", "hang").await;
            fleet.tools.wakeups.send(Wakeup::Jobs);
            fleet.job_in(job, State::Running).await;
            assert!(matches!(fleet.store.stop_job(&id("ada"), job, LEASE).await.unwrap(), Stopping::Running));
            if is_told {
                fleet.tools.wakeups.send(Wakeup::Stop(job));
            }
            fleet.job_in(job, State::Cancelled).await;
        }
        worker.stop().await;
    });
}

#[test]
fn an_attempt_that_takes_too_long_is_ended_and_tried_again() {
    in_a_system(async {
        let fleet = Fleet::new();
        let worker = fleet.worker_that(Duration::from_millis(200), Duration::from_millis(300));
        let job = fleet.ask("ada", "hang").await;
        fleet.job_in(job, State::Retryable).await;
        let shown = fleet.store.show_job(job).await.unwrap().unwrap();
        assert_eq!((shown.failures.len(), shown.failures[0].crash), (1, false));
        worker.stop().await;
    });
}

#[test]
fn no_wake_up_and_a_hundred_of_them_come_to_the_same() {
    in_a_system(async {
        let fleet = Fleet::new();
        let (one, two) = (fleet.worker(), fleet.worker());
        // They rest by now, and nobody tells them.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let quiet = fleet.ask("ada", "go").await;
        fleet.job_in(quiet, State::Completed).await;
        let loud = fleet.ask("ada", "go").await;
        for _ in 0..100 {
            fleet.tools.wakeups.send(Wakeup::Jobs);
        }
        fleet.job_in(loud, State::Completed).await;
        assert_eq!(fleet.provider.asked.load(Ordering::SeqCst), 2);
        tokio::join!(one.stop(), two.stop());
    });
}

#[test]
fn the_jobs_of_a_worker_that_died_are_rescued_and_given_up_where_it_was_the_third() {
    in_a_system(async {
        let fleet = Fleet::new();
        let (once, again) = (fleet.ask("ada", "go").await, fleet.ask("ben", "go").await);
        let dead = WorkerId::new();
        let claimed = fleet.store.claim(dead, 2, LEASE / 10).await.unwrap().jobs;
        assert_eq!(claimed.len(), 2);
        fleet.sql("update job set crashes = 2, failures = 2 where user_id = 'ben'");
        let worker = fleet.worker();
        fleet.job_in(once, State::Completed).await;
        fleet.job_in(again, State::Discarded).await;
        let shown = fleet.store.show_job(once).await.unwrap().unwrap();
        assert_eq!((shown.job.attempt, shown.failures.len(), shown.failures[0].crash), (2, 1, true));
        // Whoever was thought dead and is not comes too late.
        let late = claimed.iter().map(|job| Conclusion::new(job.fence, Then::GiveBack)).collect();
        assert_eq!(fleet.store.conclude(dead, late).await.unwrap(), [false, false]);
        worker.stop().await;
    });
}

#[test]
fn a_fleet_does_each_of_many_jobs_once_within_a_limit() {
    in_a_system(async {
        let fleet = Fleet::new();
        fleet.store.set_limit(Scope::User, Some(3)).await.unwrap();
        let jobs: Vec<NewJob> = (0..2000).map(|number| noop(&format!("user-{}", number % 7))).collect();
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        fleet.store.enqueue(jobs).await.unwrap();
        let workers = [fleet.worker(), fleet.worker(), fleet.worker()];
        for job in ids {
            fleet.job_in(job, State::Completed).await;
            let shown = fleet.store.show_job(job).await.unwrap().unwrap();
            assert_eq!((shown.job.attempt, shown.failures.len()), (1, 0));
        }
        for worker in workers {
            worker.stop().await;
        }
    });
}

/// Claims a few jobs at a time and ends them, until `left` are done by all.
async fn do_some(store: &PostgresStore, left: &AtomicUsize) {
    let worker = WorkerId::new();
    while left.load(Ordering::SeqCst) > 0 {
        let jobs = store.claim(worker, 40, LEASE * 60).await.unwrap().jobs;
        let ended: Vec<Conclusion> = jobs.iter().rev().map(|job| Conclusion::new(job.fence, end(State::Completed))).collect();
        let held = store.conclude(worker, ended).await.unwrap();
        left.fetch_sub(held.iter().filter(|held| **held).count(), Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_claim_and_end_at_once_never_wait_for_each_other_in_a_circle() {
    const JOBS: usize = 4000;
    let database = Database::new();
    let stores = join_all((0..4).map(|_| database.store())).await;
    let left = AtomicUsize::new(JOBS);
    let enqueue = async {
        for number in 0..JOBS / 8 {
            let few = (0..8).map(|user| noop(&format!("user-{}", (8 * number + user) % 100))).collect();
            stores[0].enqueue(few).await.unwrap();
        }
    };
    tokio::join!(enqueue, join_all(stores.iter().map(|store| do_some(store, &left))));
    join_all(stores.iter().map(PostgresStore::close)).await;
    let count = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(database.client().await.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 0);
}
