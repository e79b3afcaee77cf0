//! Reading what clients send: JSON bodies, query strings and their fields, each refusal naming what is wrong.
//!
//! Refuses whatever it doesn't know: a field that nobody asked for is an error, not a surprise later.

use std::{borrow::Cow, ops::RangeInclusive};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header,
    web::{Bytes, BytesMut, Data},
};
use futures_util::{StreamExt as _, future::LocalBoxFuture};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use tokio::time::timeout;

use super::{State, error::ApiError};

/// The largest body.
pub const MAX_BODY: usize = 256 * 1024;

/// A JSON body, read and understood; where `OPTIONAL`, no body at all is `{}`.
pub struct Json<T, const OPTIONAL: bool = false> {
    pub value: T,
    /// The body as it came.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned + 'static, const OPTIONAL: bool> FromRequest for Json<T, OPTIONAL> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let json = is_json(request);
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let within = request.app_data::<Data<State>>().map(|state| state.request_within);
        let payload = payload.take();
        Box::pin(async move {
            if announced.is_some_and(|length| length > MAX_BODY) {
                return Err(ApiError::body_too_large(MAX_BODY));
            }
            let within = within.ok_or_else(ApiError::internal)?;
            let bytes = timeout(within, read(payload)).await.map_err(|_| ApiError::request_timeout())??;
            if OPTIONAL && bytes.is_empty() {
                return Ok(Self { value: parse(b"{}")?, bytes });
            }
            if !json {
                return Err(ApiError::unsupported_media_type());
            }
            Ok(Self { value: parse(&bytes)?, bytes })
        })
    }
}

async fn read(mut payload: Payload) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| ApiError::bad_request("incomplete_body", "the body broke off"))?;
        if body.len() + piece.len() > MAX_BODY {
            return Err(ApiError::body_too_large(MAX_BODY));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn is_json(request: &HttpRequest) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Serde would take a list for an object whose fields come in that order.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| refusal("", &error))?;
        return Err(ApiError::bad_request("invalid_body", "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, error.inner())
    })?;
    json.end().map_err(|error| refusal("", &error))?;
    Ok(value)
}

/// Where the JSON is wrong, or which field is.
fn refusal(path: &str, error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    if error.classify() != Category::Data {
        return ApiError::bad_request("invalid_json", format!("the body is not JSON: {text}"));
    }
    let named = text.split('`').nth(1).unwrap_or_default().to_owned();
    if text.starts_with("unknown field") {
        ApiError::bad_request("unknown_field", text).field(named)
    } else if text.starts_with("missing field") {
        ApiError::bad_request("missing_field", text).field(named)
    } else if text.starts_with("duplicate field") {
        ApiError::bad_request("duplicate_field", text).field(named)
    } else {
        ApiError::invalid_field(path, text)
    }
}

/// A text of `1..=most` characters after trimming, without control characters but line breaks and tabs.
///
/// # Errors
/// Says which rule the field breaks.
pub fn text(field: &str, value: &str, most: usize) -> Result<String, ApiError> {
    let trimmed = value.trim();
    if trimmed.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\r' | '\t')) {
        return Err(ApiError::invalid_field(field, "control characters other than line breaks and tabs are not taken"));
    }
    bounded(field, trimmed, most)
}

/// A text of `1..=most` characters after trimming, on one line and without control characters.
///
/// # Errors
/// Says which rule the field breaks.
pub fn line(field: &str, value: &str, most: usize) -> Result<String, ApiError> {
    let trimmed = value.trim();
    if trimmed.chars().any(|char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')) {
        return Err(ApiError::invalid_field(field, "control characters are not taken"));
    }
    bounded(field, trimmed, most)
}

fn bounded(field: &str, value: &str, most: usize) -> Result<String, ApiError> {
    match value.chars().count() {
        0 => Err(ApiError::invalid_field(field, format!("must have 1 to {most} characters, and is empty"))),
        count if count > most => Err(ApiError::invalid_field(field, format!("must have 1 to {most} characters, and has {count}"))),
        _ => Ok(value.to_owned()),
    }
}

/// The parameters of a query string, in order.
///
/// # Errors
/// Where it is not percent-encoded UTF-8.
pub fn query(text: &str) -> Result<Vec<(String, String)>, ApiError> {
    let invalid = || ApiError::bad_request("invalid_query", "the query string is not percent-encoded UTF-8");
    let is_escape = |rest: &str| rest.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let decode = |text: &str| {
        if !text.split('%').skip(1).all(is_escape) {
            return Err(invalid());
        }
        let spaced = text.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
        decoded.map(Cow::into_owned).map_err(|_| invalid())
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// The parameter `name`, parsed.
///
/// # Errors
/// Where it can't be parsed; says what would be right.
pub fn parameter<T: std::str::FromStr>(query: &[(String, String)], name: &str, right: &'static str) -> Result<Option<T>, ApiError> {
    let Some((_, text)) = query.iter().find(|(other, _)| other == name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| ApiError::invalid_field(name, right))
}

/// How many things a page may have, 1 to 200.
///
/// # Errors
/// Where it is another number, or none.
pub fn limit(query: &[(String, String)]) -> Result<usize, ApiError> {
    const RIGHT: &str = "must be a number from 1 to 200";
    match parameter(query, "limit", RIGHT)? {
        None => Ok(50),
        Some(limit @ 1..=200) => Ok(limit),
        Some(_) => Err(ApiError::invalid_field("limit", RIGHT)),
    }
}

/// A number within `range`, if there is one.
///
/// # Errors
/// Where it is beyond.
pub fn within(field: &str, number: Option<u32>, range: RangeInclusive<u32>) -> Result<Option<u32>, ApiError> {
    match number {
        Some(number) if !range.contains(&number) => {
            Err(ApiError::invalid_field(field, format!("must be a number from {} to {}", range.start(), range.end())))
        }
        number => Ok(number),
    }
}
