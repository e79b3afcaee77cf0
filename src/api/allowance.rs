//! Whether a user has used up what a day allows, asked before a job is taken.
//!
//! What runs and waits is not counted before it ends, so the worker asks once more before each job. Refuses to hold the store's
//! transactions up with it: the answer may be a moment old.

use super::{State, error::ApiError};
use crate::{
    id::UserId,
    usage::{Day, Need, Reached},
};

/// The limit of the day that this user has reached, for what they want.
///
/// # Errors
/// Where the store can't be read.
pub async fn reached(state: &State, user: &UserId, need: Need) -> Result<Option<Reached>, ApiError> {
    if !state.daily_limits.apply_to(need) {
        return Ok(None);
    }
    let used = state.store.used_by(user, Day::today()).await?;
    Ok(state.daily_limits.reached(need, &used))
}
