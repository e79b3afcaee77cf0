//! Gemini's streams, byte for byte over real sockets: thoughts, reasons to finish wherever they come, blocks and pictures.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use persona_community::{
    event::{FinishReason, Usage},
    providers::Fault,
};
use serde_json::{Value, json};

use crate::support::{
    calls::{Drawn, Written, draw, gemini, png, write},
    provider::{Answer, FakeProvider},
};

fn event(chunk: &Value) -> String {
    format!("data: {chunk}\r\n\r\n")
}

fn part(text: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}], "modelVersion": "m"})
}

fn end(reason: &str) -> Value {
    json!({"candidates": [{"finishReason": reason, "index": 0}], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 9, "totalTokenCount": 16}})
}

fn stopped(text: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]})
}

async fn asked(answer: Answer) -> Written {
    let fake = FakeProvider::start([answer]).await;
    write(&gemini(&fake).build().unwrap()).await
}

fn whole() -> String {
    let thought = json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}, {"text": "Grüß "}], "role": "model"}}]});
    [thought, part("🦀"), part(" Gott"), end("STOP")].iter().map(event).collect()
}

#[tokio::test]
async fn a_stream_that_is_split_at_any_byte_or_at_all_of_them_says_the_same() {
    let bytes = whole().into_bytes();
    let split = (0..=bytes.len()).map(|at| Answer::stream([&bytes[..at], &bytes[at..]]));
    let fake = FakeProvider::start(split.chain([Answer::stream([&bytes]).byte_by_byte()])).await;
    let provider = gemini(&fake).build().unwrap();
    for at in 0..=bytes.len() + 1 {
        let written = write(&provider).await;
        let usage = Some(Usage { input_tokens: 5, output_tokens: 11 });
        assert_eq!((written.text.as_str(), written.finish, written.usage), ("Grüß 🦀 Gott", Some(FinishReason::Stop), usage), "{at}: {written:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_before_a_reason_to_finish_has_broken_off_and_keeps_what_was_said() {
    let bytes = whole().into_bytes();
    let last = bytes.len() - event(&end("STOP")).len();
    let fake = FakeProvider::start((0..last).map(|at| Answer::stream([&bytes[..at]]))).await;
    // Not through the router, whose breaker would open.
    let provider = gemini(&fake).providers().unwrap()["gemini"].clone();
    for at in 0..last {
        let written = write(&provider).await;
        assert!("Grüß 🦀 Gott".starts_with(&written.text), "cut at {at}: {written:?}");
        assert_eq!(written.error.as_ref().map(|error| error.fault), Some(Fault::BrokeOff), "cut at {at}: {written:?}");
    }
}

#[tokio::test]
async fn a_reason_to_finish_may_come_anywhere_and_only_the_end_ends() {
    for (stream, text, finish) in [
        (vec![stopped("a"), stopped("b"), stopped("c")], "abc", FinishReason::Stop),
        (vec![end("STOP"), part("after")], "after", FinishReason::Stop),
        (vec![part("cut"), end("MAX_TOKENS")], "cut", FinishReason::Length),
        (vec![part("held"), end("SAFETY")], "held", FinishReason::ContentFilter),
        (vec![part("held"), end("RECITATION")], "held", FinishReason::ContentFilter),
    ] {
        for answer in [
            Answer::stream(stream.iter().map(event)),
            // Without `alt=sse`, all of it is one list.
            Answer::json(200, &json!(stream)),
        ] {
            let written = asked(answer.clone()).await;
            assert_eq!((written.text.as_str(), written.finish), (text, Some(finish)), "{answer:?}: {written:?}");
        }
    }
}

#[tokio::test]
async fn what_is_held_back_thought_or_given_up_is_told_apart() {
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}});
    for (stream, fault) in [
        (vec![blocked], Fault::Blocked),
        (vec![end("SAFETY")], Fault::Blocked),
        (vec![end("MAX_TOKENS")], Fault::SaidNothing),
        (vec![part("half "), end("MALFORMED_FUNCTION_CALL")], Fault::Malformed),
        (vec![end("OTHER")], Fault::Malformed),
        (vec![end("STOP")], Fault::Malformed),
        (vec![part("half "), json!({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}})], Fault::Overloaded),
    ] {
        let written = asked(Answer::stream(stream.iter().map(event))).await;
        assert_eq!(written.error.as_ref().map(|error| error.fault), Some(fault), "{stream:?}: {written:?}");
    }
    let list = json!([{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}]);
    assert_eq!(asked(Answer::json(200, &list)).await.error.unwrap().fault, Fault::Overloaded);
}

#[tokio::test]
async fn an_error_as_bare_json_in_the_middle_is_read_wherever_it_is_split() {
    let bare = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"The model is overloaded.\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n";
    let bytes = format!("{}{bare}", event(&part("half "))).into_bytes();
    let fake = FakeProvider::start((0..=bytes.len()).map(|at| Answer::stream([&bytes[..at], &bytes[at..]]))).await;
    let provider = gemini(&fake).providers().unwrap()["gemini"].clone();
    for at in 0..=bytes.len() {
        let written = write(&provider).await;
        let error = written.error.unwrap();
        assert_eq!((error.fault, error.detail.as_str(), written.text.as_str()), (Fault::Overloaded, "The model is overloaded.", "half "), "{at}");
    }
}

async fn drawn(stream: &[Value]) -> Drawn {
    let fake = FakeProvider::start([Answer::stream(stream.iter().map(event))]).await;
    draw(&gemini(&fake).build().unwrap()).await
}

fn inline(bytes: &[u8], thought: bool) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": "Here"}, {"inlineData": {"mimeType": "image/png", "data": STANDARD.encode(bytes)}, "thoughtSignature": "s", "thought": thought}]}}]})
}

#[tokio::test]
async fn a_picture_is_a_part_of_the_answer_and_a_draft_in_its_thoughts_is_none() {
    let picture = drawn(&[inline(b"a draft", true), inline(&png(), false), end("STOP")]).await;
    assert_eq!(picture.picture.map(|picture| picture.bytes), Some(png().into()));
    // All of it is there, and only the end is missing: it is paid for.
    let cut = drawn(&[inline(&png(), false)]).await;
    assert!(cut.picture.is_some(), "{cut:?}");
    let whole = FakeProvider::start([Answer::json(200, &json!([inline(&png(), false), end("STOP")]))]).await;
    let picture = draw(&gemini(&whole).build().unwrap()).await;
    assert!(picture.picture.is_some(), "an answer that comes whole: {picture:?}");
}

#[tokio::test]
async fn a_picture_that_does_not_come_is_paid_for_unless_the_provider_says_otherwise() {
    for (stream, fault, billed, words) in [
        (vec![inline(b"a draft", true), end("STOP")], Fault::Blocked, true, Some("Here")),
        (vec![part("I can't draw that."), end("STOP")], Fault::Blocked, true, Some("I can't draw that.")),
        (vec![end("IMAGE_SAFETY")], Fault::Blocked, true, Some("")),
        (vec![end("NO_IMAGE")], Fault::Malformed, true, None),
        (vec![inline(b"no picture", false), end("STOP")], Fault::Malformed, true, None),
        (vec![part("half")], Fault::BrokeOff, true, None),
        (vec![json!({"promptFeedback": {"blockReason": "SAFETY"}})], Fault::Blocked, false, None),
        (vec![json!({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}})], Fault::Overloaded, false, None),
    ] {
        let drawn = drawn(&stream).await;
        let error = drawn.error.unwrap_or_else(|| panic!("{stream:?} is a picture"));
        assert_eq!((error.fault, error.billed, error.words.as_deref()), (fault, billed, words), "{stream:?}: {error:?}");
    }
}
