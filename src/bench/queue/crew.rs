//! Those who do the jobs of the benchmark.

use std::{io::Write as _, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};

use super::Options;
use crate::{
    bench::process::Process,
    log::{Limits, MemoryLog, News},
    media::MediaStore,
    outbox::Outbox,
    providers::offline::Offline,
    store::Store,
    usage::{DailyLimits, Prices},
    wake::Wakeups,
    worker::{Tools, Worker, WorkerConfig, jobs::housekeeping::Retention, place::Limited},
};

/// All workers.
pub(super) struct Crew {
    here: Worker,
    wakeups: Wakeups,
    /// They end with their input.
    _away: Vec<Process>,
}

impl Crew {
    pub(super) fn start(store: Arc<dyn Store>, folder: &Path, options: &Options) -> Result<Self> {
        let mut away = Vec::new();
        for _ in 1..options.workers {
            let mut process = Process::start(&["bench", "queue-worker", &options.slots.to_string()], &[("RUST_LOG", "warn")])?;
            let url = options.database_url.as_deref().context("several workers need a database that they share")?;
            writeln!(process.input(), "{url}").context("a worker process is gone")?;
            away.push(process);
        }
        let (here, wakeups) = worker(store, folder, options.slots)?;
        Ok(Self { here, wakeups, _away: away })
    }

    /// Where it is said that there are jobs, to who can hear it.
    pub(super) fn wakeups(&self) -> Wakeups {
        self.wakeups.clone()
    }

    pub(super) async fn stop(self) {
        self.here.stop().await;
    }
}

/// A worker on a thread of this process.
pub(super) fn worker(store: Arc<dyn Store>, folder: &Path, slots: usize) -> Result<(Worker, Wakeups)> {
    let limits = Limits { events: 1000, bytes: 1 << 20, retention: Duration::from_mins(1) };
    let log = Arc::new(MemoryLog::new(limits, Arc::new(|_: News| {})));
    let wakeups = Wakeups::default();
    let tools = Tools {
        outbox: Outbox::start(store.clone(), log.clone()),
        store,
        log,
        provider: Arc::new(Offline { pace: Duration::ZERO }),
        media: MediaStore::open(folder.join("media"))?,
        wakeups: wakeups.clone(),
        context_tokens: 1000,
        retention: Retention { jobs: None, dead_letters: None, messages: None, media: None },
        prices: Arc::new(Prices::default()),
        daily_limits: DailyLimits::default(),
        limited: Limited::default(),
    };
    let config = WorkerConfig {
        slots,
        lease: Duration::from_secs(30),
        job_limit: Duration::from_mins(1),
        rest_at_most: Duration::from_secs(1),
        stop_within: Duration::from_secs(10),
    };
    Ok((Worker::start(tools, config).context("the worker can't start")?, wakeups))
}
