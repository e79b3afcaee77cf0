//! `Idempotency-Key`: a request that is sent again is answered again, and done once.

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header};
use ring::digest;

use super::error::ApiError;
use crate::store::{Accepted, Idempotency};

/// The longest key.
const MAX_KEY: usize = 255;

/// The request's key, with what it asks for and how it will be answered; nothing where it has none.
///
/// # Errors
/// Where the key is not 1 to 255 visible characters.
pub fn of(request: &HttpRequest, body: &[u8], response: &str) -> Result<Option<Idempotency>, ApiError> {
    let Some(value) = request.headers().get("Idempotency-Key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    // The draft wants a quoted string; most clients send the key bare.
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if !(1..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::invalid_field("Idempotency-Key", "must be 1 to 255 visible ASCII characters"));
    }
    let mut asked = digest::Context::new(&digest::SHA256);
    asked.update(request.path().as_bytes());
    asked.update(b"\0");
    asked.update(body);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(asked.finish().as_ref());
    Ok(Some(Idempotency { key: key.to_owned(), fingerprint, response: response.to_owned() }))
}

/// Whether the request was made for the first time.
///
/// # Errors
/// Where the key was used for another request, the user has too many jobs, or has used up what the day allows.
pub fn is_new(accepted: &Accepted) -> Result<bool, ApiError> {
    match accepted {
        Accepted::New => Ok(true),
        Accepted::Replayed(_) => Ok(false),
        Accepted::Mismatch => Err(ApiError::idempotency_mismatch()),
        Accepted::OverDailyLimit => Err(ApiError::daily_limit("you have used up what this day allows")),
        Accepted::TooManyJobs => {
            Err(ApiError::too_many("too_many_jobs", "you have too many jobs waiting; let some of them end", std::time::Duration::from_secs(5)))
        }
    }
}

/// The answer: `response`, or the one that was given before.
pub fn respond(mut builder: HttpResponseBuilder, accepted: Accepted, response: String) -> HttpResponse {
    builder.insert_header((header::CONTENT_TYPE, "application/json"));
    match accepted {
        Accepted::Replayed(before) => builder.insert_header(("Idempotency-Replayed", "true")).body(before),
        _ => builder.body(response),
    }
}
