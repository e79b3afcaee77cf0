//! What a store keeps of usage, and how many jobs it takes of one user, on every engine.

use std::time::Duration;

use persona_community::{
    id::WorkerId,
    job::{NewJob, State},
    store::{Accepted, Conclusion, Request, Then, UsageEntry, UsageFilter, UsageKeys, UsageSum},
    usage::{Amount, Cost, Day},
};

use crate::support::queue::{Engine, Queue, end, id, noop, on_every_engine, retry};

on_every_engine! {
    what_an_attempt_has_used_counts_once_and_under_its_fence_alone,
    what_was_used_is_summed_up_by_what_is_asked_for,
    whoever_has_jobs_waiting_gets_no_more_than_the_limit_and_whoever_has_none_a_whole_room,
}

fn entry(user: &str, provider: &str, model: &str, tokens: u64) -> UsageEntry {
    let amount = Amount { calls: 1, estimated_calls: 1, input_tokens: 1, output_tokens: tokens, images: 2, cost: Cost::from_micros(3) };
    UsageEntry { user: id(user), provider: provider.into(), model: model.into(), amount }
}

/// Today, and, where midnight comes meanwhile, tomorrow.
fn filter(by: UsageKeys) -> UsageFilter {
    UsageFilter { user: None, first: Day::today().before(1), last: Day::today().before(-1), by, skip: 0, limit: 100 }
}

async fn what_an_attempt_has_used_counts_once_and_under_its_fence_alone(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    queue.add("ada").await;
    let conclude = async |fence, then| {
        let conclusion = Conclusion { fence, then, usage: vec![entry("ada", "p", "m", 10)] };
        let held = queue.store.conclude(worker, vec![conclusion]).await.unwrap()[0];
        let sums = queue.store.usage(filter(UsageKeys::default())).await.unwrap();
        (held, sums.iter().map(|sum| sum.amount.output_tokens).sum::<u64>())
    };
    let first = queue.claim_one(worker).await.fence;
    assert_eq!(conclude(first, Then::GiveBack).await, (true, 10));
    let second = queue.claim_one(worker).await.fence;
    assert_eq!(conclude(first, end(State::Completed)).await, (false, 10));
    assert_eq!(conclude(second, retry(Duration::ZERO)).await, (true, 20));
    let third = queue.claim_one(worker).await.fence;
    assert_eq!(conclude(third, end(State::Completed)).await, (true, 30));
    assert_eq!(conclude(third, end(State::Completed)).await, (false, 30));
    // A worker whose lease is over has nothing to say.
    queue.add("ada").await;
    let fence = queue.claim_one(worker).await.fence;
    queue.store.expire_all().await.unwrap();
    assert_eq!(conclude(fence, end(State::Completed)).await, (false, 30));
}

async fn what_was_used_is_summed_up_by_what_is_asked_for(engine: Engine) {
    let (queue, worker) = (Queue::open(engine), WorkerId::new());
    let mut conclusions = Vec::new();
    for usage in [vec![entry("ada", "p", "m", 1), entry("ada", "q", "m", 2)], vec![entry("ada", "p", "m", 4), entry("ben", "p", "n", 8)], vec![]] {
        queue.add("ada").await;
        let fence = queue.claim_one(worker).await.fence;
        conclusions.push(Conclusion { fence, then: end(State::Completed), usage });
    }
    assert_eq!(queue.store.conclude(worker, conclusions).await.unwrap(), [true; 3]);
    let sums = async |filter: UsageFilter| {
        let name = |sum: &UsageSum| {
            [sum.user.as_ref().map(ToString::to_string), sum.provider.clone(), sum.model.clone()].map(Option::unwrap_or_default).join("/")
        };
        let sums = queue.store.usage(filter).await.unwrap();
        sums.iter().map(|sum| (name(sum), sum.amount.calls, sum.amount.output_tokens)).collect::<Vec<_>>()
    };
    let keys = UsageKeys { user: true, provider: true, model: true, day: false };
    let all = [("ada/p/m".to_owned(), 2, 5), ("ada/q/m".to_owned(), 1, 2), ("ben/p/n".to_owned(), 1, 8)];
    assert_eq!(sums(filter(keys)).await, all);
    assert_eq!(sums(UsageFilter { skip: 1, limit: 1, ..filter(keys) }).await, all[1..2]);
    assert_eq!(sums(UsageFilter { user: Some(id("ben")), ..filter(keys) }).await, all[2..]);
    let by_model = UsageKeys { user: false, provider: false, ..keys };
    assert_eq!(sums(filter(by_model)).await, [("//m".to_owned(), 3, 7), ("//n".to_owned(), 1, 8)]);
    assert_eq!(sums(UsageFilter { last: Day::today().before(2), first: Day::today().before(9), ..filter(keys) }).await, []);
    let whole = queue.store.usage(filter(UsageKeys::default())).await.unwrap()[0].amount;
    assert_eq!(whole, Amount { calls: 4, estimated_calls: 4, input_tokens: 4, output_tokens: 15, images: 8, cost: Cost::from_micros(12) });
    let by_day = queue.store.usage(filter(UsageKeys { day: true, ..UsageKeys::default() })).await.unwrap();
    assert!(by_day.iter().all(|sum| sum.day.is_some_and(|day| day <= Day::today())), "{by_day:?}");
}

async fn whoever_has_jobs_waiting_gets_no_more_than_the_limit_and_whoever_has_none_a_whole_room(engine: Engine) {
    let queue = Queue::open(engine);
    let ask = async |user: &str, jobs: usize, is_over_daily_limit: bool| {
        let jobs: Vec<NewJob> = (0..jobs).map(|_| noop(user)).collect();
        let request = Request { user: id(user), message: None, jobs, idempotency: None, max_waiting: 4, is_over_daily_limit };
        queue.store.accept(request).await.unwrap()
    };
    assert_eq!(ask("ada", 3, false).await, Accepted::New);
    assert_eq!(ask("ada", 2, false).await, Accepted::TooManyJobs);
    assert_eq!(ask("ada", 1, true).await, Accepted::OverDailyLimit);
    assert_eq!(ask("ada", 1, false).await, Accepted::New);
    assert_eq!(ask("ada", 1, false).await, Accepted::TooManyJobs);
    assert_eq!(ask("ada", 0, false).await, Accepted::New);
    assert_eq!(ask("ben", 16, false).await, Accepted::New);
    assert_eq!(ask("ben", 1, false).await, Accepted::TooManyJobs);
    assert_eq!(queue.store.depth().await.unwrap().waiting, 20);
}
