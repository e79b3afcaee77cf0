//! Replies of personas: who answers, in whose name, and what they are shown.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    admin::{TOKEN, admin, put_persona},
    answer::Answer,
    app::{App, meanwhile},
    eventually,
    person::{GENERAL, Person},
    provider::{Answer as Told, FakeProvider},
    sse::{Event, Stream},
};

const LAB: &str = "channel:lab";

fn app(pace: &str) -> App {
    App::with(&[("PERSONA_ADMIN_TOKEN", TOKEN), ("PERSONA_OFFLINE_PACE_MS", pace)])
}

async fn post(ada: &Person, channel: &str, content: &str) -> Value {
    let answer = ada.post("/api/chat/messages", &json!({"channel": channel, "content": content})).await;
    assert_eq!(answer.status(), 202);
    answer.json().await.unwrap()
}

/// The events up to and with the `count`-th reply.
async fn until_replies(stream: &mut Stream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.iter().filter(|event: &&Event| event.kind() == "ai_chat").count() < count {
        events.push(stream.next_logged().await);
    }
    events
}

#[tokio::test]
async fn each_persona_of_a_room_answers_once_in_its_own_name_and_never_another() {
    let app = app("1");
    for (id, name) in [("one", "Number One"), ("two", "Number Two")] {
        put_persona(&app, id, &json!({"channel": LAB, "name": name})).await;
    }
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[LAB]).await;
    let posted = post(&ada, LAB, "Hello, @Number One!").await;
    let jobs = posted["jobIds"].as_array().unwrap();
    assert_eq!((jobs.len(), &jobs[0]), (2, &posted["jobId"]));
    let events = until_replies(&mut stream, 2).await;
    for (id, name, job) in [("one", "Number One", &jobs[0]), ("two", "Number Two", &jobs[1])] {
        let mine: Vec<&Event> = events.iter().filter(|event| event.data["jobId"] == *job).collect();
        assert!(mine.len() > 2 && mine.iter().all(|event| event.data["result"]["personaId"] == id), "{mine:?}");
        let named: Vec<&Value> = mine.iter().filter_map(|event| event.data["result"].get("personaName")).collect();
        assert_eq!(named, [name, name], "the first chunk and the whole say the name");
        assert_eq!(mine[0].data["result"]["seq"], 0);
    }
    let history = ada.get("/api/chat/messages?channel=channel:lab").await;
    let said: Vec<(&Value, &Value)> = history["messages"].as_array().unwrap().iter().map(|said| (&said["personaId"], &said["personaName"])).collect();
    assert_eq!(said, [(&Value::Null, &Value::Null), (&json!("one"), &json!("Number One")), (&json!("two"), &json!("Number Two"))]);
    // What a persona says asks nobody.
    meanwhile(Duration::from_millis(300)).await;
    assert_eq!(ada.get("/api/jobs").await["jobs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_persona_answers_always_or_when_it_is_mentioned_or_never() {
    let app = app("1");
    for (id, name, answers) in [("a", "Eager", "always"), ("m", "Shy One", "mentioned"), ("n", "Mute", "never")] {
        put_persona(&app, id, &json!({"channel": LAB, "name": name, "answers": answers})).await;
        put_persona(
            &app,
            &format!("q{id}"),
            &json!({"channel": "channel:quiet", "name": name, "answers": if answers == "always" { "never" } else { answers }}),
        )
        .await;
    }
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[LAB, "channel:quiet"]).await;
    for (channel, content, expected) in [
        (LAB, "Hello", vec!["a"]),
        (LAB, "hello @SHY ONE, how are you?", vec!["a", "m"]),
        (LAB, "@mute @shy", vec!["a"]),
        ("channel:quiet", "@shyone", vec!["qm"]),
        ("channel:quiet", "@eager", vec![]),
    ] {
        let posted = post(&ada, channel, content).await;
        assert_eq!((posted.get("jobId").is_some(), posted.get("jobIds").is_some()), (!expected.is_empty(), expected.len() > 1), "{content}");
        let mut answered: Vec<String> = Vec::new();
        for event in until_replies(&mut stream, expected.len()).await {
            if event.kind() == "ai_chat" {
                answered.push(event.data["result"]["personaId"].as_str().unwrap().to_owned());
            }
        }
        answered.sort();
        assert_eq!(answered, expected, "{content}");
    }
    // Who doesn't ask for a reply gets none.
    let said = ada.post("/api/chat/messages", &json!({"channel": LAB, "content": "@Eager", "reply": false})).await;
    assert_eq!(said.json::<Value>().await.unwrap().get("jobId"), None);
}

#[tokio::test]
async fn a_room_without_personas_is_answered_and_the_first_room_has_one_from_the_beginning() {
    let app = app("1");
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL, "channel:bare"]).await;
    post(&ada, GENERAL, "Hello").await;
    let end = until_replies(&mut stream, 1).await.pop().unwrap();
    assert_eq!((&end.data["result"]["personaId"], &end.data["result"]["personaName"]), (&json!("persona"), &json!("Persona")));
    post(&ada, "channel:bare", "Hello").await;
    let end = until_replies(&mut stream, 1).await.pop().unwrap();
    assert_eq!((end.data["result"].get("personaId"), end.data["result"].get("personaName")), (None, None));
    assert_eq!(Answer::to(admin(&app, Method::DELETE, "/api/personas/persona")).await.status, 204);
    post(&ada, GENERAL, "Hello").await;
    assert_eq!(until_replies(&mut stream, 1).await.pop().unwrap().data["result"].get("personaId"), None);
    // Whoever was deleted does not come back with the next start.
    let app = app.restart();
    assert_eq!(Answer::to(admin(&app, Method::GET, "/api/personas/persona")).await.status, 404);
}

#[tokio::test]
async fn a_reply_under_way_is_in_history_with_its_persona_and_what_it_answers() {
    let app = app("200");
    put_persona(&app, "slow", &json!({"channel": LAB, "name": "Slow"})).await;
    let ada = Person::new(&app, "Ada").await;
    let posted = post(&ada, LAB, "What can you do?").await;
    let running = eventually("the reply is streaming", async || {
        let history = ada.get("/api/chat/messages?channel=channel:lab").await;
        history["streaming"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&running["personaId"], &running["personaName"]), (&json!("slow"), &json!("Slow")));
    assert_eq!((&running["jobId"], &running["replyTo"]), (&posted["jobId"], &posted["message"]["id"]));
    ada.stop(posted["jobId"].as_str().unwrap()).await;
    let mut stopped = eventually("the reply is stopped", async || {
        let history = ada.get("/api/chat/messages?channel=channel:lab").await;
        history["messages"].as_array().unwrap().get(1).cloned()
    })
    .await;
    assert_eq!((stopped["personaName"].take(), stopped["finishReason"].take()), (json!("Slow"), json!("cancelled")));
}

#[tokio::test]
async fn a_persona_is_shown_its_prompt_and_the_room_with_everybody_named_within_its_budget() {
    let provider = FakeProvider::start([Told::words(&["Aye."])]).await;
    let url = provider.url();
    let settings = [("PERSONA_ADMIN_TOKEN", TOKEN), ("OPENAI_BASE_URL", &url), ("PERSONA_CHAT_ROUTE", "openai/m-1")];
    let app = App::with(&settings);
    put_persona(
        &app,
        "one",
        &json!({"channel": LAB, "name": "One", "prompt": "Be One.", "answers": "mentioned", "maxTokens": 200, "contextTokens": 400}),
    )
    .await;
    put_persona(&app, "two", &json!({"channel": LAB, "name": "Two", "answers": "mentioned"})).await;
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let mut stream = ada.listen(&[LAB]).await;
    ada.say(LAB, &"too long to be shown to One ".repeat(30)).await;
    for content in ["@One first", "@Two second"] {
        post(&ada, LAB, content).await;
        until_replies(&mut stream, 1).await;
    }
    ben.say(LAB, "third").await;
    post(&ada, LAB, "@One fourth").await;
    until_replies(&mut stream, 1).await;
    let asked = provider.asked();
    let body = &asked.last().unwrap().body;
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let shown = json!([
        turn("system", "Be One."),
        turn("user", "Ada: @One first"),
        turn("assistant", "Aye."),
        turn("user", "Ada: @Two second"),
        turn("user", "Two (AI): Aye."),
        turn("user", "Ben: third"),
        turn("user", "Ada: @One fourth"),
    ]);
    assert_eq!((&body["messages"], &body["max_tokens"]), (&shown, &json!(200)));
    // Who has no limit of their own is shown all, without a prompt.
    let whole = asked[1].body["messages"].as_array().unwrap();
    assert_eq!((whole.len(), whole[0]["role"].as_str(), asked[1].body.get("max_tokens")), (4, Some("user"), None));
}

#[tokio::test]
async fn a_persona_speaks_by_its_own_route() {
    let (first, second) = (FakeProvider::start([Told::words(&["first"])]).await, FakeProvider::start([Told::words(&["second"])]).await);
    let (one, two) = (first.url(), second.url());
    let app = App::with(&[
        ("PERSONA_ADMIN_TOKEN", TOKEN),
        ("OPENAI_BASE_URL", &one),
        ("LAOZHANG_API_KEY", "sk-test"),
        ("LAOZHANG_BASE_URL", &two),
        ("PERSONA_CHAT_ROUTE", "openai/m-1"),
        ("PERSONA_MODELS", r#"{"laozhang/m-7": {}}"#),
    ]);
    put_persona(&app, "other", &json!({"channel": LAB, "name": "Other", "route": ["laozhang/m-7"]})).await;
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[LAB, GENERAL]).await;
    for (channel, content, provider) in [(LAB, "second", "laozhang"), (GENERAL, "first", "openai")] {
        post(&ada, channel, "Hello").await;
        let end = until_replies(&mut stream, 1).await.pop().unwrap();
        assert_eq!((&end.data["result"]["content"], &end.data["result"]["provider"]), (&json!(content), &json!(provider)));
    }
    assert_eq!(second.asked()[0].body["model"], "m-7");
}
