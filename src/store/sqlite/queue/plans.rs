//! How SQLite means to run each statement of the queue: none may walk through a table.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use diesel::{
    Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection,
    connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation},
    sql_query,
    sql_types::Text,
};

use crate::{
    id::{UserId, WorkerId},
    job::{Chore, Kind, NewJob, State, Work},
    store::{
        AdminFilter, Conclusion, Ending, Idempotency, JobFilter, QueueAdmin as _, QueueStore as _, QueueUpkeep as _, Request, Scope, SqliteStore,
        Store as _, Then,
    },
    timestamp::Timestamp,
};

static SENT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Keeps the text of every statement.
struct Listening;

impl Instrumentation for Listening {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let text = query.to_string();
            let statement = text.split(" -- binds:").next().unwrap_or_default().to_owned();
            SENT.lock().unwrap_or_else(PoisonError::into_inner).insert(statement);
        }
    }
}

const LEASE: Duration = Duration::from_mins(1);

fn job(user: &UserId) -> NewJob {
    NewJob::new(user.clone(), Work::Noop {})
}

fn end(state: State) -> Then {
    Then::End(Box::new(Ending { state, result: None, error: Some("it failed".into()), message: None, outgoing: None }))
}

/// Has every statement of the queue sent at least once.
async fn do_everything(store: &SqliteStore) {
    let (ada, worker, other): (UserId, _, _) = ("ada".parse().unwrap(), WorkerId::new(), WorkerId::new());
    let idempotency = Some(Idempotency { key: "key".into(), fingerprint: [1; 32], response: String::new() });
    let request = Request {
        user: ada.clone(),
        message: None,
        jobs: (0..8).map(|_| job(&ada)).collect(),
        idempotency,
        max_waiting: 9,
        is_over_daily_limit: false,
    };
    store.accept(request).await.unwrap();
    let later = NewJob { run_at: Some(Timestamp::now().after(Duration::from_millis(1))), unique_key: Some("key".into()), ..job(&ada) };
    store.enqueue(vec![later]).await.unwrap();
    store.begin_tick("tick", Timestamp::now(), NewJob::new(ada.clone(), Work::Housekeeping { chore: Chore::ForgetKeys })).await.unwrap();
    store.last_tick("tick").await.unwrap();
    store.pause_kind(Kind::Housekeeping, true).await.unwrap();
    for scope in [Scope::User, Scope::Kind(Kind::Noop), Scope::Provider("gemini".into())] {
        store.set_limit(scope, Some(100)).await.unwrap();
    }
    store.limits().await.unwrap();
    tokio::time::sleep(Duration::from_millis(3)).await;
    store.next_look(worker).await.unwrap();
    let claimed = store.claim(worker, 100, LEASE).await.unwrap().jobs;
    store.heartbeat(worker, LEASE).await.unwrap();
    store.progress(worker, claimed[0].fence, 10, "note").await.unwrap();
    store.acquire(worker, claimed[0].fence, "gemini", 10).await.unwrap();
    let retry = Then::Retry { pause: LEASE, error: "it failed".into(), crash: true };
    let thens = [end(State::Completed), end(State::Discarded), retry, Then::Snooze { pause: LEASE }, Then::GiveBack];
    let conclusions = claimed.iter().zip(thens).map(|(job, then)| Conclusion::new(job.fence, then)).collect();
    store.conclude(worker, conclusions).await.unwrap();
    let [discarded, retryable, given_back] = [1, 2, 4].map(|place| claimed[place].fence.job);
    store.position(&ada, given_back).await.unwrap();
    store.retry_job(discarded).await.unwrap();
    store.retry_job(retryable).await.unwrap();
    store.show_job(claimed[0].fence.job).await.unwrap();
    store.job(&ada, claimed[0].fence.job).await.unwrap();
    for state in State::ALL.iter().copied().map(Some).chain([None]) {
        let (kind, before) = (Some(Kind::Noop), Some(discarded));
        store.jobs(&ada, JobFilter { state, kind, before, limit: 5 }).await.unwrap();
        store.jobs(&ada, JobFilter { state, limit: 5, ..JobFilter::default() }).await.unwrap();
        store.list_jobs(AdminFilter { state, kind, user: Some(ada.clone()), before, limit: 5 }).await.unwrap();
        store.list_jobs(AdminFilter { state, limit: 5, ..AdminFilter::default() }).await.unwrap();
    }
    store.queue_stats().await.unwrap();
    store.depth().await.unwrap();
    store.stop_job(&ada, given_back, LEASE).await.unwrap();
    store.stop_any_job(claimed[5].fence.job, LEASE).await.unwrap();
    store.stop_any_job(claimed[0].fence.job, LEASE).await.unwrap();
    store.retire(worker).await.unwrap();
    store.abandoned(other, 10, LEASE).await.unwrap();
    store.expire_all().await.unwrap();
    store.prune_finished(Duration::ZERO, Duration::ZERO, 10).await.unwrap();
    store.prune_keys(Duration::ZERO, 10).await.unwrap();
    store.prune_ticks(Duration::ZERO, 10).await.unwrap();
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// What may be walked through: tables of a few rows, indexes that hold nothing but what is asked for, and for an operator
/// what lives, from the newest on until a page is full.
fn is_small(statement: &str, detail: &str) -> bool {
    // One of none is asked for: SQLite sees that first, and walks nowhere.
    if statement.contains("1=0") {
        return true;
    }
    // From the newest on it is a walk as well.
    let is_walk = ["SCAN job", "SEARCH job USING PRIMARY KEY (id<?)"].contains(&detail);
    if is_walk && statement.ends_with("ORDER BY `job`.`id` DESC LIMIT ?") && !statement.contains("user_id` = ") {
        return true;
    }
    let Some(walked) = detail.strip_prefix("SCAN ") else { return !is_walk };
    let table = walked.split(' ').next().unwrap_or_default();
    // A worker, a limit, a tick, a value of the statement itself, what other lines of the plan have found.
    let is_tiny = ["worker", "queue_limit", "tick", "given", "waiting", "ended", "mine", "CONSTANT"].contains(&table) || walked.starts_with('(');
    // The jobs that run, that wait for their time, and, for figures, those that wait.
    let holds_only_it =
        ["job_running", "job_later", "job_available", "job_turn_of_user"].iter().any(|index| walked.contains(&format!("INDEX {index}")));
    is_tiny || holds_only_it
}

/// Whether it passes over what has ended in search of a kind.
fn passes_over(statement: &str, detail: &str) -> bool {
    let asks = statement.contains("kind = ?") || statement.contains("`kind` = ?");
    let finds = ["(kind=?", "(user_id=?", "(id=?"].iter().any(|key| detail.contains(key));
    asks && detail.starts_with("SEARCH job_done ") && !finds
}

#[tokio::test]
async fn no_statement_walks_through_a_table() {
    set_default_instrumentation(|| Some(Box::new(Listening))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("persona.sqlite");
    let store = SqliteStore::open(&path).unwrap();
    SENT.lock().unwrap().clear();
    do_everything(&store).await;
    let sent = SENT.lock().unwrap().clone();
    assert!(sent.iter().filter(|statement| statement.contains("job")).count() > 40, "{sent:#?}");
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let mut walking = Vec::new();
    for statement in sent {
        let first = statement.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        if !["select", "insert", "update", "delete", "with"].contains(&first.as_str()) {
            continue;
        }
        let plan: Vec<Line> = sql_query(format!("explain query plan {statement}")).load(&mut connection).unwrap();
        let lines = plan.into_iter().map(|line| line.detail).filter(|detail| !is_small(&statement, detail) || passes_over(&statement, detail));
        walking.extend(lines.map(|detail| format!("{detail}: {statement}")));
    }
    assert!(walking.is_empty(), "{walking:#?}");
}
