//! The whole claim in one statement, where little waits, no limit is to be counted, and nothing has to become available first.
//!
//! A quiet queue is claimed from several hundred times a second, a few jobs each time: trips and statements are what that costs, not
//! jobs. It holds all shards that nobody holds, reads the first jobs of each lane, begins all of them, and moves the turns on.
//! Refuses to choose: where not all that was read can begin, it begins nothing.

use std::collections::{BTreeSet, HashMap};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, Bool, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::{
    ClaimedColumns, ClaimedRow, begin::due_where, claim::Asked, first_turn, limited, lives, millis, now, shards, sight::LEAP, stands_in, turns::Lane,
    worker_uuid,
};
use super::{begin::begins, claimed};
use crate::{
    job::{AGING, Claimed},
    store::postgres::literal::statement,
};

/// What has begun.
pub(super) struct Swept {
    pub jobs: Vec<Claimed>,
    /// Of which shards.
    pub shards: Vec<i16>,
    /// A lane may have more than was read of it.
    pub is_deeper: bool,
    /// Something stands where another holds it.
    pub passed: bool,
}

/// A lane in which all that was read has begun goes on to its last turn, as in [`super::begin`]; never back, where another has claimed
/// what this statement still sees as waiting: whoever is enqueueing meanwhile would stand too far behind to be seen. For the same
/// reason jobs are locked as they are read, without waiting: what another has claimed may be on its way to its end, which takes its
/// jobs in an order of its own.
const SWEEP: &str = concat!(
    "with free as materialized (select shard from queue_shard where shard = any($1) for update skip locked),
    waiting as materialized (select l.shard, l.kind, l.priority, j.bucket, j.id, j.turn
        from free join queue_lane l on l.shard = free.shard cross join lateral
            (select job.bucket, job.id, job.turn from job where job.shard = l.shard and job.kind = l.kind and job.priority = l.priority
                and job.state = 0 and job.turn >= ",
    first_turn!("$2"),
    " order by job.turn, job.id limit $3 for update skip locked) j),
    few as materialized (select count(*) as jobs from waiting having count(*) between 1 and $4
        and not exists (select 1 from queue_limit where scope in ('kind', 'user'))
        and not exists (select 1 from unnest($1) as p (shard) where ",
    due_where!("$5"),
    ")),
    begun as (update job set ",
    begins!("$6"),
    " from few cross join waiting
        where job.bucket = waiting.bucket and job.id = waiting.id and ",
    stands_in!(0),
    " and ",
    lives!("$6"),
    " returning waiting.shard, waiting.kind, waiting.priority, waiting.turn, ",
    claimed!(),
    "),
    served as (update queue_lane set low = reached.low
        from (select shard, kind, priority, max(turn) + case when count(*) < $3 and shard = any($2) then $7 else 0 end as low
            from waiting where exists (select 1 from begun) group by shard, kind, priority) reached
        where queue_lane.shard = reached.shard and queue_lane.kind = reached.kind and queue_lane.priority = reached.priority
            and queue_lane.low < reached.low
        returning queue_lane.shard)
    select begun.*, exists (select 1 from queue_lane l where l.shard = any($1) and not exists (select 1 from free where free.shard = l.shard)
        and exists (select 1 from job where job.shard = l.shard and job.kind = l.kind and job.priority = l.priority
            and job.state = 0 and job.turn >= ",
    first_turn!("$2"),
    ")) from begun"
);

/// Begins all that waits, `depth` jobs of each lane at most. Nothing where that is none, or more than is asked for, or has to be
/// chosen from; the lease was lost perhaps.
pub(super) async fn sweep(mut connection: &AsyncPgConnection, asked: Asked, depth: usize) -> Result<Option<Swept>, Error> {
    type Columns = (SmallInt, Text, SmallInt, BigInt, ClaimedColumns, Bool);
    let sweep = statement::<Columns>(SWEEP)
        .bind::<Array<SmallInt>, _>(shards())
        .bind::<Array<SmallInt>, _>(asked.beginnings.shards())
        .bind::<BigInt, _>(limited(depth))
        .bind::<BigInt, _>(limited(asked.room))
        .bind::<BigInt, _>(millis(AGING))
        .bind::<SqlUuid, _>(worker_uuid(asked.worker))
        .bind::<BigInt, _>(LEAP);
    let mut rows: Vec<(i16, String, i16, i64, ClaimedRow, bool)> = sweep.load(&mut connection).await?;
    let Some((.., passed)) = rows.last() else { return Ok(None) };
    let passed = *passed;
    let mut lanes: HashMap<Lane, (usize, i64)> = HashMap::new();
    for (shard, kind, priority, turn, ..) in &rows {
        let (count, first) = lanes.entry(Lane { shard: *shard, kind: kind.clone(), priority: *priority }).or_insert((0, *turn));
        (*count, *first) = (*count + 1, *turn.min(first));
    }
    // Turns of different lanes say nothing about each other; how far each is behind its first does.
    let behind = |shard, kind: &String, priority, turn| turn - lanes[&Lane { shard, kind: kind.clone(), priority }].1;
    rows.sort_by_cached_key(|(shard, kind, priority, turn, job, _)| (*priority, behind(*shard, kind, *priority, *turn), job.id));
    let shards: BTreeSet<i16> = rows.iter().map(|(shard, ..)| *shard).collect();
    let is_deeper = lanes.into_values().any(|(count, _)| count >= depth);
    let jobs: Result<Vec<Claimed>, Error> = rows.into_iter().map(|(.., job, _)| job.read()).collect();
    Ok(Some(Swept { jobs: jobs?, shards: shards.into_iter().collect(), is_deeper, passed }))
}
