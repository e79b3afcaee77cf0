//! `/api/jobs`: what became of what one has asked for, and stopping it.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use serde::Serialize;

use super::{body, error::ApiError, identity::Identity};
use crate::{
    channel::Channel,
    failure::{Failure, FailureCode},
    id::{JobId, StreamId, WorkerId},
    job::{Claimed, JobView, Kind, State},
    store::{JobFilter, Stopping, StoreError},
    wake::Wakeup,
    worker::ending,
};

/// What a state may be called.
pub const STATES: &str = "must be one of available, scheduled, running, retryable, completed, cancelled, discarded";
/// How long stopping a waiting job may take before it is anybody's again.
pub const HOLD: Duration = Duration::from_secs(10);
/// How long a request that stops one waits for it to be told.
const REQUEST_WAITS: Duration = Duration::from_millis(200);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    job: Job,
    /// How many of its kind begin before it, and one; where it waits for nothing but its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<Partial>,
}

/// A job, and beside its error what the event that told of it says.
#[derive(Serialize)]
struct Job {
    #[serde(flatten)]
    view: JobView,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<FailureCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
}

impl From<JobView> for Job {
    fn from(view: JobView) -> Self {
        let code = view.error.as_deref().and_then(FailureCode::of_error);
        Self { view, code, retryable: code.map(FailureCode::is_retryable) }
    }
}

/// A text that is being written, as far as it has been told: the chunk that continues it has the next `seq`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Partial {
    stream_id: StreamId,
    text: String,
    seq: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobList {
    jobs: Vec<Job>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<JobId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StopAccepted {
    job_id: JobId,
}

/// One job.
///
/// # Errors
/// Where this person has no such job, or the store can't be read.
pub async fn show(state: Data<super::State>, identity: Identity, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = job_id(&id)?;
    let job = state.store.job(identity.user_id(), id).await?.ok_or_else(ApiError::job_not_found)?;
    let queue_position = match job.state {
        State::Available => state.store.position(identity.user_id(), id).await?,
        _ => None,
    };
    let partial = partial(&state, &identity, &job).await;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(Shown { job: job.into(), queue_position, partial }))
}

/// What has been told of a text, for who has missed its beginning: a user's channel has no history.
async fn partial(state: &super::State, identity: &Identity, job: &JobView) -> Option<Partial> {
    if job.kind != Kind::GenerateText || job.state != State::Running {
        return None;
    }
    // Without the log the job is shown all the same.
    let snapshot = state.log.snapshot(&Channel::of_user(identity.user_id())).await.ok()?;
    let running = snapshot.streaming.into_iter().find(|running| running.job_id == job.job_id)?;
    Some(Partial { stream_id: running.stream_id, text: running.text, seq: running.seq })
}

/// This person's jobs.
///
/// # Errors
/// Where a parameter is wrong, or the store can't be read.
pub async fn list(state: Data<super::State>, identity: Identity, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(request.query_string())?;
    let limit = body::limit(&query)?;
    let filter = JobFilter {
        state: body::parameter(&query, "state", STATES)?,
        kind: body::parameter(&query, "kind", "must be one of ai_chat_response, generate_text, generate_image, process_upload")?,
        before: body::parameter(&query, "before", "must be the id of a job")?,
        limit: limit + 1,
    };
    let mut jobs = state.store.jobs(identity.user_id(), filter).await?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next_before = jobs.last().filter(|_| more).map(|job| job.job_id);
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(JobList { jobs: jobs.into_iter().map(Job::from).collect(), next_before }))
}

/// Stops a job.
///
/// # Errors
/// Where it has ended, this person has no such job, or the store can't be written.
pub async fn stop(state: Data<super::State>, identity: Identity, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = job_id(&id)?;
    let stopping = state.store.stop_job(identity.user_id(), id, HOLD).await?;
    stopped(&state, id, stopping, FailureCode::Cancelled.into()).await?;
    Ok(HttpResponse::Accepted().json(StopAccepted { job_id: id }))
}

/// Goes on where the store was asked to stop a job: one that no worker has ends here, with its terminal event, as `failure`
/// says; a worker is told. Where the log is slow the request is answered before: the job is held, and nobody begins it.
///
/// # Errors
/// Where it has ended, there is no such job, or the store can't be written.
pub async fn stopped(state: &Data<super::State>, id: JobId, stopping: Stopping, failure: Failure) -> Result<(), ApiError> {
    let (worker, job) = match stopping {
        Stopping::Held { worker, job } => (worker, job),
        Stopping::Running => {
            state.wakeups.send(Wakeup::Stop(id));
            return Ok(());
        }
        Stopping::Finished => return Err(ApiError::job_finished()),
        Stopping::Unknown => return Err(ApiError::job_not_found()),
    };
    let state = state.clone();
    let mut ending = Box::pin(async move { end(&state, worker, &job, failure).await });
    if let Ok(ended) = tokio::time::timeout(REQUEST_WAITS, &mut ending).await {
        return Ok(ended?);
    }
    actix_rt::spawn(async move {
        if let Err(error) = ending.await {
            log::warn!("job {id} was stopped and can't be ended yet: {error}; whoever rescues it does so");
        }
    });
    Ok(())
}

/// Ends a job that is held as `worker`, and tells it.
async fn end(state: &super::State, worker: WorkerId, job: &Claimed, failure: Failure) -> Result<(), StoreError> {
    let work = job.work.as_ref().ok();
    let told = ending::told_so_far(&*state.log, job.fence.job, work).await;
    let ending = ending::of_failure(job.fence.job, &job.user, work, failure, told);
    ending::end(&*state.store, &state.outbox, worker, job.fence, ending).await?;
    state.store.retire(worker).await
}

/// The id of a job, from a path.
///
/// # Errors
/// Where it can be none.
pub fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|_| ApiError::job_not_found())
}
