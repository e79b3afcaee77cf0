//! What was acknowledged survives: the server is killed as by a power cut, and starts again.

use serde_json::json;

use crate::support::{
    app::App,
    person::{GENERAL, Person},
    sqlite,
    sse::Event,
};

#[tokio::test]
async fn a_reply_that_was_cut_by_a_kill_begins_anew_and_ends_exactly_once() {
    let mut app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "30")]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    let chunk = stream.next_of("ai_chat_chunk").await;
    let cursor = chunk.id.clone().unwrap();
    app.kill();
    let _app = app.restart();

    let mut stream = ada.resume(&[GENERAL], Some(&cursor)).await;
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|event| event.kind() != "ai_chat") {
        events.push(stream.next().await);
    }
    let first = events.iter().find(|event| event.kind() == "ai_chat_chunk").unwrap();
    assert_eq!((&first.data["result"]["seq"], &first.data["result"]["restart"]), (&json!(0), &json!(true)));
    assert_eq!(first.data["result"]["streamId"], chunk.data["result"]["streamId"]);
    let end = events.last().unwrap();
    let text: String = events.iter().filter_map(|event| event.data["result"]["text"].as_str()).collect();
    assert_eq!(end.data["result"]["content"], json!(text));

    let done = ada.job_in(&job, "completed").await;
    assert_eq!(done["attempt"], json!(2));
    // Whatever comes after the end of the reply, it is not a second end.
    ada.say(GENERAL, "mark").await;
    assert_eq!(stream.next_logged().await.kind(), "chat");
    let history = ada.get(&format!("/api/chat/messages?channel={GENERAL}")).await;
    let roles: Vec<_> = history["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
}

#[tokio::test]
async fn a_picture_that_was_cut_by_a_kill_is_painted_and_ends_exactly_once() {
    let mut app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    let job = ada.generate("image", &json!({"prompt": "a lighthouse", "size": "2048x2048"})).await;
    let cursor = stream.next_of("generation_started").await.id.unwrap();
    app.kill();
    let _app = app.restart();

    let mut stream = ada.resume(&[], Some(&cursor)).await;
    let end = stream.next_of("generation_complete").await;
    assert_eq!(end.data["jobId"], json!(job));
    ada.job_in(&job, "completed").await;
    ada.generate("text", &json!({"prompt": "mark"})).await;
    assert_eq!(stream.next_logged().await.kind(), "generation_started");
}

#[tokio::test]
async fn a_message_is_in_history_and_reaches_the_room_though_the_server_is_killed_right_after_the_answer() {
    let mut app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let mut seen: Vec<String> = Vec::new();
    let mut cursor: Option<String> = None;
    for round in 0..8 {
        let mut stream = ben.resume(&[GENERAL], cursor.as_deref()).await;
        ada.say(GENERAL, &format!("message {round}")).await;
        app.kill();
        while let Some(event) = stream.try_next().await {
            seen.extend(event.data["result"]["content"].as_str().map(str::to_owned));
        }
        cursor = stream.last_id;
        app = app.restart();
    }
    // What the room was not told before the kill, it is told after it, unless history has to be read: and that is said.
    let mut stream = ben.resume(&[GENERAL], cursor.as_deref()).await;
    let reset = stream.next_of("stream_reset").await;
    assert_eq!(reset.data["reason"], json!("epoch"));
    let history = ada.get(&format!("/api/chat/messages?channel={GENERAL}")).await;
    let kept: Vec<_> = history["messages"].as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..8).map(|round| format!("message {round}")).collect();
    assert_eq!(kept, expected);
    assert!(seen.iter().all(|content| expected.contains(content)));
}

#[tokio::test]
async fn what_stood_in_the_outbox_when_the_server_was_killed_is_published_by_its_next_life() {
    use diesel::RunQueryDsl as _;

    let mut app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let message = ada.say(GENERAL, "kept").await;
    let event = stream.next_logged().await;
    app.kill();
    // The crash that can't be timed from outside: stored and acknowledged, not yet published.
    let mut connection = sqlite::open(&app.data().join("persona.sqlite"));
    let id = message["id"].as_str().unwrap().replace('-', "");
    let insert = format!("insert or replace into outbox (id, event, created_at) values (x'{id}', '{}', 0)", event.data);
    diesel::sql_query(insert).execute(&mut connection).unwrap();
    drop(connection);

    let _app = app.restart();
    let mut stream = ada.resume(&[GENERAL], event.id.as_deref()).await;
    let again = stream.next_logged().await;
    assert_eq!(again.data["result"], event.data["result"]);
}

#[tokio::test]
async fn a_stop_gives_running_jobs_back_and_the_next_life_finishes_them() {
    let mut app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "100"), ("PERSONA_STOP_SECONDS", "0")]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    let cursor = stream.next_of("ai_chat_chunk").await.id.unwrap();
    app.signal("TERM");
    let events = stream.to_end().await;
    let closing = events.last().unwrap();
    assert_eq!((closing.kind(), &closing.data["reason"], &closing.data["reconnect"]), ("stream_closing", &json!("drain"), &json!(true)));
    assert!(app.wait());

    let _app = app.restart();
    let mut stream = ada.resume(&[GENERAL], Some(&cursor)).await;
    let waiting = ada.get(&format!("/api/jobs/{job}")).await;
    assert_ne!(waiting["state"], json!("completed"));
    assert_eq!(stream.next_of("ai_chat_chunk").await.data["result"]["restart"], json!(true));
}
