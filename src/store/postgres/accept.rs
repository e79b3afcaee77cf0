//! Taking what users ask for: many requests in one transaction, each all of it or nothing.
//!
//! The order within it: keys first, as a repeated request is answered whatever else holds; then the users' limits; then messages,
//! events and jobs. Whoever runs again after a lost answer finds its own key or message, and knows by that.

use std::collections::{BTreeSet, HashMap};

use diesel::{
    result::Error,
    sql_types::{Array, SmallInt},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{history, literal::statement, outbox, pipeline::both, queue, transaction::Doubt};
use crate::{
    id::{JobId, UserId},
    store::{Accepted, Message, Outgoing, Request},
};

/// Whether transactions count what others commit meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// By themselves, or not at all.
    AsIsolated,
    /// Those that count the same user's jobs wait for each other.
    InTurns,
}

/// What becomes of each request of a group, in which no key stands twice.
pub(super) async fn accept_all(
    connection: &AsyncPgConnection,
    requests: &[Request],
    counting: Counting,
    doubt: Doubt,
) -> Result<Vec<Accepted>, Error> {
    let mut outcomes = vec![None; requests.len()];
    if doubt == Doubt::MayBeDone {
        find_done(connection, requests, &mut outcomes).await?;
    }

    let keyed = keys(requests, &outcomes);
    let known = outbox::remember(connection, &keyed).await?;
    for (request, outcome) in requests.iter().zip(&mut outcomes) {
        let Some(asked) = &request.idempotency else { continue };
        if let Some(known) = known.get(&(request.user.to_string(), asked.key.clone())) {
            *outcome = Some(match known.fingerprint == asked.fingerprint {
                // Its own answer, from a commit that nobody heard of.
                true if doubt == Doubt::MayBeDone && known.response == asked.response => Accepted::New,
                true => Accepted::Replayed(known.response.clone()),
                false => Accepted::Mismatch,
            });
        }
    }

    refuse_over_daily_limit(connection, requests, &mut outcomes).await?;
    refuse_too_many(connection, requests, counting, &mut outcomes).await?;
    let taken: Vec<&Request> = requests.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_none()).map(|(request, _)| request).collect();
    write(connection, &taken).await?;
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Accepted::New)).collect())
}

/// Notes which requests a former run has done, of whose commit nobody has heard.
async fn find_done(connection: &AsyncPgConnection, requests: &[Request], outcomes: &mut [Option<Accepted>]) -> Result<(), Error> {
    let messages: Vec<&Message> = requests.iter().filter_map(|request| request.message.as_ref()).map(|(message, _)| message).collect();
    let jobs: Vec<JobId> = requests.iter().flat_map(|request| &request.jobs).map(|job| job.id).collect();
    let (messages, jobs) = (history::known(connection, &messages).await?, queue::known(connection, &jobs).await?);
    for (request, outcome) in requests.iter().zip(outcomes) {
        let has_message = request.message.as_ref().is_some_and(|(message, _)| messages.contains(&message.id));
        if has_message || request.jobs.iter().any(|job| jobs.contains(&job.id)) {
            *outcome = Some(Accepted::New);
        }
    }
    Ok(())
}

fn keys<'a>(requests: &'a [Request], outcomes: &[Option<Accepted>]) -> Vec<outbox::Keyed<'a>> {
    let open = requests.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_none());
    open.filter_map(|(request, _)| request.idempotency.as_ref().map(|asked| (&request.user, asked))).collect()
}

/// Refuses those whose user has reached a limit of the day.
async fn refuse_over_daily_limit(connection: &AsyncPgConnection, requests: &[Request], outcomes: &mut [Option<Accepted>]) -> Result<(), Error> {
    let mut refused = Vec::new();
    for (request, outcome) in requests.iter().zip(outcomes) {
        if outcome.is_none() && request.is_over_daily_limit {
            *outcome = Some(Accepted::OverDailyLimit);
            refused.extend(request.idempotency.as_ref().map(|asked| (&request.user, asked)));
        }
    }
    outbox::forget(connection, &refused).await
}

const HOLD: &str = "select stripe from user_stripe where stripe = any($1) order by stripe for update";

/// Waits for other transactions that count for the same users, and has later ones wait for this one.
async fn hold(mut connection: &AsyncPgConnection, users: &BTreeSet<&UserId>) -> Result<(), Error> {
    let stripes: BTreeSet<i16> = users.iter().map(|user| queue::stripe_of(user.as_str())).collect();
    let held = statement::<SmallInt>(HOLD).bind::<Array<SmallInt>, _>(stripes.into_iter().collect::<Vec<_>>());
    held.execute(&mut connection).await.map(drop)
}

/// Refuses those whose user has too many jobs waiting, this group's included.
///
/// Under SERIALIZABLE the count holds until the commit. Under READ COMMITTED it would lack what other processes commit after it; so
/// they take turns, and each counts when it is its own.
async fn refuse_too_many(
    connection: &AsyncPgConnection,
    requests: &[Request],
    counting: Counting,
    outcomes: &mut [Option<Accepted>],
) -> Result<(), Error> {
    let limited = |request: &Request| request.max_waiting > 0 && !request.jobs.is_empty();
    let open = requests.iter().zip(&*outcomes).filter(|(request, outcome)| outcome.is_none() && limited(request));
    let users: BTreeSet<&UserId> = open.map(|(request, _)| &request.user).collect();
    if users.is_empty() {
        return Ok(());
    }
    let count = queue::waiting(connection, users.iter().copied().collect());
    let mut waiting: HashMap<UserId, usize> = match counting {
        Counting::AsIsolated => count.await?,
        Counting::InTurns => both(hold(connection, &users), count).await?.1,
    };
    let mut refused = Vec::new();
    for (request, outcome) in requests.iter().zip(outcomes) {
        if outcome.is_some() || !limited(request) {
            continue;
        }
        let waits = waiting.entry(request.user.clone()).or_default();
        if request.has_too_many_jobs(*waits) {
            *outcome = Some(Accepted::TooManyJobs);
            refused.extend(request.idempotency.as_ref().map(|asked| (&request.user, asked)));
        } else {
            *waits += request.jobs.len();
        }
    }
    outbox::forget(connection, &refused).await
}

async fn write(connection: &AsyncPgConnection, taken: &[&Request]) -> Result<(), Error> {
    let messages: Vec<&Message> = taken.iter().filter_map(|request| request.message.as_ref()).map(|(message, _)| message).collect();
    let inserted = history::insert(connection, &messages).await?;
    // A commit that was still under way when it was looked for has come first: it has written the rest as well.
    let is_mine = |request: &&&Request| request.message.as_ref().is_none_or(|(message, _)| inserted.contains(&message.id));
    let mine: Vec<&Request> = taken.iter().filter(is_mine).copied().collect();
    let outgoing: Vec<&Outgoing> = mine.iter().filter_map(|request| request.message.as_ref()).map(|(_, outgoing)| outgoing).collect();
    outbox::insert(connection, &outgoing).await?;
    let jobs: Vec<_> = mine.iter().flat_map(|request| &request.jobs).collect();
    queue::enqueue(connection, &jobs).await.map(drop)
}
