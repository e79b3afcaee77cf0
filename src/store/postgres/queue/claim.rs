//! Out of the queue: where a worker's next jobs are, and the claim as a whole.
//!
//! A look without any lock says which shards have something. Of those with much, as many are claimed from at a time as fill the
//! room, but no more than a few, so that claimers don't stand in each other's way, and the look serves the next claims as well;
//! those with little are taken together, so that a quiet queue costs one claim. Where the last claim had little to choose from,
//! the next one does without the look: it holds and reads all of them at once. A shard that another holds is passed over; where all are
//! held, it waits for one of them.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Nullable, SmallInt, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{PostgresStore, begin, duration, first_turn, now, shards, sight::Beginnings, worker_uuid};
use crate::{
    id::WorkerId,
    job::AGING,
    store::{Batch, StoreError, postgres::literal::statement},
};

/// From how many waiting jobs on a shard has much.
pub(super) const MUCH: i64 = 64;

/// The most shards with much that one claim takes from. One alone would have the others wait for all before them.
const TOGETHER: usize = 4;

/// Where to claim.
#[derive(Debug)]
pub(super) enum At {
    /// Where a look has found something.
    Found(Find),
    /// Wherever there is something, of each lane no more than where there is little.
    Wherever,
}

/// Where there is something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Find {
    pub shards: Vec<i16>,
    /// How many of them have much.
    pub with_much: usize,
    /// Something among it is due, and not available yet.
    pub has_due: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub worker: WorkerId,
    pub room: usize,
    pub lease: Duration,
    /// Where it looks from the very beginning.
    pub beginnings: Beginnings,
    /// The lease is to be renewed with it.
    pub renews: bool,
}

/// What has come of a claim.
#[derive(Debug, Default)]
pub(super) struct Claim {
    pub batch: Batch,
    /// A lane had more than was read of it.
    pub left_some: bool,
}

pub(super) async fn claim(store: &PostgresStore, worker: WorkerId, room: usize, lease: Duration) -> Result<Batch, StoreError> {
    let (sight, sent) = (&store.sight, Instant::now());
    let asked = Asked { worker, room, lease, beginnings: sight.due(sent), renews: sight.renews(worker, lease) };
    let batch = claim_as(store, asked).await?;
    if batch.renewed {
        sight.renewed(worker, sent);
    }
    Ok(batch)
}

async fn claim_as(store: &PostgresStore, asked: Asked) -> Result<Batch, StoreError> {
    let sight = &store.sight;
    if asked.room > 0
        && asked.beginnings.is_empty()
        && let Some((looked, left)) = sight.take()
    {
        let batch = claim_from_places(store, asked, looked, left).await?;
        if !batch.jobs.is_empty() || batch.lost {
            return Ok(batch);
        }
    }
    let begun = Instant::now();
    if asked.room > 0 && sight.had_little() {
        let Claim { batch, left_some } = claim_at(store, asked, At::Wherever).await?;
        sight.looked(asked.beginnings, begun.elapsed(), Instant::now());
        sight.has_little(!batch.jobs.is_empty() && !left_some);
        return Ok(batch);
    }
    let mut places = store.statements(async move |connection, _| look(connection, asked.beginnings).await).await?;
    sight.looked(asked.beginnings, begun.elapsed(), Instant::now());
    if asked.room == 0 {
        return Ok(Batch { more: !places.is_empty(), ..Batch::default() });
    }
    // Claimers begin at different places.
    if !places.is_empty() {
        let first = rand::random_range(..places.len());
        places.rotate_left(first);
    }
    let has_little = !places.is_empty() && places.iter().all(|place| place.waiting < MUCH);
    let batch = claim_from_places(store, asked, begun, places).await?;
    sight.has_little(has_little);
    Ok(batch)
}

/// Claims from the first of these places where that can be done, and leaves the rest to the next claim.
async fn claim_from_places(store: &PostgresStore, asked: Asked, looked: Instant, mut places: Vec<Place>) -> Result<Batch, StoreError> {
    loop {
        let (find, rest) = next(places, asked.room);
        if find.shards.is_empty() {
            return Ok(Batch::default());
        }
        let Claim { mut batch, .. } = claim_at(store, asked, At::Found(find)).await?;
        if !batch.jobs.is_empty() || batch.lost {
            batch.more |= !rest.is_empty();
            store.sight.leave(looked, rest);
            return Ok(batch);
        }
        places = rest;
    }
}

async fn claim_at(store: &PostgresStore, asked: Asked, at: At) -> Result<Claim, StoreError> {
    let before = Mutex::new(None);
    store.claiming(async move |connection, doubt| begin::claim_from(connection, asked, &at, &before, doubt).await).await
}

/// A shard, as a look has found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    shard: i16,
    /// How many wait, counted up to [`MUCH`].
    waiting: i64,
    has_due: bool,
}

/// All places with little, and of those with much what fills the room; and the rest.
fn next(places: Vec<Place>, room: usize) -> (Find, Vec<Place>) {
    let (mut find, mut rest) = (Find::default(), Vec::new());
    for place in places {
        let has_much = place.waiting >= MUCH;
        if has_much && (find.with_much == TOGETHER || find.with_much * MUCH as usize >= room) {
            rest.push(place);
            continue;
        }
        find.with_much += usize::from(has_much);
        find.has_due |= place.has_due;
        find.shards.push(place.shard);
    }
    (find, rest)
}

/// The shards that have something, for LOOK and NEXT: $1 is where it looks from the very beginning, $2 up to how many it counts.
macro_rules! places {
    () => {
        concat!(
            "select l.shard, count(*) from queue_lane l cross join lateral
                (select 1 from job where job.shard = l.shard and job.kind = l.kind and job.priority = l.priority and job.state = 0
                    and job.turn >= ",
            first_turn!("$1"),
            " order by job.turn limit $2) j
            where l.shard = any($3) and not exists (select 1 from queue_limit q where q.scope = 'kind' and q.name = l.kind and q.paused)
            group by l.shard
            union all
            select p.shard, -1 from unnest($3) as p (shard) cross join lateral
                (select 1 from job where job.shard = p.shard and job.state in (1, 2) and job.run_at <= ",
            now!(),
            " limit 1) j
            union all
            select p.shard, -1 from unnest($3) as p (shard) cross join lateral
                (select 1 from job where job.shard = p.shard and job.state = 0 and job.priority > 0 and job.run_at <= ",
            now!(),
            " - $4 limit 1) j"
        )
    };
}

const LOOK: &str = concat!(places!());

async fn look(mut connection: &AsyncPgConnection, beginnings: Beginnings) -> Result<Vec<Place>, Error> {
    let asked = statement::<(SmallInt, BigInt)>(LOOK).bind::<Array<SmallInt>, _>(beginnings.shards()).bind::<BigInt, _>(MUCH);
    let asked = asked.bind::<Array<SmallInt>, _>(shards());
    let rows: Vec<(i16, i64)> = asked.bind::<BigInt, _>(super::millis(AGING)).load(&mut connection).await?;
    let mut places: Vec<Place> = Vec::new();
    for (shard, count) in rows {
        let at = places.iter().position(|place| place.shard == shard).unwrap_or_else(|| {
            places.push(Place { shard, waiting: 0, has_due: false });
            places.len() - 1
        });
        match count {
            -1 => places[at].has_due = true,
            count => places[at].waiting = count,
        }
    }
    places.sort_unstable_by_key(|place| place.shard);
    Ok(places)
}

/// Nothing, where nothing will come by itself. One statement, as it is all that an idle worker asks.
const NEXT: &str = concat!(
    "select case when exists (",
    places!(),
    ") then 0 else least(
        (select min(j.run_at) from unnest($3) as p (shard) cross join lateral
            (select job.run_at from job where job.shard = p.shard and job.state in (1, 2) order by job.run_at limit 1) j),
        (select worker.lease_until from worker where worker.id <> $5 and exists
            (select 1 from job where job.state = 3 and job.worker = worker.id) order by worker.lease_until limit 1)
    ) - ",
    now!(),
    " end"
);

/// How long until there may be something to do: none, where there is something now, as the wake-up for it may have been lost.
/// It looks from the very beginning, as who is idle claims nothing that would.
pub(super) async fn next_look(mut connection: &AsyncPgConnection, worker: WorkerId) -> Result<Option<Duration>, Error> {
    let asked = statement::<Nullable<BigInt>>(NEXT).bind::<Array<SmallInt>, _>(shards()).bind::<BigInt, _>(1_i64);
    let asked = asked.bind::<Array<SmallInt>, _>(shards());
    let asked = asked.bind::<BigInt, _>(super::millis(AGING)).bind::<SqlUuid, _>(worker_uuid(worker));
    let next: Option<i64> = asked.get_result(&mut connection).await?;
    Ok(next.map(duration))
}

#[cfg(test)]
mod tests {
    use super::{super::SHARDS, *};

    #[test]
    fn places_with_little_are_taken_together_and_of_those_with_much_as_many_as_fill_the_room() {
        let place = |shard, waiting, has_due| Place { shard, waiting, has_due };
        let places = vec![place(4, MUCH, false), place(5, 1, false), place(6, MUCH, false), place(7, 0, true), place(0, MUCH, true)];
        let (find, rest) = next(places.clone(), MUCH as usize);
        assert_eq!(find, Find { shards: vec![4, 5, 7], with_much: 1, has_due: true });
        let (find, rest) = next(rest, MUCH as usize);
        assert_eq!((find, rest.len()), (Find { shards: vec![6], with_much: 1, has_due: false }, 1));
        let (find, rest) = next(places, 1000);
        assert_eq!((find.shards.len(), find.with_much, rest.len()), (5, 3, 0));
        let (find, rest) = next((0..SHARDS).map(|shard| place(shard, MUCH, false)).collect(), 1000);
        assert_eq!((find.with_much, rest.len()), (TOGETHER, SHARDS as usize - TOGETHER));
    }
}
