//! Jobs over real providers, as their users see them: stopped, gathered, limited, shown while they are made, and kept.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use persona_community::timestamp::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    DEADLINE,
    app::{App, meanwhile},
    calls::png,
    eventually,
    person::{GENERAL, Person},
    provider::{Answer, FakeProvider, chunk, opening},
    sse::Stream,
};

/// A server over this provider, with these settings besides.
fn app(fake: &FakeProvider, settings: &[(&str, &str)]) -> App {
    let url = fake.url();
    let own = [
        ("OPENAI_BASE_URL", url.as_str()),
        ("PERSONA_CHAT_ROUTE", "openai/m-1"),
        ("PERSONA_TEXT_ROUTE", "openai/m-1"),
        ("PERSONA_IMAGE_ROUTE", "openai/m-1"),
        ("PERSONA_MODELS", r#"{"openai/m-1": {"partialImages": 2}}"#),
    ];
    App::with(&[&own, settings].concat())
}

/// Waits until this was told.
async fn text_until(stream: &mut Stream, text: &str) {
    let mut told = String::new();
    while told != text {
        told.push_str(stream.next_of("ai_chat_chunk").await.data["result"]["text"].as_str().unwrap());
        assert!(text.starts_with(&told), "{told}");
    }
}

fn draft(index: usize) -> String {
    let event = json!({"type": "image_generation.partial_image", "b64_json": STANDARD.encode(png()), "partial_image_index": index});
    format!("event: image_generation.partial_image\ndata: {event}\n\n")
}

#[tokio::test]
async fn a_job_that_finds_no_room_at_its_provider_lets_others_begin_and_comes_again_when_there_is_some() {
    let words = Answer::words(&["all ", "is ", "said"]);
    let (fake, other) = (FakeProvider::start([words.clone()]).await, FakeProvider::start([words]).await);
    let app = app(
        &fake,
        &[
            ("LAOZHANG_API_KEY", "sk-test"),
            ("LAOZHANG_BASE_URL", &other.url()),
            ("PERSONA_CHAT_ROUTE", "laozhang/m-2"),
            ("PERSONA_JOB_LIMITS", "provider:openai=1"),
            ("PERSONA_WORKER_SLOTS", "2"),
        ],
    );
    let ada = Person::new(&app, "Ada").await;
    fake.answer_next(Answer::stream([opening(&["so far"])]).then_silence());
    let first = ada.generate("text", &json!({"prompt": "Say all."})).await;
    fake.asked_times(1).await;
    let second = ada.generate("text", &json!({"prompt": "Say all."})).await;
    let waits = ada.job_in(&second, "scheduled").await;
    // Nothing was tried, and nothing has failed.
    assert_eq!((&waits["attempt"], waits.get("error")), (&json!(0), None), "{waits}");
    // The slot that it had is another's.
    let reply = ada.ask(GENERAL, "Is it all?").await;
    ada.job_in(&reply, "completed").await;
    assert_eq!((fake.asked().len(), &ada.get(&format!("/api/jobs/{first}")).await["state"]), (1, &json!("running")));

    // The place is free when who has it is put away or ends.
    ada.stop(&first).await;
    let done = ada.job_in(&second, "completed").await;
    assert_eq!((&done["attempt"], fake.busy().most), (&json!(1), 1), "{done}");
}

fn completed() -> String {
    format!("data: {}\n\n", json!({"type": "image_generation.completed", "b64_json": STANDARD.encode(png())}))
}

#[tokio::test]
async fn stopping_closes_the_providers_connection_in_every_phase_by_a_wake_up() {
    let words = Answer::stream([opening(&["so ", "far"])]).then_silence();
    for (kind, answer) in [
        ("text", Answer::silence()),
        ("text", Answer::stream([""]).then_silence()),
        ("text", words.clone()),
        ("text", Answer::bytes(200, "application/json", "{\"choices\": [").then_silence()),
        ("text", Answer::bytes(429, "application/json", "{").then_silence()),
        ("image", Answer::silence()),
        ("image", Answer::stream([draft(0)]).then_silence()),
        ("chat", words),
    ] {
        let fake = FakeProvider::start([answer.clone()]).await;
        // What the heartbeat would bring comes after the deadline.
        let app = app(&fake, &[("PERSONA_LEASE_SECONDS", "600")]);
        let ada = Person::new(&app, "Ada").await;
        let mut stream = ada.listen(&[GENERAL]).await;
        let job = match kind {
            "chat" => ada.ask(GENERAL, "Hello?").await,
            _ => ada.generate(kind, &json!({"prompt": "p"})).await,
        };
        fake.asked_times(1).await;
        if kind == "chat" {
            text_until(&mut stream, "so far").await;
        }
        assert_eq!(ada.stop(&job).await.status, 202);
        fake.hung_up(DEADLINE).await;
        let job = ada.job_in(&job, "cancelled").await;
        assert_eq!((&job["error"], &job["code"], &job["retryable"]), (&json!("cancelled"), &json!("cancelled"), &json!(false)), "{answer:?}");
        if kind == "chat" {
            let end = stream.next_of("ai_chat").await.data["result"].clone();
            assert_eq!((&end["content"], &end["finishReason"], &end["provider"]), (&json!("so far"), &json!("cancelled"), &json!("openai")));
        }
        assert_eq!((fake.asked().len(), fake.busy().now), (1, 0), "{answer:?}");
    }
}

#[tokio::test]
async fn what_was_said_before_a_reply_breaks_is_kept_and_marked() {
    let refused = format!("data: {}\n\n", json!({"error": {"message": "no more", "code": "content_policy_violation"}}));
    let fake = FakeProvider::start([Answer::stream([opening(&["so ", "far"]), refused])]).await;
    let app = app(&fake, &[]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "Hello?").await;
    let end = stream.next_of("ai_chat").await.data;
    assert_eq!(
        (&end["result"]["content"], &end["result"]["finishReason"], &end["code"]),
        (&json!("so far"), &json!("error"), &json!("content_blocked"))
    );
    let kept = &ada.get("/api/chat/messages?channel=channel:general").await["messages"][1];
    assert_eq!((&kept["content"], &kept["finishReason"]), (&json!("so far"), &json!("error")));
    let job = ada.job_in(&job, "discarded").await;
    assert_eq!((&job["error"], &job["code"], &job["retryable"]), (&end["error"], &end["code"], &end["retryable"]));
}

#[tokio::test]
async fn words_that_come_one_by_one_are_gathered_but_none_waits_for_more_than_its_time() {
    let words: Vec<String> = (0..120).map(|word| format!("{word} ")).collect();
    let pieces = words.iter().map(|word| chunk(&json!({"content": word}), None));
    let fake = FakeProvider::start([Answer::stream(pieces).slowly(Duration::from_millis(4)).then_silence()]).await;
    let app = app(&fake, &[]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    let job = ada.generate("text", &json!({"prompt": "p"})).await;
    let (mut told, mut at) = (String::new(), Vec::new());
    // The provider has fallen silent by then, and nothing but its time brings the last words.
    while told != words.concat() {
        let event = stream.next_of("ai_chat_chunk").await.data;
        told.push_str(event["result"]["text"].as_str().unwrap());
        at.push(event["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap().millis());
    }
    assert!(at.len() > 2 && at.windows(2).all(|pair| pair[1] - pair[0] >= 39), "{at:?}");
    ada.stop(&job).await;
}

#[tokio::test]
async fn a_provider_gets_as_many_requests_at_once_as_it_may_and_the_next_when_one_is_over() {
    for (setting, at_once) in [("64,openai=1", 1), ("2", 2), ("0", 3)] {
        let fake = FakeProvider::start([Answer::stream([opening(&["so far"])]).then_silence()]).await;
        let app = app(&fake, &[("PERSONA_PROVIDER_CONCURRENCY", setting)]);
        let ada = Person::new(&app, "Ada").await;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            jobs.push(ada.generate("text", &json!({"prompt": "p"})).await);
        }
        for job in &jobs {
            ada.job_in(job, "running").await;
        }
        fake.asked_times(at_once).await;
        meanwhile(Duration::from_millis(200)).await;
        assert_eq!((fake.asked().len(), fake.busy().now), (at_once, at_once), "{setting}");
        // Whether they wait or run, those that are stopped give their places up.
        for job in &jobs {
            ada.stop(job).await;
            ada.job_in(job, "cancelled").await;
        }
        let before = fake.asked().len();
        ada.generate("text", &json!({"prompt": "p"})).await;
        fake.asked_times(before + 1).await;
    }
}

fn files(app: &App) -> Vec<PathBuf> {
    std::fs::read_dir(app.data().join("media")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_draft_is_shown_by_its_url_for_as_long_as_its_picture_is_made() {
    let fake = FakeProvider::start([Answer::stream([draft(0)]).then_silence()]).await;
    let app = app(&fake, &[]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    let job = ada.generate("image", &json!({"prompt": "a cat"})).await;
    let shown = loop {
        let event = stream.next_of("generation_progress").await.data;
        assert!(event.to_string().len() < 1000, "bytes in an event: {event}");
        if event.get("result").is_some() {
            break event;
        }
    };
    let preview = &shown["result"]["preview"];
    assert_eq!((&shown["progress"], &shown["message"], &preview["width"]), (&json!(33), &json!("Draft 1 of 2"), &json!(5)));
    let url = format!("{}{}", app.url, preview["url"].as_str().unwrap());
    assert_eq!(ada.client.get(&url).send().await.unwrap().bytes().await.unwrap(), png());
    ada.stop(&job).await;
    ada.job_in(&job, "cancelled").await;
    assert_eq!((ada.client.get(&url).send().await.unwrap().status(), files(&app).len()), (StatusCode::NOT_FOUND, 0));

    fake.answer_next(Answer::stream([draft(0), draft(1), completed()]));
    ada.generate("image", &json!({"prompt": "a cat"})).await;
    let events: Vec<Value> = {
        let mut events = Vec::new();
        while events.last().is_none_or(|event: &Value| event["type"] != "generation_complete") {
            events.push(stream.next_logged().await.data);
        }
        events
    };
    assert_eq!(events.iter().filter(|event| event["result"].get("preview").is_some()).count(), 2, "{events:?}");
    assert_eq!(files(&app).len(), 1, "the picture alone is kept");
}

#[tokio::test]
async fn a_killed_worker_leaves_a_draft_that_is_swept_and_a_picture_that_nobody_pays_for_again() {
    let fake = FakeProvider::start([Answer::stream([draft(0)]).then_silence()]).await;
    let mut app = app(&fake, &[]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    let job = ada.generate("image", &json!({"prompt": "a cat"})).await;
    while stream.next_of("generation_progress").await.data.get("result").is_none() {}
    app.kill();
    let [left] = files(&app).try_into().unwrap();
    assert!(left.file_name().unwrap().to_str().unwrap().starts_with("draft-"), "{left:?}");
    let app = app.restart();
    let end = ada.job_in(&job, "discarded").await;
    assert_eq!((&end["code"], &end["retryable"]), (&json!("picture_lost"), &json!(true)));
    assert_eq!((fake.asked().len(), files(&app).len()), (1, 1));

    // Long after that, the house is kept.
    let builder = App::builder(&[]);
    let media = builder.data().join("media");
    std::fs::create_dir_all(&media).unwrap();
    let [old, young, picture] =
        [("draft-", "0"), ("draft-", "1"), ("", "2")].map(|(kind, digit)| media.join(format!("{kind}{}.png", digit.repeat(32))));
    for copy in [&old, &young, &picture] {
        std::fs::copy(&left, copy).unwrap();
    }
    for file in [&old, &picture] {
        std::fs::File::options().write(true).open(file).unwrap().set_modified(SystemTime::now() - Duration::from_hours(3)).unwrap();
    }
    let _app = builder.start();
    eventually("the draft is swept", async || (!old.exists()).then_some(())).await;
    assert!(young.exists() && picture.exists());
}
