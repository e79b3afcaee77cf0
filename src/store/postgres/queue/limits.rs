//! How many may run at once, and which kinds may not.
//!
//! A user's jobs are all in one shard, which the claimer holds. A kind's and a provider's are everywhere: who counts them holds
//! the row of the limit until its transaction ends. Without a limit nothing is held and nothing is counted.

use std::collections::{BTreeSet, HashMap};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{bucket_of, lives, shard_of, stands_in, uuid_of, worker_uuid};
use crate::{
    id::WorkerId,
    job::Fence,
    store::{postgres::literal::statement, turns::Allowance},
};

pub(super) const KIND: &str = "kind";
pub(super) const USER: &str = "user";
pub(super) const PROVIDER: &str = "provider";

/// A row of limits.
pub(super) struct Limit {
    scope: String,
    name: String,
    most: Option<i32>,
    is_paused: bool,
}

const READ: &str = "select scope, name, most, paused from queue_limit where scope in ('kind', 'user')";

/// The limits that a claim is to heed.
pub(super) async fn read(mut connection: &AsyncPgConnection) -> Result<Vec<Limit>, Error> {
    let rows: Vec<(String, String, Option<i32>, bool)> = statement::<(Text, Text, Nullable<Integer>, Bool)>(READ).load(&mut connection).await?;
    Ok(rows.into_iter().map(|(scope, name, most, is_paused)| Limit { scope, name, most, is_paused }).collect())
}

const HOLD: &str = "select name, most from queue_limit where scope = 'kind' and name = any($1) order by name for update";
const RUNNING_OF_KINDS: &str = "select kind, count(*) from job where state = 3 and kind = any($1) group by kind";
const RUNNING_OF_USERS: &str = "select user_id, count(*) from job where user_id = any($1) and shard = any($2) and state = 3 group by user_id";

/// How many more may run now, of these users.
pub(super) async fn allowance<'a>(
    mut connection: &AsyncPgConnection,
    limits: &[Limit],
    users: impl Iterator<Item = &'a str>,
) -> Result<Allowance, Error> {
    let mut allowance = Allowance::default();
    let mut counted = Vec::new();
    for Limit { scope, name, most, is_paused } in limits {
        match (scope.as_str(), most) {
            (USER, most) => allowance.each_user = most.map(i64::from),
            (_, _) if *is_paused => drop(allowance.kinds.insert(name.clone(), 0)),
            (_, Some(_)) => counted.push(name.as_str()),
            (_, None) => {}
        }
    }
    if !counted.is_empty() {
        let held = statement::<(Text, Nullable<Integer>)>(HOLD).bind::<Array<Text>, _>(&counted);
        let held: Vec<(String, Option<i32>)> = held.load(&mut connection).await?;
        let running = statement::<(Text, BigInt)>(RUNNING_OF_KINDS).bind::<Array<Text>, _>(&counted);
        let running: Vec<(String, i64)> = running.load(&mut connection).await?;
        let running: HashMap<String, i64> = running.into_iter().collect();
        let left = |(kind, most): (String, Option<i32>)| Some((i64::from(most?) - running.get(&kind).copied().unwrap_or(0), kind));
        allowance.kinds.extend(held.into_iter().filter_map(left).map(|(left, kind)| (kind, left)));
    }
    if allowance.each_user.is_some() {
        let users: BTreeSet<&str> = users.collect();
        let shards: BTreeSet<i16> = users.iter().map(|user| shard_of(user)).collect();
        let asked = statement::<(Text, BigInt)>(RUNNING_OF_USERS).bind::<Array<Text>, _>(users.into_iter().collect::<Vec<_>>());
        let asked = asked.bind::<Array<SmallInt>, _>(shards.into_iter().collect::<Vec<_>>());
        let rows: Vec<(String, i64)> = asked.load(&mut connection).await?;
        allowance.running = rows.into_iter().collect();
    }
    Ok(allowance)
}

const ADD_PROVIDER: &str = "insert into queue_limit (scope, name) values ('provider', $1) on conflict (scope, name) do nothing";
const HOLD_PROVIDER: &str = "select most from queue_limit where scope = 'provider' and name = $1 for update";
const OTHERS: &str = "select count(*) from job where state = 3 and provider = $1 and id <> $2";
const ACQUIRE: &str =
    concat!("update job set provider = $1 where bucket = $2 and id = $3 and attempt = $4 and worker = $5 and ", stands_in!(3), " and ", lives!("$5"));

/// Makes a running job one of those that use a provider, where there is room.
pub(super) async fn acquire(mut connection: &AsyncPgConnection, worker: WorkerId, fence: Fence, provider: &str, most: usize) -> Result<bool, Error> {
    let mut set: Vec<Option<i32>> = hold_provider(connection, provider).await?;
    if set.is_empty() {
        statement::<()>(ADD_PROVIDER).bind::<Text, _>(provider).execute(&mut connection).await?;
        set = hold_provider(connection, provider).await?;
    }
    let most = i64::from(set.into_iter().next().flatten().unwrap_or(i32::MAX)).min(super::limited(most));
    let others = statement::<BigInt>(OTHERS).bind::<Text, _>(provider).bind::<SqlUuid, _>(uuid_of(fence.job));
    let others: i64 = others.get_result(&mut connection).await?;
    if others >= most {
        return Ok(false);
    }
    let acquire = statement::<()>(ACQUIRE).bind::<Text, _>(provider).bind::<SmallInt, _>(bucket_of(fence.job));
    let acquire = acquire.bind::<SqlUuid, _>(uuid_of(fence.job)).bind::<Integer, _>(fence.attempt.cast_signed());
    Ok(acquire.bind::<SqlUuid, _>(worker_uuid(worker)).execute(&mut connection).await? == 1)
}

async fn hold_provider(mut connection: &AsyncPgConnection, provider: &str) -> Result<Vec<Option<i32>>, Error> {
    statement::<Nullable<Integer>>(HOLD_PROVIDER).bind::<Text, _>(provider).load(&mut connection).await
}
