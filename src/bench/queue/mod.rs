//! `persona bench queue`: how many jobs a second the queue takes and does, and how long one waits.
//!
//! The real store, poller, executors and completer do jobs of a kind that does nothing, with leases, fences, turns and limits as
//! always. One worker runs in this process, beside who enqueues, as in a program that is all in one; the others are processes
//! of their own, which no wake-up reaches.

mod crew;
mod floor;
mod past;
mod waits;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use self::{
    crew::Crew,
    waits::{AtRate, Waits},
};
use super::report::{self, per_second};
use crate::{
    id::UserId,
    job::{NewJob, State, Work},
    store::{Accepted, Depth, Isolation, JobFilter, PostgresConfig, PostgresStore, Request, SqliteStore, Store},
};

/// How many users take turns.
const USERS: usize = 1000;
/// What is enqueued in one go.
const BATCH: usize = 1000;
/// How many single jobs are enqueued, and by how many at once.
const SINGLES: usize = 4000;
const AT_ONCE: usize = 16;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// A database that holds nothing else: postgres://USER@HOST/DATABASE. Without it: SQLite in a folder of the run's own
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Jobs that are enqueued and done
    #[arg(long, default_value = "100000", value_parser = super::hub::at_least_one(), value_name = "COUNT")]
    jobs: usize,
    /// Worker processes; SQLite has one
    #[arg(long, default_value = "1", value_parser = super::hub::at_least_one(), value_name = "COUNT")]
    workers: usize,
    /// Jobs that a worker runs at once
    #[arg(id = "bench_slots", long = "slots", default_value = "32", value_parser = super::hub::at_least_one(), value_name = "COUNT")]
    slots: usize,
    /// How long each rate is held while waits are measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..), value_name = "SECONDS")]
    seconds: u32,
    /// Finished jobs that are there before
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    finished: u32,
    /// Hold a transaction open that is older than all jobs, so that nothing can be vacuumed; not on SQLite
    #[arg(long, requires = "database_url")]
    old_transaction: bool,
    /// Where the folder of the run is made; on a disk, or durability costs nothing
    #[arg(id = "bench_queue_folder", long = "folder", default_value = "/var/tmp", value_name = "FOLDER")]
    folder: PathBuf,
    /// Print the figures as one JSON object
    #[arg(id = "bench_queue_json", long = "json")]
    json: bool,
}

/// What was measured. The names are stable.
#[derive(Debug, Serialize)]
struct Figures {
    benchmark: &'static str,
    engine: &'static str,
    jobs: usize,
    workers: usize,
    slots: usize,
    /// What was there before.
    finished: u32,
    old_transaction: bool,
    /// Enqueued in batches.
    enqueue_per_s: f64,
    /// Asked for singly, by several users at once, as the service takes requests.
    enqueue_single_per_s: f64,
    jobs_per_s: f64,
    /// From the moment a job is durable to its claim, at a tenth of that rate.
    wait_p50_ms: f64,
    wait_p99_ms: f64,
    /// At a tenth of it, at half and at four fifths.
    tenth: AtRate,
    half: AtRate,
    most: AtRate,
    /// A claim of a hundred jobs after all that.
    claim_p50_ms: f64,
    claim_p99_ms: f64,
    /// A bare commit on the same disk in the same run.
    commit_p50_ms: f64,
    commit_p99_ms: f64,
}

/// Measures the queue.
pub async fn run(options: Options) -> Result<()> {
    let folder = folder_in(&options.folder)?;
    let (store, engine): (Arc<dyn Store>, _) = match &options.database_url {
        Some(url) => (Arc::new(open(url).await?), "postgres"),
        None => (Arc::new(SqliteStore::open(&folder.0.join("persona.sqlite"))?), "sqlite"),
    };
    ensure!(engine == "postgres" || options.workers == 1, "SQLite is one process's alone");
    let depth = store.depth().await?;
    ensure!(depth.waiting + depth.running == 0, "jobs wait in this database: it is in use");

    let mut old = None;
    match &options.database_url {
        Some(url) => old = Some(past::of_postgres(url, options.finished, options.old_transaction).await?),
        None if options.finished > 0 => past::of_sqlite(&folder.0.join("persona.sqlite"), options.finished)?,
        None => {}
    }
    let commit = match &options.database_url {
        Some(url) => floor::of_postgres(url).await?,
        None => floor::of_file(&folder.0)?,
    };
    let singles = enqueue_singly(&*store, SINGLES).await?;
    let batches = enqueue(&*store, options.jobs).await?;
    if let Some(url) = &options.database_url {
        past::settle(url).await?;
    }
    let crew = Crew::start(store.clone(), &folder.0, &options)?;
    let begun = Instant::now();
    drained(&*store).await?;
    let jobs_per_s = per_second((options.jobs + SINGLES) as u64, begun.elapsed().as_secs_f64());

    let lasts = Duration::from_secs(options.seconds.into());
    let tenth = waits::at(&store, &crew, jobs_per_s / 10.0, lasts).await?;
    let half = waits::at(&store, &crew, jobs_per_s / 2.0, lasts).await?;
    let most = waits::at(&store, &crew, jobs_per_s * 0.8, lasts).await?;
    crew.stop().await;
    let claims = past::claims(&*store).await?;
    drop(old);
    store.close().await;

    let figures = Figures {
        benchmark: "queue",
        engine,
        jobs: options.jobs,
        workers: options.workers,
        slots: options.slots,
        finished: options.finished,
        old_transaction: options.old_transaction,
        enqueue_per_s: per_second(options.jobs as u64, batches.as_secs_f64()),
        enqueue_single_per_s: per_second(SINGLES as u64, singles.as_secs_f64()),
        jobs_per_s,
        wait_p50_ms: tenth.wait.p50,
        wait_p99_ms: tenth.wait.p99,
        tenth,
        half,
        most,
        claim_p50_ms: claims.p50,
        claim_p99_ms: claims.p99,
        commit_p50_ms: commit.p50,
        commit_p99_ms: commit.p99,
    };
    let wait = |wait: Waits| format!("{:.2} / {:.2} ms (p50 / p99)", wait.p50, wait.p99);
    let at = |rate: AtRate| {
        let AtRate { wait, from_request, to_end, taken_per_s, .. } = rate;
        let each = [wait, from_request, to_end].map(|Waits { p50, p99 }| format!("{p50:.2} / {p99:.2}"));
        format!("{} ms (p50 / p99); {} from the request; {} to the end; {taken_per_s:.0} a second", each[0], each[1], each[2])
    };
    let rows = [
        ("jobs a second", format!("{jobs_per_s:.0}")),
        ("enqueued a second, in batches", format!("{:.0}", figures.enqueue_per_s)),
        ("asked for a second, singly", format!("{:.0}", figures.enqueue_single_per_s)),
        ("wait at a tenth of that rate", at(tenth)),
        ("wait at half of it", at(half)),
        ("wait at four fifths", at(most)),
        ("a claim of a hundred jobs", wait(claims)),
        ("a bare commit", wait(commit)),
    ];
    report::print(options.json, &figures, &rows)
}

/// A worker process of the benchmark: reads where the database is, and works until its input ends.
pub async fn work(slots: usize) -> Result<()> {
    let mut url = String::new();
    std::io::stdin().read_line(&mut url)?;
    let store: Arc<dyn Store> = Arc::new(open(url.trim()).await?);
    let folder = folder_in(Path::new("/var/tmp"))?;
    let (worker, _) = crew::worker(store.clone(), &folder.0, slots)?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    worker.stop().await;
    store.close().await;
    Ok(())
}

async fn open(url: &str) -> Result<PostgresStore> {
    let url = url.parse().context("--database-url")?;
    let config = PostgresConfig { url, connections: 8, timeout: Duration::from_secs(30), isolation: Isolation::OfEngine };
    PostgresStore::open(&config).await.context("the database can't be used")
}

fn job(number: usize) -> NewJob {
    let user: UserId = format!("user-{}", number % USERS).parse().expect("a plain name is an id");
    NewJob::new(user, Work::Noop {})
}

async fn enqueue(store: &dyn Store, count: usize) -> Result<Duration> {
    let begun = Instant::now();
    for first in (0..count).step_by(BATCH) {
        store.enqueue((first..count.min(first + BATCH)).map(job).collect()).await?;
    }
    Ok(begun.elapsed())
}

/// Has a job enqueued as the service takes a user's request: together with others that wait for the same commit.
async fn ask(store: &dyn Store, job: NewJob) -> Result<()> {
    let request = Request { user: job.user.clone(), message: None, jobs: vec![job], idempotency: None, max_waiting: 0, is_over_daily_limit: false };
    let accepted = store.accept(request).await?;
    ensure!(accepted == Accepted::New, "a job was not taken: {accepted:?}");
    Ok(())
}

async fn enqueue_singly(store: &dyn Store, count: usize) -> Result<Duration> {
    let begun = Instant::now();
    let mut enqueued = stream::iter(0..count).map(|number| ask(store, job(number))).buffer_unordered(AT_ONCE);
    while let Some(done) = enqueued.next().await {
        done?;
    }
    Ok(begun.elapsed())
}

/// Waits until nothing is left. To count costs more the more there is, so one user's jobs are asked for until none of them is left:
/// by the rule of turns all others have next to none then.
async fn drained(store: &dyn Store) -> Result<()> {
    let begun = Instant::now();
    for state in [State::Available, State::Running] {
        let left = JobFilter { state: Some(state), limit: 1, ..JobFilter::default() };
        while !store.jobs(&job(0).user, left).await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ensure!(begun.elapsed() < Duration::from_mins(10), "jobs are left after ten minutes");
        }
    }
    loop {
        let Depth { waiting, running, .. } = store.depth().await?;
        if waiting + running == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        ensure!(begun.elapsed() < Duration::from_mins(10), "{waiting} jobs wait and {running} run after ten minutes");
    }
}

/// A folder that is gone when it is dropped.
struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn folder_in(place: &Path) -> Result<Folder> {
    let folder = place.join(format!("persona-bench-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(Folder(folder))
}
