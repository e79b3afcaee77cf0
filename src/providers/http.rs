//! Talking HTTP to providers: one client, what their refusals mean, and their streams with every wait bounded.
//!
//! Refuses to retry: whether another attempt or another provider makes sense is the router's to say.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use reqwest::{Client, RequestBuilder, Response, header::HeaderMap, redirect};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    Fault, ProviderError,
    event_stream::{Decoder, Item},
};

/// How long anything of a provider may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect: Duration,
    /// Until the first piece that says something.
    pub first: Duration,
    /// Between two pieces; a comment is one.
    pub between: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(5), first: seconds(60), between: seconds(90), total: seconds(600) }
    }
}

/// The largest answer that is no stream: pictures come inside of one.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// The longest pause that a provider may ask for and be heeded.
const MAX_PAUSE: Duration = Duration::from_mins(2);

/// A client for all providers.
///
/// # Errors
/// Where the system has no certificates to trust.
pub fn client(patience: Patience) -> reqwest::Result<Client> {
    Client::builder()
        .connect_timeout(patience.connect)
        // A provider that redirects is not the one that was configured.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("persona-community/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Sends a request and gives its answer, if that is a good one.
///
/// # Errors
/// [`ProviderError`], with what the provider says is wrong.
pub async fn send(provider: &'static str, request: RequestBuilder, deadline: Instant) -> Result<Response, ProviderError> {
    let response = timeout_at(deadline, request.send())
        .await
        .map_err(|_| timed_out(provider, "it does not answer"))?
        .map_err(|error| broken(provider, error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = read(provider, response, deadline).await.unwrap_or_default();
    Err(refusal(provider, status, &headers, &body))
}

/// Gets something; a redirect is an answer as well.
///
/// # Errors
/// [`ProviderError`].
pub async fn get(provider: &'static str, request: RequestBuilder, deadline: Instant) -> Result<Response, ProviderError> {
    let response = timeout_at(deadline, request.send())
        .await
        .map_err(|_| timed_out(provider, "it does not answer"))?
        .map_err(|error| broken(provider, error))?;
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return Ok(response);
    }
    Err(ProviderError::new(provider, fault_of_status(status.as_u16()), format!("fetching its picture failed: {status}")))
}

/// All of an answer that is no stream.
///
/// # Errors
/// Where it breaks off, takes too long or is too large.
pub async fn read(provider: &'static str, mut response: Response, deadline: Instant) -> Result<Vec<u8>, ProviderError> {
    let mut body = Vec::new();
    loop {
        let piece = timeout_at(deadline, response.chunk()).await.map_err(|_| timed_out(provider, "its answer takes too long"))?;
        let Some(piece) = piece.map_err(|error| broken(provider, error))? else { return Ok(body) };
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(ProviderError::new(provider, Fault::Malformed, format!("its answer has more than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&piece);
    }
}

fn timed_out(provider: &'static str, what: &str) -> ProviderError {
    ProviderError::new(provider, Fault::TimedOut, what)
}

/// An error of the connection. The URL is left out: some providers take their key in it.
fn broken(provider: &'static str, error: reqwest::Error) -> ProviderError {
    let fault = if error.is_timeout() {
        Fault::TimedOut
    } else if error.is_body() || error.is_decode() {
        Fault::BrokeOff
    } else {
        Fault::Unreachable
    };
    let error = error.without_url();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ProviderError::new(provider, fault, format!("{error}{cause}"))
}

/// The events of a provider's stream, each waited for only so long.
pub struct Events {
    provider: &'static str,
    response: Response,
    decoder: Decoder,
    waiting: VecDeque<Item>,
    ended: bool,
    patience: Patience,
    /// No event has come yet.
    first: bool,
    begun: Instant,
}

impl Events {
    /// The events in `response`, of a request that was begun at `begun`.
    pub fn new(provider: &'static str, response: Response, patience: Patience, begun: Instant) -> Self {
        Self { provider, response, decoder: Decoder::default(), waiting: VecDeque::new(), ended: false, patience, first: true, begun }
    }

    /// The next event's name and data; nothing at the end.
    ///
    /// # Errors
    /// Where the stream breaks off, falls silent or takes too long.
    pub async fn next(&mut self) -> Result<Option<(String, String)>, ProviderError> {
        let mut heard = Instant::now();
        loop {
            match self.waiting.pop_front() {
                Some(Item::Event { name, data }) => {
                    self.first = false;
                    return Ok(Some((name, data)));
                }
                // Says that the provider lives, not that it has begun to answer.
                Some(Item::Comment) => {
                    heard = Instant::now();
                    continue;
                }
                None if self.ended => return Ok(None),
                None => {}
            }
            let total = self.begun + self.patience.total;
            let silent = if self.first { self.begun + self.patience.first } else { heard + self.patience.between };
            let piece =
                timeout_at(total.min(silent), self.response.chunk()).await.map_err(|_| timed_out(self.provider, "its stream has fallen silent"))?;
            match piece.map_err(|error| broken(self.provider, error))? {
                Some(piece) => {
                    let mut items = Vec::new();
                    let read = self.decoder.push(&piece, &mut items);
                    self.waiting.extend(items);
                    read.map_err(|error| ProviderError::new(self.provider, Fault::Malformed, error.to_string()))?;
                }
                None => {
                    self.waiting.extend(self.decoder.finish());
                    self.ended = true;
                }
            }
        }
    }

    /// What stood in the stream and is no event: some providers send an error so.
    #[must_use]
    pub fn stray(&self) -> &str {
        self.decoder.stray()
    }
}

/// What a refusal means.
pub fn refusal(provider: &'static str, status: u16, headers: &HeaderMap, body: &[u8]) -> ProviderError {
    let text = String::from_utf8_lossy(body);
    let json: Value = serde_json::from_str(text.trim()).unwrap_or(Value::Null);
    let mut error = match error_in(&json) {
        Some(told) => of_told(provider, status, &told),
        // A gateway's page, not a provider's answer.
        None => ProviderError::new(provider, fault_of_status(status), format!("it answers {status} without saying why")),
    };
    error.detail = format!("{status}: {}", error.detail);
    error.retry_after = pause(headers).or(error.retry_after);
    error.request_id = ["x-request-id", "x-generation-id", "cf-ray"].iter().find_map(|name| headers.get(*name)?.to_str().ok().map(str::to_owned));
    error
}

/// What a provider says is wrong, in whichever of its forms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    pub message: String,
    /// Code, type and status, as far as they are given.
    marks: Vec<String>,
    /// A status inside of the error, where it has one.
    status: Option<u16>,
    pause: Option<Duration>,
}

/// The error in an answer, where there is one: `{"error": {…}}`, `{"error": "…"}`, `{"object": "error", …}`, or an array of it.
#[must_use]
pub fn error_in(json: &Value) -> Option<Told> {
    let json = json.get(0).unwrap_or(json);
    let error = match json.get("error") {
        Some(Value::Null | Value::Bool(false)) | None if json.get("object").is_some_and(|object| object == "error") => json,
        Some(Value::Null | Value::Bool(false)) | None => return None,
        Some(error) => error,
    };
    if let Some(message) = error.as_str() {
        return Some(Told { message: message.to_owned(), ..Told::default() });
    }
    let text = |field: &str| error.get(field).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let details = error.get("details").and_then(Value::as_array).cloned().unwrap_or_default();
    let reasons = details.iter().filter_map(|detail| detail.get("reason")?.as_str().map(str::to_owned));
    let quotas = details.iter().flat_map(|detail| detail.get("violations").and_then(Value::as_array).cloned().unwrap_or_default());
    let quotas = quotas.filter_map(|quota| quota.get("quotaId")?.as_str().map(str::to_owned));
    let pause = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse().ok());
    Some(Told {
        message: text("message").unwrap_or_default(),
        marks: ["code", "type", "status"].iter().filter_map(|field| text(field)).chain(reasons).chain(quotas).collect(),
        status: error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()),
        pause: pause.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(|pause| pause.min(MAX_PAUSE)),
    })
}

/// What such an error means; `status` is the answer's own, 200 where the error came inside of a good one.
pub fn of_told(provider: &'static str, status: u16, told: &Told) -> ProviderError {
    let status = if status == 200 { told.status.unwrap_or(500) } else { status };
    let message = told.message.split(" (request id:").next().unwrap_or_default();
    let mut error = ProviderError::new(provider, fault_of(status, told), if message.is_empty() { "it says nothing more" } else { message });
    error.retry_after = told.pause;
    error
}

fn fault_of(status: u16, told: &Told) -> Fault {
    let marked = |marks: &[&str]| marks.iter().any(|mark| told.marks.iter().any(|own| own.contains(mark)));
    let says = |parts: &[&str]| parts.iter().any(|part| told.message.contains(part));
    // Gateways put this under the code of an empty account, though the account is well.
    if says(&["上游负载已饱和", "overloaded"]) {
        return Fault::Overloaded;
    }
    if marked(&["insufficient_quota", "insufficient_user_quota", "PerDay"]) || says(&["limit: 0"]) {
        return Fault::OutOfCredit;
    }
    if marked(&["content_policy_violation", "moderation_blocked", "content_filter"]) {
        return Fault::Blocked;
    }
    if marked(&["API_KEY_INVALID", "invalid_api_key"]) || says(&["无效的令牌"]) {
        return Fault::Unauthorized;
    }
    if marked(&["model_not_found"]) || says(&["无可用渠道"]) {
        return Fault::ModelMissing;
    }
    if marked(&["context_length_exceeded", "exceed_context_size"]) {
        return Fault::Rejected;
    }
    fault_of_status(status)
}

fn fault_of_status(status: u16) -> Fault {
    match status {
        401 | 403 => Fault::Unauthorized,
        402 => Fault::OutOfCredit,
        404 => Fault::ModelMissing,
        408 | 504 | 524 => Fault::TimedOut,
        429 | 498 | 503 | 529 => Fault::Overloaded,
        451 => Fault::Blocked,
        400..=499 if status != 409 && status != 425 => Fault::Rejected,
        _ => Fault::Unreachable,
    }
}

/// How long the provider asks to be left alone: `retry-after-ms`, else `Retry-After` in seconds or as a date (RFC 9110,
/// section 10.2.3). A longer pause than is heeded counts as the longest.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()).map(|millis| millis / 1000.0);
    let seconds = millis.or_else(|| text("retry-after").and_then(|text| text.parse::<f64>().ok()));
    let pause = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => {
            let date = text("retry-after").and_then(|text| time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok());
            date.map(|date| SystemTime::from(date).duration_since(SystemTime::now()).unwrap_or_default())
        }
    };
    pause.map(|pause| pause.min(MAX_PAUSE))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(status: u16, body: &Value) -> Fault {
        refusal("test", status, &HeaderMap::new(), body.to_string().as_bytes()).fault
    }

    #[test]
    fn refusals_mean_what_their_providers_mean_by_them() {
        let cases = [
            (400, json!({"error": {"message": "m", "code": "context_length_exceeded"}}), Fault::Rejected),
            (400, json!({"error": {"message": "m", "type": "image_generation_user_error", "code": "moderation_blocked"}}), Fault::Blocked),
            (
                400,
                json!({"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}),
                Fault::Unauthorized,
            ),
            (401, json!({"error": {"message": "m", "code": "invalid_api_key"}}), Fault::Unauthorized),
            (402, json!({"error": {"code": 402, "message": "credits"}}), Fault::OutOfCredit),
            (403, json!({"error": {"message": "quota", "code": "insufficient_user_quota"}}), Fault::OutOfCredit),
            (404, json!({"error": {"message": "m", "code": "model_not_found"}}), Fault::ModelMissing),
            (429, json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), Fault::Overloaded),
            (429, json!({"error": {"message": "m", "code": "insufficient_quota"}}), Fault::OutOfCredit),
            (429, json!({"error": {"message": "当前分组上游负载已饱和，请稍后再试", "code": "insufficient_quota"}}), Fault::Overloaded),
            (503, json!({"error": {"message": "当前分组 default 下对于模型 x 无可用渠道"}}), Fault::ModelMissing),
            (503, json!({"error": {"message": "busy", "type": "unavailable_error"}}), Fault::Overloaded),
            (529, json!(null), Fault::Overloaded),
            (502, json!("<html>"), Fault::Unreachable),
            (500, json!({"error": "boom"}), Fault::Unreachable),
        ];
        for (status, body, expected) in cases {
            assert_eq!(fault(status, &body), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_pause_that_a_provider_asks_for_is_heeded_within_bounds() {
        let quota = json!({"error": {"code": 429, "message": "m", "details": [{"@type": "RetryInfo", "retryDelay": "36s"}]}});
        assert_eq!(error_in(&quota).unwrap().pause, Some(Duration::from_secs(36)));
        let headers =
            |name: &'static str, value: &str| HeaderMap::from_iter([(reqwest::header::HeaderName::from_static(name), value.parse().unwrap())]);
        assert_eq!(pause(&headers("retry-after-ms", "1500")), Some(Duration::from_millis(1500)));
        assert_eq!(pause(&headers("retry-after", "2.5")), Some(Duration::from_millis(2500)));
        assert_eq!(pause(&headers("retry-after", "86400")), Some(MAX_PAUSE));
        assert_eq!(pause(&headers("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")), Some(Duration::ZERO));
        assert_eq!(pause(&headers("retry-after", "soon")), None);
    }

    #[test]
    fn errors_are_found_in_all_their_forms() {
        for body in [
            json!({"error": {"message": "m", "type": "server_error"}}),
            json!({"object": "error", "message": "m", "code": 400}),
            json!({"error": {"object": "error", "message": "m", "code": 400}}),
            json!({"error": "m"}),
            json!([{"error": {"message": "m"}}]),
        ] {
            assert_eq!(error_in(&body).map(|told| told.message), Some("m".into()), "{body}");
        }
        assert_eq!(error_in(&json!({"error": null, "choices": []})), None);
    }
}
