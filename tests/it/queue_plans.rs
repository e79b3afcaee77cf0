//! How PostgreSQL runs what the queue asks: by indexes alone, however full the tables are.

use std::time::Duration;

use persona_community::{
    id::WorkerId,
    job::{Chore, Kind, NewJob, State, Work},
    store::{AdminFilter, Conclusion, Idempotency, JobFilter, QueueStore as _, Request, Scope, Store, Then},
    timestamp::Timestamp,
};

use crate::support::{
    postgres::Database,
    queue::{LEASE, end, id, noop, retry},
};

/// Jobs of before: waiting for a worker and for their time, running, ended.
const FILL: &str = "
    insert into worker select gen_random_uuid(), 9e15::int8 from generate_series(1, 50);
    insert into queue_shard select * from generate_series(0, 15);
    insert into queue_lane select shard, kind, priority, 0 from generate_series(0, 15) shard, unnest(array['noop', 'housekeeping']) kind,
        generate_series(0, 2) priority;
    insert into job (bucket, id, shard, kind, user_id, state, turn, run_at, work, created_at, worker)
        select get_byte(decode(replace(id::text, '-', ''), 'hex'), 15) % 16, id, n % 16, 'noop', 'user-' || n % 500, n % 4, n / 500,
            case when n % 4 in (1, 2) then 8e15 else 1 end, '{\"kind\":\"noop\"}', 1,
            case when n % 4 = 3 then (select worker.id from worker limit 1) end
        from (select n, gen_random_uuid() as id from generate_series(1, 20000) n) new;
    insert into job_done (bucket, state, id, kind, user_id, priority, fence, tries, work, errors, created_at, finished_at)
        select get_byte(decode(replace(id::text, '-', ''), 'hex'), 15) % 16, 4 + n % 3, id, 'noop', 'user-' || n % 500, 0, 1, 1,
            '{\"kind\":\"noop\"}', '[]', 1, 1
        from (select n, gen_random_uuid() as id from generate_series(1, 20000) n) new;
    insert into tick select 'tick', n from generate_series(1, 1000) n;
    insert into idempotency (user_id, key, fingerprint, response, shard)
        select 'user-' || n % 500, n::text, 'x', '', n % 16 from generate_series(1, 5000) n;
    insert into outbox (shard, id, event) select n % 16, gen_random_uuid(), '{}' from generate_series(1, 5000) n";

/// Has every statement of the queue sent at least once.
pub async fn do_everything(store: &dyn Store) {
    let (ada, worker, other) = (id("ada"), WorkerId::new(), WorkerId::new());
    let idempotency = Some(Idempotency { key: "key".into(), fingerprint: [1; 32], response: String::new() });
    let request = Request {
        user: ada.clone(),
        message: None,
        jobs: (0..8).map(|_| noop("ada")).collect(),
        idempotency,
        max_waiting: 9,
        is_over_daily_limit: false,
    };
    store.accept(request).await.unwrap();
    let later = NewJob { run_at: Some(Timestamp::now().after(Duration::from_millis(1))), unique_key: Some("key".into()), ..noop("ada") };
    store.enqueue(vec![later]).await.unwrap();
    store.begin_tick("tick", Timestamp::now(), NewJob::new(ada.clone(), Work::Housekeeping { chore: Chore::ForgetKeys })).await.unwrap();
    store.last_tick("tick").await.unwrap();
    store.pause_kind(Kind::Housekeeping, true).await.unwrap();
    for scope in [Scope::User, Scope::Kind(Kind::Noop), Scope::Provider("gemini".into())] {
        store.set_limit(scope, Some(1_000_000)).await.unwrap();
    }
    store.limits().await.unwrap();
    tokio::time::sleep(Duration::from_millis(3)).await;
    store.next_look(worker).await.unwrap();
    let claimed = store.claim(worker, 100, LEASE).await.unwrap().jobs;
    // After one that had little to choose from, as in an empty database, a claim does without a look.
    store.claim(worker, 1, LEASE).await.unwrap();
    store.heartbeat(worker, LEASE).await.unwrap();
    store.progress(worker, claimed[0].fence, 10, "note").await.unwrap();
    store.acquire(worker, claimed[0].fence, "gemini", 10).await.unwrap();
    let thens = [end(State::Completed), end(State::Discarded), retry(LEASE), Then::Snooze { pause: LEASE }, Then::GiveBack];
    let conclusions = claimed.iter().zip(thens).map(|(job, then)| Conclusion::new(job.fence, then)).collect();
    store.conclude(worker, conclusions).await.unwrap();
    let [discarded, retryable, given_back] = [1, 2, 4].map(|place| claimed[place].fence.job);
    store.position(&claimed[4].user, given_back).await.unwrap();
    store.retry_job(discarded).await.unwrap();
    store.retry_job(retryable).await.unwrap();
    store.show_job(claimed[0].fence.job).await.unwrap();
    store.job(&ada, claimed[0].fence.job).await.unwrap();
    for state in State::ALL.iter().copied().map(Some).chain([None]) {
        let (kind, before) = (Some(Kind::Noop), Some(discarded));
        store.jobs(&ada, JobFilter { state, kind, before, limit: 5 }).await.unwrap();
        store.list_jobs(AdminFilter { state, kind, user: Some(ada.clone()), before, limit: 5 }).await.unwrap();
        store.list_jobs(AdminFilter { state, limit: 5, ..AdminFilter::default() }).await.unwrap();
    }
    store.queue_stats().await.unwrap();
    store.depth().await.unwrap();
    store.stop_job(&claimed[4].user, given_back, LEASE).await.unwrap();
    store.stop_any_job(claimed[5].fence.job, LEASE).await.unwrap();
    store.stop_any_job(claimed[0].fence.job, LEASE).await.unwrap();
    store.retire(worker).await.unwrap();
    store.abandoned(other, 10, LEASE).await.unwrap();
    store.prune_finished(Duration::ZERO, Duration::ZERO, 10).await.unwrap();
    store.prune_keys(Duration::ZERO, 10).await.unwrap();
    store.prune_ticks(Duration::ZERO, 10).await.unwrap();
    store.expire_all().await.unwrap();
}

#[tokio::test]
async fn nothing_that_the_queue_asks_walks_through_a_table() {
    let database = Database::new();
    let client = database.client().await;
    client.batch_execute(FILL).await.unwrap();
    client.batch_execute("vacuum analyze").await.unwrap();
    let walks = async || {
        let rows = client.query("select relname::text, seq_scan from pg_stat_user_tables order by relname", &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(String, i64)>>()
    };
    let store = database.store().await;
    // The server counts what a session has done when that ends.
    client.batch_execute("select pg_stat_force_next_flush()").await.unwrap();
    let before = walks().await;
    do_everything(&store).await;
    store.close().await;
    let begun = std::time::Instant::now();
    let sessions = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    while client.query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the sessions do not end");
        tokio::task::yield_now().await;
    }
    let walked: Vec<_> = walks().await.into_iter().filter(|now| !before.contains(now)).collect();
    assert!(walked.is_empty(), "{walked:?}, where it was {before:?}");
}

/// Waits until the store's sessions are gone: what a session has read is counted when it ends.
async fn entries_read(client: &tokio_postgres::Client) -> i64 {
    let (begun, sessions) =
        (std::time::Instant::now(), "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'persona'");
    while client.query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the sessions do not end");
        tokio::task::yield_now().await;
    }
    client.query_one("select idx_tup_read from pg_stat_user_indexes where indexrelname = 'job_available'", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn claims_do_not_wade_through_what_was_claimed_while_an_old_transaction_keeps_it() {
    const REMAINS: i64 = 5000;
    let database = Database::new();
    let (client, old, worker) = (database.client().await, database.client().await, WorkerId::new());
    old.batch_execute("begin isolation level repeatable read; select count(*) from worker").await.unwrap();
    let claim = async |store: &dyn Store, room| {
        let jobs = store.claim(worker, room, LEASE).await.unwrap().jobs;
        let ended = jobs.iter().map(|job| Conclusion::new(job.fence, end(State::Completed))).collect();
        assert!(store.conclude(worker, ended).await.unwrap().into_iter().all(|held| held));
        jobs.len()
    };
    let jobs = |count| (0..count).map(|number| noop(&format!("user-{}", number % 10))).collect::<Vec<_>>();
    let store = database.store().await;
    for _ in 0..10 {
        store.enqueue(jobs(REMAINS / 10)).await.unwrap();
        while claim(&store, 100).await > 0 {}
    }
    store.close().await;
    let before = entries_read(&client).await;
    let store = database.store().await;
    store.enqueue(jobs(400)).await.unwrap();
    for _ in 0..20 {
        assert!(claim(&store, 10).await > 0);
    }
    store.close().await;
    let read = entries_read(&client).await - before;
    // To look and to claim from the very beginning each time would be forty times as many.
    assert!(read < 10 * REMAINS, "{read} entries were read for twenty claims");
}
