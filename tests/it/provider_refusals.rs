//! What providers say is wrong, in every form: what it means for this request, for the next attempt and for the operator.

use std::time::Duration;

use persona_community::providers::{Fault, ProviderError};
use serde_json::{Value, json};

use crate::support::{
    calls::{KEY, draw, gemini, openai, write},
    provider::{Answer, FakeProvider, opening},
};

/// What to expect of an answer: the fault, whether asking again may help, and whether another provider may.
type Case = (Answer, Fault, bool, bool);

#[expect(clippy::needless_pass_by_value, reason = "a table of cases reads better without references")]
fn told(status: u16, error: Value) -> Answer {
    Answer::json(status, &json!({"error": error}))
}

async fn error_of(answer: Answer) -> ProviderError {
    let fake = FakeProvider::start([answer]).await;
    write(&openai(&fake, None).build().unwrap()).await.error.expect("it did not fail")
}

fn statuses() -> Vec<Case> {
    use Fault::{Blocked, ModelMissing, OutOfCredit, Overloaded, Rejected, TimedOut, Unauthorized, Unreachable};
    let html = |status| Answer::bytes(status, "text/html", "<html><h1>Bad gateway</h1><p>cloudflare</p></html>");
    let gateway = |code: &str| json!({"message": "", "type": "shell_api_error", "param": code, "code": "bad_response_status_code"});
    vec![
        (
            told(400, json!({"message": "m", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"})),
            Rejected,
            false,
            true,
        ),
        (told(400, json!({"message": "m", "code": "context_length_exceeded"})), Rejected, false, true),
        (
            told(500, json!({"code": 400, "message": "m", "type": "exceed_context_size_error", "n_prompt_tokens": 4390, "n_ctx": 4096})),
            Rejected,
            false,
            true,
        ),
        (told(400, json!({"message": "m", "code": "content_policy_violation"})), Blocked, false, false),
        (told(403, json!({"code": 403, "message": "m", "metadata": {"reasons": ["x"], "flagged_input": "y"}})), Blocked, false, false),
        (told(451, json!("no")), Blocked, false, false),
        (told(413, json!("too long")), Rejected, false, true),
        (told(422, json!("what?")), Rejected, false, true),
        (told(401, json!({"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"})), Unauthorized, false, true),
        (told(401, json!({"message": "无效的令牌", "type": "shell_api_error", "code": null})), Unauthorized, false, true),
        (Answer::bytes(403, "text/plain", ""), Unauthorized, false, true),
        (told(402, json!({"code": 402, "message": "credits", "metadata": {"provider_name": "X", "raw": ".."}})), OutOfCredit, false, true),
        (
            told(
                403,
                json!({"message": "user [1] quota [5] preConsumedQuota [9] is not enough", "type": "shell_api_error", "code": "insufficient_user_quota"}),
            ),
            OutOfCredit,
            false,
            true,
        ),
        (told(404, json!({"message": "m", "type": "not_found_error"})), ModelMissing, false, true),
        (
            told(503, json!({"message": "当前分组 default 下对于模型 x 无可用渠道 (request id: r-1)", "type": "new_api_error"})),
            ModelMissing,
            false,
            true,
        ),
        (told(429, json!({"message": "m", "type": "requests", "code": "rate_limit_exceeded"})), Overloaded, true, true),
        (told(429, json!({"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"})), OutOfCredit, false, true),
        (
            told(429, json!({"message": "当前分组上游负载已饱和，请稍后再试", "type": "upstream_error", "code": "insufficient_quota"})),
            Overloaded,
            true,
            true,
        ),
        (Answer::bytes(429, "text/plain", ""), Overloaded, true, true),
        (told(503, json!({"code": 503, "message": "Loading model", "type": "unavailable_error"})), Overloaded, true, true),
        (told(529, json!({"message": "overloaded", "type": "overloaded_error"})), Overloaded, true, true),
        (Answer::bytes(498, "text/plain", "flex"), Overloaded, true, true),
        (told(500, gateway("503")), Overloaded, true, true),
        (told(500, gateway("502")), Unreachable, true, true),
        (told(500, json!("boom")), Unreachable, true, true),
        (html(500), Unreachable, true, true),
        (html(502), Unreachable, true, true),
        (html(520), Unreachable, true, true),
        (html(504), TimedOut, true, true),
        (html(524), TimedOut, true, true),
        (told(408, json!("slow")), TimedOut, true, true),
        (told(409, json!("again")), Unreachable, true, true),
        (Answer::bytes(302, "text/html", "").header("location", "https://x.test/"), Unreachable, true, true),
    ]
}

#[tokio::test]
async fn a_refusal_means_what_its_provider_means_by_it() {
    for (answer, fault, retryable, worth_another) in statuses() {
        for answer in [answer.clone(), answer.clone().byte_by_byte(), answer.clone().gzipped()] {
            let error = error_of(answer.clone()).await;
            assert_eq!((error.fault, error.is_retryable(), error.is_worth_another()), (fault, retryable, worth_another), "{answer:?}: {error:?}");
            assert!(!error.to_string().contains("planted") && !format!("{error:?}").contains("planted"), "{error:?}");
            assert!(!error.detail.contains("<html>"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn who_is_to_be_left_alone_is_left_alone_for_as_long_as_it_says() {
    let limit = || told(429, json!({"message": "m", "code": "rate_limit_exceeded"}));
    let pause = |millis: u64| Some(Duration::from_millis(millis));
    for (answer, retry_after, retryable) in [
        (limit(), None, true),
        (limit().header("retry-after", "7"), pause(7000), true),
        (limit().header("retry-after", "2.5").header("retry-after-ms", "1500"), pause(1500), true),
        (limit().header("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"), pause(0), true),
        (limit().header("retry-after", "120"), pause(120_000), true),
        (limit().header("retry-after", "121"), pause(121_000), false),
        (limit().header("retry-after", "999999"), pause(3_600_000), false),
        (limit().header("retry-after", "soon"), None, true),
        (limit().header("x-ratelimit-remaining-requests", "0").header("x-ratelimit-reset-requests", "6m0s"), pause(360_000), false),
        (limit().header("x-ratelimit-remaining-tokens", "0").header("x-ratelimit-reset-tokens", "12ms"), pause(12), true),
        (limit().header("x-should-retry", "false"), None, false),
        (told(500, json!("x")).header("x-should-retry", "false"), None, false),
        (told(400, json!("x")).header("x-should-retry", "true"), None, true),
    ] {
        let error = error_of(answer.clone()).await;
        assert_eq!((error.retry_after, error.is_retryable()), (retry_after, retryable), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn the_operator_is_told_what_the_provider_calls_the_request() {
    for (answer, id) in [
        (told(500, json!("x")).header("x-request-id", "r-1"), "r-1"),
        (told(500, json!("x")).header("X-Generation-Id", "gen-2"), "gen-2"),
        (Answer::bytes(502, "text/html", "<html>").header("cf-ray", "8-FRA"), "8-FRA"),
        (told(500, json!({"message": "busy (request id: 2026)"})), "2026"),
        (Answer::stream([opening(&["x"])]).header("x-request-id", "r-3"), "r-3"),
        (Answer::stream([opening(&["x"])]).broken_off().header("x-request-id", "r-4"), "r-4"),
        (Answer::stream([r#"data: {"error":"x"}"#]).header("x-request-id", "r-5"), "r-5"),
    ] {
        let error = error_of(answer.clone()).await;
        assert_eq!(error.request_id.as_deref(), Some(id), "{answer:?}: {error:?}");
        assert!(error.to_string().ends_with(&format!("(its request {id})")) && !error.detail.contains("request id"), "{error}");
    }
    let hidden = error_of(told(500, json!("x")).header("x-request-id", KEY)).await;
    assert!(!hidden.to_string().contains("planted"), "{hidden}");
}

#[tokio::test]
async fn an_error_inside_of_a_good_answer_is_one_before_and_after_the_first_word() {
    let of_a_stream = [
        (r#"data: {"error":{"message":"m","type":"server_error"}}"#, Fault::Unreachable),
        (r#"data: {"error":{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}}"#, Fault::Rejected),
        (r#"data: {"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}"#, Fault::Rejected),
        (r#"data: {"error":{"code":400,"message":"m","type":"exceed_context_size_error","n_prompt_tokens":4390,"n_ctx":4096}}"#, Fault::Rejected),
        (r#"data: {"error":"it broke"}"#, Fault::Unreachable),
        (r#"data: {"error":{"code":402,"message":"m"}}"#, Fault::OutOfCredit),
        (
            r#"data: {"id":"c","error":{"code":"server_error","message":"m"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            Fault::Unreachable,
        ),
        (r#"data: {"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#, Fault::BrokeOff),
        ("event: error\ndata: it broke", Fault::Unreachable),
        ("event: error\ndata: {\"message\":\"m\",\"code\":429}", Fault::Overloaded),
        (r#"{"error":{"message":"m","type":"overloaded_error"}}"#, Fault::Overloaded),
        ("<html>502 Bad gateway</html>", Fault::BrokeOff),
    ];
    for (event, fault) in of_a_stream {
        for said in ["", "so far"] {
            for end in ["\n\n", "\n\ndata: [DONE]\n\n", ""] {
                // What is no event counts only where nothing ends the stream.
                if !event.contains("data:") && end.contains("DONE") {
                    continue;
                }
                let opened = if said.is_empty() { String::new() } else { opening(&[said]) };
                let fake = FakeProvider::start([Answer::stream([opened, format!("{event}{end}")])]).await;
                let written = write(&openai(&fake, None).build().unwrap()).await;
                assert_eq!((written.error.as_ref().map(|error| error.fault), written.text.as_str()), (Some(fault), said), "{event}: {written:?}");
            }
        }
    }
    let whole = error_of(Answer::json(200, &json!({"error": {"code": 402, "message": "m"}, "choices": []}))).await;
    assert_eq!(whole.fault, Fault::OutOfCredit);
}

#[tokio::test]
async fn who_hangs_up_or_is_not_there_is_unlike_one_who_refuses() {
    let gone = FakeProvider::start([Answer::hang_up()]).await;
    assert_eq!(write(&openai(&gone, None).build().unwrap()).await.error.unwrap().fault, Fault::BrokeOff);
    // Nobody may have got the picture's request, or somebody may have been paid for it.
    let second = FakeProvider::start([Answer::json(200, &json!({}))]).await;
    let drawn = draw(&openai(&gone, Some(&second)).build().unwrap()).await;
    assert!(drawn.error.as_ref().is_some_and(|error| error.billed && !error.is_retryable()), "{drawn:?}");
    assert_eq!((gone.asked().len(), second.asked().len()), (2, 0));
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/v1", listener.local_addr().unwrap())
    };
    let mut config = openai(&gone, Some(&second));
    config.openai.as_mut().unwrap().base_url = nobody;
    let drawn = draw(&config.build().unwrap()).await;
    assert_eq!(drawn.begun, ["openai", "laozhang"], "{drawn:?}");
}

#[tokio::test]
async fn gemini_refuses_in_its_own_words() {
    let status = |code: u16, status: &str, details: Value| {
        Answer::json(code, &json!({"error": {"code": code, "message": "m", "status": status, "details": details}}))
    };
    let quota = |per: &str, delay: &str| {
        json!([{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": format!("GenerateRequestsPer{per}PerProjectPerModel-FreeTier"), "quotaValue": "20"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}])
    };
    let none = Answer::json(429, &json!({"error": {"code": 429, "message": "Quota exceeded, limit: 0", "status": "RESOURCE_EXHAUSTED"}}));
    for (answer, fault, retry_after) in [
        (status(429, "RESOURCE_EXHAUSTED", quota("Minute", "36s")), Fault::Overloaded, Some(36)),
        (status(429, "RESOURCE_EXHAUSTED", quota("Day", "36s")), Fault::OutOfCredit, Some(36)),
        (none, Fault::OutOfCredit, None),
        (
            status(400, "INVALID_ARGUMENT", json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}])),
            Fault::Unauthorized,
            None,
        ),
        (status(400, "INVALID_ARGUMENT", json!([])), Fault::Rejected, None),
        (status(403, "PERMISSION_DENIED", json!([])), Fault::Unauthorized, None),
        (status(404, "NOT_FOUND", json!([])), Fault::ModelMissing, None),
        (status(500, "INTERNAL", json!([])), Fault::Unreachable, None),
        (status(503, "UNAVAILABLE", json!([])), Fault::Overloaded, None),
        (status(504, "DEADLINE_EXCEEDED", json!([])), Fault::TimedOut, None),
    ] {
        let fake = FakeProvider::start([answer.clone()]).await;
        let error = write(&gemini(&fake).build().unwrap()).await.error.unwrap();
        assert_eq!((error.fault, error.retry_after.map(|pause| pause.as_secs())), (fault, retry_after), "{answer:?}: {error:?}");
        let head = &fake.asked()[0].head;
        assert!(head.contains(&format!("x-goog-api-key: {KEY}")) && !head.lines().next().unwrap().contains(KEY), "{head}");
    }
}
