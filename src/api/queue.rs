//! `/api/admin/jobs` and `/api/admin/queue`: the queue under the administrator's hand.
//!
//! Here jobs are shown whoever's they are, with the history of their failures. Refuses to show what was asked for: prompts are
//! their users'.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use serde::{Deserialize, Serialize};

use super::{
    State,
    admin::Admin,
    body::{self, Json},
    error::ApiError,
    jobs,
};
use crate::{
    failure::{Failure, FailureCode},
    id::JobId,
    job::Kind,
    store::{AdminFilter, JobRecord, KindStats, Limit, Scope, Stopping},
    wake::Wakeup,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobRecords {
    jobs: Vec<JobRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_before: Option<JobId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    job_id: JobId,
}

#[derive(Serialize)]
struct Queue {
    kinds: Vec<KindStats>,
    limits: Vec<Limit>,
}

/// Whether a kind is paused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    paused: bool,
}

/// The most that may run at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Most {
    most: u32,
}

/// Jobs, newest first; without a state, those that live.
///
/// # Errors
/// Where a parameter is wrong, or the store can't be read.
pub async fn list(state: Data<State>, _: Admin, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = body::query(request.query_string())?;
    let limit = body::limit(&query)?;
    let filter = AdminFilter {
        state: body::parameter(&query, "state", jobs::STATES)?,
        kind: body::parameter(&query, "kind", "must be a kind of job")?,
        user: body::parameter(&query, "user", "must be the id of a user")?,
        before: body::parameter(&query, "before", "must be the id of a job")?,
        limit: limit + 1,
    };
    let mut jobs = state.store.list_jobs(filter).await?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next_before = jobs.last().filter(|_| more).map(|record| record.job.job_id);
    Ok(fresh().json(JobRecords { jobs, next_before }))
}

/// One job.
///
/// # Errors
/// Where there is none, or the store can't be read.
pub async fn show(state: Data<State>, _: Admin, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let record = state.store.show_job(jobs::job_id(&id)?).await?.ok_or_else(ApiError::job_not_found)?;
    Ok(fresh().json(record))
}

/// Makes a job available now that waits, or was cancelled or given up.
///
/// # Errors
/// Where there is none, it runs or has completed, or the store can't be written.
pub async fn retry(state: Data<State>, _: Admin, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = jobs::job_id(&id)?;
    if !state.store.retry_job(id).await? {
        state.store.show_job(id).await?.ok_or_else(ApiError::job_not_found)?;
        return Err(ApiError::job_not_retryable());
    }
    state.wakeups.send(Wakeup::Jobs);
    Ok(HttpResponse::Accepted().json(Changed { job_id: id }))
}

/// Stops a job, as its user could.
///
/// # Errors
/// Where there is none, it has ended, or the store can't be written.
pub async fn cancel(state: Data<State>, _: Admin, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = jobs::job_id(&id)?;
    let stopping = state.store.stop_any_job(id, jobs::HOLD).await?;
    jobs::stopped(&state, id, stopping, FailureCode::Cancelled.into()).await?;
    Ok(HttpResponse::Accepted().json(Changed { job_id: id }))
}

/// Gives up a job that waits: it becomes a dead letter.
///
/// # Errors
/// Where there is none, it runs or has ended, or the store can't be written.
pub async fn discard(state: Data<State>, _: Admin, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = jobs::job_id(&id)?;
    let record = state.store.show_job(id).await?.ok_or_else(ApiError::job_not_found)?;
    if record.job.state == crate::job::State::Running {
        return Err(ApiError::job_running());
    }
    let stopping = state.store.stop_any_job(id, jobs::HOLD).await?;
    if matches!(stopping, Stopping::Running) {
        return Err(ApiError::job_running());
    }
    jobs::stopped(&state, id, stopping, Failure::from(FailureCode::GivenUp)).await?;
    Ok(HttpResponse::Accepted().json(Changed { job_id: id }))
}

/// How the queue is, by kind, and which limits are set.
///
/// # Errors
/// Where the store can't be read.
pub async fn stats(state: Data<State>, _: Admin) -> Result<HttpResponse, ApiError> {
    let (kinds, limits) = (state.store.queue_stats().await?, state.store.limits().await?);
    Ok(fresh().json(Queue { kinds, limits }))
}

/// Pauses a kind, or lets it go on.
///
/// # Errors
/// Where there is no such kind, or the store can't be written.
pub async fn pause(state: Data<State>, _: Admin, kind: Path<String>, body: Json<Pause>) -> Result<HttpResponse, ApiError> {
    let kind: Kind = kind.parse().map_err(|_| ApiError::invalid_field("kind", "must be a kind of job"))?;
    state.store.pause_kind(kind, body.value.paused).await?;
    state.wakeups.send(Wakeup::Jobs);
    Ok(HttpResponse::NoContent().finish())
}

/// Sets a limit.
///
/// # Errors
/// Where there is no such scope, or the store can't be written.
pub async fn limit(state: Data<State>, _: Admin, of: Path<String>, body: Json<Most>) -> Result<HttpResponse, ApiError> {
    state.store.set_limit(scope(&of)?, Some(body.value.most)).await?;
    state.wakeups.send(Wakeup::Jobs);
    Ok(HttpResponse::NoContent().finish())
}

/// Lifts a limit.
///
/// # Errors
/// Where there is no such scope, or the store can't be written.
pub async fn lift(state: Data<State>, _: Admin, of: Path<String>) -> Result<HttpResponse, ApiError> {
    state.store.set_limit(scope(&of)?, None).await?;
    state.wakeups.send(Wakeup::Jobs);
    Ok(HttpResponse::NoContent().finish())
}

fn scope(text: &str) -> Result<Scope, ApiError> {
    text.parse().map_err(|_| ApiError::invalid_field("scope", "must be user, kind:KIND or provider:NAME"))
}

fn fresh() -> actix_web::HttpResponseBuilder {
    let mut builder = HttpResponse::Ok();
    builder.insert_header((header::CACHE_CONTROL, "no-store"));
    builder
}
