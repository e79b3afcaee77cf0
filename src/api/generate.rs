//! `/api/generate`: a text or a picture from a prompt. Answers at once with a job; what comes of it comes by the stream.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde::{Deserialize, Serialize};

use super::{
    State, allowance,
    body::{self, Json},
    error::ApiError,
    idempotency,
    identity::Identity,
    models,
};
use crate::{
    id::{JobId, StreamId},
    job::{ImageSize, InvalidImageSize, NewJob, Work},
    store::{Accepted, Request},
    usage::Need,
    wake::Wakeup,
};

/// The longest prompt, in characters.
const MAX_PROMPT: usize = 16_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewText {
    prompt: String,
    model: Option<String>,
    max_tokens: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewImage {
    prompt: String,
    size: Option<String>,
    model: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobAccepted {
    job_id: JobId,
}

/// A text.
///
/// # Errors
/// Where a field breaks a rule, or the store can't take it.
pub async fn text(state: Data<State>, identity: Identity, request: HttpRequest, body: Json<NewText>) -> Result<HttpResponse, ApiError> {
    let prompt = body::text("prompt", &body.value.prompt, MAX_PROMPT)?;
    let model = models::asked(&state.models.text, body.value.model.as_deref())?;
    let max_tokens = models::max_tokens(body.value.max_tokens)?;
    let work = Work::GenerateText { prompt, model, max_tokens, stream_id: StreamId::new() };
    accept(&state, &identity, &request, &body.bytes, (work, Need::Text)).await
}

/// A picture.
///
/// # Errors
/// Where a field breaks a rule, or the store can't take it.
pub async fn image(state: Data<State>, identity: Identity, request: HttpRequest, body: Json<NewImage>) -> Result<HttpResponse, ApiError> {
    let prompt = body::text("prompt", &body.value.prompt, MAX_PROMPT)?;
    let model = models::asked(&state.models.image, body.value.model.as_deref())?;
    let size = match &body.value.size {
        Some(size) => size.parse().map_err(|error: InvalidImageSize| ApiError::invalid_field("size", error.to_string()))?,
        None => ImageSize::default(),
    };
    accept(&state, &identity, &request, &body.bytes, (Work::GenerateImage { prompt, size, model }, Need::Image)).await
}

async fn accept(
    state: &State,
    identity: &Identity,
    request: &HttpRequest,
    body: &[u8],
    (work, need): (Work, Need),
) -> Result<HttpResponse, ApiError> {
    let job = NewJob::new(identity.user_id().clone(), work);
    let answer = JobAccepted { job_id: job.id };
    let response = serde_json::to_string(&answer).expect("an answer is plain data with text keys");
    let idempotency = idempotency::of(request, body, &response)?;
    let reached = allowance::reached(state, identity.user_id(), need).await?;
    let asked = Request {
        user: identity.user_id().clone(),
        message: None,
        jobs: vec![job],
        idempotency,
        max_waiting: state.max_jobs_per_user,
        is_over_daily_limit: reached.is_some(),
    };
    let accepted = state.accept(asked).await?;
    if let (Accepted::OverDailyLimit, Some(reached)) = (&accepted, reached) {
        return Err(ApiError::daily_limit(reached.to_string()));
    }
    if idempotency::is_new(&accepted)? {
        state.wakeups.send(Wakeup::Jobs);
    }
    let job_id = match &accepted {
        Accepted::Replayed(before) => serde_json::from_str::<JobAccepted>(before).map_or(answer.job_id, |before| before.job_id),
        _ => answer.job_id,
    };
    let mut builder = HttpResponse::Accepted();
    builder.insert_header((header::LOCATION, format!("/api/jobs/{job_id}")));
    Ok(idempotency::respond(builder, accepted, response))
}
