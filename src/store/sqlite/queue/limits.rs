//! How many may run at once, and which kinds may not.

use diesel::{BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection, result::Error};

use super::{HELD, fenced};
use crate::{
    id::WorkerId,
    job::Fence,
    store::{
        sqlite::schema::{job, queue_limit},
        turns::Allowance,
    },
};

pub(super) const KIND: &str = "kind";
pub(super) const USER: &str = "user";
pub(super) const PROVIDER: &str = "provider";

/// How many more may run now.
pub(super) fn allowance(connection: &mut SqliteConnection) -> Result<Allowance, Error> {
    let limits: Vec<(String, String, Option<i32>, bool)> =
        queue_limit::table.filter(queue_limit::scope.ne(PROVIDER)).select(queue_limit::all_columns).load(connection)?;
    let mut allowance = Allowance::default();
    let is_limited = |of: &str| limits.iter().any(|(scope, _, most, _)| scope == of && most.is_some());
    let mut kinds: std::collections::HashMap<String, i64> = std::collections::HashMap::new();
    if is_limited(USER) || is_limited(KIND) {
        let running: Vec<(String, String)> = job::table.filter(HELD).select((job::user_id, job::kind)).load(connection)?;
        for (user, kind) in running {
            *allowance.running.entry(user).or_insert(0) += 1;
            *kinds.entry(kind).or_insert(0) += 1;
        }
    }
    for (scope, name, most, paused) in limits {
        if scope == USER {
            allowance.each_user = most.map(i64::from);
        } else if paused {
            allowance.kinds.insert(name, 0);
        } else if let Some(most) = most {
            let running = kinds.get(&name).copied().unwrap_or(0);
            allowance.kinds.insert(name, i64::from(most) - running);
        }
    }
    Ok(allowance)
}

pub(super) fn acquire(connection: &mut SqliteConnection, worker: WorkerId, fence: Fence, provider: &str, most: usize) -> Result<bool, Error> {
    let set: Option<Option<i32>> = queue_limit::table.find((PROVIDER, provider)).select(queue_limit::most).get_result(connection).optional()?;
    let most = i64::from(set.flatten().unwrap_or(i32::MAX)).min(super::limited(most));
    let using = job::table.filter(HELD.and(job::provider.eq(provider)).and(job::provider.is_not_null()));
    let others: i64 = using.filter(job::id.ne(fence.job.as_bytes().as_slice())).count().get_result(connection)?;
    if others >= most || !super::worker::lives(connection, worker)? {
        return Ok(false);
    }
    Ok(diesel::update(fenced!(worker, fence)).set(job::provider.eq(provider)).execute(connection)? == 1)
}
