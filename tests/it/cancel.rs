//! Stopping a job, at whatever moment of its life.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    answer::refused,
    app::App,
    person::{GENERAL, Person},
    sse::{Event, Stream},
};

/// A server that does one job at a time, a word in so many milliseconds.
fn slow(pace: &str) -> App {
    App::with(&[("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", pace)])
}

/// The event that ends this job; others are passed over.
async fn end_of(stream: &mut Stream, job: &str) -> Event {
    loop {
        let event = stream.next_logged().await;
        if event.is_terminal() && event.data["jobId"] == job {
            return event;
        }
    }
}

#[tokio::test]
async fn a_waiting_job_is_stopped_at_once() {
    let app = slow("10000");
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let running = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&running, "running").await;
    for what in ["text", "image"] {
        let waiting = ada.generate(what, &json!({"prompt": "Never mind"})).await;
        let answer = ada.stop(&waiting).await;
        assert_eq!((answer.status, answer.json()), (202, json!({"jobId": waiting})));
        let job = ada.get(&format!("/api/jobs/{waiting}")).await;
        assert_eq!((&job["state"], &job["error"], job["finishedAt"].is_string()), (&json!("cancelled"), &json!("cancelled"), true));
        let event = end_of(&mut stream, &waiting).await;
        assert_eq!(
            (event.kind(), &event.data["error"], &event.data["channel"]),
            ("generation_failed", &json!("cancelled"), &json!(format!("user:{}", ada.id)))
        );
        refused(ada.request(Method::DELETE, &format!("/api/jobs/{waiting}")), 409, "job_finished", None).await;
    }
    let reply = ada.ask(GENERAL, "Never mind").await;
    assert_eq!(ada.stop(&reply).await.status, 202);
    let event = end_of(&mut stream, &reply).await;
    assert_eq!((event.kind(), &event.data["result"]["finishReason"], &event.data["result"]["content"]), ("ai_chat", &json!("cancelled"), &json!("")));
    assert_eq!(ada.get("/api/jobs?state=cancelled").await["jobs"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_running_text_is_stopped() {
    let app = slow("300");
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    let job = ada.generate("text", &json!({"prompt": "A poem"})).await;
    assert_eq!(stream.next_of("ai_chat_chunk").await.data["jobId"], json!(job));
    assert_eq!(ada.stop(&job).await.status, 202);
    let event = end_of(&mut stream, &job).await;
    assert_eq!((event.kind(), &event.data["error"]), ("generation_failed", &json!("cancelled")));
    let shown = ada.get(&format!("/api/jobs/{job}")).await;
    assert_eq!((&shown["state"], &shown["error"], shown.get("result")), (&json!("cancelled"), &json!("cancelled"), None));
    refused(ada.request(Method::DELETE, &format!("/api/jobs/{job}")), 409, "job_finished", None).await;
}

#[tokio::test]
async fn a_running_picture_is_stopped_and_not_kept() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    let job = ada.generate("image", &json!({"prompt": "A cat", "size": "2048x2048"})).await;
    stream.next_of("generation_started").await;
    assert_eq!(ada.stop(&job).await.status, 202);
    let event = end_of(&mut stream, &job).await;
    assert_eq!((event.kind(), &event.data["error"]), ("generation_failed", &json!("cancelled")));
    assert_eq!(ada.get(&format!("/api/jobs/{job}")).await["state"], "cancelled");
    assert_eq!(std::fs::read_dir(app.data().join("media")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_running_reply_is_stopped_and_what_there_is_of_it_stays() {
    let app = slow("300");
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let mut stream = ben.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    let told = stream.next_of("ai_chat_chunk").await.data["result"]["text"].as_str().unwrap().to_owned();
    assert!(!told.is_empty());
    refused(ben.request(Method::DELETE, &format!("/api/jobs/{job}")), 404, "job_not_found", None).await;
    assert_eq!(ada.stop(&job).await.status, 202);
    let event = end_of(&mut stream, &job).await;
    let reply = &event.data["result"];
    assert_eq!((event.kind(), &reply["finishReason"], &reply["provider"]), ("ai_chat", &json!("cancelled"), &json!("offline")));
    assert!(reply["content"].as_str().unwrap().starts_with(&told), "{reply}");
    let history = ben.get("/api/chat/messages?channel=channel:general").await;
    let kept = &history["messages"][1];
    for name in ["id", "content", "provider", "streamId", "replyTo", "finishReason", "timestamp"] {
        assert_eq!(kept[name], reply[name], "{name}");
    }
    assert_eq!((&kept["role"], &history["streaming"]), (&json!("assistant"), &json!([])));
    assert_eq!(ada.get(&format!("/api/jobs/{job}")).await["state"], "cancelled");
}

#[tokio::test]
async fn a_job_that_is_done_cannot_be_stopped() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let job = ada.generate("text", &json!({"prompt": "A poem"})).await;
    let before = ada.job_in(&job, "completed").await;
    refused(ada.request(Method::DELETE, &format!("/api/jobs/{job}")), 409, "job_finished", None).await;
    assert_eq!(ada.get(&format!("/api/jobs/{job}")).await, before);
}
