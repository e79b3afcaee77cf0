//! Jobs as an operator sees them, whoever's they are.

use diesel::{
    Queryable,
    result::Error,
    sql_types::{Array, BigInt, Bool, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::worker_id;
use crate::{
    id::{JobId, UserId},
    job::Kind,
    store::{
        AdminFilter, FailedAttempt, JobRecord,
        postgres::{
            literal::statement,
            queue::{
                bucket_of,
                jobs::{self, done, live},
                limited, priority_of, shards, state_number, uuid_of,
            },
            unreadable,
        },
    },
    timestamp::Timestamp,
};

/// What an operator sees besides.
#[derive(Queryable)]
struct Extra {
    user_id: String,
    priority: i16,
    run_at: i64,
    worker: Option<Uuid>,
    provider: Option<String>,
    unique_key: Option<String>,
    cancel_asked: bool,
    errors: String,
}

type Row = (jobs::Row, Extra);
type Columns = (jobs::Columns, (Text, SmallInt, BigInt, Nullable<SqlUuid>, Nullable<Text>, Nullable<Text>, Bool, Text));

macro_rules! live_extra {
    () => {
        "user_id, priority, coalesce(waits_since, run_at), worker, provider, unique_key, cancel_asked, errors::text"
    };
}
macro_rules! done_extra {
    () => {
        "user_id, priority, created_at, null::uuid, null::text, unique_key, false, errors::text"
    };
}

fn read((row, extra): Row) -> Result<JobRecord, Error> {
    Ok(JobRecord {
        job: row.read()?,
        user_id: extra.user_id.parse().map_err(|_| unreadable("user id"))?,
        priority: priority_of(extra.priority),
        run_at: Timestamp::from_millis(extra.run_at),
        worker: extra.worker.map(worker_id),
        provider: extra.provider,
        unique_key: extra.unique_key,
        cancel_asked: extra.cancel_asked,
        failures: FailedAttempt::read_kept(&extra.errors).map_err(|_| unreadable("errors of a job"))?,
    })
}

/// Each bucket is in the order of ids, which is that of making.
const LIVE: &str = concat!(
    "select ",
    live!(),
    ", ",
    live_extra!(),
    " from (select j.* from unnest($1) as p (bucket) cross join lateral
        (select * from job where job.bucket = p.bucket and job.id < $2 and ($3 is null or job.state = $3) and ($4 is null or job.kind = $4)
            and ($5 is null or job.user_id = $5) order by job.id desc limit $6) j) found
    order by id desc limit $6"
);
const DONE: &str = concat!(
    "select ",
    done!(),
    ", ",
    done_extra!(),
    " from (select d.* from unnest($1) as p (bucket) cross join lateral
        (select * from job_done where job_done.bucket = p.bucket and job_done.state = $2 and job_done.id < $3
            and ($4 is null or job_done.kind = $4) order by job_done.id desc limit $5) d) found
    order by id desc limit $5"
);
const DONE_OF_USER: &str = concat!(
    "select ",
    done!(),
    ", ",
    done_extra!(),
    " from job_done where user_id = $1 and state = $2 and id < $3 and ($4 is null or kind = $4) order by id desc limit $5"
);

pub(super) async fn list(mut connection: &AsyncPgConnection, filter: &AdminFilter) -> Result<Vec<JobRecord>, Error> {
    let (before, limit, kind) = (filter.before.map_or(Uuid::max(), uuid_of), limited(filter.limit), filter.kind.map(Kind::as_str));
    let rows: Vec<Row> = match (filter.state, &filter.user) {
        (Some(state), Some(user)) if state.is_final() => {
            let list = statement::<Columns>(DONE_OF_USER).bind::<Text, _>(user.as_str()).bind::<SmallInt, _>(state_number(state));
            let list = list.bind::<SqlUuid, _>(before).bind::<Nullable<Text>, _>(kind).bind::<BigInt, _>(limit);
            list.load(&mut connection).await?
        }
        (Some(state), None) if state.is_final() => {
            let list = statement::<Columns>(DONE).bind::<Array<SmallInt>, _>(shards()).bind::<SmallInt, _>(state_number(state));
            let list = list.bind::<SqlUuid, _>(before).bind::<Nullable<Text>, _>(kind).bind::<BigInt, _>(limit);
            list.load(&mut connection).await?
        }
        (state, user) => {
            let list = statement::<Columns>(LIVE).bind::<Array<SmallInt>, _>(shards()).bind::<SqlUuid, _>(before);
            let list = list.bind::<Nullable<SmallInt>, _>(state.map(state_number)).bind::<Nullable<Text>, _>(kind);
            let list = list.bind::<Nullable<Text>, _>(user.as_ref().map(UserId::as_str)).bind::<BigInt, _>(limit);
            list.load(&mut connection).await?
        }
    };
    rows.into_iter().map(read).collect()
}

const SHOW: &str = concat!("select ", live!(), ", ", live_extra!(), " from job where bucket = $1 and id = $2");
const SHOW_DONE: &str = concat!("select ", done!(), ", ", done_extra!(), " from job_done where bucket = $1 and state in (4, 5, 6) and id = $2");

pub(super) async fn show(mut connection: &AsyncPgConnection, id: JobId) -> Result<Option<JobRecord>, Error> {
    // It may end, or be tried once more, between the two.
    for sql in [SHOW, SHOW_DONE, SHOW] {
        let show = statement::<Columns>(sql).bind::<SmallInt, _>(bucket_of(id)).bind::<SqlUuid, _>(uuid_of(id));
        if let Some(row) = show.load::<Row>(&mut connection).await?.into_iter().next() {
            return read(row).map(Some);
        }
    }
    Ok(None)
}
