//! Out of the queue: where a worker's next jobs are, and the claim as a whole.
//!
//! A look without any lock says which shards have something. Of those with much, one is claimed from at a time, so that claimers
//! don't stand in each other's way, and the look serves the next claims as well; those with little are taken together, so that a
//! quiet queue costs one claim. A shard that another holds is passed over; where all are held, it waits for one of them.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Nullable, SmallInt, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{PostgresStore, begin, duration, now, shards, sight::ALL, worker_uuid};
use crate::{
    id::WorkerId,
    job::AGING,
    store::{Batch, StoreError, postgres::literal::statement},
};

/// From how many waiting jobs on a shard has much.
const MUCH: i64 = 64;

/// Where there is something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Find {
    pub shards: Vec<i16>,
    /// Something among it is due, and not available yet.
    pub has_due: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub worker: WorkerId,
    pub room: usize,
    pub lease: Duration,
    /// How many turns back it looks.
    pub overlap: i64,
}

pub(super) async fn claim(store: &PostgresStore, worker: WorkerId, room: usize, lease: Duration) -> Result<Batch, StoreError> {
    let asked = Asked { worker, room, lease, overlap: store.sight.overlap() };
    if room > 0
        && asked.overlap != ALL
        && let Some((looked, left)) = store.sight.take()
    {
        let batch = claim_at(store, asked, looked, left).await?;
        if !batch.jobs.is_empty() || batch.lost {
            return Ok(batch);
        }
    }
    let looked = Instant::now();
    let mut places = store.statements(async move |connection, _| look(connection, asked.overlap).await).await?;
    store.sight.looked(asked.overlap, looked);
    if room == 0 {
        return Ok(Batch { more: !places.is_empty(), ..Batch::default() });
    }
    // Claimers begin at different places.
    if !places.is_empty() {
        let first = rand::random_range(..places.len());
        places.rotate_left(first);
    }
    claim_at(store, asked, looked, places).await
}

/// Claims from the first of these places where that can be done, and leaves the rest to the next claim.
async fn claim_at(store: &PostgresStore, asked: Asked, looked: Instant, mut places: Vec<Place>) -> Result<Batch, StoreError> {
    loop {
        let (find, rest) = next(places);
        if find.shards.is_empty() {
            return Ok(Batch::default());
        }
        let before = Mutex::new(None);
        let mut batch =
            store.transaction_reading_first(async move |connection, doubt| begin::claim_from(connection, asked, &find, &before, doubt).await).await?;
        if !batch.jobs.is_empty() || batch.lost {
            batch.more |= !rest.is_empty();
            store.sight.leave(looked, rest);
            return Ok(batch);
        }
        places = rest;
    }
}

/// A shard, as a look has found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    shard: i16,
    /// How many wait, counted up to [`MUCH`].
    waiting: i64,
    has_due: bool,
}

/// All places with little and the first one with much; and the rest.
fn next(places: Vec<Place>) -> (Find, Vec<Place>) {
    let (mut find, mut rest, mut has_much) = (Find::default(), Vec::new(), false);
    for place in places {
        if place.waiting >= MUCH && std::mem::replace(&mut has_much, true) {
            rest.push(place);
            continue;
        }
        find.has_due |= place.has_due;
        find.shards.push(place.shard);
    }
    (find, rest)
}

/// The shards that have something, for LOOK and NEXT: $1 is how many turns back it looks, $2 up to how many it counts.
macro_rules! places {
    () => {
        concat!(
            "select l.shard, count(*) from queue_lane l cross join lateral
                (select 1 from job where job.shard = l.shard and job.kind = l.kind and job.priority = l.priority and job.state = 0
                    and job.turn >= l.low - $1 order by job.turn limit $2) j
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

async fn look(mut connection: &AsyncPgConnection, overlap: i64) -> Result<Vec<Place>, Error> {
    let asked = statement::<(SmallInt, BigInt)>(LOOK).bind::<BigInt, _>(overlap).bind::<BigInt, _>(MUCH).bind::<Array<SmallInt>, _>(shards());
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
    let asked = statement::<Nullable<BigInt>>(NEXT).bind::<BigInt, _>(ALL).bind::<BigInt, _>(1_i64).bind::<Array<SmallInt>, _>(shards());
    let asked = asked.bind::<BigInt, _>(super::millis(AGING)).bind::<SqlUuid, _>(worker_uuid(worker));
    let next: Option<i64> = asked.get_result(&mut connection).await?;
    Ok(next.map(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_with_little_are_taken_together_and_of_those_with_much_one_at_a_time() {
        let place = |shard, waiting, has_due| Place { shard, waiting, has_due };
        let places = vec![place(4, MUCH, false), place(5, 1, false), place(6, MUCH, false), place(7, 0, true), place(0, MUCH, true)];
        let (find, rest) = next(places);
        assert_eq!(find, Find { shards: vec![4, 5, 7], has_due: true });
        let (find, rest) = next(rest);
        assert_eq!((find, rest.len()), (Find { shards: vec![6], has_due: false }, 1));
    }
}
