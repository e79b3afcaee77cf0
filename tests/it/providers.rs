//! Real providers, as their servers behave: streams cut anywhere, refusals, silence, and the way from one to the next.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{
    app::App,
    calls::{KEY, png},
    person::{GENERAL, Person},
    provider::{Answer, FakeProvider, chunk, opening, usage},
    sse::{Event, Stream},
};

/// A server whose `openai` and `laozhang` are these.
fn app_with(openai: &FakeProvider, laozhang: Option<&FakeProvider>) -> App {
    let url = openai.url();
    let other = laozhang.map(FakeProvider::url).unwrap_or_default();
    let mut settings = vec![
        ("OPENAI_API_KEY", KEY),
        ("OPENAI_BASE_URL", &url),
        ("PERSONA_CHAT_ROUTE", "openai/m-1"),
        ("PERSONA_TEXT_ROUTE", "openai/m-1"),
        ("PERSONA_IMAGE_ROUTE", "openai/m-1"),
    ];
    if laozhang.is_some() {
        settings.extend([("LAOZHANG_API_KEY", KEY), ("LAOZHANG_BASE_URL", &other)]);
        for route in ["PERSONA_CHAT_ROUTE", "PERSONA_TEXT_ROUTE", "PERSONA_IMAGE_ROUTE"] {
            settings.push((route, "openai/m-1,laozhang/m-2"));
        }
    }
    App::with(&settings)
}

fn gemini_app(gemini: &FakeProvider) -> App {
    let url = format!("http://{}", gemini.address);
    App::with(&[("GEMINI_API_KEY", KEY), ("GEMINI_BASE_URL", &url), ("PERSONA_IMAGE_ROUTE", "gemini/draws")])
}

async fn until(stream: &mut Stream, kind: &str) -> Vec<Event> {
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Event| event.kind() != kind) {
        events.push(stream.next_logged().await);
    }
    events
}

async fn generated(ada: &Person, stream: &mut Stream) -> Value {
    ada.generate("text", &json!({"prompt": "p"})).await;
    until(stream, "generation_complete").await.last().unwrap().data["result"].clone()
}

#[tokio::test]
async fn a_reply_streams_from_the_provider_though_its_bytes_come_one_by_one() {
    let words = Answer::words(&["Grüße ", "aus ", "der ", "🦀-Küche"]).byte_by_byte();
    let provider = FakeProvider::start([words]).await;
    let app = app_with(&provider, None);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    ada.ask(GENERAL, "Hello?").await;
    let events = until(&mut stream, "ai_chat").await;
    let end = &events.last().unwrap().data["result"];
    assert_eq!((&end["content"], &end["provider"], &end["finishReason"]), (&json!("Grüße aus der 🦀-Küche"), &json!("openai"), &json!("stop")));
    let told: String =
        events.iter().filter(|event| event.kind() == "ai_chat_chunk").map(|event| event.data["result"]["text"].as_str().unwrap()).collect();
    assert_eq!(told, "Grüße aus der 🦀-Küche");
    let asked = &provider.asked()[0];
    assert_eq!((asked.path.as_str(), &asked.body["model"], &asked.body["stream"]), ("/v1/chat/completions", &json!("m-1"), &json!(true)));
    assert_eq!(asked.body["messages"].as_array().unwrap().last().unwrap(), &json!({"role": "user", "content": "Ada: Hello?"}));
}

#[tokio::test]
async fn what_providers_put_into_their_streams_besides_the_answer_is_kept_out_of_it() {
    let pieces = [
        ": OPENROUTER PROCESSING\n\n".to_owned(),
        r#"data: {"id":"","choices":[],"prompt_filter_results":[]}"#.to_owned() + "\r\n\r\n",
        chunk(&json!({"role": "assistant", "content": ""}), None),
        chunk(&json!({"reasoning_content": "thinking"}), None),
        chunk(&json!({"reasoning": "more", "content": null}), None),
        "data: this is no JSON\n\n".to_owned(),
        chunk(&json!({"content": "four"}), None).replace("data: ", "data:"),
        chunk(&json!({}), Some("length")),
        usage(9, 2),
    ];
    let provider = FakeProvider::start([Answer::stream(pieces)]).await;
    let app = app_with(&provider, None);
    let ada = Person::new(&app, "Ada").await;
    let result = generated(&ada, &mut ada.listen(&[]).await).await;
    assert_eq!(result, json!({"text": "four", "provider": "openai", "model": "m-1", "usage": {"inputTokens": 9, "outputTokens": 2}}));
}

#[tokio::test]
async fn an_answer_that_comes_whole_though_a_stream_was_asked_for_is_taken() {
    let whole = json!({"model": "m-9", "choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    let provider = FakeProvider::start([Answer::json(200, &whole)]).await;
    let app = app_with(&provider, None);
    let ada = Person::new(&app, "Ada").await;
    let result = generated(&ada, &mut ada.listen(&[]).await).await;
    assert_eq!((&result["text"], &result["model"]), (&json!("whole"), &json!("m-9")));
}

#[tokio::test]
async fn every_way_to_fail_before_the_first_word_leads_to_the_next_provider_unseen() {
    let refusals = [
        Answer::json(401, &json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"}})),
        Answer::json(402, &json!({"error": {"code": 402, "message": "no credits"}})),
        Answer::json(429, &json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}})).header("retry-after", "1"),
        Answer::json(429, &json!({"error": {"message": "m", "code": "insufficient_quota"}})),
        Answer::json(500, &json!({"error": "boom"})),
        Answer::stream(["<html>Bad gateway</html>"]),
        Answer::stream([r#"data: {"error":{"message":"overloaded","type":"server_error"}}"#]),
        Answer::stream([": keep-alive\n\n"]),
    ];
    for refusal in refusals {
        let (first, second) =
            (FakeProvider::start([refusal.clone()]).await, FakeProvider::start([Answer::words(&["from ", "the ", "second"])]).await);
        let app = app_with(&first, Some(&second));
        let ada = Person::new(&app, "Ada").await;
        let mut stream = ada.listen(&[]).await;
        ada.generate("text", &json!({"prompt": "p"})).await;
        let events = until(&mut stream, "generation_complete").await;
        assert_eq!(events.last().unwrap().data["result"]["provider"], json!("laozhang"), "{refusal:?}");
        assert!(events.iter().all(|event| event.data["result"]["restart"] != json!(true)), "{refusal:?}");
        assert!(!app.log().contains(KEY), "{}", app.log());
        assert!(!app.log().contains("planted"), "{}", app.log());
    }
}

#[tokio::test]
async fn a_provider_that_breaks_off_after_the_first_word_is_replaced_and_its_words_are_void() {
    let (first, second) = (
        FakeProvider::start([Answer::stream([opening(&["lost ", "words "])]).then_silence()]).await,
        FakeProvider::start([Answer::words(&["all ", "of ", "it"])]).await,
    );
    let app = app_with(&first, Some(&second));
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    ada.ask(GENERAL, "Hello?").await;
    let mut events = until(&mut stream, "ai_chat_chunk").await;
    first.cut();
    events.extend(until(&mut stream, "ai_chat").await);
    let chunks: Vec<&Value> = events.iter().filter(|event| event.kind() == "ai_chat_chunk").map(|event| &event.data["result"]).collect();
    let anew = chunks.iter().position(|chunk| chunk["restart"] == json!(true)).expect("nothing began anew");
    assert_eq!((&chunks[anew]["seq"], &chunks[anew]["provider"], &chunks[anew]["streamId"]), (&json!(0), &json!("laozhang"), &chunks[0]["streamId"]));
    let text: String = chunks[anew..].iter().map(|chunk| chunk["text"].as_str().unwrap()).collect();
    let end = &events.last().unwrap().data["result"];
    assert_eq!((text.as_str(), &end["content"], &end["provider"]), ("all of it", &json!("all of it"), &json!("laozhang")));
}

#[tokio::test]
async fn a_provider_without_credit_is_left_alone_by_the_next_request() {
    let empty = Answer::json(402, &json!({"error": {"code": 402, "message": "no credits"}}));
    let (first, second) = (FakeProvider::start([empty]).await, FakeProvider::start([Answer::words(&["yes"])]).await);
    let app = app_with(&first, Some(&second));
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    generated(&ada, &mut stream).await;
    generated(&ada, &mut stream).await;
    assert_eq!((first.asked().len(), second.asked().len()), (1, 2));
}

#[tokio::test]
async fn a_refusal_that_nobody_can_mend_ends_the_job_with_a_safe_sentence() {
    let blocked = Answer::json(400, &json!({"error": {"message": format!("blocked, key {KEY}"), "code": "content_policy_violation"}}));
    let provider = FakeProvider::start([blocked]).await;
    let app = app_with(&provider, None);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    let job = ada.generate("text", &json!({"prompt": "p"})).await;
    let end = until(&mut stream, "generation_failed").await.pop().unwrap();
    assert_eq!(end.data["error"], json!("The AI provider has declined this request."));
    let job = ada.job_in(&job, "discarded").await;
    for name in ["error", "code", "retryable"] {
        assert_eq!(job[name], end.data[name], "{name}");
    }
    assert_eq!(ada.get("/api/jobs").await["jobs"][0]["code"], json!("content_blocked"));
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test]
async fn stopping_a_reply_closes_the_providers_connection_and_keeps_the_partial_text() {
    let provider = FakeProvider::start([Answer::stream([opening(&["so ", "far "])]).then_silence()]).await;
    let app = app_with(&provider, None);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "Hello?").await;
    let mut told = String::new();
    while told != "so far " {
        told.push_str(stream.next_of("ai_chat_chunk").await.data["result"]["text"].as_str().unwrap());
    }
    let stopped = ada.request(reqwest::Method::DELETE, &format!("/api/jobs/{job}")).send().await.unwrap();
    assert_eq!(stopped.status(), 202);
    provider.hung_up(Duration::from_secs(5)).await;
    let end = until(&mut stream, "ai_chat").await.pop().unwrap().data["result"].clone();
    assert_eq!((&end["content"], &end["finishReason"], &end["provider"]), (&json!("so far "), &json!("cancelled"), &json!("openai")));
}

#[tokio::test]
async fn pictures_come_as_base64_as_urls_and_inside_of_a_chat() {
    let encoded = STANDARD.encode(png());
    let in_chat = json!({"choices": [{"message": {"content": format!("Here: ![image](data:image/png;base64,{encoded})")}, "finish_reason": "stop"}]});
    let cases = [("m-1", json!({"data": [{"b64_json": encoded}]}), "/v1/images/generations"), ("gemini-draws", in_chat, "/v1/chat/completions")];
    for (model, answer, path) in cases {
        let provider = FakeProvider::start([Answer::json(200, &answer)]).await;
        let (url, route) = (provider.url(), format!("openai/{model}"));
        let app = App::with(&[("OPENAI_BASE_URL", &url), ("PERSONA_IMAGE_ROUTE", &route)]);
        let ada = Person::new(&app, "Ada").await;
        let mut stream = ada.listen(&[]).await;
        ada.generate("image", &json!({"prompt": "a cat"})).await;
        let image = until(&mut stream, "generation_complete").await.pop().unwrap().data["result"]["images"][0].clone();
        assert_eq!((&image["width"], &image["height"], &image["contentType"]), (&json!(5), &json!(4), &json!("image/png")));
        let stored = ada.client.get(format!("{}{}", app.url, image["url"].as_str().unwrap())).send().await.unwrap().bytes().await.unwrap();
        assert_eq!((stored, provider.asked()[0].path.as_str()), (png().into(), path));
    }
}

#[tokio::test]
async fn a_picture_on_a_private_address_is_fetched_only_where_the_settings_allow_it() {
    for (allowed, expected) in [("false", "generation_failed"), ("true", "generation_complete")] {
        let pictures = FakeProvider::start([Answer::stream([png()])]).await;
        let url = format!("http://{}/secret.png", pictures.address);
        let provider = FakeProvider::start([Answer::json(200, &json!({"data": [{"url": url}]}))]).await;
        let base = provider.url();
        let app = App::with(&[("OPENAI_BASE_URL", &base), ("PERSONA_IMAGE_ROUTE", "openai/m-1"), ("PERSONA_LOCAL_PICTURES", allowed)]);
        let ada = Person::new(&app, "Ada").await;
        let mut stream = ada.listen(&[]).await;
        ada.generate("image", &json!({"prompt": "a cat"})).await;
        until(&mut stream, expected).await;
        assert_eq!(pictures.asked().len(), usize::from(allowed == "true"));
        // What may have been paid for is not asked for again.
        assert_eq!(provider.asked().len(), 1);
    }
}

#[tokio::test]
async fn gemini_answers_in_its_own_words() {
    let part = |text: &str, thought: bool| json!({"candidates": [{"content": {"parts": [{"text": text, "thought": thought}], "role": "model"}, "index": 0}], "modelVersion": "g"});
    let end = json!({"candidates": [{"finishReason": "STOP", "index": 0}], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 9}});
    let lines = [part("thinking", true), part("Grüß ", false), part("Gott", false), end].map(|chunk| format!("data: {chunk}\r\n\r\n"));
    let provider = FakeProvider::start([Answer::stream(lines).byte_by_byte()]).await;
    let app = gemini_app(&provider);
    let ada = Person::new(&app, "Ada").await;
    let result = generated(&ada, &mut ada.listen(&[]).await).await;
    assert_eq!(
        (&result["text"], &result["provider"], &result["usage"]),
        (&json!("Grüß Gott"), &json!("gemini"), &json!({"inputTokens": 5, "outputTokens": 11}))
    );
    let asked = &provider.asked()[0];
    assert_eq!(asked.path, "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse");
    assert!(asked.head.contains(&format!("x-goog-api-key: {KEY}")));
    assert_eq!(asked.body["contents"], json!([{"role": "user", "parts": [{"text": "p"}]}]));
}

#[tokio::test]
async fn gemini_blocks_breaks_and_draws() {
    let blocked = Answer::stream([format!("data: {}\r\n\r\n", json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}))]);
    let provider = FakeProvider::start([blocked]).await;
    let app = gemini_app(&provider);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    ada.generate("text", &json!({"prompt": "p"})).await;
    let end = until(&mut stream, "generation_failed").await.pop().unwrap();
    assert_eq!(end.data["error"], json!("The AI provider has declined this request."));

    // In the middle of its stream the error comes as bare JSON; the next attempt succeeds.
    let begun = json!({"candidates": [{"content": {"parts": [{"text": "half "}]}}]});
    let broken = format!("data: {begun}\r\n\r\n{{\n  \"error\": {{\"code\": 503, \"message\": \"busy\", \"status\": \"UNAVAILABLE\"}}\n}}\n");
    let whole = json!({"candidates": [{"content": {"parts": [{"text": "whole"}]}, "finishReason": "STOP"}]});
    provider.answer_next(Answer::stream([format!("data: {whole}\r\n\r\n")]));
    provider.answer_next(Answer::stream([broken]));
    let result = generated(&ada, &mut stream).await;
    assert_eq!(result["text"], json!("whole"));

    let drawn = json!({"candidates": [{"content": {"parts": [{"text": "Here"}, {"inlineData": {"mimeType": "image/png", "data": STANDARD.encode(png())}}]}, "finishReason": "STOP"}]});
    provider.answer_next(Answer::stream([format!("data: {drawn}\r\n\r\n")]));
    ada.generate("image", &json!({"prompt": "a cat", "size": "1600x900"})).await;
    let result = until(&mut stream, "generation_complete").await.pop().unwrap().data["result"].clone();
    assert_eq!((&result["provider"], &result["images"][0]["width"]), (&json!("gemini"), &json!(5)));
    let asked = provider.asked().pop().unwrap();
    assert_eq!(asked.body["generationConfig"]["imageConfig"]["aspectRatio"], json!("16:9"));
}
