//! How many requests a provider may have at once.
//!
//! A process has its own limit, [`Turns`], for which its requests wait in line. An account may have another one, whatever the
//! number of processes: whoever sees all of them keeps that, and gives a job its place ([`Places`]).

use std::{collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Semaphore;

/// A request's turn; it is over when this is dropped.
pub struct Turn {
    _held: Option<Box<dyn Send>>,
}

impl Turn {
    /// A turn that lasts as long as `held` is held.
    #[must_use]
    pub fn new(held: impl Send + 'static) -> Self {
        Self { _held: Some(Box::new(held)) }
    }

    /// A turn where there is no limit.
    #[must_use]
    pub fn free() -> Self {
        Self { _held: None }
    }
}

/// Gives turns.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Waits for a turn at `provider`, first come, first served. Dropping the wait gives the place up.
    async fn take(&self, provider: &str) -> Turn;
}

/// Gives a job its place among those that may use a provider at once, in all processes. It has one place, which is given back
/// when the job ends, or another one is taken.
#[async_trait]
pub trait Places: Send + Sync {
    /// Takes the place at `provider`, where it needn't wait for long; says whether it has.
    async fn take(&self, provider: &str) -> bool;
}

/// How many requests a provider may have at once, where there is a limit: for all of them, or for one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concurrency {
    /// 0 means no limit.
    pub each: usize,
    pub of: HashMap<String, usize>,
}

impl Concurrency {
    /// The limit of a provider; 0 means none.
    #[must_use]
    pub fn limit(&self, provider: &str) -> usize {
        self.of.get(provider).copied().unwrap_or(self.each)
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.each)?;
        self.of.iter().try_for_each(|(provider, limit)| write!(f, ",{provider}={limit}"))
    }
}

/// The limits of this process.
pub struct InProcess(HashMap<String, Arc<Semaphore>>);

impl InProcess {
    /// Turns at these providers.
    #[must_use]
    pub fn new<'a>(limits: &Concurrency, providers: impl Iterator<Item = &'a str>) -> Self {
        let limited = providers.map(|name| (name, limits.limit(name))).filter(|(_, limit)| *limit > 0);
        Self(limited.map(|(name, limit)| (name.to_owned(), Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))))).collect())
    }
}

#[async_trait]
impl Turns for InProcess {
    async fn take(&self, provider: &str) -> Turn {
        let Some(turns) = self.0.get(provider) else { return Turn::free() };
        // A semaphore that nobody closes gives a permit in the end.
        turns.clone().acquire_owned().await.map_or_else(|_| Turn::free(), Turn::new)
    }
}
