//! One claim: within it shards are held, keys are read, jobs are chosen and begun.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
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
    claim::{Asked, Find},
    claimed, job_id, limited, limits, lives, now, places, promote,
    sight::{ALL, LEAP},
    stands_in,
    turns::{Lane, reach_back, serve},
    worker, worker_uuid,
};
use crate::{
    id::{JobId, WorkerId},
    job::{Claimed, Fence},
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

pub(super) async fn claim_from(connection: &AsyncPgConnection, asked: Asked, find: &Find, before: &Before, doubt: Doubt) -> Result<Batch, Error> {
    let former = before.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((shards, jobs, renewed)) = former.filter(|_| doubt == Doubt::MayBeDone)
        && came_to_be(connection, asked.worker, &shards, &jobs).await?
    {
        return Ok(Batch { jobs, more: true, renewed, lost: false });
    }
    let ((held, known), left) = both(hold(connection, asked, find), worker::left(connection, asked.worker)).await?;
    let (chosen, waiting) = chosen(connection, asked, &held, known).await?;
    if chosen.is_empty() {
        return Ok(Batch::default());
    }
    let served = served(&waiting, &chosen, asked);
    // Each renewal leaves the remains of a row, and one in a while is enough.
    let renews = left < asked.lease.mul_f64(0.75);
    let Some(jobs) = begin(connection, asked, renews, &chosen, &served).await? else {
        reach_back(connection, &lows(&waiting)).await?;
        return Ok(Batch { lost: true, ..Batch::default() });
    };
    let more = held.len() < find.shards.len() || (chosen.len() == asked.room && waiting.len() > asked.room);
    *before.lock().unwrap_or_else(PoisonError::into_inner) = Some((held, jobs.clone(), renews));
    Ok(Batch { jobs, more, renewed: renews, lost: false })
}

const HOLD_FREE: &str = "select shard from queue_shard where shard = any($1) for update skip locked";
const HOLD: &str = "select shard from queue_shard where shard = any($1) order by shard for update";

/// Holds those of the shards that nobody holds, or waits for the first of them; and says what waits there.
async fn hold(connection: &AsyncPgConnection, asked: Asked, find: &Find) -> Result<(Vec<i16>, Known), Error> {
    let shards = &find.shards;
    let (mut held, mut known) = both(hold_by(connection, HOLD_FREE, shards), read(connection, asked, asked.room + 1, shards)).await?;
    let waits = held.is_empty();
    if waits {
        held = hold_by(connection, HOLD, &shards[..1]).await?;
    }
    if find.has_due {
        promote::promote(connection, &held).await?;
    }
    if waits || find.has_due {
        known = read(connection, asked, asked.room + 1, &held).await?;
    }
    known.1.retain(|job| held.contains(&job.lane.shard));
    Ok((held, known))
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
    both(limits::read(connection), keys(connection, asked.overlap, depth, shards)).await
}

/// The jobs to begin, in their order, and those they were chosen from.
async fn chosen(connection: &AsyncPgConnection, asked: Asked, held: &[i16], mut known: Known) -> Result<(Vec<JobId>, Vec<Waiting>), Error> {
    let mut depth = asked.room + 1;
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

const KEYS: &str = "select l.shard, l.kind, l.priority, l.low, j.id, j.user_id, j.turn from queue_lane l cross join lateral
        (select job.id, job.user_id, job.turn from job where job.shard = l.shard and job.kind = l.kind and job.priority = l.priority
            and job.state = 0 and job.turn >= l.low - $1 order by job.turn, job.id limit $2) j
    where l.shard = any($3) and not exists (select 1 from queue_limit q where q.scope = 'kind' and q.name = l.kind and q.paused)";

async fn keys(mut connection: &AsyncPgConnection, overlap: i64, depth: usize, shards: &[i16]) -> Result<Vec<Waiting>, Error> {
    type Columns = (SmallInt, Text, SmallInt, BigInt, SqlUuid, Text, BigInt);
    let asked = statement::<Columns>(KEYS).bind::<BigInt, _>(overlap).bind::<BigInt, _>(limited(depth)).bind::<Array<SmallInt>, _>(shards);
    let rows: Vec<(i16, String, i16, i64, Uuid, String, i64)> = asked.load(&mut connection).await?;
    let read = |(shard, kind, priority, low, id, user, turn)| Waiting { id: job_id(id), user, lane: Lane { shard, kind, priority }, turn, low };
    Ok(rows.into_iter().map(read).collect())
}

/// The turn that is served next, where it is another one: the lowest that still waits, or else the last that was chosen; a few
/// later where the whole lane was seen and nothing is left.
fn served(waiting: &[Waiting], chosen: &[JobId], asked: Asked) -> Vec<(Lane, i64)> {
    let chosen: HashSet<&JobId> = chosen.iter().collect();
    let mut lanes: HashMap<&Lane, (i64, Option<i64>, i64)> = HashMap::new();
    for job in waiting {
        let (_, next, last) = lanes.entry(&job.lane).or_insert((job.low, None, i64::MIN));
        if chosen.contains(&job.id) {
            *last = job.turn.max(*last);
        } else {
            *next = Some(next.map_or(job.turn, |next| job.turn.min(next)));
        }
    }
    let leap = if asked.overlap == ALL && waiting.len() <= asked.room { LEAP } else { 0 };
    let moved = lanes.into_iter().map(|(lane, (low, next, last))| (lane, low, next.unwrap_or(last + leap)));
    let mut moved: Vec<(Lane, i64)> = moved.filter(|(_, low, next)| low != next).map(|(lane, _, next)| (lane.clone(), next)).collect();
    moved.sort();
    moved
}

/// The turns that were served until now.
fn lows(waiting: &[Waiting]) -> Vec<(Lane, i64)> {
    let lows: BTreeMap<&Lane, i64> = waiting.iter().map(|job| (&job.lane, job.low)).collect();
    lows.into_iter().map(|(lane, low)| (lane.clone(), low)).collect()
}

const BEGIN: &str = concat!(
    "update job set state = 3, attempt = job.attempt + 1, tries = job.tries + 1, worker = $1, error = null, started_at = ",
    now!(),
    " from unnest($2, $3) as chosen (bucket, id)
    where job.bucket = chosen.bucket and job.id = chosen.id and ",
    stands_in!(0),
    " and ",
    lives!("$1"),
    " returning ",
    claimed!()
);

/// Begins the chosen jobs under the worker's lease, which it renews where it should. Nothing, where that is lost.
async fn begin(
    connection: &AsyncPgConnection,
    asked: Asked,
    renews: bool,
    chosen: &[JobId],
    served: &[(Lane, i64)],
) -> Result<Option<Vec<Claimed>>, Error> {
    // In this order: jobs are begun only where the worker lives by then.
    let registered = async { if renews { worker::renew(connection, asked.worker, asked.lease).await } else { Ok(true) } };
    let begun = begin_jobs(connection, asked.worker, chosen);
    let (mut lives, (mut begun, ())) = both(registered, both(begun, serve(connection, served))).await?;
    // Either they have been stopped since they were chosen, or the lease was over all the same.
    let is_unclear = begun.is_empty() && !renews;
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
