//! `housekeeping`: takes away what is no longer needed, and tells what was left untold.
//!
//! Everything goes in small steps, each a transaction of its own, so that nobody has to wait for it.

use std::time::Duration;

use super::Run;
use crate::{
    job::Chore,
    store::{Ending, StoreError},
    worker::{ending, publisher::Broken},
};

/// How many rows one step takes away.
const STEP: usize = 1000;
/// How long idempotency keys are good.
const KEYS_LAST: Duration = Duration::from_hours(24);
/// How long it is remembered which ticks were begun.
const TICKS_LAST: Duration = Duration::from_hours(24);
/// Older than anything that is kept.
const FOR_EVER: Duration = Duration::from_hours(24 * 36_500);
/// What is younger is left to whoever wrote it.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(5);

/// How long things are kept; where nothing is said, for ever.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub jobs: Option<Duration>,
    pub dead_letters: Option<Duration>,
    pub messages: Option<Duration>,
    pub media: Option<Duration>,
}

pub(super) async fn run(run: Run<'_>, chore: Chore) -> Result<Ending, Broken> {
    let (store, keep) = (&run.tools.store, run.tools.retention);
    match chore {
        // Where the log is away, the next tick is soon enough.
        Chore::PublishLeftOvers => drop(run.tools.outbox.publish_left_over(LEFT_OVER_AFTER).await?),
        Chore::ForgetJobs => {
            let (jobs, dead_letters) = (keep.jobs.unwrap_or(FOR_EVER), keep.dead_letters.unwrap_or(FOR_EVER));
            step_by_step(async || store.prune_finished(jobs, dead_letters, STEP).await).await?;
            step_by_step(async || store.prune_ticks(TICKS_LAST, STEP).await).await?;
        }
        Chore::ForgetKeys => step_by_step(async || store.prune_keys(KEYS_LAST, STEP).await).await?,
        Chore::ForgetMessages => {
            if let Some(age) = keep.messages {
                forget_messages(&run, age).await?;
            }
        }
        Chore::ForgetMedia => run.tools.media.forget(keep.media).await?,
    }
    Ok(ending::in_silence())
}

/// Repeats `step` until it finds less than it may take.
async fn step_by_step(step: impl AsyncFn() -> Result<usize, StoreError>) -> Result<(), StoreError> {
    while step().await? == STEP {}
    Ok(())
}

/// Room by room: messages of a room stand together.
async fn forget_messages(run: &Run<'_>, age: Duration) -> Result<(), StoreError> {
    let mut room = run.tools.store.next_channel(None).await?;
    while let Some(channel) = room {
        step_by_step(async || run.tools.store.prune_messages(&channel, age, STEP).await).await?;
        room = run.tools.store.next_channel(Some(&channel)).await?;
    }
    Ok(())
}
