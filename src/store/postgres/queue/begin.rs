//! One claim: within it shards are held, keys are read, jobs are chosen and begun.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{
    ClaimedColumns, ClaimedRow,
    claim::{Asked, At, Claim, Find, MUCH},
    claimed, first_turn, job_id, limited, limits, lives, millis, now, places, promote, shards,
    sight::{Beginnings, LEAP},
    stands_in,
    sweep::{Swept, sweep},
    turns::{Lane, reach_back, serve},
    worker, worker_uuid,
};
use crate::{
    id::{JobId, WorkerId},
    job::{AGING, Claimed, Fence},
    store::{
        Batch,
        postgres::{literal::statement, pipeline::both, transaction::Doubt},
        turns::{Candidate, choose},
    },
};

/// How far it looks beyond those whose users already run as much as they may.
const FAR: usize = 10_000;

/// What the run before has claimed, and whether it has renewed the lease, so that the next one can see whether that came to be.
pub(super) type Before = Mutex<Option<(Vec<i16>, Vec<Claimed>, bool)>>;

pub(super) async fn claim_from(connection: &AsyncPgConnection, asked: Asked, at: &At, before: &Before, doubt: Doubt) -> Result<Claim, Error> {
    let former = before.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((shards, jobs, renewed)) = former.filter(|_| doubt == Doubt::MayBeDone)
        && came_to_be(connection, asked.worker, &shards, &jobs).await?
    {
        return Ok(Claim { batch: Batch { jobs, more: true, renewed, lost: false }, left_some: true });
    }
    if matches!(at, At::Wherever)
        && !asked.renews
        && let Some(Swept { jobs, shards, is_deeper, passed }) = sweep(connection, asked, shallow(asked)).await?
    {
        let more = passed || (is_deeper && shallow(asked) <= asked.room);
        *before.lock().unwrap_or_else(PoisonError::into_inner) = Some((shards, jobs.clone(), false));
        return Ok(Claim { batch: Batch { jobs, more, renewed: false, lost: false }, left_some: passed || is_deeper });
    }
    let Held { shards, known, depth, passed } = match at {
        At::Found(find) => hold(connection, asked, find).await?,
        At::Wherever => hold_all(connection, asked).await?,
    };
    let is_deeper = is_deeper(&known.1, depth);
    let (chosen, waiting) = chosen(connection, asked, &shards, known, depth).await?;
    if chosen.is_empty() {
        return Ok(Claim::default());
    }
    let served = served(&waiting, &chosen, asked, depth);
    let Some(jobs) = begin(connection, asked, &chosen, &served).await? else {
        reach_back(connection, &lows(&waiting)).await?;
        return Ok(Claim { batch: Batch { lost: true, ..Batch::default() }, left_some: true });
    };
    let more = passed || (chosen.len() == asked.room && waiting.len() > asked.room) || (is_deeper && depth <= asked.room);
    *before.lock().unwrap_or_else(PoisonError::into_inner) = Some((shards, jobs.clone(), asked.renews));
    Ok(Claim { batch: Batch { jobs, more, renewed: asked.renews, lost: false }, left_some: passed || is_deeper })
}

/// Up to how many of each lane are read where little waits.
fn shallow(asked: Asked) -> usize {
    asked.room.min(MUCH as usize) + 1
}

/// Whether a lane may have more than was read of it.
fn is_deeper(waiting: &[Waiting], depth: usize) -> bool {
    let mut counts: HashMap<&Lane, usize> = HashMap::new();
    for job in waiting {
        *counts.entry(&job.lane).or_default() += 1;
    }
    counts.into_values().any(|count| count >= depth)
}

/// The shards that are held, and what waits there.
struct Held {
    shards: Vec<i16>,
    known: Known,
    /// Up to how many of each lane were read.
    depth: usize,
    /// Something stands where another holds it.
    passed: bool,
}

const HOLD_FREE: &str = "select shard from queue_shard where shard = any($1) for update skip locked";
const HOLD: &str = "select shard from queue_shard where shard = any($1) order by shard for update";

/// Holds those of the shards that nobody holds, or waits for the first of them; and says what waits there.
async fn hold(connection: &AsyncPgConnection, asked: Asked, find: &Find) -> Result<Held, Error> {
    let depth = asked.room / find.with_much.max(1) + 1;
    let (shards, known) = both(hold_by(connection, HOLD_FREE, &find.shards), read(connection, asked, depth, &find.shards)).await?;
    settle(connection, asked, Held { shards, known, depth, passed: false }, &find.shards, find.has_due).await
}

/// That something has to become available in the shard `p`; the parameter is the time after which a job moves up.
macro_rules! due_where {
    ($aging:literal) => {
        concat!(
            "(select count(*) from (select 1 from job where job.shard = p.shard and job.state in (1, 2) and job.run_at <= ",
            now!(),
            " limit 1) d) + (select count(*) from (select 1 from job where job.shard = p.shard and job.state = 0 and job.priority > 0 and job.run_at <= ",
            now!(),
            " - ",
            $aging,
            " limit 1) a) > 0"
        )
    };
}
pub(super) use due_where;

/// Where something has to become available.
const DUE: &str = concat!("select p.shard from unnest($1) as p (shard) where ", due_where!("$2"));

async fn due(mut connection: &AsyncPgConnection) -> Result<Vec<i16>, Error> {
    let due = statement::<SmallInt>(DUE).bind::<Array<SmallInt>, _>(shards()).bind::<BigInt, _>(millis(AGING));
    due.load(&mut connection).await
}

/// Holds all shards that nobody holds, or waits for the first of them that has something; and says what waits there.
async fn hold_all(connection: &AsyncPgConnection, asked: Asked) -> Result<Held, Error> {
    let (all, depth) = (shards(), shallow(asked));
    let (shards, (known, due)) = both(hold_by(connection, HOLD_FREE, &all), both(read(connection, asked, depth, &all), due(connection))).await?;
    let there: BTreeSet<i16> = known.1.iter().map(|job| job.lane.shard).chain(due.iter().copied()).collect();
    let there: Vec<i16> = there.into_iter().collect();
    settle(connection, asked, Held { shards, known, depth, passed: false }, &there, !due.is_empty()).await
}

/// Waits for the first of the shards that have something where none is held, promotes what is due, and keeps of what is known what
/// is held.
async fn settle(connection: &AsyncPgConnection, asked: Asked, mut held: Held, there: &[i16], has_due: bool) -> Result<Held, Error> {
    let waits = held.shards.is_empty() && !there.is_empty();
    if waits {
        held.shards = hold_by(connection, HOLD, &there[..1]).await?;
    }
    if has_due {
        promote::promote(connection, &held.shards).await?;
    }
    if waits || has_due {
        held.known = read(connection, asked, held.depth, &held.shards).await?;
    }
    let shards = &held.shards;
    held.known.1.retain(|job| shards.contains(&job.lane.shard));
    held.passed = there.iter().any(|shard| !shards.contains(shard));
    Ok(held)
}

async fn hold_by(mut connection: &AsyncPgConnection, sql: &'static str, shards: &[i16]) -> Result<Vec<i16>, Error> {
    statement::<SmallInt>(sql).bind::<Array<SmallInt>, _>(shards).load(&mut connection).await
}

const STANDS: &str = "select job.id from job where bucket = $1 and id = $2 and attempt = $3 and worker = $4 and state = 3";

/// Whether a claim that nobody heard of was committed. One that is still under way holds its shards until it is decided.
async fn came_to_be(mut connection: &AsyncPgConnection, worker: WorkerId, shards: &[i16], jobs: &[Claimed]) -> Result<bool, Error> {
    hold_by(connection, HOLD, shards).await?;
    let Some(Fence { job, attempt }) = jobs.first().map(|first| first.fence) else { return Ok(false) };
    let stands = statement::<SqlUuid>(STANDS).bind::<SmallInt, _>(super::bucket_of(job)).bind::<SqlUuid, _>(super::uuid_of(job));
    let stands = stands.bind::<diesel::sql_types::Integer, _>(attempt.cast_signed()).bind::<SqlUuid, _>(worker_uuid(worker));
    Ok(!stands.load::<Uuid>(&mut connection).await?.is_empty())
}

/// A waiting job with its lane and the turn that is being served there.
struct Waiting {
    id: JobId,
    user: String,
    lane: Lane,
    turn: i64,
    low: i64,
}

/// Limits, and the first jobs of each lane.
type Known = (Vec<limits::Limit>, Vec<Waiting>);

async fn read(connection: &AsyncPgConnection, asked: Asked, depth: usize, shards: &[i16]) -> Result<Known, Error> {
    both(limits::read(connection), keys(connection, asked.beginnings, depth, shards)).await
}

/// The jobs to begin, in their order, and those they were chosen from.
async fn chosen(
    connection: &AsyncPgConnection,
    asked: Asked,
    held: &[i16],
    mut known: Known,
    mut depth: usize,
) -> Result<(Vec<JobId>, Vec<Waiting>), Error> {
    loop {
        let (limits, waiting) = known;
        if waiting.is_empty() {
            return Ok((Vec::new(), waiting));
        }
        let allowance = limits::allowance(connection, &limits, waiting.iter().map(|job| job.user.as_str())).await?;
        let choice = choose(&candidates(&waiting), asked.room, &allowance);
        // Where nothing else was there, looking farther finds nothing.
        if choice.jobs.len() < asked.room && choice.passed_over > 0 && waiting.len() >= depth && depth < FAR {
            depth = FAR;
            known = read(connection, asked, depth, held).await?;
            continue;
        }
        return Ok((choice.jobs, waiting));
    }
}

/// Turns of different shards say nothing about each other; how far each is behind its first does.
fn candidates(waiting: &[Waiting]) -> Vec<Candidate> {
    let mut first: HashMap<&Lane, i64> = HashMap::new();
    for job in waiting {
        first.entry(&job.lane).and_modify(|first| *first = job.turn.min(*first)).or_insert(job.turn);
    }
    let candidate = |job: &Waiting| {
        let Lane { kind, priority, .. } = &job.lane;
        Candidate { id: job.id, kind: kind.clone(), user: job.user.clone(), priority: *priority, turn: job.turn - first[&job.lane] }
    };
    waiting.iter().map(candidate).collect()
}

const KEYS: &str = concat!(
    "select l.shard, l.kind, l.priority, l.low, j.id, j.user_id, j.turn from queue_lane l cross join lateral
        (select job.id, job.user_id, job.turn from job where job.shard = l.shard and job.kind = l.kind and job.priority = l.priority
            and job.state = 0 and job.turn >= ",
    first_turn!("$1"),
    " order by job.turn, job.id limit $2) j
    where l.shard = any($3) and not exists (select 1 from queue_limit q where q.scope = 'kind' and q.name = l.kind and q.paused)"
);

async fn keys(mut connection: &AsyncPgConnection, beginnings: Beginnings, depth: usize, shards: &[i16]) -> Result<Vec<Waiting>, Error> {
    type Columns = (SmallInt, Text, SmallInt, BigInt, SqlUuid, Text, BigInt);
    let asked = statement::<Columns>(KEYS).bind::<Array<SmallInt>, _>(beginnings.shards()).bind::<BigInt, _>(limited(depth));
    let asked = asked.bind::<Array<SmallInt>, _>(shards);
    let rows: Vec<(i16, String, i16, i64, Uuid, String, i64)> = asked.load(&mut connection).await?;
    let read = |(shard, kind, priority, low, id, user, turn)| Waiting { id: job_id(id), user, lane: Lane { shard, kind, priority }, turn, low };
    Ok(rows.into_iter().map(read).collect())
}

/// The turn that is served next, where it is another one: the lowest that still waits, or else the last that was chosen; a few
/// later where the whole lane was seen and nothing is left.
fn served(waiting: &[Waiting], chosen: &[JobId], asked: Asked, depth: usize) -> Vec<(Lane, i64)> {
    let chosen: HashSet<&JobId> = chosen.iter().collect();
    let mut lanes: HashMap<&Lane, (i64, Option<i64>, i64, usize)> = HashMap::new();
    for job in waiting {
        let (_, next, last, count) = lanes.entry(&job.lane).or_insert((job.low, None, i64::MIN, 0));
        *count += 1;
        if chosen.contains(&job.id) {
            *last = job.turn.max(*last);
        } else {
            *next = Some(next.map_or(job.turn, |next| job.turn.min(next)));
        }
    }
    let leap = |lane: &Lane, count| if asked.beginnings.contains(lane.shard) && count < depth { LEAP } else { 0 };
    let moved = lanes.into_iter().map(|(lane, (low, next, last, count))| (lane, low, next.unwrap_or(last + leap(lane, count))));
    let mut moved: Vec<(Lane, i64)> = moved.filter(|(_, low, next)| low != next).map(|(lane, _, next)| (lane.clone(), next)).collect();
    moved.sort();
    moved
}

/// The turns that were served until now.
fn lows(waiting: &[Waiting]) -> Vec<(Lane, i64)> {
    let lows: BTreeMap<&Lane, i64> = waiting.iter().map(|job| (&job.lane, job.low)).collect();
    lows.into_iter().map(|(lane, low)| (lane.clone(), low)).collect()
}

/// What changes with a beginning; the parameter is whose it is.
macro_rules! begins {
    ($worker:literal) => {
        concat!("state = 3, attempt = job.attempt + 1, tries = job.tries + 1, worker = ", $worker, ", error = null, started_at = ", now!())
    };
}
pub(super) use begins;

const BEGIN: &str = concat!(
    "update job set ",
    begins!("$1"),
    " from unnest($2, $3) as chosen (bucket, id)
    where job.bucket = chosen.bucket and job.id = chosen.id and ",
    stands_in!(0),
    " and ",
    lives!("$1"),
    " returning ",
    claimed!()
);

/// Begins the chosen jobs under the worker's lease, which it renews where it should. Nothing, where that is lost.
async fn begin(connection: &AsyncPgConnection, asked: Asked, chosen: &[JobId], served: &[(Lane, i64)]) -> Result<Option<Vec<Claimed>>, Error> {
    // In this order: jobs are begun only where the worker lives by then.
    let registered = async { if asked.renews { worker::renew(connection, asked.worker, asked.lease).await } else { Ok(true) } };
    let begun = begin_jobs(connection, asked.worker, chosen);
    let (mut lives, (mut begun, ())) = both(registered, both(begun, serve(connection, served))).await?;
    // Either they have been stopped since they were chosen, or the lease was over all the same.
    let is_unclear = begun.is_empty() && !asked.renews;
    if is_unclear {
        lives = worker::renew(connection, asked.worker, asked.lease).await?;
    }
    if !lives && !worker::begin_again(connection, asked.worker, asked.lease).await? {
        return Ok(None);
    }
    if !lives || is_unclear {
        begun = begin_jobs(connection, asked.worker, chosen).await?;
    }
    let order: HashMap<JobId, usize> = chosen.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    begun.sort_unstable_by_key(|job| order.get(&job.fence.job).copied());
    Ok(Some(begun))
}

async fn begin_jobs(mut connection: &AsyncPgConnection, worker: WorkerId, chosen: &[JobId]) -> Result<Vec<Claimed>, Error> {
    let (buckets, ids) = places(chosen.iter().copied());
    let begin = statement::<ClaimedColumns>(BEGIN).bind::<SqlUuid, _>(worker_uuid(worker)).bind::<Array<SmallInt>, _>(buckets);
    let rows: Vec<ClaimedRow> = begin.bind::<Array<SqlUuid>, _>(ids).load(&mut connection).await?;
    rows.into_iter().map(ClaimedRow::read).collect()
}
