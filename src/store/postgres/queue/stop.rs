//! Stopping a job: a waiting one is taken as a worker takes it, so that one alone ends it.

use std::time::Duration;

use diesel::{
    result::Error,
    sql_types::{Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{ClaimedColumns, ClaimedRow, PostgresStore, RUNNING, bucket_of, claimed, uuid_of, worker, worker_uuid};
use crate::{
    id::{JobId, UserId, WorkerId},
    store::{Stopping, StoreError, postgres::literal::statement},
};

impl PostgresStore {
    /// Asks to stop a job: `user`'s, where one is given.
    pub(super) async fn stop(&self, user: Option<UserId>, id: JobId, lease: Duration) -> Result<Stopping, StoreError> {
        let holder = WorkerId::new();
        self.transaction(async move |connection, _| stop(connection, user.as_ref(), id, holder, lease).await).await
    }
}

const FIND: &str = "select user_id, state, worker from job where bucket = $1 and id = $2 for update";
const ASK: &str = "update job set cancel_asked = true where bucket = $1 and id = $2";
const HOLD: &str = concat!(
    "update job set state = 3, attempt = job.attempt + 1, worker = $1, cancel_asked = true where bucket = $2 and id = $3 returning ",
    claimed!()
);
/// What this holder has held already, in a run of whose commit nobody has heard.
const HELD: &str = concat!("select ", claimed!(), " from job where bucket = $1 and id = $2");
const FINISHED: &str = "select user_id from job_done where bucket = $1 and state in (4, 5, 6) and id = $2";

async fn stop(mut connection: &AsyncPgConnection, user: Option<&UserId>, id: JobId, holder: WorkerId, lease: Duration) -> Result<Stopping, Error> {
    let (bucket, uuid) = (bucket_of(id), uuid_of(id));
    let is_hers = |owner: &str| user.is_none_or(|user| user.as_str() == owner);
    let find = statement::<(Text, SmallInt, Nullable<SqlUuid>)>(FIND).bind::<SmallInt, _>(bucket).bind::<SqlUuid, _>(uuid);
    let live: Vec<(String, i16, Option<Uuid>)> = find.load(&mut connection).await?;
    let row = match live.into_iter().next() {
        Some((owner, ..)) if !is_hers(&owner) => return Ok(Stopping::Unknown),
        Some((_, RUNNING, Some(by))) if by == worker_uuid(holder) => {
            statement::<ClaimedColumns>(HELD).bind::<SmallInt, _>(bucket).bind::<SqlUuid, _>(uuid).get_result(&mut connection).await?
        }
        Some((_, RUNNING, _)) => {
            statement::<()>(ASK).bind::<SmallInt, _>(bucket).bind::<SqlUuid, _>(uuid).execute(&mut connection).await?;
            return Ok(Stopping::Running);
        }
        Some(_) => {
            worker::renew(connection, holder, lease).await?;
            let hold = statement::<ClaimedColumns>(HOLD).bind::<SqlUuid, _>(worker_uuid(holder)).bind::<SmallInt, _>(bucket);
            hold.bind::<SqlUuid, _>(uuid).get_result::<ClaimedRow>(&mut connection).await?
        }
        None => {
            let finished = statement::<Text>(FINISHED).bind::<SmallInt, _>(bucket).bind::<SqlUuid, _>(uuid);
            let owners: Vec<String> = finished.load(&mut connection).await?;
            return Ok(if owners.iter().any(|owner| is_hers(owner)) { Stopping::Finished } else { Stopping::Unknown });
        }
    };
    Ok(Stopping::Held { worker: holder, job: Box::new(row.read()?) })
}
