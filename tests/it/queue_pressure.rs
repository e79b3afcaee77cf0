//! A worker whose results can't be written: it doesn't take in more and more.

use std::{cell::Cell, sync::Arc, time::Duration};

use persona_community::{
    providers::offline::Offline,
    store::Store,
    worker::{Worker, WorkerConfig},
};

use crate::support::{
    DEADLINE, eventually,
    postgres::Database,
    queue::{noop, tools},
};

const JOBS: i64 = 6000;
/// A batch on its way, two that wait, what executors hold, and what is claimed ahead of them.
const MOST: usize = 500 + 1000 + SLOTS + 1000;
const SLOTS: usize = 32;

#[test]
fn while_nothing_can_be_concluded_a_worker_claims_no_more_than_it_can_hold_and_then_each_job_ends_once() {
    actix_rt::System::new().block_on(async {
        let database = Database::new();
        let store: Arc<dyn Store> = Arc::new(database.store().await);
        let (client, folder) = (database.client().await, tempfile::tempdir().unwrap());
        for _ in 0..JOBS / 500 {
            store.enqueue((0..500).map(|user| noop(&format!("user-{user}"))).collect()).await.unwrap();
        }
        client.batch_execute("begin; lock table job_done in share mode").await.unwrap();
        let tools = tools(&store, Arc::new(Offline { pace: Duration::ZERO }), folder.path());
        let (lease, rest_at_most) = (DEADLINE, Duration::from_secs(1));
        let config = WorkerConfig { slots: SLOTS, lease, job_limit: DEADLINE, rest_at_most, stop_within: DEADLINE };
        let worker = Worker::start(tools, config).unwrap();

        let count = async |of: &str| client.query_one(&format!("select count(*) from {of}"), &[]).await.unwrap().get::<_, i64>(0);
        let (before, alike) = (Cell::new(0), Cell::new(0));
        let held = eventually("nothing more is claimed", async || {
            let running = count("job where state = 3").await;
            alike.set(if before.replace(running) == running { alike.get() + 1 } else { 0 });
            (running > 1000 && alike.get() == 50).then_some(running)
        });
        let held = held.await;
        assert!(usize::try_from(held).unwrap() <= MOST, "{held} jobs are held");
        client.batch_execute("commit").await.unwrap();
        eventually("all is done", async || (count("job").await == 0).then_some(())).await;
        assert_eq!(count("job_done where kind = 'noop' and state = 4 and tries = 1").await, JOBS);
        worker.stop().await;
        store.close().await;
    });
}
