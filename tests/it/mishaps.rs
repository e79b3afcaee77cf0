//! Whatever befalls the way to the database, at random: nothing that was acknowledged is lost, and nothing is done twice.
//!
//! People ask, and ask again where they were not answered, while workers claim and conclude; between all of them and the database
//! statements are refused, cut off and delayed by a seed. `just soak-database` runs many seeds.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use persona_community::{
    id::{JobId, WorkerId},
    job::{Fence, NewJob, State, Work},
    store::{
        Accepted, Conclusion, Isolation, PostgresConfig, PostgresStore, QueueStore as _, Request, Store as _, StoreError, Then, UsageEntry,
        UsageFilter, UsageKeys, UsageStore as _,
    },
    usage::{Amount, Day},
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    postgres,
    support::{
        eventually,
        pgwire::{Mishap, Proxy},
        postgres::{Database, config},
        queue::{end, id, retry},
    },
};

const PEOPLE: usize = 6;
const WORKERS: u64 = 3;
/// Shorter than a run, so that what a worker has lost sight of comes back within it.
const LEASE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn at_read_committed_seed_1() {
    hold(1, Isolation::ReadCommitted, 10).await;
}

#[tokio::test]
async fn at_serializable_seed_2() {
    hold(2, Isolation::Serializable, 10).await;
}

#[tokio::test]
#[ignore = "takes minutes: just soak-database"]
#[expect(clippy::disallowed_methods, reason = "how a test is run is no setting of the product")]
async fn soak() {
    let first: u64 = std::env::var("PERSONA_SOAK_SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + 20 {
        println!("seed {seed}");
        hold(seed, if seed % 2 == 0 { Isolation::Serializable } else { Isolation::ReadCommitted }, 20).await;
    }
}

/// What may befall a statement; most are spared.
fn fate(random: &mut SmallRng) -> Option<Mishap> {
    random.random_bool(0.08).then(|| match random.random_range(0..4) {
        0 => Mishap::Restart,
        1 => Mishap::CutBefore,
        2 => Mishap::CutAfter,
        _ => Mishap::Delay(Duration::from_millis(random.random_range(1..30))),
    })
}

async fn hold(seed: u64, isolation: Isolation, each: usize) {
    let database = Database::new();
    let proxy = Proxy::start(database.address()).await;
    // Two that share a database, as a service and a worker do; and one to look with.
    let through = PostgresConfig { isolation, ..config(&proxy.url(&database.url)) };
    let service = PostgresStore::open(&through).await.unwrap();
    let fleet = Fleet { store: PostgresStore::open(&through).await.unwrap(), is_done: AtomicBool::new(false), ended: Mutex::default() };
    let (direct, first) = (database.store().await, Day::today());
    let mut random = SmallRng::seed_from_u64(seed);
    proxy.let_fate(move |_, _| fate(&mut random));

    let people = async {
        join_all((0..PEOPLE).map(|person| ask(&service, person, each))).await;
        eventually("all jobs have ended", async || {
            let depth = direct.depth().await.unwrap();
            (depth.waiting + depth.running == 0).then_some(())
        })
        .await;
        fleet.is_done.store(true, Ordering::Relaxed);
    };
    tokio::join!(people, join_all((0..WORKERS).map(|worker| fleet.work(SmallRng::seed_from_u64(seed * WORKERS + worker)))));

    assert!(proxy.mishaps() > PEOPLE * each / 2, "only {} mishaps, seed {seed}", proxy.mishaps());
    let twice: Vec<_> = fleet.ended.lock().unwrap().iter().filter(|(_, times)| **times > 1).map(|(job, _)| *job).collect();
    assert!(twice.is_empty(), "{twice:?} ended more than once, seed {seed}");
    check(&database, each, seed).await;
    let filter = UsageFilter { user: None, first, last: Day::today(), by: UsageKeys::default(), skip: 0, limit: 1 };
    let used = direct.usage(filter).await.unwrap()[0].amount.calls;
    assert_eq!(used as usize, PEOPLE * each, "usage, seed {seed}");
    for store in [&service, &fleet.store, &direct] {
        store.close().await;
    }
}

/// Looks for what everybody has asked for: a message, its event and its job, each once.
async fn check(database: &Database, each: usize, seed: u64) {
    let client = database.client().await;
    let told = client.query("select content from message order by content", &[]).await.unwrap();
    let told: Vec<String> = told.iter().map(|row| row.get(0)).collect();
    let mut wanted: Vec<String> = (0..PEOPLE).flat_map(|person| (0..each).map(move |number| content(person, number))).collect();
    wanted.sort();
    assert_eq!(told, wanted, "messages, seed {seed}");
    let counts = "select (select count(*) from outbox), (select count(*) from job), (select count(*) from job_done), (select count(distinct id) from job_done)";
    let counts = client.query_one(counts, &[]).await.unwrap();
    let counts: Vec<i64> = (0..4).map(|column| counts.get(column)).collect();
    let all = i64::try_from(wanted.len()).unwrap();
    assert_eq!(counts, [all, 0, all, all], "events, living jobs, ended jobs, each once, seed {seed}");
}

fn content(person: usize, number: usize) -> String {
    format!("{person}-{number:03}")
}

/// Asks for one thing after the other. What is not answered is asked for again, under the same key.
async fn ask(store: &PostgresStore, person: usize, each: usize) {
    let user = id(&format!("user-{person}"));
    for number in 0..each {
        let content = content(person, number);
        loop {
            let asked = postgres::request(&content, Some(&content));
            let jobs = vec![NewJob::new(user.clone(), Work::Noop {})];
            match store.accept(Request { user: user.clone(), jobs, ..asked }).await {
                Ok(Accepted::New | Accepted::Replayed(_)) => break,
                Ok(other) => panic!("{content} is answered with {other:?}"),
                Err(error) => must_be_passing(&error),
            }
        }
    }
}

fn must_be_passing(error: &StoreError) {
    assert!(error.is_retryable(), "{error}");
}

/// Workers, and how often each job was ended as far as they know.
struct Fleet {
    store: PostgresStore,
    is_done: AtomicBool,
    ended: Mutex<HashMap<JobId, usize>>,
}

impl Fleet {
    /// Is a worker, until all is done.
    async fn work(&self, mut random: SmallRng) {
        let mut worker = WorkerId::new();
        while !self.is_done.load(Ordering::Relaxed) {
            let mut jobs = Vec::new();
            match self.store.claim(worker, 4, LEASE).await {
                Ok(batch) if batch.lost => worker = WorkerId::new(),
                Ok(batch) => jobs = batch.jobs,
                Err(error) => must_be_passing(&error),
            }
            match self.store.abandoned(worker, 4, LEASE).await {
                Ok(rescued) => jobs.extend(rescued),
                Err(error) => must_be_passing(&error),
            }
            for job in &jobs {
                self.conclude(worker, job.fence, &mut random).await;
            }
            if jobs.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Concludes a job in some way, and tries again until it knows that this is done or can't be.
    async fn conclude(&self, worker: WorkerId, fence: Fence, random: &mut SmallRng) {
        let (then, is_end) = match random.random_range(0..6) {
            0 => (retry(Duration::ZERO), false),
            1 => (Then::Snooze { pause: Duration::ZERO }, false),
            2 => (Then::GiveBack, false),
            3 => (end(State::Discarded), true),
            _ => (end(State::Completed), true),
        };
        let amount = Amount { calls: u64::from(is_end), ..Amount::default() };
        let usage = vec![UsageEntry { user: id("ada"), provider: "fake".into(), model: "fake".into(), amount }];
        let conclusion = Conclusion { fence, then, usage };
        loop {
            match self.store.conclude(worker, vec![conclusion.clone()]).await {
                Ok(held) => {
                    if held[0] && is_end {
                        *self.ended.lock().unwrap().entry(fence.job).or_default() += 1;
                    }
                    return;
                }
                Err(error) => must_be_passing(&error),
            }
        }
    }
}
