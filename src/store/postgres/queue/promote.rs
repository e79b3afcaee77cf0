//! What is due becomes available, and what has waited long moves up a priority; each in its user's turn.

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{
    bucket_of, job_id, millis, now,
    turns::{Line, Turns},
};
use crate::{
    job::AGING,
    store::postgres::{literal::statement, pipeline::both},
};

/// How many jobs become available in one go.
const PROMOTED: i64 = 1000;

const DUE: &str = concat!(
    "select id, user_id, kind, priority, state from job where shard = any($1) and state in (1, 2) and run_at <= ",
    now!(),
    " order by run_at limit $2"
);
const AGED: &str = concat!(
    "select id, user_id, kind, priority, state from job where shard = any($1) and state = 0 and priority > 0 and run_at <= ",
    now!(),
    " - $2 order by run_at limit $3"
);
/// Whatever has changed since it was read is left alone.
const PROMOTE: &str = concat!(
    "update job set state = 0, priority = due.priority, turn = due.turn,
        waits_since = case when job.state = 0 then coalesce(job.waits_since, job.run_at) end, run_at = ",
    now!(),
    " from unnest($1, $2, $3, $4, $5, $6) as due (bucket, id, was, state, priority, turn)
    where job.bucket = due.bucket and job.id = due.id and job.state = due.state and job.priority = due.was"
);

type Columns = (SqlUuid, Text, Text, SmallInt, SmallInt);
type Row = (Uuid, String, String, i16, i16);

/// Promotes what is due in these shards, which the caller holds.
pub(super) async fn promote(mut connection: &AsyncPgConnection, shards: &[i16]) -> Result<(), Error> {
    let due = async {
        let mut connection = connection;
        let asked = statement::<Columns>(DUE).bind::<Array<SmallInt>, _>(shards).bind::<BigInt, _>(PROMOTED);
        asked.load::<Row>(&mut connection).await
    };
    let aged = async {
        let mut connection = connection;
        let asked = statement::<Columns>(AGED).bind::<Array<SmallInt>, _>(shards).bind::<BigInt, _>(millis(AGING));
        asked.bind::<BigInt, _>(PROMOTED).load::<Row>(&mut connection).await
    };
    let (due, aged) = both(due, aged).await?;
    let aged = aged.into_iter().map(|row| (row.3 - 1, row));
    let promoted: Vec<(i16, Row)> = due.into_iter().map(|row| (row.3, row)).chain(aged).collect();
    if promoted.is_empty() {
        return Ok(());
    }
    let line = |(priority, (_, user, kind, ..)): &(i16, Row)| Line { user: user.clone(), kind: kind.clone(), priority: *priority };
    let mut turns = Turns::read(connection, promoted.iter().map(line).collect()).await?;
    statement::<()>(PROMOTE)
        .bind::<Array<SmallInt>, _>(promoted.iter().map(|(_, row)| bucket_of(job_id(row.0))).collect::<Vec<_>>())
        .bind::<Array<SqlUuid>, _>(promoted.iter().map(|(_, row)| row.0).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(promoted.iter().map(|(_, row)| row.3).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(promoted.iter().map(|(_, row)| row.4).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(promoted.iter().map(|(priority, _)| *priority).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(promoted.iter().map(|one| turns.take(line(one))).collect::<Vec<_>>())
        .execute(&mut connection)
        .await
        .map(drop)
}
