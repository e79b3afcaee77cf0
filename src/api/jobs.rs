//! `/api/jobs`: what became of what one has asked for, and stopping it.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use serde::Serialize;

use super::{State, body, error::ApiError, identity::Identity};
use crate::{
    failure::FailureCode,
    id::JobId,
    job::{Claimed, JobView},
    store::{JobFilter, Stopping},
    wake::Wakeup,
    worker::ending,
};

/// How long stopping a waiting job may take before it is anybody's again.
const HOLD: Duration = Duration::from_secs(10);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobList {
    jobs: Vec<JobView>,
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
pub async fn show(state: Data<State>, identity: Identity, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let job = state.store.job(identity.user_id(), job_id(&id)?).await?.ok_or_else(ApiError::job_not_found)?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(job))
}

/// This person's jobs.
///
/// # Errors
/// Where a parameter is wrong, or the store can't be read.
pub async fn list(state: Data<State>, identity: Identity, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(&request)?;
    let limit = body::limit(&query)?;
    let filter = JobFilter {
        state: body::parameter(&query, "state", "must be one of available, scheduled, running, retryable, completed, cancelled, discarded")?,
        kind: body::parameter(&query, "kind", "must be one of ai_chat_response, generate_text, generate_image, process_upload")?,
        before: body::parameter(&query, "before", "must be the id of a job")?,
        limit: limit + 1,
    };
    let mut jobs = state.store.jobs(identity.user_id(), filter).await?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next_before = jobs.last().filter(|_| more).map(|job| job.job_id);
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(JobList { jobs, next_before }))
}

/// Stops a job.
///
/// # Errors
/// Where it has ended, this person has no such job, or the store can't be written.
pub async fn stop(state: Data<State>, identity: Identity, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = job_id(&id)?;
    match state.store.stop_job(identity.user_id(), id, HOLD).await? {
        Stopping::Held(job) => end_held(&state, &job).await?,
        Stopping::Running => state.wakeups.send(Wakeup::Stop(id)),
        Stopping::Finished => return Err(ApiError::job_finished()),
        Stopping::Unknown => return Err(ApiError::job_not_found()),
    }
    Ok(HttpResponse::Accepted().json(StopAccepted { job_id: id }))
}

/// Ends a job that no worker has, with its terminal event.
async fn end_held(state: &State, job: &Claimed) -> Result<(), ApiError> {
    let work = job.work.as_ref().ok();
    let told = ending::told_so_far(&*state.log, job.fence.job, work).await;
    let ending = ending::of_failure(job.fence.job, &job.user, work, FailureCode::Cancelled.into(), told);
    ending::end(&*state.store, &state.outbox, job.fence, ending).await?;
    Ok(())
}

fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|_| ApiError::job_not_found())
}
