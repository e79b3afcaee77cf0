//! What a worker costs the database while there is nothing to do: a statement now and then.

use std::time::Duration;

use persona_community::{
    id::WorkerId,
    job::State,
    store::{Conclusion, PostgresStore, QueueStore as _, QueueUpkeep as _},
    timestamp::Timestamp,
};

use crate::support::{
    pgwire::Proxy,
    postgres::{Database, config},
    queue::{LEASE, end, noop},
};

/// A store, and what is heard of it.
async fn overheard(database: &Database) -> (PostgresStore, Proxy) {
    let proxy = Proxy::start(database.address()).await;
    (PostgresStore::open(&config(&proxy.url(&database.url))).await.unwrap(), proxy)
}

#[tokio::test]
async fn a_look_that_finds_nothing_and_a_tick_that_others_have_begun_are_a_statement_each() {
    let database = Database::new();
    let (store, proxy) = overheard(&database).await;
    assert!(store.begin_tick("tick", Timestamp::from_millis(1), noop("housekeeping")).await.unwrap());
    let (worker, other) = (WorkerId::new(), WorkerId::new());
    let job = store.claim(other, 1, LEASE).await.unwrap().jobs.pop().unwrap();
    store.conclude(other, vec![Conclusion::new(job.fence, end(State::Completed))]).await.unwrap();

    let before = proxy.heard().len();
    assert_eq!(store.next_look(worker).await.unwrap(), None);
    assert_eq!(store.last_tick("tick").await.unwrap(), Some(Timestamp::from_millis(1)));
    let asked = proxy.heard().split_off(before);
    assert_eq!(asked.len(), 2, "{asked:#?}");
    store.close().await;
}

#[tokio::test]
async fn the_lease_of_another_is_waited_for_only_while_it_covers_a_job() {
    let database = Database::new();
    let (store, _proxy) = overheard(&database).await;
    let (worker, other) = (WorkerId::new(), WorkerId::new());
    store.enqueue(vec![noop("ada")]).await.unwrap();
    let job = store.claim(other, 1, LEASE).await.unwrap().jobs.pop().unwrap();
    let due = store.next_look(worker).await.unwrap().unwrap();
    assert!(due <= LEASE && due + Duration::from_mins(1) > LEASE, "{due:?}");
    store.conclude(other, vec![Conclusion::new(job.fence, end(State::Completed))]).await.unwrap();
    assert_eq!(store.next_look(worker).await.unwrap(), None);
    store.close().await;
}
