//! Settings of the queue and its workers.

use std::time::Duration;

use clap::Args;

use super::wrong::Wrong;
use crate::worker::WorkerConfig;

#[derive(Debug, Clone, Args)]
pub struct QueueSettings {
    /// Jobs that run at once
    #[arg(long = "persona-worker-slots", env = "PERSONA_WORKER_SLOTS", default_value = "32", value_name = "COUNT")]
    worker_slots: String,
    /// How long a worker may be silent before its job is given to another, in seconds
    #[arg(long = "persona-lease-seconds", env = "PERSONA_LEASE_SECONDS", default_value = "30", value_name = "SECONDS")]
    lease_seconds: String,
    /// Jobs one user may have waiting; 0 means no limit
    #[arg(long = "persona-max-jobs-per-user", env = "PERSONA_MAX_JOBS_PER_USER", default_value = "100", value_name = "COUNT")]
    max_jobs_per_user: String,
}

/// How jobs are taken and run.
#[derive(Debug, Clone, Copy)]
pub struct QueueConfig {
    pub worker: WorkerConfig,
    pub max_jobs_per_user: usize,
}

impl QueueSettings {
    /// `stop_within` is how long a stop may take, for the worker as for the service.
    pub(super) fn read(&self, stop_within: Duration, wrong: &mut Wrong) -> QueueConfig {
        QueueConfig {
            worker: WorkerConfig {
                slots: wrong.count(&self.worker_slots, "PERSONA_WORKER_SLOTS", 1),
                lease: wrong.seconds(&self.lease_seconds, "PERSONA_LEASE_SECONDS", 1),
                stop_within,
            },
            max_jobs_per_user: wrong.count(&self.max_jobs_per_user, "PERSONA_MAX_JOBS_PER_USER", 0),
        }
    }
}
