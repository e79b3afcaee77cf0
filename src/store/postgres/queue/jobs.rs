//! Jobs as their owner sees them: one, or a list over those that live and those that have ended.

use diesel::{
    Queryable,
    result::Error,
    sql_types::{BigInt, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{bucket_of, job_id, limited, shard_of, shards, state_number, state_of, uuid_of};
use crate::{
    id::{JobId, UserId},
    job::JobView,
    store::{
        Depth, JobFilter,
        postgres::{literal::statement, unreadable},
    },
    timestamp::Timestamp,
};

/// A job, living or ended.
#[derive(Queryable)]
pub(super) struct Row {
    id: Uuid,
    kind: String,
    state: i16,
    progress: Option<i16>,
    note: Option<String>,
    result: Option<String>,
    error: Option<String>,
    tries: i32,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

pub(super) type Columns = (
    SqlUuid,
    Text,
    SmallInt,
    Nullable<SmallInt>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Integer,
    BigInt,
    Nullable<BigInt>,
    Nullable<BigInt>,
);

/// The columns of [`Row`], of a job that lives.
macro_rules! live {
    () => {
        "id, kind, state, progress, note, null::text, error, tries, created_at, started_at, null::int8"
    };
}
pub(super) use live;

/// The columns of [`Row`], of a job that has ended.
macro_rules! done {
    () => {
        "id, kind, state, progress, null::text, result, error, tries, created_at, started_at, finished_at"
    };
}
pub(super) use done;

impl Row {
    pub(super) fn read(self) -> Result<JobView, Error> {
        Ok(JobView {
            job_id: job_id(self.id),
            kind: self.kind.parse().map_err(|_| unreadable("kind of a job"))?,
            state: state_of(self.state)?,
            progress: self.progress.and_then(|percent| percent.try_into().ok()),
            message: self.note,
            result: self.result.map(|json| serde_json::from_str(&json).map_err(|_| unreadable("result of a job"))).transpose()?,
            error: self.error,
            attempt: self.tries.cast_unsigned(),
            created_at: Timestamp::from_millis(self.created_at),
            started_at: self.started_at.map(Timestamp::from_millis),
            finished_at: self.finished_at.map(Timestamp::from_millis),
        })
    }
}

const SHOW: &str = concat!("select ", live!(), " from job where bucket = $1 and id = $2 and user_id = $3");
const SHOW_DONE: &str = concat!("select ", done!(), " from job_done where bucket = $1 and state in (4, 5, 6) and id = $2 and user_id = $3");

pub(super) async fn show(mut connection: &AsyncPgConnection, user: &UserId, id: JobId) -> Result<Option<JobView>, Error> {
    // It may end, or be tried once more, between the two.
    for sql in [SHOW, SHOW_DONE, SHOW] {
        let show = statement::<Columns>(sql).bind::<SmallInt, _>(bucket_of(id)).bind::<SqlUuid, _>(uuid_of(id));
        let rows: Vec<Row> = show.bind::<Text, _>(user.as_str()).load(&mut connection).await?;
        if let Some(row) = rows.into_iter().next() {
            return row.read().map(Some);
        }
    }
    Ok(None)
}

/// Of each index what is asked for.
const LIST: &str = concat!(
    "select ",
    live!(),
    " from job where user_id = $1 and state in (0, 1, 2) and id < $2 and ($3 is null or state = $3) and ($4 is null or kind = $4)
    union all select ",
    live!(),
    " from job where shard = $5 and user_id = $1 and state = 3 and id < $2 and ($3 is null or $3 = 3) and ($4 is null or kind = $4)
    order by id desc limit $6"
);
const LIST_DONE: &str = concat!(
    "select ",
    done!(),
    " from job_done where user_id = $1 and id < $2 and ($3 is null or state = $3) and ($4 is null or kind = $4) order by id desc limit $5"
);

pub(super) async fn list(mut connection: &AsyncPgConnection, user: &UserId, filter: JobFilter) -> Result<Vec<JobView>, Error> {
    let of = |sql| {
        statement::<Columns>(sql)
            .bind::<Text, _>(user.as_str())
            .bind::<SqlUuid, _>(filter.before.map_or(Uuid::max(), uuid_of))
            .bind::<Nullable<SmallInt>, _>(filter.state.map(state_number))
            .bind::<Nullable<Text>, _>(filter.kind.map(crate::job::Kind::as_str))
    };
    let limit = limited(filter.limit);
    // What lives first: one that ends meanwhile is found twice, and not missed.
    let mut rows: Vec<Row> = of(LIST).bind::<SmallInt, _>(shard_of(user.as_str())).bind::<BigInt, _>(limit).load(&mut connection).await?;
    rows.extend(of(LIST_DONE).bind::<BigInt, _>(limit).load::<Row>(&mut connection).await?);
    let mut jobs: Vec<JobView> = rows.into_iter().map(Row::read).collect::<Result<_, _>>()?;
    jobs.sort_by_key(|job| std::cmp::Reverse(job.job_id));
    jobs.dedup_by_key(|job| job.job_id);
    jobs.truncate(filter.limit);
    Ok(jobs)
}

/// In each shard as many begin before it as are less far behind their first.
const POSITION: &str = "with mine as (select shard, kind, priority, turn, id from job where bucket = $1 and id = $2 and user_id = $3 and state = 0),
    place as (select l.shard, l.priority, l.kind, mine.priority as my_priority, mine.id as my_id,
            (select min(j.turn) from job j where j.shard = l.shard and j.kind = l.kind and j.priority = l.priority and j.state = 0) as first,
            mine.turn - (select min(j.turn) from job j where j.shard = mine.shard and j.kind = mine.kind and j.priority = mine.priority
                and j.state = 0) as behind
        from mine join queue_lane l on l.kind = mine.kind and l.priority <= mine.priority and l.shard = any($4))
    select count(*) from place join job on job.shard = place.shard and job.kind = place.kind and job.priority = place.priority and job.state = 0
        and (place.priority < place.my_priority or job.turn - place.first < place.behind
            or (job.turn - place.first = place.behind and job.id <= place.my_id))";

/// How many available jobs of its kind begin before this one, and itself.
pub(super) async fn position(mut connection: &AsyncPgConnection, user: &UserId, id: JobId) -> Result<Option<u64>, Error> {
    let position = statement::<BigInt>(POSITION).bind::<SmallInt, _>(bucket_of(id)).bind::<SqlUuid, _>(uuid_of(id));
    let position = position.bind::<Text, _>(user.as_str()).bind::<diesel::sql_types::Array<SmallInt>, _>(shards());
    let count: i64 = position.get_result(&mut connection).await?;
    Ok((count > 0).then(|| count.cast_unsigned()))
}

const DEPTH: &str = "select count(*) from job where shard = any($1) and state = 0
    union all select count(*) from job where shard = any($1) and state in (1, 2)
    union all select count(*) from job where state = 3";

pub(super) async fn depth(mut connection: &AsyncPgConnection) -> Result<Depth, Error> {
    let depth = statement::<BigInt>(DEPTH).bind::<diesel::sql_types::Array<SmallInt>, _>(shards());
    let counts: Vec<i64> = depth.load(&mut connection).await?;
    let [available, later, running] = counts[..] else { return Err(unreadable("depth of the queue")) };
    Ok(Depth { waiting: (available + later).cast_unsigned(), running: running.cast_unsigned() })
}
