//! What goes wrong between the queue and its database: transactions that are rolled back, connections that break, answers that
//! are lost. Nothing is lost by it, and nothing happens twice.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use persona_community::{
    id::WorkerId,
    job::{Fence, NewJob, State},
    store::{Conclusion, PostgresStore, QueueAdmin as _, QueueStore as _, QueueUpkeep as _, Stopping, Then},
    timestamp::Timestamp,
};
use tokio::time::timeout;

use crate::support::{
    DEADLINE, eventually,
    pgwire::{Mishap, Proxy, is_commit},
    postgres::{Database, config},
    queue::{LATER, LEASE, end, id, ids, noop, retry},
};

/// What may befall a commit: the second and third look the same to whoever waits for the answer.
const MISHAPS: [Mishap; 3] = [Mishap::Restart, Mishap::CutBefore, Mishap::CutAfter];

/// A store whose way to the database is rough.
struct Rough {
    store: PostgresStore,
    proxy: Proxy,
    database: Database,
}

impl Rough {
    async fn open() -> Self {
        let database = Database::new();
        let address = database.url.split('@').nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        let proxy = Proxy::start(address).await;
        let store = PostgresStore::open(&config(&proxy.url(&database.url))).await.unwrap();
        Self { store, proxy, database }
    }

    /// Enqueues jobs while nothing goes wrong.
    async fn add(&self, count: usize) -> Vec<NewJob> {
        let jobs: Vec<NewJob> = (0..count).map(|number| noop(&format!("user-{number}"))).collect();
        assert_eq!(self.store.enqueue(jobs.clone()).await.unwrap(), vec![true; count]);
        jobs
    }

    async fn claim(&self, worker: WorkerId, room: usize) -> Vec<Fence> {
        self.store.claim(worker, room, LEASE).await.unwrap().jobs.iter().map(|job| job.fence).collect()
    }

    async fn conclude(&self, worker: WorkerId, fence: Fence, then: Then) -> bool {
        self.store.conclude(worker, vec![Conclusion::new(fence, then)]).await.unwrap()[0]
    }

    async fn state(&self, fence: Fence) -> State {
        self.store.show_job(fence.job).await.unwrap().unwrap().job.state
    }

    /// The next commit goes wrong, and whatever it was of is run again.
    fn spoil_commit(&self, mishap: Mishap) {
        self.proxy.at_commit(mishap);
    }

    /// The next statement like this goes wrong, and is run again.
    fn spoil(&self, mishap: Mishap, is_like_this: impl Fn(&str) -> bool + Send + 'static) {
        let mut is_done = false;
        self.proxy.let_fate(move |sql, _| {
            let hits = !is_done && is_like_this(sql);
            is_done |= hits;
            hits.then_some(mishap)
        });
    }
}

#[tokio::test]
async fn what_was_enqueued_is_there_once() {
    // So many are one statement, and so many a transaction.
    for (mishap, count) in MISHAPS.into_iter().flat_map(|mishap| [(mishap, 3), (mishap, 1001)]) {
        let (rough, worker) = (Rough::open().await, WorkerId::new());
        rough.spoil(mishap, move |sql| if count > 1000 { is_commit(sql) } else { sql.contains("insert into job ") });
        let jobs = rough.add(count).await;
        assert_eq!(rough.proxy.mishaps(), 1);
        rough.proxy.calm();
        let mut claimed = Vec::new();
        loop {
            let more = rough.claim(worker, 500).await;
            if more.is_empty() {
                break;
            }
            claimed.extend(more.into_iter().map(|fence| fence.job));
        }
        assert_eq!(claimed.len(), count, "{mishap:?}");
        assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), jobs.iter().map(|job| job.id).collect(), "{mishap:?}");
    }
}

#[tokio::test]
async fn a_worker_that_hangs_in_the_middle_of_a_claim_soon_keeps_nobody_from_its_jobs() {
    let (rough, hangs, other) = (Rough::open().await, WorkerId::new(), WorkerId::new());
    rough.add(3).await;
    rough.spoil_commit(Mishap::Delay(Duration::from_mins(1)));
    let direct = rough.database.store().await;
    let claimed = async {
        eventually("it hangs", async || (rough.proxy.mishaps() == 1).then_some(())).await;
        let claimed = AtomicUsize::new(0);
        eventually("another gets them", async || {
            let jobs = direct.claim(other, 9, LEASE).await.map_or(0, |batch| batch.jobs.len());
            (claimed.fetch_add(jobs, Ordering::Relaxed) + jobs == 3).then_some(())
        })
        .await;
    };
    tokio::select! {
        _ = rough.claim(hangs, 9) => panic!("it was to hang"),
        claimed = timeout(DEADLINE / 2, claimed) => claimed.expect("they are kept from it for long"),
    }
}

#[tokio::test]
async fn a_claim_that_nobody_heard_of_is_found_again() {
    // After one that had little to choose from a claim does without a look.
    for (mishap, looks) in MISHAPS.into_iter().flat_map(|mishap| [(mishap, true), (mishap, false)]) {
        let (rough, worker, other) = (Rough::open().await, WorkerId::new(), WorkerId::new());
        if !looks {
            rough.add(1).await;
            assert_eq!(rough.claim(worker, 3).await.len(), 1);
        }
        rough.add(5).await;
        let before = rough.proxy.heard().len();
        rough.spoil_commit(mishap);
        let claimed = rough.claim(worker, 3).await;
        assert_eq!((rough.proxy.mishaps(), claimed.len()), (1, 3), "{mishap:?}");
        assert_eq!(rough.proxy.heard()[before..].iter().any(|sql| sql.contains("union all")), looks, "{mishap:?}");
        assert!(claimed.iter().all(|fence| fence.attempt == 1), "{mishap:?}: {claimed:?}");
        // Neither are there jobs that the worker has without knowing.
        assert_eq!(rough.claim(other, 9).await.len(), 2, "{mishap:?}");
        for fence in claimed {
            assert!(rough.conclude(worker, fence, end(State::Completed)).await);
        }
    }
}

#[tokio::test]
async fn what_was_concluded_counts_once_and_its_worker_learns_that_it_does() {
    for mishap in MISHAPS {
        let (rough, worker) = (Rough::open().await, WorkerId::new());
        rough.add(4).await;
        let fences = rough.claim(worker, 4).await;
        let thens = [end(State::Completed), retry(LATER), Then::Snooze { pause: LATER }, Then::GiveBack];
        let conclusions = fences.iter().zip(thens).map(|(fence, then)| Conclusion::new(*fence, then)).collect();
        rough.spoil_commit(mishap);
        assert_eq!(rough.store.conclude(worker, conclusions).await.unwrap(), [true; 4], "{mishap:?}");
        assert_eq!(rough.proxy.mishaps(), 1);
        for (fence, state) in fences.iter().zip([State::Completed, State::Retryable, State::Scheduled, State::Available]) {
            assert_eq!(rough.state(*fence).await, state, "{mishap:?}");
        }
        let retried = rough.store.show_job(fences[1].job).await.unwrap().unwrap();
        assert_eq!(retried.failures.len(), 1, "{mishap:?}");
        assert!(!rough.conclude(worker, fences[0], end(State::Discarded)).await);
    }
}

#[tokio::test]
async fn what_ended_in_silence_counts_once_and_its_worker_learns_that_it_does() {
    for mishap in MISHAPS {
        let (rough, worker) = (Rough::open().await, WorkerId::new());
        rough.add(4).await;
        let fences = rough.claim(worker, 4).await;
        let conclusions: Vec<Conclusion> = fences.iter().map(|fence| Conclusion::new(*fence, end(State::Completed))).collect();
        rough.spoil(mishap, |sql| sql.contains("insert into job_done"));
        assert_eq!(rough.store.conclude(worker, conclusions.clone()).await.unwrap(), [true; 4], "{mishap:?}");
        assert_eq!(rough.proxy.mishaps(), 1);
        for fence in &fences {
            assert_eq!(rough.state(*fence).await, State::Completed, "{mishap:?}");
        }
        assert_eq!(rough.store.conclude(worker, conclusions).await.unwrap(), [false; 4], "{mishap:?}");
    }
}

#[tokio::test]
async fn what_was_taken_over_has_one_new_worker() {
    for mishap in MISHAPS {
        let (rough, dead, rescuer) = (Rough::open().await, WorkerId::new(), WorkerId::new());
        rough.add(1).await;
        let old = rough.claim(dead, 1).await[0];
        rough.store.retire(dead).await.unwrap();
        rough.spoil_commit(mishap);
        let taken = rough.store.abandoned(rescuer, 9, LEASE).await.unwrap();
        assert_eq!((rough.proxy.mishaps(), taken.len()), (1, 1), "{mishap:?}");
        assert_eq!(taken[0].fence, Fence { attempt: 2, ..old }, "{mishap:?}");
        assert!(!rough.conclude(dead, old, end(State::Completed)).await);
        assert!(rough.conclude(rescuer, taken[0].fence, end(State::Cancelled)).await);
    }
}

#[tokio::test]
async fn a_waiting_job_that_is_stopped_is_held_by_who_asked() {
    for mishap in MISHAPS {
        let (rough, worker) = (Rough::open().await, WorkerId::new());
        let job = rough.add(1).await.remove(0);
        rough.spoil_commit(mishap);
        let stopping = rough.store.stop_job(&job.user, job.id, LEASE).await.unwrap();
        let Stopping::Held { worker: holder, job: held } = stopping else { panic!("{mishap:?}: {stopping:?}") };
        assert_eq!((rough.proxy.mishaps(), held.fence.attempt), (1, 1), "{mishap:?}");
        assert!(rough.claim(worker, 1).await.is_empty());
        assert!(rough.conclude(holder, held.fence, end(State::Cancelled)).await);
    }
}

#[tokio::test]
async fn a_tick_begins_once_and_whoever_began_it_knows() {
    for mishap in MISHAPS {
        let (rough, worker) = (Rough::open().await, WorkerId::new());
        let begin = async || rough.store.begin_tick("forget", Timestamp::from_millis(1), noop("housekeeping")).await.unwrap();
        rough.spoil_commit(mishap);
        assert!(begin().await && !begin().await, "{mishap:?}");
        assert_eq!((rough.proxy.mishaps(), rough.claim(worker, 9).await.len()), (1, 1), "{mishap:?}");
    }
}

#[tokio::test]
async fn whatever_statement_is_told_to_begin_anew_the_end_is_the_same() {
    let (rough, worker, rescuer, ada) = (Rough::open().await, WorkerId::new(), WorkerId::new(), id("user-0"));
    let mut spoilt = HashSet::new();
    rough.proxy.let_fate(move |sql, _| {
        let is_of_queue = is_commit(sql) || ["job", "queue_", "worker", "tick"].iter().any(|word| sql.contains(word));
        (is_of_queue && spoilt.insert(sql.to_owned())).then_some(Mishap::Restart)
    });
    let jobs = rough.add(5).await;
    let claimed = rough.claim(worker, 5).await;
    assert_eq!((claimed.len(), claimed.iter().all(|fence| fence.attempt == 1)), (5, true));
    assert!(rough.store.heartbeat(worker, LEASE).await.unwrap().alive);
    assert!(rough.store.progress(worker, claimed[0], 10, "it is at it").await.unwrap());
    assert!(rough.store.acquire(worker, claimed[0], "gemini", 1).await.unwrap());
    let thens = [end(State::Completed), retry(Duration::ZERO), Then::Snooze { pause: Duration::ZERO }, Then::GiveBack];
    let conclusions = claimed.iter().zip(thens).map(|(fence, then)| Conclusion::new(*fence, then)).collect();
    assert_eq!(rough.store.conclude(worker, conclusions).await.unwrap(), [true; 4]);
    rough.store.retire(worker).await.unwrap();
    assert_eq!(ids(&rough.store.abandoned(rescuer, 9, LEASE).await.unwrap()), [claimed[4].job]);
    assert!(matches!(rough.store.stop_job(&ada, jobs[0].id, LEASE).await.unwrap(), Stopping::Running | Stopping::Finished | Stopping::Held { .. }));
    // What was put back is there, once each.
    let again: HashSet<_> = rough.claim(rescuer, 9).await.iter().map(|fence| fence.job).collect();
    let put_back: HashSet<_> = claimed[1..4].iter().map(|fence| fence.job).filter(|job| *job != jobs[0].id).collect();
    assert_eq!(again, put_back);
    assert!(rough.proxy.mishaps() > 20, "{} of {:#?}", rough.proxy.mishaps(), rough.proxy.heard());
    rough.store.close().await;
}

#[tokio::test]
async fn a_database_that_was_away_is_used_again() {
    let (rough, worker) = (Rough::open().await, WorkerId::new());
    rough.add(2).await;
    let fence = rough.claim(worker, 1).await[0];
    rough.proxy.go_away();
    assert!(rough.store.claim(worker, 1, LEASE).await.unwrap_err().is_retryable());
    rough.proxy.come_back();
    assert!(rough.conclude(worker, fence, end(State::Completed)).await);
    assert_eq!(rough.claim(worker, 1).await.len(), 1);
}

#[tokio::test]
async fn claimers_of_a_slow_database_get_each_job_once() {
    let rough = Rough::open().await;
    rough.add(20).await;
    rough.proxy.let_fate(|_, count| Some(Mishap::Delay(Duration::from_millis(count as u64 % 5))));
    let claims = futures_util::future::join_all((0..4).map(|_| rough.claim(WorkerId::new(), 10))).await;
    let claimed: Vec<_> = claims.into_iter().flatten().map(|fence| fence.job).collect();
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), claimed.len());
    assert_eq!(claimed.len() + rough.claim(WorkerId::new(), 20).await.len(), 20);
}

#[tokio::test]
async fn a_job_whose_enqueueing_was_overtaken_is_found_all_the_same() {
    let (rough, worker) = (Rough::open().await, WorkerId::new());
    assert!(rough.claim(worker, 1).await.is_empty());
    rough.add(1).await;
    // As if many turns had been served before it was committed.
    rough.database.client().await.batch_execute("update queue_lane set low = 1000").await.unwrap();
    assert_eq!(rough.store.next_look(worker).await.unwrap(), Some(Duration::ZERO));
    let begun = std::time::Instant::now();
    while rough.claim(worker, 1).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody looks there");
        tokio::task::yield_now().await;
    }
}
