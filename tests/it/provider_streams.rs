//! Streams in OpenAI's protocol, byte for byte over real sockets: however they are cut, bent, filled up or broken off.

use std::{sync::Arc, time::Duration};

use persona_community::{
    event::{FinishReason, Usage},
    providers::{Fault, Provider, setup::ProviderConfig, wire::Patience},
};
use serde_json::json;

use crate::support::{
    DEADLINE,
    calls::{Written, openai, write},
    provider::{Answer, FakeProvider, chunk, opening, usage},
};

/// Everything at once that providers put into a stream, one event or comment each.
fn bent() -> Vec<String> {
    let compact = |text: String| text.replace("data: ", "data:");
    vec![
        "\u{feff}: OPENROUTER PROCESSING\n\n".into(),
        "data: {\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\r\n\r\n".into(),
        chunk(&json!({"role": "assistant", "content": "", "refusal": null}), None).replace('\n', "\r"),
        chunk(&json!({"reasoning_content": "hm"}), None),
        ":\n\n".into(),
        compact(chunk(&json!({"reasoning": "hm", "content": null}), None)),
        chunk(&json!({"content": "Grüße "}), None).replace('\n', "\r\n"),
        // One event on two lines, and a choice without a delta.
        "event: message\nid: 7\ndata: {\"choices\":[{\"index\":0,\ndata: \"content_filter_results\":{}}]}\n\n".into(),
        "data: this is no JSON\n\n".into(),
        compact(chunk(&json!({"content": "aus 🦀"}), None)),
        chunk(&json!({"content": [{"type": "text", "text": "\n!"}], "tool_calls": []}), Some("stop")),
        usage(9, 2),
        "data: [DONE]\n\n".into(),
    ]
}

const SAID: &str = "Grüße aus 🦀\n!";

async fn asked(answer: Answer) -> Written {
    let fake = FakeProvider::start([answer]).await;
    write(&openai(&fake, None).build().unwrap()).await
}

fn is_whole(written: &Written) {
    assert_eq!(written.text, SAID, "{written:?}");
    assert_eq!((written.finish, written.usage), (Some(FinishReason::Stop), Some(Usage { input_tokens: 9, output_tokens: 2 })), "{written:?}");
}

#[tokio::test]
async fn a_stream_that_is_split_at_any_byte_or_at_all_of_them_says_the_same() {
    let bytes = bent().concat().into_bytes();
    let split = (0..=bytes.len()).map(|at| Answer::stream([&bytes[..at], &bytes[at..]]));
    let fake = FakeProvider::start(split.chain([Answer::stream([&bytes]).byte_by_byte()])).await;
    let provider = openai(&fake, None).build().unwrap();
    for _ in 0..=bytes.len() + 1 {
        is_whole(&write(&provider).await);
    }
    assert_eq!(fake.asked().len(), bytes.len() + 2);
}

#[tokio::test]
async fn a_stream_that_is_cut_at_any_byte_keeps_what_was_said_and_is_not_taken_for_whole() {
    let bytes = bent().concat().into_bytes();
    let until_reason = bytes.len() - usage(9, 2).len() - "data: [DONE]\n\n".len();
    for broken in [false, true] {
        let cut = |at: usize| if broken { Answer::stream([&bytes[..at]]).broken_off() } else { Answer::stream([&bytes[..at]]) };
        let fake = FakeProvider::start((0..bytes.len()).map(cut)).await;
        // Not through the router, whose breaker would open.
        let provider = openai(&fake, None).providers().unwrap()["openai"].clone();
        for at in 0..bytes.len() {
            let written = write(&provider).await;
            assert!(SAID.starts_with(&written.text), "cut at {at}: {written:?}");
            // The reason to finish completes it; its own line end may be missing where the connection was closed properly.
            let complete = if broken { at >= until_reason } else { at >= until_reason - 2 };
            assert_eq!(written.error.as_ref().map(|error| error.fault), (!complete).then_some(Fault::BrokeOff), "cut at {at}: {written:?}");
            assert_eq!(written.text == SAID, complete, "cut at {at}: {written:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_at_any_event_is_begun_anew_by_the_next_provider() {
    let events = bent();
    let last = events.len() - 3;
    for cut in 0..=last {
        let first = FakeProvider::start([Answer::stream(&events[..cut])]).await;
        let second = FakeProvider::start([Answer::words(&["all ", "of it"])]).await;
        let written = write(&openai(&first, Some(&second)).build().unwrap()).await;
        assert_eq!((written.begun.as_slice(), written.text.as_str()), (&["openai", "laozhang"][..], "all of it"), "cut before {cut}");
        assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    }
}

#[tokio::test]
async fn each_way_to_end_is_an_end_and_the_connection_need_not_close() {
    let said = opening(&["yes"]);
    let stop = chunk(&json!({}), Some("stop"));
    for (stream, finish) in [
        (vec![said.clone(), stop.clone(), usage(9, 2), "data: [DONE]\n\n".into()], FinishReason::Stop),
        (vec![said.clone(), stop.clone()], FinishReason::Stop),
        (vec![said.clone(), "data: [DONE]\n\n".into()], FinishReason::Stop),
        (vec![said.clone(), "data: [DONE]\n".into()], FinishReason::Stop),
        (vec![chunk(&json!({"content": "yes"}), Some("length"))], FinishReason::Length),
        (vec![chunk(&json!({"content": "yes"}), Some("content_filter"))], FinishReason::ContentFilter),
        (vec![chunk(&json!({"refusal": "yes"}), Some("stop"))], FinishReason::Stop),
        (vec![said.clone(), chunk(&json!({}), Some("tool_calls"))], FinishReason::Stop),
    ] {
        let written = asked(Answer::stream(&stream)).await;
        assert_eq!((written.text.as_str(), written.finish), ("yes", Some(finish)), "{stream:?}: {written:?}");
        // All but the one whose last line has no end yet.
        if stream.last().is_none_or(|last| last != "data: [DONE]\n") {
            let written = asked(Answer::stream(&stream).then_silence()).await;
            assert_eq!((written.text.as_str(), written.finish), ("yes", Some(finish)), "{stream:?}, left open: {written:?}");
        }
        let unterminated = stream.concat().trim_end().to_owned();
        assert_eq!(asked(Answer::stream([unterminated])).await.text, "yes", "{stream:?}, without its last line end");
    }
    let thinks = [chunk(&json!({"content": "<thi"}), None), chunk(&json!({"content": "nk>hm</think>\nyes"}), None), stop];
    assert_eq!(asked(Answer::stream(thinks)).await.text, "yes");
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_none() {
    let empty = |finish: &str| Answer::stream([chunk(&json!({"reasoning": "hm", "content": " "}), None), chunk(&json!({}), Some(finish))]);
    for (answer, fault) in [
        (empty("stop"), Fault::Malformed),
        (empty("length"), Fault::SaidNothing),
        (empty("content_filter"), Fault::Blocked),
        (Answer::stream([""]), Fault::BrokeOff),
        (Answer::stream([": keep-alive\n\n", ":\n\n"]), Fault::BrokeOff),
        (Answer::stream([vec![0xff, 0xfe, 0, 1, 2, b'\n', b'\n']]), Fault::BrokeOff),
        (Answer::bytes(200, "text/html", "<html>\n\n<body>Welcome to the Wi-Fi</body></html>"), Fault::BrokeOff),
        (Answer::bytes(200, "application/json", ""), Fault::Malformed),
        (Answer::bytes(200, "application/json", "{\"choices\": ["), Fault::Malformed),
        (Answer::bytes(204, "application/json", ""), Fault::Malformed),
        (Answer::json(200, &json!({"choices": []})), Fault::BrokeOff),
    ] {
        let written = asked(answer.clone()).await;
        assert_eq!(written.error.as_ref().map(|error| error.fault), Some(fault), "{answer:?}: {written:?}");
        assert_eq!(written.text.trim(), "");
    }
}

#[tokio::test]
async fn an_answer_that_comes_whole_or_compressed_is_read_all_the_same() {
    let whole = json!({"model": "m-9", "choices": [{"message": {"role": "assistant", "content": SAID, "refusal": null}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
    .to_string();
    for answer in [
        Answer::bytes(200, "application/json; charset=utf-8", whole.clone()),
        Answer::bytes(200, "application/json", format!("\n\n\n{whole}\n")).byte_by_byte(),
        Answer::bytes(200, "application/json", whole.clone()).gzipped(),
        Answer::stream([format!("data: {whole}\n\n")]),
        Answer::stream(bent()).gzipped(),
        Answer::stream(bent()).gzipped().byte_by_byte(),
    ] {
        is_whole(&asked(answer).await);
    }
    let fake = FakeProvider::start([Answer::stream(bent()).header("content-encoding", "br")]).await;
    let written = write(&openai(&fake, None).build().unwrap()).await;
    assert_eq!(written.error.map(|error| error.fault), Some(Fault::Malformed));
    // A proxy that compresses would hold the events back.
    assert!(fake.asked()[0].head.contains("accept-encoding: identity"), "{}", fake.asked()[0].head);
}

#[tokio::test]
async fn a_line_may_be_long_but_not_without_bound() {
    let long = "ä".repeat(4 * 1024 * 1024);
    let written = asked(Answer::stream([chunk(&json!({"content": long}), Some("stop"))])).await;
    assert!(written.text == long && written.error.is_none(), "{} bytes: {:?}", written.text.len(), written.error);
    let half = "x".repeat(1024 * 1024);
    let endless = std::iter::once("data: ").chain(std::iter::repeat_n(half.as_str(), 48));
    let fake = FakeProvider::start([Answer::stream(endless).then_silence()]).await;
    let written = write(&openai(&fake, None).build().unwrap()).await;
    let error = written.error.unwrap();
    assert!(error.fault == Fault::Malformed && error.detail.contains("33554432 bytes"), "{error:?}");
    // It is not read to its end.
    fake.hung_up(DEADLINE).await;
}

/// A provider that is called with so little patience, in milliseconds: for the first word, between two, in all.
fn impatient(fake: &FakeProvider, [first, between, total]: [u64; 3]) -> Arc<dyn Provider> {
    let config = openai(fake, None);
    let [first, between, total] = [first, between, total].map(Duration::from_millis);
    ProviderConfig { patience: Patience { first, between, total, ..config.patience }, ..config }.build().unwrap()
}

#[tokio::test]
async fn silence_is_not_waited_for_in_any_phase_and_a_comment_is_none_but_no_word_either() {
    let words = || Answer::stream([opening(&["so ", "far"])]);
    let comments = |count: usize| std::iter::repeat_n(": keep-alive\n\n".to_owned(), count);
    let pace = Duration::from_millis(20);
    let rest = [opening(&["so ", "far"]), chunk(&json!({}), Some("stop")), "data: [DONE]\n\n".into()];
    let (short, long) = (200, 20_000);
    for (what, answer, patience, said, timed_out) in [
        ("no head", Answer::silence(), [short, long, long], "", true),
        ("no event", Answer::stream([""]).then_silence(), [short, long, long], "", true),
        ("comments alone", Answer::stream(comments(1000)).slowly(pace), [short, long, long], "", true),
        ("words, then silence", words().then_silence(), [long, short, long], "so far", true),
        ("half an event", Answer::stream([opening(&["so ", "far"]), "data: {\"cho".into()]).then_silence(), [long, short, long], "so far", true),
        ("for ever", Answer::stream(std::iter::repeat_n(opening(&["x"]), 1000)).slowly(pace), [long, long, short], "x", true),
        (
            "kept alive",
            Answer::stream([rest[0].clone()].into_iter().chain(comments(20)).chain(rest.clone().into_iter().skip(1))).slowly(pace),
            [long, short, long],
            "so far",
            false,
        ),
    ] {
        let fake = FakeProvider::start([answer]).await;
        let written = write(&impatient(&fake, patience)).await;
        assert_eq!(written.error.as_ref().map(|error| error.fault), timed_out.then_some(Fault::TimedOut), "{what}: {written:?}");
        assert_eq!(if what == "for ever" { &written.text[..1] } else { &written.text }, said, "{what}");
        // When the time for all of it is over, nobody begins anew.
        assert_eq!(written.error.is_some_and(|error| error.is_retryable()), timed_out && what != "for ever", "{what}");
    }
}

#[tokio::test]
async fn the_time_for_all_of_it_counts_every_provider_that_is_tried() {
    let slow = Answer::stream(std::iter::repeat_n(opening(&["x"]), 1000)).slowly(Duration::from_millis(20));
    let (first, second) = (FakeProvider::start([slow.clone()]).await, FakeProvider::start([slow]).await);
    let config = openai(&first, Some(&second));
    let patience = Patience { total: Duration::from_millis(300), ..config.patience };
    let written = write(&ProviderConfig { patience, ..config }.build().unwrap()).await;
    assert_eq!((written.begun.as_slice(), written.error.map(|error| error.fault)), (&["openai"][..], Some(Fault::TimedOut)));
    assert_eq!(second.asked().len(), 0);
    first.hung_up(DEADLINE).await;
}
