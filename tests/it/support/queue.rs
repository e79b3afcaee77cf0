//! The queue without the service before it: a store of each engine, and what is done with it by hand.

use std::{path::Path, sync::Arc, time::Duration};

use diesel::RunQueryDsl as _;
use persona_community::{
    id::{JobId, UserId, WorkerId},
    job::{Claimed, Fence, NewJob, State, Work},
    log::{Limits, MemoryLog},
    media::MediaStore,
    outbox::Outbox,
    providers::Provider,
    store::{Conclusion, Ending, Isolation, JobRecord, PostgresConfig, PostgresStore, SqliteStore, Store, Then},
    usage::DailyLimits,
    wake::Wakeups,
    worker::{Tools, jobs::housekeeping::Retention, place::Limited},
};
use tempfile::TempDir;

use super::{
    DEADLINE,
    postgres::{self, Database, at_once},
    sqlite,
};

/// What a store may stand on.
#[derive(Debug, Clone, Copy)]
pub enum Engine {
    Sqlite,
    /// READ COMMITTED, as PostgreSQL is used.
    Postgres,
    /// SERIALIZABLE, as CockroachDB is.
    Serializable,
}

/// Makes each of these functions, which take an [`Engine`], a test of every engine.
macro_rules! on_every_engine {
    ($($name:ident),+ $(,)?) => {
        on_every_engine!(sqlite: Sqlite, $($name),+);
        on_every_engine!(postgres: Postgres, $($name),+);
        on_every_engine!(serializable: Serializable, $($name),+);
    };
    ($module:ident: $engine:ident, $($name:ident),+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name($crate::support::queue::Engine::$engine).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_engine;

/// Longer than any test.
pub const LEASE: Duration = Duration::from_mins(10);
/// A time that does not come during a test.
pub const LATER: Duration = Duration::from_hours(1);

/// A store with nothing in it.
pub struct Queue {
    pub store: Arc<dyn Store>,
    /// Where it lies, for as long as it is used.
    place: Place,
}

enum Place {
    Folder(TempDir),
    Database(Database),
}

impl Queue {
    pub fn open(engine: Engine) -> Self {
        let isolation = match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let store = Arc::new(SqliteStore::open(&folder.path().join("persona.sqlite")).unwrap());
                return Self { store, place: Place::Folder(folder) };
            }
            Engine::Postgres => Isolation::ReadCommitted,
            Engine::Serializable => Isolation::Serializable,
        };
        let database = Database::new();
        let config = PostgresConfig { isolation, ..postgres::config(&database.url) };
        let store = at_once(async { PostgresStore::open(&config).await.unwrap() });
        Self { store: Arc::new(store), place: Place::Database(database) }
    }

    /// Runs a statement past the store.
    pub async fn sql(&self, statement: &str) {
        match &self.place {
            Place::Folder(folder) => {
                let mut connection = sqlite::open(&folder.path().join("persona.sqlite"));
                diesel::sql_query(statement).execute(&mut connection).unwrap();
            }
            Place::Database(database) => database.client().await.batch_execute(statement).await.unwrap(),
        }
    }

    /// Enqueues a job that does nothing.
    pub async fn add(&self, user: &str) -> JobId {
        self.enqueue(noop(user)).await
    }

    /// Enqueues a job that must be new.
    pub async fn enqueue(&self, job: NewJob) -> JobId {
        let id = job.id;
        assert_eq!(self.store.enqueue(vec![job]).await.unwrap(), [true]);
        id
    }

    /// Claims up to `room` jobs, however many claims that takes.
    pub async fn claim(&self, worker: WorkerId, room: usize) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        loop {
            let batch = self.store.claim(worker, room - claimed.len(), LEASE).await.unwrap();
            assert!(!batch.lost, "the worker's lease was over");
            let is_all = batch.jobs.is_empty() && !batch.more;
            claimed.extend(batch.jobs);
            if is_all || claimed.len() == room {
                return claimed;
            }
        }
    }

    /// Claims one job, which must be there.
    pub async fn claim_one(&self, worker: WorkerId) -> Claimed {
        self.claim(worker, 1).await.pop().expect("a job is available")
    }

    /// Concludes one job, and says whether that was taken.
    pub async fn conclude(&self, worker: WorkerId, fence: Fence, then: Then) -> bool {
        self.store.conclude(worker, vec![Conclusion::new(fence, then)]).await.unwrap()[0]
    }

    /// Everything about a job.
    pub async fn show(&self, id: JobId) -> JobRecord {
        self.store.show_job(id).await.unwrap().expect("a job is not forgotten")
    }

    pub async fn state(&self, id: JobId) -> State {
        self.show(id).await.job.state
    }
}

/// A job that does nothing.
pub fn noop(user: &str) -> NewJob {
    NewJob::new(id(user), Work::Noop {})
}

pub fn id(user: &str) -> UserId {
    user.parse().unwrap()
}

/// An end in this state, of which nobody is told.
pub fn end(state: State) -> Then {
    let error = (state == State::Discarded).then(|| "it can't succeed".to_owned());
    Then::End(Box::new(Ending { state, result: None, error, message: None, outgoing: None }))
}

pub fn retry(pause: Duration) -> Then {
    Then::Retry { pause, error: "it failed".into(), crash: false }
}

/// Whose jobs these are.
pub fn users(jobs: &[Claimed]) -> Vec<&str> {
    jobs.iter().map(|job| job.user.as_str()).collect()
}

pub fn ids(jobs: &[Claimed]) -> Vec<JobId> {
    jobs.iter().map(|job| job.fence.job).collect()
}

/// What a worker needs that stands on this store and keeps its files in this folder, and nothing beyond: no prices, no limits,
/// nothing that is thrown away with time.
pub fn tools(store: &Arc<dyn Store>, provider: Arc<dyn Provider>, folder: &Path) -> Tools {
    let log = Arc::new(MemoryLog::new(Limits { events: 100, bytes: 1 << 20, retention: DEADLINE }, Arc::new(|_| {})));
    Tools {
        store: store.clone(),
        log: log.clone(),
        outbox: Outbox::start(store.clone(), log),
        provider,
        media: MediaStore::open(folder.join("media")).unwrap(),
        wakeups: Wakeups::default(),
        context_tokens: 1000,
        retention: Retention { jobs: None, dead_letters: None, messages: None, media: None },
        prices: Arc::default(),
        daily_limits: DailyLimits::default(),
        limited: Limited::default(),
    }
}
