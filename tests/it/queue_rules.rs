//! What the queue promises, rule by rule, on every engine.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use persona_community::{
    id::WorkerId,
    job::{Chore, Fence, Kind, NewJob, Priority, State, Work},
    store::{Accepted, Conclusion, Idempotency, JobFilter, Request, Stopping, Then},
    timestamp::Timestamp,
};

use crate::support::queue::{Engine, LATER, LEASE, Queue, end, id, ids, noop, on_every_engine, retry, users};

on_every_engine! {
    many_claimers_get_each_job_once,
    who_has_ten_thousand_jobs_waiting_delays_another_by_no_more_than_a_round,
    a_better_priority_comes_first,
    a_job_waits_for_its_time,
    a_snooze_is_neither_a_failure_nor_an_attempt,
    a_failure_is_remembered_and_the_next_attempt_waits,
    what_is_given_back_was_not_begun_and_keeps_what_was_noted,
    a_late_worker_changes_nothing,
    a_worker_whose_lease_is_over_gets_nothing_while_its_jobs_are_untouched,
    the_jobs_of_a_dead_worker_are_found_among_many_of_living_ones,
    one_that_cannot_be_concluded_fails_nobody_else,
    of_many_producers_of_a_unique_job_one_is_the_first,
    a_unique_key_that_is_taken_stops_only_the_job_that_wants_it_back,
    a_waiting_job_is_stopped_by_whoever_asks_and_a_running_ones_worker_is_told,
    a_cancel_that_races_a_claim_leaves_one_end,
    a_kind_that_is_paused_rests_and_goes_on,
    a_tick_begins_once_however_many_try,
    what_is_old_is_forgotten_and_dead_letters_are_kept_longer,
    the_place_in_the_queue_is_told,
    a_request_that_is_refused_enqueues_nothing,
}

async fn many_claimers_get_each_job_once(engine: Engine) {
    let queue = Queue::open(engine);
    let jobs: Vec<NewJob> = (0..2000).map(|number| noop(&format!("user-{}", number % 37))).collect();
    let wanted: HashSet<_> = jobs.iter().map(|job| job.id).collect();
    assert!(queue.store.enqueue(jobs).await.unwrap().into_iter().all(|is_new| is_new));
    let worker = async |room: usize| {
        let (worker, mut claimed) = (WorkerId::new(), Vec::new());
        loop {
            let batch = queue.store.claim(worker, room, LEASE).await.unwrap();
            if batch.jobs.is_empty() && !batch.more {
                return claimed;
            }
            let concluded = batch.jobs.iter().map(|job| Conclusion::new(job.fence, end(State::Completed))).collect();
            assert!(queue.store.conclude(worker, concluded).await.unwrap().into_iter().all(|held| held));
            claimed.extend(ids(&batch.jobs));
        }
    };
    let claimed: Vec<_> = join_all((1..=8).map(|number| worker(7 * number))).await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 2000);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), wanted);
}

async fn who_has_ten_thousand_jobs_waiting_delays_another_by_no_more_than_a_round(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    queue.store.enqueue((0..10_000).map(|_| noop("ada")).collect()).await.unwrap();
    assert_eq!(users(&queue.claim(worker, 10).await), ["ada"; 10]);
    // Neither who comes after all of them nor one of many others waits for more than a round.
    for name in ["ben", "eve", "fay"] {
        queue.add(name).await;
    }
    let mut next = users(&queue.claim(worker, 4).await).into_iter().map(str::to_owned).collect::<Vec<_>>();
    next.sort();
    assert_eq!(next, ["ada", "ben", "eve", "fay"]);
    // And this goes on: two who have many take turns.
    queue.store.enqueue((0..50).map(|_| noop("ben")).collect()).await.unwrap();
    let next = queue.claim(worker, 40).await;
    let bens = users(&next).into_iter().filter(|user| *user == "ben").count();
    assert!((19..=21).contains(&bens), "{bens} of 40");
}

async fn a_better_priority_comes_first(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let mut wanted = Vec::new();
    for priority in [Priority::Lowest, Priority::Low, Priority::Normal] {
        wanted.insert(0, queue.enqueue(NewJob { priority, ..noop("ada") }).await);
    }
    assert_eq!(ids(&queue.claim(worker, 3).await), wanted);
}

async fn a_job_waits_for_its_time(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let soon = Duration::from_millis(600);
    let job = queue.enqueue(NewJob { run_at: Some(Timestamp::now().after(soon)), ..noop("ada") }).await;
    assert_eq!((queue.state(job).await, queue.claim(worker, 1).await.len()), (State::Scheduled, 0));
    let due = queue.store.next_look(worker).await.unwrap().unwrap();
    assert!(due <= soon, "{due:?}");
    tokio::time::sleep(due + Duration::from_millis(2)).await;
    assert_eq!(queue.claim_one(worker).await.fence, Fence { job, attempt: 1 });
    // One whose time is over is available at once.
    let late = NewJob { run_at: Some(Timestamp::from_millis(1)), ..noop("ada") };
    assert_eq!(queue.state(queue.enqueue(late).await).await, State::Available);
}

async fn a_snooze_is_neither_a_failure_nor_an_attempt(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let job = queue.add("ada").await;
    for _ in 0..10 {
        let claimed = queue.claim_one(worker).await;
        assert!(queue.conclude(worker, claimed.fence, Then::Snooze { pause: Duration::ZERO }).await);
    }
    let claimed = queue.claim_one(worker).await;
    assert_eq!((claimed.failures, claimed.fence.attempt), (0, 11));
    let shown = queue.show(job).await;
    assert_eq!((shown.job.attempt, shown.failures.len()), (1, 0));
    assert!(queue.conclude(worker, claimed.fence, Then::Snooze { pause: LATER }).await);
    assert_eq!((queue.state(job).await, queue.claim(worker, 1).await.len()), (State::Scheduled, 0));
}

async fn a_failure_is_remembered_and_the_next_attempt_waits(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let job = queue.add("ada").await;
    for attempt in 1..=3 {
        let claimed = queue.claim_one(worker).await;
        assert_eq!((claimed.fence.attempt, claimed.failures), (attempt, attempt - 1));
        assert!(queue.conclude(worker, claimed.fence, retry(Duration::ZERO)).await);
    }
    let claimed = queue.claim_one(worker).await;
    assert!(queue.conclude(worker, claimed.fence, retry(LATER)).await);
    let shown = queue.show(job).await;
    assert_eq!((shown.job.state, shown.failures.len(), shown.failures[3].attempt), (State::Retryable, 4, 4));
    assert!(queue.claim(worker, 1).await.is_empty());
    // An operator need not wait, and forgives what was.
    assert!(queue.store.retry_job(job).await.unwrap());
    let claimed = queue.claim_one(worker).await;
    assert_eq!((claimed.fence.attempt, claimed.failures), (5, 0));
    assert!(queue.conclude(worker, claimed.fence, end(State::Discarded)).await);
    let shown = queue.show(job).await;
    let last = shown.failures.last().unwrap();
    assert_eq!((shown.job.state, shown.job.error.as_deref(), last.error.as_str()), (State::Discarded, Some("it can't succeed"), "it can't succeed"));
    // Of a dead letter that is tried again no fence of before is good.
    assert!(queue.store.retry_job(job).await.unwrap());
    assert_eq!(queue.claim_one(worker).await.fence, Fence { job, attempt: 6 });
    assert!(!queue.conclude(worker, Fence { job, attempt: 5 }, end(State::Completed)).await);
}

async fn what_is_given_back_was_not_begun_and_keeps_what_was_noted(engine: Engine) {
    let (queue, worker, other) = (Queue::open(engine), WorkerId::new(), WorkerId::new());
    let job = queue.add("ada").await;
    let noted = async || queue.show(job).await.job.message;
    let mut fence = queue.claim_one(worker).await.fence;
    assert!(queue.store.progress(worker, fence, 10, "the provider is at it").await.unwrap());
    // Whatever puts a job back: who takes it up next reads what was noted, or it might pay twice.
    for then in [Then::GiveBack, retry(Duration::ZERO), Then::Snooze { pause: Duration::ZERO }] {
        assert!(queue.conclude(worker, fence, then).await);
        assert_eq!(noted().await.as_deref(), Some("the provider is at it"));
        fence = queue.claim_one(worker).await.fence;
        assert_eq!(noted().await.as_deref(), Some("the provider is at it"));
    }
    // The first and the last were none.
    assert_eq!(queue.show(job).await.job.attempt, 2);
    queue.store.retire(worker).await.unwrap();
    assert_eq!(ids(&queue.store.abandoned(other, 10, LEASE).await.unwrap()), [job]);
    assert_eq!(noted().await.as_deref(), Some("the provider is at it"));
}

async fn a_late_worker_changes_nothing(engine: Engine) {
    let (queue, late, rescuer) = (Queue::open(engine), WorkerId::new(), WorkerId::new());
    let job = queue.add("ada").await;
    let old = queue.claim_one(late).await.fence;
    queue.store.retire(late).await.unwrap();
    let lost = async |fence: Fence, worker: WorkerId| {
        for then in [end(State::Completed), retry(Duration::ZERO), Then::Snooze { pause: Duration::ZERO }, Then::GiveBack] {
            assert!(!queue.conclude(worker, fence, then).await);
        }
        assert!(!queue.store.progress(worker, fence, 50, "half").await.unwrap());
        assert!(!queue.store.acquire(worker, fence, "gemini", 10).await.unwrap());
    };
    // Its lease is over, though nobody has taken the job yet.
    lost(old, late).await;
    assert!(!queue.store.heartbeat(late, LEASE).await.unwrap().alive);
    let taken = queue.store.abandoned(rescuer, 10, LEASE).await.unwrap().pop().unwrap();
    assert_eq!((taken.fence, taken.crashes), (Fence { job, attempt: 2 }, 0));
    lost(old, late).await;
    // Nor is the new fence anybody's but its worker's, nor the old one good for the new worker.
    lost(taken.fence, late).await;
    lost(old, rescuer).await;
    assert!(queue.conclude(rescuer, taken.fence, Then::Retry { pause: Duration::ZERO, error: "it died".into(), crash: true }).await);
    let claimed = queue.claim_one(rescuer).await;
    assert_eq!((claimed.failures, claimed.crashes), (1, 1));
    assert!(queue.conclude(rescuer, claimed.fence, end(State::Completed)).await);
    assert!(!queue.conclude(rescuer, claimed.fence, end(State::Discarded)).await);
    assert_eq!(queue.state(job).await, State::Completed);
    assert!(queue.store.abandoned(rescuer, 10, LEASE).await.unwrap().is_empty());
}

async fn a_worker_whose_lease_is_over_gets_nothing_while_its_jobs_are_untouched(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    queue.add("ada").await;
    queue.add("ben").await;
    queue.claim_one(worker).await;
    queue.store.retire(worker).await.unwrap();
    let batch = queue.store.claim(worker, 1, LEASE).await.unwrap();
    assert!(batch.lost && batch.jobs.is_empty());
}

async fn the_jobs_of_a_dead_worker_are_found_among_many_of_living_ones(engine: Engine) {
    let (queue, living, dead, rescuer) = (Queue::open(engine), WorkerId::new(), WorkerId::new(), WorkerId::new());
    queue.store.enqueue((0..10_000).map(|number| noop(&format!("user-{}", number % 100))).collect()).await.unwrap();
    assert_eq!(queue.claim(living, 10_000).await.len(), 10_000);
    let job = queue.add("ada").await;
    queue.claim_one(dead).await;
    queue.store.retire(dead).await.unwrap();
    assert_eq!(ids(&queue.store.abandoned(rescuer, 1, LEASE).await.unwrap()), [job]);
    assert!(queue.store.abandoned(rescuer, 1, LEASE).await.unwrap().is_empty());
}

async fn one_that_cannot_be_concluded_fails_nobody_else(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    for _ in 0..5 {
        queue.add("ada").await;
    }
    let mut fences: Vec<Fence> = queue.claim(worker, 5).await.iter().map(|job| job.fence).collect();
    fences[2].attempt += 1;
    fences[3].job = noop("ada").id;
    let conclusions = fences.iter().map(|fence| Conclusion::new(*fence, end(State::Completed))).collect();
    assert_eq!(queue.store.conclude(worker, conclusions).await.unwrap(), [true, true, false, false, true]);
}

async fn of_many_producers_of_a_unique_job_one_is_the_first(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let keyed = || NewJob { unique_key: Some("report".into()), ..noop("ada") };
    let all_at_once = async || join_all((0..50).map(|_| queue.store.enqueue(vec![keyed()]))).await.into_iter().map(|new| new.unwrap()[0]);
    assert_eq!(all_at_once().await.filter(|is_new| *is_new).count(), 1);
    // Running, or waiting for another try, it still lives.
    let claimed = queue.claim_one(worker).await;
    assert_eq!(queue.store.enqueue(vec![keyed(), keyed()]).await.unwrap(), [false, false]);
    assert!(queue.conclude(worker, claimed.fence, retry(Duration::ZERO)).await);
    assert_eq!(queue.store.enqueue(vec![keyed()]).await.unwrap(), [false]);
    let claimed = queue.claim_one(worker).await;
    assert!(queue.conclude(worker, claimed.fence, end(State::Completed)).await);
    assert_eq!(all_at_once().await.filter(|is_new| *is_new).count(), 1);
    // A job whose id is known is not enqueued again either.
    let known = noop("ada");
    assert_eq!(queue.store.enqueue(vec![known.clone(), known.clone(), noop("ada")]).await.unwrap(), [true, false, true]);
}

async fn a_unique_key_that_is_taken_stops_only_the_job_that_wants_it_back(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let keyed = || NewJob { unique_key: Some("report".into()), ..noop("ada") };
    let first = queue.enqueue(keyed()).await;
    let claimed = queue.claim_one(worker).await;
    assert!(queue.conclude(worker, claimed.fence, end(State::Discarded)).await);
    let second = queue.enqueue(keyed()).await;
    let other = queue.add("ben").await;
    assert!(!queue.store.retry_job(first).await.unwrap());
    assert_eq!(queue.state(first).await, State::Discarded);
    let claimed: HashSet<_> = ids(&queue.claim(worker, 9).await).into_iter().collect();
    assert_eq!(claimed, [second, other].into());
}

async fn a_waiting_job_is_stopped_by_whoever_asks_and_a_running_ones_worker_is_told(engine: Engine) {
    let (queue, worker, ada) = (Queue::open(engine), WorkerId::new(), id("ada"));
    let job = queue.add("ada").await;
    assert!(matches!(queue.store.stop_job(&id("ben"), job, LEASE).await.unwrap(), Stopping::Unknown));
    let Stopping::Held { worker: holder, job: held } = queue.store.stop_job(&ada, job, LEASE).await.unwrap() else { panic!("it waited") };
    assert!(held.cancel_asked && queue.claim(worker, 1).await.is_empty());
    assert!(queue.conclude(holder, held.fence, end(State::Cancelled)).await);
    assert!(matches!(queue.store.stop_job(&ada, job, LEASE).await.unwrap(), Stopping::Finished));

    let job = queue.add("ada").await;
    let claimed = queue.claim_one(worker).await;
    assert!(matches!(queue.store.stop_job(&ada, job, LEASE).await.unwrap(), Stopping::Running));
    // Without a wake-up the next heartbeat tells it.
    let beat = queue.store.heartbeat(worker, LEASE).await.unwrap();
    assert_eq!((beat.alive, beat.cancel_asked), (true, vec![claimed.fence]));
    // That it was asked for outlives a failure and a change of hands.
    assert!(queue.conclude(worker, claimed.fence, retry(Duration::ZERO)).await);
    assert!(queue.claim_one(worker).await.cancel_asked);
}

async fn a_cancel_that_races_a_claim_leaves_one_end(engine: Engine) {
    let (queue, ada) = (Queue::open(engine), id("ada"));
    for _ in 0..30 {
        let (job, worker) = (queue.add("ada").await, WorkerId::new());
        let run = async {
            let claimed = queue.claim(worker, 1).await;
            match claimed.first() {
                Some(claimed) => usize::from(queue.conclude(worker, claimed.fence, end(State::Completed)).await),
                None => 0,
            }
        };
        let stop = async {
            match queue.store.stop_job(&ada, job, LEASE).await.unwrap() {
                Stopping::Held { worker, job } => usize::from(queue.conclude(worker, job.fence, end(State::Cancelled)).await),
                _ => 0,
            }
        };
        let (ran, stopped) = tokio::join!(run, stop);
        assert_eq!(ran + stopped, 1);
        assert_eq!(queue.state(job).await, if ran == 1 { State::Completed } else { State::Cancelled });
    }
}

async fn a_kind_that_is_paused_rests_and_goes_on(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let job = queue.add("ada").await;
    let running = queue.claim_one(worker).await;
    queue.add("ada").await;
    let chore = queue.enqueue(NewJob::new(id("ada"), Work::Housekeeping { chore: Chore::ForgetKeys })).await;
    queue.store.pause_kind(Kind::Noop, true).await.unwrap();
    assert_eq!(ids(&queue.claim(worker, 9).await), [chore]);
    // What runs runs on.
    assert!(queue.conclude(worker, running.fence, end(State::Completed)).await);
    assert_eq!(queue.state(job).await, State::Completed);
    let stats = queue.store.queue_stats().await.unwrap();
    let noops = stats.iter().find(|stats| stats.kind == "noop").unwrap();
    assert_eq!((noops.paused, noops.available, noops.running), (true, 1, 0));
    queue.store.pause_kind(Kind::Noop, false).await.unwrap();
    assert_eq!(queue.claim(worker, 9).await.len(), 1);
}

async fn a_tick_begins_once_however_many_try(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    for tick in [1_000, 2_000] {
        // However wrong their clocks are, they mean the same tick.
        let begin = || queue.store.begin_tick("forget", Timestamp::from_millis(tick), noop("housekeeping"));
        let begun = join_all((0..20).map(|_| begin())).await.into_iter().filter(|begun| *begun.as_ref().unwrap()).count();
        assert_eq!((begun, queue.claim(worker, 9).await.len()), (1, 1));
    }
    assert_eq!(queue.store.last_tick("forget").await.unwrap(), Some(Timestamp::from_millis(2_000)));
    assert_eq!(queue.store.last_tick("another").await.unwrap(), None);
    // The last one stays, or it would begin again.
    assert_eq!(queue.store.prune_ticks(Duration::ZERO, 10).await.unwrap(), 1);
    assert_eq!(queue.store.prune_ticks(Duration::ZERO, 10).await.unwrap(), 0);
}

async fn what_is_old_is_forgotten_and_dead_letters_are_kept_longer(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    for state in [State::Completed, State::Completed, State::Cancelled, State::Discarded] {
        queue.add("ada").await;
        let claimed = queue.claim_one(worker).await;
        assert!(queue.conclude(worker, claimed.fence, end(state)).await);
    }
    let living = queue.add("ada").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let prune = async |age, dead_letters, limit| queue.store.prune_finished(age, dead_letters, limit).await.unwrap();
    assert_eq!(prune(LATER, LATER, 10).await, 0);
    assert_eq!(prune(Duration::ZERO, LATER, 2).await, 2);
    assert_eq!((prune(Duration::ZERO, LATER, 10).await, prune(Duration::ZERO, LATER, 10).await), (1, 0));
    assert_eq!(prune(Duration::ZERO, Duration::ZERO, 10).await, 1);
    let left = queue.store.jobs(&id("ada"), JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(left.iter().map(|job| job.job_id).collect::<Vec<_>>(), [living]);
}

async fn the_place_in_the_queue_is_told(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let mut ada = Vec::new();
    for _ in 0..3 {
        ada.push(queue.add("ada").await);
    }
    let ben = queue.add("ben").await;
    let place = async |user: &str, job| queue.store.position(&id(user), job).await.unwrap();
    // Ben stands in the first turn, behind the first of Ada's and before her others.
    assert_eq!((place("ada", ada[0]).await, place("ben", ben).await), (Some(1), Some(2)));
    assert_eq!((place("ada", ada[1]).await, place("ada", ada[2]).await), (Some(3), Some(4)));
    assert_eq!(place("ben", ada[1]).await, None);
    queue.claim(worker, 2).await;
    assert_eq!((place("ada", ada[0]).await, place("ada", ada[1]).await), (None, Some(1)));
}

async fn a_request_that_is_refused_enqueues_nothing(engine: Engine) {
    let (queue, worker, ada) = (Queue::open(engine), WorkerId::new(), id("ada"));
    let asked = |fingerprint: u8, jobs: usize| Request {
        user: ada.clone(),
        message: None,
        jobs: (0..jobs).map(|_| noop("ada")).collect(),
        idempotency: Some(Idempotency { key: "once".into(), fingerprint: [fingerprint; 32], response: "{}".into() }),
        max_waiting: 2,
        is_over_daily_limit: false,
    };
    assert_eq!(queue.store.accept(asked(1, 2)).await.unwrap(), Accepted::New);
    assert_eq!(queue.store.accept(asked(1, 2)).await.unwrap(), Accepted::Replayed("{}".into()));
    assert_eq!(queue.store.accept(asked(2, 2)).await.unwrap(), Accepted::Mismatch);
    assert_eq!(queue.store.accept(Request { idempotency: None, ..asked(3, 1) }).await.unwrap(), Accepted::TooManyJobs);
    assert_eq!(queue.claim(worker, 9).await.len(), 2);
}
