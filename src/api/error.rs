//! Errors as clients see them: `application/problem+json` (RFC 9457). The only place with status codes for errors.
//!
//! A handler fails with an [`ApiError`]; the [`finish`] middleware gives every answer its `X-Request-Id` and every error its
//! body, those that no handler has made included. Refuses to show a client anything of the inside: causes are logged, with
//! the request's id.

use std::{borrow::Cow, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    log::LogError,
    model::{Target, UnknownModel},
    store::StoreError,
    usage::Day,
};

/// The header that names a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// More than this in all headers is refused.
const MAX_HEADERS: usize = 32 * 1024;
/// More headers than these are refused; for HTTP/1.1 actix does it.
const MAX_HEADER_LINES: usize = 96;

/// An error with a stable code.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    field: Option<String>,
    allow: Option<&'static str>,
    retry_after: Option<Duration>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), field: None, allow: None, retry_after: None }
    }

    /// The same, about one field of the request.
    #[must_use]
    pub fn field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    fn retry_after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    /// The request is wrong, and this is what would be right.
    pub fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A field is wrong, and this is what would be right.
    pub fn invalid_field(field: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request("invalid_field", detail).field(field)
    }

    /// Nobody is known to ask.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// This person may not use this channel.
    #[must_use]
    pub fn channel_forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "channel_forbidden", "you may not use this channel").field("channel")
    }

    /// This server has no administrator.
    #[must_use]
    pub fn admin_disabled() -> Self {
        Self::new(StatusCode::FORBIDDEN, "admin_disabled", "this server takes no administrator: its setting PERSONA_ADMIN_TOKEN is not set")
    }

    /// Somebody asks for what only the administrator may.
    #[must_use]
    pub fn admin_required() -> Self {
        Self::new(StatusCode::FORBIDDEN, "admin_required", "only the administrator may do this")
    }

    /// There is no such persona.
    #[must_use]
    pub fn persona_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "persona_not_found", "there is no persona with this id")
    }

    /// A model is asked for that is not on the list.
    #[must_use]
    pub fn model_not_allowed(allowed: &[Target]) -> Self {
        let list = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Self::bad_request("model_not_allowed", format!("you may ask for these models: {list}")).field("model")
    }

    /// A persona is to speak with a model that nobody serves here.
    #[must_use]
    pub fn unknown_model(error: &UnknownModel) -> Self {
        Self::bad_request("unknown_model", error.to_string()).field("route")
    }

    /// The room has as many personas as a room may have.
    #[must_use]
    pub fn too_many_personas(most: u32) -> Self {
        Self::new(StatusCode::CONFLICT, "too_many_personas", format!("a room may have {most} personas; delete one first")).field("channel")
    }

    /// There is nothing at this path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    }

    /// This person has no such job.
    #[must_use]
    pub fn job_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "job_not_found", "you have no job with this id")
    }

    /// The job has ended and can't be stopped.
    #[must_use]
    pub fn job_finished() -> Self {
        Self::new(StatusCode::CONFLICT, "job_finished", "this job has ended already")
    }

    /// The job runs or has completed.
    #[must_use]
    pub fn job_not_retryable() -> Self {
        Self::new(StatusCode::CONFLICT, "job_not_retryable", "only a job that waits, or was cancelled or given up, can be tried again")
    }

    /// The job runs.
    #[must_use]
    pub fn job_running() -> Self {
        Self::new(StatusCode::CONFLICT, "job_running", "this job runs; cancel it instead")
    }

    /// This path knows other methods.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("this path takes {allow}"));
        Self { allow: Some(allow), ..error }
    }

    /// The body is not JSON by its own account.
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "send the body as application/json").field("Content-Type")
    }

    /// The client takes too long to send its request.
    #[must_use]
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request took too long to come")
    }

    /// The body is larger than is taken.
    #[must_use]
    pub fn body_too_large(most: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("a body may have {most} bytes"))
    }

    fn headers_too_large() -> Self {
        let detail = format!("a request may have {MAX_HEADER_LINES} headers, and all together {MAX_HEADERS} bytes");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail)
    }

    /// The key was used for another request.
    #[must_use]
    pub fn idempotency_mismatch() -> Self {
        let detail = "this Idempotency-Key was used for another request; take a new key";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch", detail).field("Idempotency-Key")
    }

    /// The user has used up what a day allows.
    pub fn daily_limit(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::too_many("daily_limit", detail, Day::today().left())
    }

    /// Too much of something; try again later.
    pub fn too_many(code: &'static str, detail: impl Into<Cow<'static, str>>, pause: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).retry_after(pause)
    }

    /// The server can't do it at the moment.
    pub fn unavailable(code: &'static str, detail: impl Into<Cow<'static, str>>, pause: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(pause)
    }

    /// The event log is away.
    #[must_use]
    pub fn log_unavailable(error: &LogError) -> Self {
        log::error!("{error}");
        Self::unavailable("log_unavailable", "the server's event log can't be reached at the moment", Duration::from_secs(2))
    }

    /// A fault of the server; what it is stands in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the server has made a mistake; it is logged under this requestId")
    }

    /// The answer to a request that no handler has seen, or whose handler said no more than its status.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::PAYLOAD_TOO_LARGE => Self::body_too_large(super::body::MAX_BODY),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::headers_too_large(),
            StatusCode::REQUEST_TIMEOUT => Self::request_timeout(),
            status if status.is_server_error() => Self::internal(),
            status => Self::new(status, "bad_request", "the request can't be understood"),
        }
    }

    fn render(&self, response: &mut header::HeaderMap, request_id: &str) -> String {
        response.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = self.allow {
            response.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(pause) = self.retry_after {
            response.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let problem = Problem {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            field: self.field.as_deref(),
            request_id,
        };
        serde_json::to_string(&problem).expect("a problem is plain data with text keys")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    request_id: &'a str,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// Carries the error to [`finish`], which knows the request's id.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::new(self.status);
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        log::error!("{error}");
        match error {
            StoreError::Full(_) => Self::unavailable("storage_full", "the server's disk is full; nothing was stored", Duration::from_secs(30)),
            StoreError::Refused(_) => Self::internal(),
            StoreError::Locked(_) | StoreError::Damaged(_) | StoreError::Unavailable(_) | StoreError::Closed => Self::unavailable(
                "storage_unavailable",
                "the server's database can't be used at the moment; nothing was stored",
                Duration::from_secs(2),
            ),
        }
    }
}

/// Gives every answer its id, and every error its body.
pub async fn finish(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, actix_web::Error> {
    let id = request_id(request.headers());
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut response = if size > MAX_HEADERS || request.headers().len() > MAX_HEADER_LINES {
        let (request, _) = request.into_parts();
        ServiceResponse::new(request, ApiError::headers_too_large().error_response()).map_into_right_body()
    } else {
        match next.call(request).await {
            Ok(response) => response.map_into_left_body(),
            // Only what stands between this and the handlers fails so: a panic that was caught.
            Err(error) => {
                log::error!("request {id}: {error}");
                return Err(Finished { error: ApiError::internal(), id }.into());
            }
        }
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        let error = problem_of(&response);
        response = response.map_body(|head, _| {
            let body = error.render(head.headers_mut(), &id);
            EitherBody::right(BoxBody::new(body))
        });
    }
    sign(response.headers_mut(), &id);
    Ok(response)
}

/// The whole answer to a request that was refused before anything of it was understood: status line, headers and body.
#[must_use]
pub fn of_protocol(status: u16) -> (StatusCode, header::HeaderMap, String) {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let (mut headers, id) = (header::HeaderMap::new(), Uuid::now_v7().to_string());
    let body = ApiError::of_status(status).render(&mut headers, &id);
    sign(&mut headers, &id);
    (status, headers, body)
}

/// So many headers every answer has.
pub const SIGNS: usize = 2;

/// Adds them.
fn sign(headers: &mut header::HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// An error that has its id already.
#[derive(Debug)]
struct Finished {
    error: ApiError,
    id: String,
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Finished {
    fn status_code(&self) -> StatusCode {
        self.error.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::new(self.error.status);
        let body = self.error.render(response.headers_mut(), &self.id);
        sign(response.headers_mut(), &self.id);
        response.set_body(BoxBody::new(body))
    }
}

fn problem_of<B>(response: &ServiceResponse<B>) -> ApiError {
    if let Some(error) = response.response().extensions().get::<ApiError>() {
        return error.clone();
    }
    match response.response().error().and_then(|error| error.as_error::<ApiError>()) {
        Some(error) => error.clone(),
        None => ApiError::of_status(response.status()),
    }
}

/// The client's own id of the request, where it sends a usable one, else a new one.
pub fn request_id(headers: &header::HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given {
        Some(id) if (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) => id.to_owned(),
        _ => Uuid::now_v7().to_string(),
    }
}
