//! Limits of running jobs: held exactly, whoever claims, and healed when a worker dies.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use persona_community::{
    id::WorkerId,
    job::{Chore, Claimed, Kind, NewJob, State, Work},
    store::{Limit, Scope, Then},
};

use crate::support::queue::{Engine, LEASE, Queue, end, id, noop, on_every_engine, retry, users};

on_every_engine! {
    a_kind_runs_no_more_than_its_limit_and_delays_no_other,
    a_user_runs_no_more_than_the_limit_and_others_run_all_the_same,
    many_workers_together_run_no_more_than_one_may,
    a_provider_serves_no_more_than_its_limit_whichever_worker_asks,
    what_a_dead_worker_ran_counts_until_it_is_taken_over_and_not_longer,
    a_limit_that_is_set_is_told_and_one_that_is_lifted_is_gone,
}

async fn a_kind_runs_no_more_than_its_limit_and_delays_no_other(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    queue.store.set_limit(Scope::Kind(Kind::Noop), Some(3)).await.unwrap();
    queue.store.enqueue((0..500).map(|_| noop("ada")).collect()).await.unwrap();
    queue.enqueue(NewJob::new(id("ben"), Work::Housekeeping { chore: Chore::ForgetKeys })).await;
    let running = queue.claim(worker, 10).await;
    assert_eq!(running.len(), 4, "three, and the one of another kind");
    assert!(queue.claim(worker, 10).await.is_empty());
    let noops: Vec<&Claimed> = running.iter().filter(|job| job.user == id("ada")).collect();
    // However a job leaves, its place is free again.
    for (job, then) in noops.iter().zip([end(State::Completed), retry(Duration::ZERO), Then::GiveBack]) {
        assert!(queue.conclude(worker, job.fence, then).await);
        assert_eq!(queue.claim(worker, 10).await.len(), 1);
    }
    queue.store.set_limit(Scope::Kind(Kind::Noop), None).await.unwrap();
    assert_eq!(queue.claim(worker, 10).await.len(), 10);
}

async fn a_user_runs_no_more_than_the_limit_and_others_run_all_the_same(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    queue.store.set_limit(Scope::User, Some(2)).await.unwrap();
    queue.store.enqueue((0..500).map(|_| noop("ada")).collect()).await.unwrap();
    assert_eq!(users(&queue.claim(worker, 10).await), ["ada", "ada"]);
    // Though 500 of hers stand before it.
    queue.store.enqueue((0..5).map(|_| noop("ben")).collect()).await.unwrap();
    assert_eq!(users(&queue.claim(worker, 10).await), ["ben", "ben"]);
    assert!(queue.claim(worker, 10).await.is_empty());
}

async fn many_workers_together_run_no_more_than_one_may(engine: Engine) {
    let queue = Queue::open(engine);
    queue.store.set_limit(Scope::Kind(Kind::Noop), Some(7)).await.unwrap();
    queue.store.set_limit(Scope::User, Some(2)).await.unwrap();
    queue.store.enqueue((0..60).map(|number| noop(&format!("user-{}", number % 6))).collect()).await.unwrap();
    let mut running: Vec<(WorkerId, Claimed)> = Vec::new();
    let mut ended = 0;
    while ended < 60 {
        let claim = async || {
            let worker = WorkerId::new();
            let batch = queue.store.claim(worker, 4, LEASE).await.unwrap();
            batch.jobs.into_iter().map(|job| (worker, job)).collect::<Vec<_>>()
        };
        running.extend(join_all((0..5).map(|_| claim())).await.into_iter().flatten());
        let mut by_user: HashMap<&str, usize> = HashMap::new();
        for (_, job) in &running {
            *by_user.entry(job.user.as_str()).or_default() += 1;
        }
        assert!(running.len() <= 7 && by_user.values().all(|running| *running <= 2), "{by_user:?}");
        // It would not end if a place were not given back.
        for (worker, job) in running.drain(..(running.len() / 2).max(1)) {
            assert!(queue.conclude(worker, job.fence, end(State::Completed)).await);
            ended += 1;
        }
    }
}

async fn a_provider_serves_no_more_than_its_limit_whichever_worker_asks(engine: Engine) {
    let (queue, one, two) = (Queue::open(engine), WorkerId::new(), WorkerId::new());
    queue.store.enqueue((0..6).map(|_| noop("ada")).collect()).await.unwrap();
    let (of_one, of_two) = (queue.claim(one, 3).await, queue.claim(two, 3).await);
    let acquire = async |worker, job: &Claimed, most| queue.store.acquire(worker, job.fence, "gemini", most).await.unwrap();
    assert!(acquire(one, &of_one[0], 2).await && acquire(two, &of_two[0], 2).await);
    assert!(!acquire(one, &of_one[1], 2).await && !acquire(two, &of_two[1], 2).await);
    // Who is served already asks again for nothing more, and another provider has places of its own.
    assert!(acquire(one, &of_one[0], 2).await);
    assert!(queue.store.acquire(one, of_one[1].fence, "openai", 1).await.unwrap());
    // Who goes to another provider makes room at the first.
    assert!(queue.store.acquire(one, of_one[0].fence, "offline", 1).await.unwrap());
    assert!(acquire(two, &of_two[1], 2).await);
    assert!(queue.conclude(two, of_two[0].fence, retry(Duration::ZERO)).await);
    assert!(acquire(one, &of_one[2], 2).await);
    // What an operator sets is held too.
    queue.store.set_limit(Scope::Provider("gemini".into()), Some(1)).await.unwrap();
    assert!(!acquire(two, &of_two[2], 9).await);
    // All at once, from everywhere.
    queue.store.set_limit(Scope::Provider("gemini".into()), None).await.unwrap();
    queue.store.enqueue((0..20).map(|_| noop("ada")).collect()).await.unwrap();
    let many = queue.claim(one, 20).await;
    let got = join_all(many.iter().map(|job| queue.store.acquire(one, job.fence, "laozhang", 5))).await;
    assert_eq!(got.into_iter().filter(|got| *got.as_ref().unwrap()).count(), 5);
}

async fn what_a_dead_worker_ran_counts_until_it_is_taken_over_and_not_longer(engine: Engine) {
    let (queue, dead, rescuer) = (Queue::open(engine), WorkerId::new(), WorkerId::new());
    queue.store.set_limit(Scope::Kind(Kind::Noop), Some(2)).await.unwrap();
    queue.store.enqueue((0..4).map(|_| noop("ada")).collect()).await.unwrap();
    let lost = queue.claim(dead, 2).await;
    assert!(queue.store.acquire(dead, lost[0].fence, "gemini", 1).await.unwrap());
    queue.store.retire(dead).await.unwrap();
    // It may still be at it: nobody has taken the jobs from it.
    assert!(queue.claim(rescuer, 10).await.is_empty());
    let taken = queue.store.abandoned(rescuer, 10, LEASE).await.unwrap();
    assert_eq!(taken.len(), 2);
    for job in taken {
        assert!(queue.conclude(rescuer, job.fence, retry(Duration::ZERO)).await);
    }
    let running = queue.claim(rescuer, 10).await;
    assert_eq!(running.len(), 2);
    assert!(queue.store.acquire(rescuer, running[0].fence, "gemini", 1).await.unwrap());
    assert!(!queue.conclude(dead, lost[0].fence, end(State::Completed)).await);
    assert!(queue.claim(rescuer, 10).await.is_empty());
}

async fn a_limit_that_is_set_is_told_and_one_that_is_lifted_is_gone(engine: Engine) {
    let queue = Queue::open(engine);
    let scopes = [Scope::Kind(Kind::GenerateImage), Scope::Provider("gemini".into()), Scope::User];
    for (scope, most) in scopes.iter().zip(1..) {
        queue.store.set_limit(scope.clone(), Some(9)).await.unwrap();
        queue.store.set_limit(scope.clone(), Some(most)).await.unwrap();
    }
    let told = queue.store.limits().await.unwrap();
    let wanted: Vec<Limit> = scopes.iter().cloned().zip(1..).map(|(scope, most)| Limit { scope, most }).collect();
    assert_eq!(told, wanted);
    queue.store.set_limit(Scope::User, None).await.unwrap();
    assert_eq!(queue.store.limits().await.unwrap(), wanted[..2]);
}
