//! How many streams there may be: a user, an address, and in all. A place is taken before a stream starts and given back
//! when its [`Permit`] is dropped. 0 means no limit.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::id::UserId;

/// The most streams there may be at once; 0 means no limit.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    pub a_user: usize,
    pub an_address: usize,
    pub in_all: usize,
}

/// Counts the streams of this process.
#[derive(Debug)]
pub struct StreamLimits {
    most: Most,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    users: HashMap<UserId, usize>,
    addresses: HashMap<IpAddr, usize>,
    all: usize,
}

/// The limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// This user has too many streams.
    User,
    /// This address has too many streams.
    Address,
    /// The process has too many streams.
    All,
}

/// The right to have one stream.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<StreamLimits>,
    user: UserId,
    address: Option<IpAddr>,
}

impl StreamLimits {
    /// Nobody yet.
    #[must_use]
    pub fn new(most: Most) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// A place for one more stream of `user` from `address`.
    ///
    /// # Errors
    /// The limit that is reached, narrowest first.
    pub fn admit(self: &Arc<Self>, user: &UserId, address: Option<IpAddr>) -> Result<Permit, Reached> {
        let mut open = self.lock();
        let reached = |count: usize, most: usize| most != 0 && count >= most;
        if reached(open.users.get(user).copied().unwrap_or(0), self.most.a_user) {
            return Err(Reached::User);
        }
        if address.is_some_and(|address| reached(open.addresses.get(&address).copied().unwrap_or(0), self.most.an_address)) {
            return Err(Reached::Address);
        }
        if reached(open.all, self.most.in_all) {
            return Err(Reached::All);
        }
        let user = match open.users.get_key_value(user) {
            // One id for all streams of a user.
            Some((known, _)) => known.clone(),
            None => user.clone(),
        };
        *open.users.entry(user.clone()).or_default() += 1;
        if let Some(address) = address {
            *open.addresses.entry(address).or_default() += 1;
        }
        open.all += 1;
        Ok(Permit { limits: self.clone(), user, address })
    }

    /// How many streams there are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Whose stream it is.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        open.all -= 1;
        give_back(&mut open.users, &self.user);
        if let Some(address) = self.address {
            give_back(&mut open.addresses, &address);
        }
    }
}

fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
            if counts.is_empty() {
                counts.shrink_to_fit();
            }
        }
    }
}
