//! Whether the owner of a job may still use what it needs: others of theirs have come to their end since it was accepted.

use super::Run;
use crate::{
    usage::{Day, Need},
    worker::publisher::Broken,
};

/// Goes on where the day allows it.
///
/// # Errors
/// Where the owner has used up what the day allows, or the store can't be read.
pub(super) async fn check(run: &Run<'_>, need: Need) -> Result<(), Broken> {
    let limits = run.tools.daily_limits;
    if !limits.apply_to(need) {
        return Ok(());
    }
    let used = run.tools.store.used_by(run.owner, Day::today()).await?;
    limits.reached(need, &used).map_or(Ok(()), |reached| Err(Broken::DailyLimit(reached)))
}
