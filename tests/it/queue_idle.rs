//! What a worker costs the database while there is nothing to do: a statement now and then.

use std::{sync::Arc, time::Duration};

use persona_community::{
    id::WorkerId,
    job::State,
    providers::offline::Offline,
    store::{Conclusion, PostgresStore, QueueAdmin as _, QueueStore as _, QueueUpkeep as _, Store},
    timestamp::Timestamp,
    wake::Wakeup,
    worker::{Worker, WorkerConfig},
};
use tokio::{sync::mpsc, time::timeout};

use crate::support::{
    DEADLINE,
    app::meanwhile,
    eventually,
    pgwire::{Mishap, Proxy},
    postgres::{Database, config},
    queue::{LEASE, end, noop, tools},
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

#[actix_rt::test]
async fn a_wake_up_that_comes_while_a_worker_asks_when_to_look_next_is_not_forgotten() {
    let (database, folder) = (Database::new(), tempfile::tempdir().unwrap());
    let (store, proxy) = overheard(&database).await;
    let (asks, mut asked) = mpsc::unbounded_channel();
    proxy.let_fate(move |sql, _| {
        let is_ask = sql.starts_with("select case when exists");
        if is_ask {
            asks.send(()).unwrap();
        }
        is_ask.then_some(Mishap::Late(Duration::from_millis(10)))
    });
    let (direct, store): (PostgresStore, Arc<dyn Store>) = (database.store().await, Arc::new(store));
    let tools = tools(&store, Arc::new(Offline { pace: Duration::ZERO }), folder.path());
    let times = WorkerConfig { slots: 1, lease: LEASE, job_limit: DEADLINE, rest_at_most: 100 * DEADLINE, stop_within: DEADLINE };
    let worker = Worker::start(tools.clone(), times).unwrap();
    for _ in 0..3 {
        // In vain, each time: it rests for longer and longer, and waits a little before it looks for who wakes it.
        for _ in 0..8 {
            tools.wakeups.send(Wakeup::Jobs);
            timeout(DEADLINE, asked.recv()).await.unwrap();
            meanwhile(Duration::from_millis(50)).await;
            while asked.try_recv().is_ok() {}
        }
        tools.wakeups.send(Wakeup::Jobs);
        timeout(DEADLINE, asked.recv()).await.unwrap();
        let job = noop("ada");
        let id = job.id;
        direct.enqueue(vec![job]).await.unwrap();
        tools.wakeups.send(Wakeup::Jobs);
        let is_done = async || (direct.show_job(id).await.unwrap()?.job.state == State::Completed).then_some(());
        eventually("the job is done", is_done).await;
    }
    worker.stop().await;
    direct.close().await;
}
