//! What the store keeps of usage: how much each user has used of each model, by day.
//!
//! What an attempt at a job has used is written in the transaction that concludes it, under its fence: neither lost nor counted
//! twice.

use async_trait::async_trait;

use super::StoreError;
use crate::{
    id::UserId,
    usage::{Amount, Day},
};

/// What one attempt has used of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEntry {
    pub user: UserId,
    pub provider: String,
    pub model: String,
    pub amount: Amount,
}

/// Whose usage is asked for, of which days, and how it is to be summed up.
#[derive(Debug, Clone)]
pub struct UsageFilter {
    /// Nothing: everybody's.
    pub user: Option<UserId>,
    pub first: Day,
    /// Included.
    pub last: Day,
    pub by: UsageKeys,
    pub skip: usize,
    pub limit: usize,
}

/// What is kept apart in a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageKeys {
    pub day: bool,
    pub user: bool,
    pub provider: bool,
    pub model: bool,
}

/// A sum. What is not kept apart is not named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSum {
    pub day: Option<Day>,
    pub user: Option<UserId>,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub amount: Amount,
}

/// What was used.
#[async_trait]
pub trait UsageStore: Send + Sync {
    /// Sums of what was used, in the order of their keys: day, user, provider, model.
    async fn usage(&self, filter: UsageFilter) -> Result<Vec<UsageSum>, StoreError>;

    /// All that a user has used on one day.
    async fn used_by(&self, user: &UserId, day: Day) -> Result<Amount, StoreError> {
        let filter = UsageFilter { user: Some(user.clone()), first: day, last: day, by: UsageKeys::default(), skip: 0, limit: 1 };
        Ok(self.usage(filter).await?.first().map(|sum| sum.amount).unwrap_or_default())
    }
}
