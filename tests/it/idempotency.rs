//! A request that is sent again under its `Idempotency-Key` is answered again and done once.

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{
    answer::{Answer, refused},
    app::App,
    person::{GENERAL, Person},
};

/// Everything that takes a key, with a body and how many jobs it makes.
fn calls() -> [(&'static str, Value, usize); 4] {
    [
        ("/api/chat/messages", json!({"channel": GENERAL, "content": "What can you do?", "clientId": "c1"}), 1),
        ("/api/chat/messages", json!({"channel": "channel:other", "content": "Hello", "reply": false}), 0),
        ("/api/generate/text", json!({"prompt": "A poem"}), 1),
        ("/api/generate/image", json!({"prompt": "A cat", "size": "64x64"}), 1),
    ]
}

fn keyed(person: &Person, path: &str, key: &str, body: &Value) -> RequestBuilder {
    person.request(Method::POST, path).header("Idempotency-Key", key).json(body)
}

async fn jobs(person: &Person) -> usize {
    person.get("/api/jobs").await["jobs"].as_array().unwrap().len()
}

/// What people have said in a room.
async fn said(person: &Person, channel: &str) -> usize {
    let history = person.get(&format!("/api/chat/messages?channel={channel}")).await;
    history["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "user").count()
}

#[tokio::test]
async fn the_same_request_is_answered_the_same_and_says_that_it_was_replayed() {
    let app = App::start();
    for (path, body, made) in calls() {
        let ada = Person::new(&app, "Ada").await;
        let first = Answer::to(keyed(&ada, path, "k1", &body)).await;
        assert_eq!((first.status, first.header("idempotency-replayed"), first.header("content-type")), (202, "", "application/json"));
        for key in ["k1", "\"k1\""] {
            let again = Answer::to(keyed(&ada, path, key, &body)).await;
            assert_eq!((again.status, again.header("idempotency-replayed"), again.text()), (202, "true", first.text()));
            assert_eq!((again.header("content-type"), again.header("location")), ("application/json", first.header("location")));
        }
        assert_eq!(jobs(&ada).await, made, "{path}");
        let new = Answer::to(keyed(&ada, path, "k2", &body)).await;
        assert_ne!(new.text(), first.text());
        assert_eq!(jobs(&ada).await, made * 2, "{path}");
        let unkeyed = Answer::to(ada.request(Method::POST, path).json(&body)).await;
        assert_ne!(unkeyed.text(), first.text());
    }
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused_and_nothing_is_done() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let (path, body, _) = &calls()[2];
    let first = Answer::to(keyed(&ada, path, "k1", body)).await;
    refused(keyed(&ada, path, "k1", &json!({"prompt": "Another poem"})), 422, "idempotency_mismatch", Some("Idempotency-Key")).await;
    refused(keyed(&ada, "/api/generate/image", "k1", body), 422, "idempotency_mismatch", Some("Idempotency-Key")).await;
    let message = json!({"channel": GENERAL, "content": "Hello", "reply": false});
    refused(keyed(&ada, "/api/chat/messages", "k1", &message), 422, "idempotency_mismatch", Some("Idempotency-Key")).await;
    assert_eq!((jobs(&ada).await, said(&ada, GENERAL).await), (1, 0));
    assert_eq!(Answer::to(keyed(&ada, path, "k1", body)).await.text(), first.text());
}

#[tokio::test]
async fn fifty_at_once_make_one_message_and_one_job() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    for (path, body, made) in calls() {
        let before = jobs(&ada).await;
        let key = format!("fifty {path} {made}").replace(' ', "-");
        let answers = join_all((0..50).map(|_| Answer::to(keyed(&ada, path, &key, &body)))).await;
        assert!(answers.iter().all(|answer| (answer.status, answer.text()) == (202, answers[0].text())));
        assert_eq!(answers.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count(), 1, "{path}");
        assert_eq!(jobs(&ada).await, before + made, "{path}");
    }
    assert_eq!((said(&ada, GENERAL).await, said(&ada, "channel:other").await), (1, 1));
    ada.say(GENERAL, "the last one").await;
    let mut heard = Vec::new();
    while heard.last() != Some(&json!("the last one")) {
        heard.push(stream.next_of("chat").await.data["result"]["content"].clone());
    }
    assert_eq!(heard, [json!("What can you do?"), json!("the last one")]);
}

#[tokio::test]
async fn everybody_has_keys_of_their_own() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let (path, body, _) = &calls()[0];
    let answers = [Answer::to(keyed(&ada, path, "k1", body)).await, Answer::to(keyed(&ben, path, "k1", body)).await];
    assert!(answers.iter().all(|answer| answer.status == 202 && answer.header("idempotency-replayed").is_empty()));
    assert_ne!(answers[0].text(), answers[1].text());
    assert_eq!((jobs(&ada).await, jobs(&ben).await, said(&ada, GENERAL).await), (1, 1, 2));
    assert_eq!(Answer::to(keyed(&ben, "/api/generate/text", "k2", &json!({"prompt": "A poem"}))).await.status, 202);
    assert_eq!(Answer::to(keyed(&ada, "/api/generate/text", "k2", &json!({"prompt": "Another"}))).await.status, 202);
}

#[tokio::test]
async fn a_request_that_was_refused_has_not_used_its_key() {
    let app = App::with(&[("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", "10000"), ("PERSONA_MAX_JOBS_PER_USER", "1")]);
    let ada = Person::new(&app, "Ada").await;
    let (path, body, _) = &calls()[2];
    refused(keyed(&ada, path, "k1", &json!({"prompt": ""})), 400, "invalid_field", Some("prompt")).await;
    let running = Answer::to(keyed(&ada, path, "k1", body)).await.json()["jobId"].as_str().unwrap().to_owned();
    ada.job_in(&running, "running").await;
    let waiting = ada.generate("text", body).await;
    refused(keyed(&ada, path, "k2", body), 429, "too_many_jobs", None).await;
    // What was taken before the limit was reached is answered still.
    assert_eq!(Answer::to(keyed(&ada, path, "k1", body)).await.json()["jobId"], json!(running));
    assert_eq!(ada.stop(&waiting).await.status, 202);
    let taken = Answer::to(keyed(&ada, path, "k2", body)).await;
    assert_eq!((taken.status, taken.header("idempotency-replayed")), (202, ""));
}

#[tokio::test]
async fn keys_outlive_the_server() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let (path, body, _) = &calls()[0];
    let first = Answer::to(keyed(&ada, path, "k1", body)).await;
    let app = app.restart();
    let ada = Person::with_token(&app, &ada.token).await;
    let again = Answer::to(keyed(&ada, path, "k1", body)).await;
    assert_eq!((again.text(), again.header("idempotency-replayed")), (first.text(), "true"));
    assert_eq!(said(&ada, GENERAL).await, 1);
}
