//! How long jobs wait at a rate.
//!
//! A job waits in the queue from the moment its asker was told that it is durable until it is claimed, which its claim notes on
//! the store's clock; both clocks are this machine's. What comes before is its asker's time in line, told as well: from the
//! moment it was due on. When its handler began nothing notes; that lies between the claim and the end, so the end is told too.
//! Jobs that are due together are enqueued together, as a busy service does, so that the rate can be held. The store keeps
//! moments in milliseconds, so that a single wait is right to one of them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{USERS, crew::Crew, drained, job};
use crate::{
    bench::report::{per_second, rounded},
    id::JobId,
    job::NewJob,
    store::{JobFilter, Store},
    wake::{Wakeup, Wakeups},
};

/// How often jobs are enqueued: all that are due.
const EVERY: Duration = Duration::from_millis(1);
/// In how many transactions at once; what is due meanwhile goes into the next one.
const AT_ONCE: usize = 4;

/// In milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Waits {
    #[serde(rename = "p50_ms")]
    pub p50: f64,
    #[serde(rename = "p99_ms")]
    pub p99: f64,
}

/// What was found at a rate.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct AtRate {
    /// What was asked for, and what was taken: where that is less, the waits are those of a machine that can't keep up.
    pub asked_per_s: f64,
    pub taken_per_s: f64,
    /// From the moment a job was durable to its claim.
    pub wait: Waits,
    /// From the request to the claim.
    pub from_request: Waits,
    /// From the moment a job was durable to its end.
    pub to_end: Waits,
}

/// A job that was asked for.
struct Asked {
    id: JobId,
    /// When it was due, in milliseconds since 1970, as the store has them.
    at: f64,
    /// When it was known to be durable.
    taken: f64,
}

/// Asks for jobs at this rate for so long, and says how long the jobs have waited.
pub(super) async fn at(store: &Arc<dyn Store>, crew: &Crew, rate: f64, lasts: Duration) -> Result<AtRate> {
    let (begun, first) = (Instant::now(), now()?);
    let (mut count, mut asking, mut asked) = (0, JoinSet::new(), Vec::new());
    while begun.elapsed() < lasts {
        while let Some(done) = asking.try_join_next() {
            asked.extend(done??);
        }
        let due = (begun.elapsed().as_secs_f64() * rate) as usize;
        if due > count && asking.len() < AT_ONCE {
            let jobs = (count..due).map(|number| (job(number), first + number as f64 / rate * 1e3)).collect();
            asking.spawn(enqueue(store.clone(), crew.wakeups(), jobs));
            count = due;
        }
        tokio::time::sleep(EVERY).await;
    }
    while let Some(done) = asking.join_next().await {
        asked.extend(done??);
    }
    let taken_per_s = per_second(asked.len() as u64, begun.elapsed().as_secs_f64());
    drained(&**store).await?;
    let [wait, from_request, to_end] = told(&**store, &asked).await?;
    Ok(AtRate { asked_per_s: rounded(rate), taken_per_s, wait, from_request, to_end })
}

/// Enqueues jobs, each with the moment it was due, and wakes who does them, as the service does.
async fn enqueue(store: Arc<dyn Store>, wakeups: Wakeups, jobs: Vec<(NewJob, f64)>) -> Result<Vec<Asked>> {
    let due: Vec<(JobId, f64)> = jobs.iter().map(|(job, at)| (job.id, *at)).collect();
    store.enqueue(jobs.into_iter().map(|(job, _)| job).collect()).await?;
    let taken = now()?;
    wakeups.send(Wakeup::Jobs);
    Ok(due.into_iter().map(|(id, at)| Asked { id, at, taken }).collect())
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3)
}

/// The waits, those with the time in line, and the times to the end.
async fn told(store: &dyn Store, asked: &[Asked]) -> Result<[Waits; 3]> {
    let by_id: HashMap<JobId, &Asked> = asked.iter().map(|asked| (asked.id, asked)).collect();
    let (mut waits, mut from_request, mut to_end) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..USERS {
        let filter = JobFilter { limit: asked.len() / USERS + 2, ..JobFilter::default() };
        for done in store.jobs(&job(number).user, filter).await? {
            if let (Some(asked), Some(started), Some(finished)) = (by_id.get(&done.job_id), done.started_at, done.finished_at) {
                // What is claimed before its asker was told has not waited.
                waits.push((started.millis() as f64 - asked.taken).max(0.0));
                from_request.push((started.millis() as f64 - asked.at).max(0.0));
                to_end.push((finished.millis() as f64 - asked.taken).max(0.0));
            }
        }
    }
    ensure!(waits.len() == asked.len(), "of {} jobs {} are done", asked.len(), waits.len());
    Ok([percentiles(waits)?, percentiles(from_request)?, percentiles(to_end)?])
}

/// Of so many milliseconds each.
pub(super) fn percentiles(mut waits: Vec<f64>) -> Result<Waits> {
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied().map(rounded);
    Ok(Waits { p50: at(0.5).context("no job was done")?, p99: at(0.99).context("no job was done")? })
}
