//! The lanes on which requests come into the database: what waits while a transaction runs goes together into the next one.
//!
//! So the number of commits does not grow with the number of requests, and one that comes alone waits for nobody. A user's
//! requests keep to one lane, so that two lanes never want the same key or the same limit. If a group fails, each of it is
//! tried alone, so that one bad request fails nobody else. Refuses to hold a request back for company.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{
    accept::{Counting, accept_all},
    pool::Pool,
    thread::Thread,
    transaction::transaction,
};
use crate::store::{Accepted, Request, StoreError};

/// How many transactions of requests run at once.
const LANES: usize = 4;
/// The most requests of one transaction.
const MOST: usize = 256;

/// All lanes.
#[derive(Default)]
pub(super) struct Lanes([Arc<Lane>; LANES]);

#[derive(Default)]
struct Lane(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Somebody takes what waits.
    is_driven: bool,
}

struct Waiting {
    request: Request,
    reply: oneshot::Sender<Result<Accepted, StoreError>>,
}

impl Lanes {
    /// Takes a request, with others or alone; durable when this returns.
    pub(super) async fn accept(&self, thread: &Thread, request: Request) -> Result<Accepted, StoreError> {
        let user = BuildHasherDefault::<DefaultHasher>::default().hash_one(&request.user);
        let lane = &self.0[usize::try_from(user % LANES as u64).unwrap_or_default()];
        let (reply, answer) = oneshot::channel();
        if lane.add(Waiting { request, reply }) {
            let driven = lane.clone();
            if let Err(error) = thread.spawn(async move |pool| driven.drive(pool).await) {
                // Nobody takes them any longer.
                *lane.state() = State::default();
                return Err(error);
            }
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether nobody takes what waits yet.
    fn add(&self, waiting: Waiting) -> bool {
        let mut state = self.state();
        state.waiting.push_back(waiting);
        !std::mem::replace(&mut state.is_driven, true)
    }

    async fn drive(&self, pool: &Pool) {
        while let Some(group) = self.next() {
            run(pool, group).await;
        }
    }

    /// What goes into the next transaction; nothing, where nothing waits.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        let (mut group, mut later, mut keys) = (Vec::new(), VecDeque::new(), HashSet::new());
        while group.len() < MOST
            && let Some(waiting) = state.waiting.pop_front()
        {
            // Of a key that stands twice the second must see what became of the first.
            let key = waiting.request.idempotency.as_ref().map(|asked| (waiting.request.user.clone(), asked.key.clone()));
            if key.is_none_or(|key| keys.insert(key)) {
                group.push(waiting);
            } else {
                later.push_back(waiting);
            }
        }
        later.append(&mut state.waiting);
        state.waiting = later;
        state.is_driven = !group.is_empty();
        state.is_driven.then_some(group)
    }
}

/// Takes requests in one transaction, and answers each.
async fn run(pool: &Pool, group: Vec<Waiting>) {
    let counting = if pool.manager().misses_commits() { Counting::InTurns } else { Counting::AsIsolated };
    let (requests, replies): (Vec<Request>, Vec<_>) = group.into_iter().map(|waiting| (waiting.request, waiting.reply)).unzip();
    let together = transaction(pool, async |connection, doubt| accept_all(connection, &requests, counting, doubt).await).await;
    let outcomes = match together {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) if error.is_retryable() || requests.len() == 1 => vec![Err(error); requests.len()],
        Err(_) => alone(pool, &requests, counting).await,
    };
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        // Who no longer waits doesn't need the answer.
        let _ = reply.send(outcome);
    }
}

async fn alone(pool: &Pool, requests: &[Request], counting: Counting) -> Vec<Result<Accepted, StoreError>> {
    let mut outcomes = Vec::new();
    for request in requests {
        let one = std::slice::from_ref(request);
        let taken = transaction(pool, async |connection, doubt| accept_all(connection, one, counting, doubt).await).await;
        outcomes.push(taken.and_then(|outcomes| outcomes.into_iter().next().ok_or(StoreError::Closed)));
    }
    outcomes
}
