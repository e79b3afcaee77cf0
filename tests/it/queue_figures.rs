//! What the queue tells of itself, on every engine.

use std::time::Duration;

use persona_community::{
    id::{JobId, WorkerId},
    job::{Chore, Kind, NewJob, Priority, State, Work},
    store::{AdminFilter, JobFilter, KindStats},
    timestamp::Timestamp,
};

use crate::support::queue::{Engine, LATER, Queue, end, id, ids, noop, on_every_engine, retry};

on_every_engine! {
    what_moves_up_a_priority_has_waited_since_it_became_available,
    what_has_ended_is_listed_by_kind_and_state,
    a_user_finds_each_of_her_jobs_whatever_its_state,
}

async fn noops(queue: &Queue) -> KindStats {
    let stats = queue.store.queue_stats().await.unwrap();
    stats.into_iter().find(|stats| stats.kind == "noop").unwrap()
}

async fn what_moves_up_a_priority_has_waited_since_it_became_available(engine: Engine) {
    // A little longer than it takes to move up.
    const WHILE: u64 = 40_000;
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let job = queue.enqueue(NewJob { priority: Priority::Lowest, ..noop("ada") }).await;
    queue.store.pause_kind(Kind::Noop, true).await.unwrap();
    for (round, priority) in [(1, Priority::Low), (2, Priority::Normal)] {
        queue.sql(&format!("update job set run_at = run_at - {WHILE}")).await;
        assert_eq!(ids(&queue.claim(worker, 1).await), []);
        let record = queue.show(job).await;
        assert_eq!(record.priority, priority);
        assert!(record.run_at.millis() <= Timestamp::now().millis() - WHILE.cast_signed(), "{record:?}");
        let stats = noops(&queue).await;
        assert!((WHILE..2 * WHILE).contains(&stats.oldest_ms), "round {round}: {stats:?}");
    }
    queue.store.pause_kind(Kind::Noop, false).await.unwrap();
    let claimed = queue.claim_one(worker).await;
    assert!(claimed.waited >= Duration::from_millis(WHILE), "{claimed:?}");

    // When it has been tried, its waiting begins anew.
    assert!(queue.conclude(worker, claimed.fence, retry(Duration::ZERO)).await);
    queue.store.pause_kind(Kind::Noop, true).await.unwrap();
    assert_eq!(ids(&queue.claim(worker, 1).await), []);
    let stats = noops(&queue).await;
    assert!(stats.available == 1 && stats.oldest_ms < WHILE, "{stats:?}");
}

async fn what_has_ended_is_listed_by_kind_and_state(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let chore = |_| NewJob::new(id("ada"), Work::Housekeeping { chore: Chore::ForgetKeys });
    let mut made: Vec<JobId> = Vec::new();
    for new in (0..4).map(|_| noop("ben")).chain((0..3).map(chore)) {
        made.push(queue.enqueue(new).await);
    }
    for job in queue.claim(worker, 9).await {
        let state = if job.fence.job == made[1] { State::Discarded } else { State::Completed };
        assert!(queue.conclude(worker, job.fence, end(state)).await);
    }
    let list = async |state, kind, before, limit| {
        let filter = AdminFilter { state: Some(state), kind, user: None, before, limit };
        queue.store.list_jobs(filter).await.unwrap().into_iter().map(|record| record.job.job_id).collect::<Vec<_>>()
    };
    let of = |places: &[usize]| places.iter().map(|place| made[*place]).collect::<Vec<_>>();
    assert_eq!(list(State::Completed, Some(Kind::Noop), None, 9).await, of(&[3, 2, 0]));
    assert_eq!(list(State::Completed, Some(Kind::Noop), Some(made[3]), 1).await, of(&[2]));
    assert_eq!(list(State::Completed, None, None, 5).await, of(&[6, 5, 4, 3, 2]));
    assert_eq!(list(State::Completed, None, Some(made[4]), 9).await, of(&[3, 2, 0]));
    assert_eq!(list(State::Discarded, None, None, 9).await, of(&[1]));
}

async fn a_user_finds_each_of_her_jobs_whatever_its_state(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let mut made: Vec<JobId> = Vec::new();
    for _ in 0..4 {
        made.push(queue.add("ada").await);
    }
    let claimed = queue.claim(worker, 3).await;
    assert_eq!(ids(&claimed), made[..3]);
    assert!(queue.conclude(worker, claimed[0].fence, end(State::Completed)).await);
    assert!(queue.conclude(worker, claimed[1].fence, retry(LATER)).await);
    made.push(queue.enqueue(NewJob { run_at: Some(Timestamp::now().after(LATER)), ..noop("ada") }).await);
    queue.add("ben").await;

    let states = [State::Completed, State::Retryable, State::Running, State::Available, State::Scheduled];
    let list = async |filter: JobFilter| {
        let jobs = queue.store.jobs(&id("ada"), filter).await.unwrap();
        jobs.into_iter().map(|job| (job.job_id, job.state)).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = made.iter().copied().zip(states).collect();
    all.reverse();
    assert_eq!(list(JobFilter { limit: 9, ..JobFilter::default() }).await, all);
    assert_eq!(list(JobFilter { limit: 2, before: Some(made[4]), ..JobFilter::default() }).await, all[1..3]);
    assert_eq!(list(JobFilter { limit: 9, kind: Some(Kind::Housekeeping), ..JobFilter::default() }).await, []);
    for one in all {
        assert_eq!(list(JobFilter { limit: 9, state: Some(one.1), kind: Some(Kind::Noop), before: None }).await, [one]);
    }
}
