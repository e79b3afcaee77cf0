//! How long jobs wait at a rate.
//!
//! From the request for a job, on this process's clock, to its claim, on the store's: both are this machine's. The store
//! keeps moments in milliseconds, so that a single wait is right to one of them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};

use super::{USERS, ask, crew::Crew, drained, job};
use crate::{
    bench::report,
    id::JobId,
    store::{JobFilter, Store},
};

/// How often jobs are asked for: all that are due at once.
const EVERY: Duration = Duration::from_millis(1);

/// In milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    pub p50: f64,
    pub p99: f64,
}

/// Asks for jobs at this rate for so long, and says how long the jobs have waited.
pub(super) async fn at(store: &Arc<dyn Store>, crew: &Crew, rate: f64, lasts: Duration) -> Result<Waits> {
    let (begun, mut called, mut under_way) = (Instant::now(), HashMap::new(), tokio::task::JoinSet::new());
    while begun.elapsed() < lasts {
        let due = (begun.elapsed().as_secs_f64() * rate) as usize;
        if due > called.len() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
            for job in (called.len()..due).map(job) {
                called.insert(job.id, now);
                let store = store.clone();
                under_way.spawn(async move { ask(&*store, job).await });
            }
        }
        while let Some(done) = under_way.try_join_next() {
            done??;
            crew.wake();
        }
        tokio::time::sleep(EVERY).await;
    }
    while let Some(done) = under_way.join_next().await {
        done??;
        crew.wake();
    }
    drained(&**store).await?;
    told(&**store, &called).await
}

async fn told(store: &dyn Store, called: &HashMap<JobId, f64>) -> Result<Waits> {
    let mut waits = Vec::with_capacity(called.len());
    for number in 0..USERS {
        let filter = JobFilter { limit: called.len() / USERS + 2, ..JobFilter::default() };
        for done in store.jobs(&job(number).user, filter).await? {
            if let (Some(called), Some(started)) = (called.get(&done.job_id), done.started_at) {
                waits.push((started.millis() as f64 - called).max(0.0));
            }
        }
    }
    ensure!(waits.len() == called.len(), "of {} jobs {} are done", called.len(), waits.len());
    percentiles(waits)
}

/// Of so many milliseconds each.
pub(super) fn percentiles(mut waits: Vec<f64>) -> Result<Waits> {
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied().map(report::rounded);
    Ok(Waits { p50: at(0.5).context("no job was done")?, p99: at(0.99).context("no job was done")? })
}
