//! Settings of the queue and its workers, and of how long things are kept.

use std::time::Duration;

use clap::Args;

use super::wrong::Wrong;
use crate::{
    store::{Limit, Scope},
    worker::{WorkerConfig, jobs::housekeeping::Retention},
};

#[derive(Debug, Clone, Args)]
pub struct QueueSettings {
    /// Jobs that run at once
    #[arg(long = "persona-worker-slots", env = "PERSONA_WORKER_SLOTS", default_value = "32", value_name = "COUNT")]
    worker_slots: String,
    /// How long a worker may be silent before its job is given to another, in seconds
    #[arg(long = "persona-lease-seconds", env = "PERSONA_LEASE_SECONDS", default_value = "30", value_name = "SECONDS")]
    lease_seconds: String,
    /// How long one attempt at a job may take, in seconds
    #[arg(long = "persona-job-seconds", env = "PERSONA_JOB_SECONDS", default_value = "600", value_name = "SECONDS")]
    job_seconds: String,
    /// How often an idle worker looks for jobs at least, though nobody wakes it, in seconds
    #[arg(long = "persona-poll-seconds", env = "PERSONA_POLL_SECONDS", default_value = "30", value_name = "SECONDS")]
    poll_seconds: String,
    /// The most jobs that may run at once, all workers together: kind:generate_image=4,user=2,provider:gemini=16
    #[arg(long = "persona-job-limits", env = "PERSONA_JOB_LIMITS", value_name = "LIMITS")]
    job_limits: Option<String>,
    /// Jobs one user may have waiting; 0 means no limit
    #[arg(long = "persona-max-jobs-per-user", env = "PERSONA_MAX_JOBS_PER_USER", default_value = "100", value_name = "COUNT")]
    max_jobs_per_user: String,
    /// How long finished jobs are kept, in days; 0 means for ever
    #[arg(long = "persona-keep-jobs-days", env = "PERSONA_KEEP_JOBS_DAYS", default_value = "7", value_name = "DAYS")]
    keep_jobs_days: String,
    /// How long jobs that were given up are kept, in days; 0 means for ever
    #[arg(long = "persona-keep-dead-letters-days", env = "PERSONA_KEEP_DEAD_LETTERS_DAYS", default_value = "30", value_name = "DAYS")]
    keep_dead_letters_days: String,
    /// How long messages are kept, in days; 0 means for ever
    #[arg(long = "persona-keep-messages-days", env = "PERSONA_KEEP_MESSAGES_DAYS", default_value = "0", value_name = "DAYS")]
    keep_messages_days: String,
    /// How long pictures are kept, in days; 0 means for ever
    #[arg(long = "persona-keep-media-days", env = "PERSONA_KEEP_MEDIA_DAYS", default_value = "0", value_name = "DAYS")]
    keep_media_days: String,
}

/// How jobs are taken and run.
#[derive(Debug, Clone)]
pub struct QueueConfig {
    pub worker: WorkerConfig,
    /// What is set at every start; limits that don't stand here stay as they were set.
    pub limits: Vec<Limit>,
    pub max_jobs_per_user: usize,
    pub retention: Retention,
}

impl QueueSettings {
    /// `stop_within` is how long a stop may take, for the worker as for the service.
    pub(super) fn read(&self, stop_within: Duration, wrong: &mut Wrong) -> QueueConfig {
        QueueConfig {
            worker: WorkerConfig {
                slots: wrong.count(&self.worker_slots, "PERSONA_WORKER_SLOTS", 1),
                lease: wrong.seconds(&self.lease_seconds, "PERSONA_LEASE_SECONDS", 1),
                job_limit: wrong.seconds(&self.job_seconds, "PERSONA_JOB_SECONDS", 1),
                rest_at_most: wrong.seconds(&self.poll_seconds, "PERSONA_POLL_SECONDS", 1),
                stop_within,
            },
            limits: limits(self.job_limits.as_deref().unwrap_or_default(), wrong),
            max_jobs_per_user: wrong.count(&self.max_jobs_per_user, "PERSONA_MAX_JOBS_PER_USER", 0),
            retention: Retention {
                jobs: days(&self.keep_jobs_days, "PERSONA_KEEP_JOBS_DAYS", wrong),
                dead_letters: days(&self.keep_dead_letters_days, "PERSONA_KEEP_DEAD_LETTERS_DAYS", wrong),
                messages: days(&self.keep_messages_days, "PERSONA_KEEP_MESSAGES_DAYS", wrong),
                media: days(&self.keep_media_days, "PERSONA_KEEP_MEDIA_DAYS", wrong),
            },
        }
    }
}

/// A time in days; nothing for ever.
fn days(text: &str, name: &str, wrong: &mut Wrong) -> Option<Duration> {
    let days = wrong.number(text, name, 0, 36_500) as u64;
    (days > 0).then(|| Duration::from_hours(24 * days))
}

fn limits(text: &str, wrong: &mut Wrong) -> Vec<Limit> {
    let limit = |part: &str| {
        let (scope, most) = part.split_once('=')?;
        Some(Limit { scope: scope.trim().parse::<Scope>().ok()?, most: most.trim().parse().ok()? })
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts.map(limit).collect::<Option<_>>().unwrap_or_else(|| {
        wrong.add("PERSONA_JOB_LIMITS", text, "SCOPE=COUNT,SCOPE=COUNT, a scope being user, kind:KIND or provider:NAME");
        Vec::new()
    })
}
