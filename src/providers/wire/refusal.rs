//! What a provider says is wrong, in whichever of its forms, and what that means.
//!
//! Status codes alone mislead: an empty account and an overload share one, gateways answer for others, and an error may come
//! inside of a good answer. So what is said is read first.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::pause;
use crate::providers::{Fault, ProviderError};

/// What an answer that is none means. `body` may be cut.
pub fn of_answer(provider: &'static str, status: u16, headers: &HeaderMap, body: &[u8]) -> ProviderError {
    let text = String::from_utf8_lossy(body);
    let json: Value = serde_json::from_str(text.trim()).unwrap_or(Value::Null);
    let mut error = match Told::find(&json) {
        Some(told) => told.means(provider, status),
        // A gateway's page, not a provider's answer.
        None => ProviderError::new(provider, fault_of_status(status), "it does not say why"),
    };
    error.detail = format!("{status}: {}", error.detail);
    error.retry_after = pause::in_headers(headers).or(error.retry_after);
    error.retry = match headers.get("x-should-retry").map(HeaderValue::as_bytes) {
        Some(b"true") => Some(true),
        Some(b"false") => Some(false),
        _ => None,
    };
    error
}

/// What a provider says is wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    pub message: String,
    /// Code, type, status and reasons, as far as they are given.
    marks: Vec<String>,
    /// A status inside of the error, where it has one.
    status: Option<u16>,
    pause: Option<Duration>,
}

impl Told {
    /// The error in an answer, where there is one: `{"error": {…}}`, `{"error": "…"}`, `{"object": "error", …}`, or an array
    /// of it.
    #[must_use]
    pub fn find(json: &Value) -> Option<Self> {
        let json = json.get(0).unwrap_or(json);
        match json.get("error").filter(|error| is_truthy(error)) {
            Some(error) => Some(Self::read(error)),
            None => (json.get("object")? == "error").then(|| Self::read(json)),
        }
    }

    /// What an event called `error` says, whatever its form.
    #[must_use]
    pub fn in_event(data: &str) -> Self {
        let json = serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned()));
        Self::find(&json).unwrap_or_else(|| Self::read(&json))
    }

    fn read(error: &Value) -> Self {
        if let Some(message) = error.as_str() {
            return Self { message: message.to_owned(), ..Self::default() };
        }
        let text = |field: &str| error.get(field).filter(|value| !value.is_null()).map(word);
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let details = items(&error["details"]);
        let reasons = details.iter().filter_map(|detail| detail["reason"].as_str().map(str::to_owned));
        let quotas = details.iter().flat_map(|detail| items(&detail["violations"])).filter_map(|quota| quota["quotaId"].as_str().map(str::to_owned));
        let flagged = ["reasons", "flagged_input"].iter().any(|field| error["metadata"].get(field).is_some());
        let code = error["code"].as_u64().or_else(|| {
            // Gateways of the one-api family keep the status of whom they asked here.
            (error["code"] == "bad_response_status_code").then(|| error["param"].as_str()?.parse().ok())?
        });
        Self {
            message: text("message").unwrap_or_else(|| word(error)),
            marks: (["code", "type", "status"].iter().filter_map(|field| text(field)))
                .chain(reasons)
                .chain(quotas)
                .chain(flagged.then(|| "flagged".to_owned()))
                .collect(),
            status: code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code)),
            pause: details.iter().find_map(|detail| pause::in_words(detail["retryDelay"].as_str()?)).map(|pause| pause.min(pause::MAX_PAUSE)),
        }
    }

    /// What it means; `status` is the answer's own, 200 where the error came inside of a good one.
    #[must_use]
    pub fn means(&self, provider: &'static str, status: u16) -> ProviderError {
        let status = if status == 200 || self.marks.iter().any(|mark| mark == "bad_response_status_code") {
            self.status.unwrap_or(if status == 200 { 500 } else { status })
        } else {
            status
        };
        let (message, request_id) = match self.message.split_once(" (request id: ") {
            Some((message, id)) => (message, id.split(')').next()),
            None => (self.message.as_str(), None),
        };
        let mut error = ProviderError::new(provider, self.fault(status), if message.is_empty() { "it says nothing more" } else { message });
        error.retry_after = self.pause;
        error.request_id = request_id.map(Into::into);
        error
    }

    fn fault(&self, status: u16) -> Fault {
        let marked = |marks: &[&str]| marks.iter().any(|mark| self.marks.iter().any(|own| own.contains(mark)));
        let says = |parts: &[&str]| parts.iter().any(|part| self.message.contains(part));
        // Gateways put this under the code of an empty account, though the account is well.
        if says(&["上游负载已饱和"]) || marked(&["overloaded"]) {
            return Fault::Overloaded;
        }
        if marked(&["insufficient_quota", "insufficient_user_quota", "PerDay"]) || says(&["limit: 0"]) {
            return Fault::OutOfCredit;
        }
        if marked(&["content_policy_violation", "moderation_blocked", "content_filter", "flagged"]) {
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
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// A value as a word: texts without their quotes.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a status means where nothing more is said.
#[must_use]
pub fn fault_of_status(status: u16) -> Fault {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(status: u16, body: &Value) -> Fault {
        of_answer("test", status, &HeaderMap::new(), body.to_string().as_bytes()).fault
    }

    #[test]
    fn refusals_mean_what_their_providers_mean_by_them() {
        let gemini = json!([{"reason": "API_KEY_INVALID"}]);
        let a_day = json!([{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]);
        let a_minute = json!([{"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}]);
        let cases = [
            (400, json!({"error": {"message": "m", "code": "context_length_exceeded"}}), Fault::Rejected),
            (500, json!({"error": {"code": 400, "message": "m", "type": "exceed_context_size_error", "n_ctx": 4096}}), Fault::Rejected),
            (400, json!({"error": {"message": "m", "type": "image_generation_user_error", "code": "moderation_blocked"}}), Fault::Blocked),
            (403, json!({"error": {"code": 403, "message": "m", "metadata": {"reasons": ["violence"], "flagged_input": "x"}}}), Fault::Blocked),
            (400, json!({"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT", "details": gemini}}), Fault::Unauthorized),
            (401, json!({"error": {"message": "m", "code": "invalid_api_key"}}), Fault::Unauthorized),
            (401, json!({"error": {"message": "无效的令牌", "type": "shell_api_error"}}), Fault::Unauthorized),
            (402, json!({"error": {"code": 402, "message": "credits"}}), Fault::OutOfCredit),
            (403, json!({"error": {"message": "quota", "code": "insufficient_user_quota"}}), Fault::OutOfCredit),
            (404, json!({"error": {"message": "m", "code": "model_not_found"}}), Fault::ModelMissing),
            (413, json!(null), Fault::Rejected),
            (429, json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), Fault::Overloaded),
            (429, json!({"error": {"message": "m", "code": "insufficient_quota"}}), Fault::OutOfCredit),
            (429, json!({"error": {"message": "当前分组上游负载已饱和，请稍后再试", "code": "insufficient_quota"}}), Fault::Overloaded),
            (429, json!({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": a_day}}), Fault::OutOfCredit),
            (429, json!({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": a_minute}}), Fault::Overloaded),
            (429, json!({"error": {"code": 429, "message": "Quota exceeded, limit: 0", "status": "RESOURCE_EXHAUSTED"}}), Fault::OutOfCredit),
            (503, json!({"error": {"message": "当前分组 default 下对于模型 x 无可用渠道"}}), Fault::ModelMissing),
            (503, json!({"error": {"message": "Loading model", "type": "unavailable_error"}}), Fault::Overloaded),
            (
                500,
                json!({"error": {"message": "", "type": "shell_api_error", "param": "503", "code": "bad_response_status_code"}}),
                Fault::Overloaded,
            ),
            (498, json!(null), Fault::Overloaded),
            (529, json!(null), Fault::Overloaded),
            (524, json!("<html>"), Fault::TimedOut),
            (502, json!("<html>"), Fault::Unreachable),
            (500, json!({"error": "boom"}), Fault::Unreachable),
            (301, json!(null), Fault::Unreachable),
        ];
        for (status, body, expected) in cases {
            assert_eq!(fault(status, &body), expected, "{status} {body}");
        }
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
            assert_eq!(Told::find(&body).map(|told| told.message), Some("m".into()), "{body}");
            assert_eq!(Told::in_event(&body.to_string()).message, "m", "{body}");
        }
        assert_eq!(Told::in_event(r#"{"message": "m"}"#).message, "m");
        assert_eq!(Told::in_event("it broke").message, "it broke");
        for good in [json!({"error": null, "choices": []}), json!({"error": ""}), json!({"error": false}), json!({"error": 0}), json!([])] {
            assert_eq!(Told::find(&good), None, "{good}");
        }
    }

    #[test]
    fn a_status_inside_of_a_good_answer_counts_and_the_request_is_named() {
        let told = Told::find(&json!({"error": {"message": "no credits (request id: r-7)", "code": 402}})).unwrap();
        let error = told.means("test", 200);
        assert_eq!((error.fault, error.detail.as_str(), error.request_id.as_deref()), (Fault::OutOfCredit, "no credits", Some("r-7")));
        let delay = json!({"error": {"code": 429, "message": "m", "details": [{"@type": "RetryInfo", "retryDelay": "36s"}]}});
        assert_eq!(Told::find(&delay).unwrap().means("test", 200).retry_after, Some(Duration::from_secs(36)));
    }
}
