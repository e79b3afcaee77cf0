//! A message: answered, told and kept the same, with whatever it was marked.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    answer::Answer,
    app::App,
    person::{GENERAL, Person},
};

/// Posts a message, which must be taken.
async fn post(person: &Person, body: &Value) -> Value {
    let answer = Answer::to(person.request(Method::POST, "/api/chat/messages").json(body)).await;
    assert_eq!((answer.status, answer.header("content-type")), (202, "application/json"));
    answer.json()
}

#[tokio::test]
async fn a_message_is_answered_told_and_kept_the_same() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let plain = json!({"channel": GENERAL, "content": "Hello", "reply": false});
    let marked = json!({"channel": GENERAL, "content": "Hello again", "reply": false, "clientId": " c-1 "});
    for (body, client_id) in [(plain, None), (marked, Some("c-1"))] {
        let answer = post(&ada, &body).await;
        assert_eq!(answer.get("jobId"), None);
        let message = &answer["message"];
        let mut expected = json!({
            "id": message["id"], "channel": GENERAL, "content": body["content"], "userId": ada.id, "userName": "Ada", "timestamp": message["timestamp"],
        });
        if let Some(client_id) = client_id {
            expected["clientId"] = json!(client_id);
        }
        assert_eq!(message, &expected);
        let (id, time) = (message["id"].as_str().unwrap(), message["timestamp"].as_str().unwrap());
        assert!(id.len() == 36 && id.as_bytes()[14] == b'7' && id == id.to_lowercase(), "{id}");
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");

        expected.as_object_mut().unwrap().remove("channel");
        let told = stream.next_logged().await;
        assert_eq!((told.name.as_str(), told.data), ("", json!({"type": "chat", "timestamp": time, "channel": GENERAL, "result": expected})));
        expected["role"] = json!("user");
        let history = ada.get("/api/chat/messages?channel=channel:general").await;
        assert_eq!(history["messages"].as_array().unwrap().last(), Some(&expected));
    }
}

#[tokio::test]
async fn a_message_is_replied_to_unless_nobody_wants_it() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for (reply, is_wanted) in [(None, true), (Some(true), true), (Some(false), false)] {
        let mut body = json!({"channel": GENERAL, "content": "What can you do?"});
        if let Some(reply) = reply {
            body["reply"] = json!(reply);
        }
        let answer = post(&ada, &body).await;
        assert_eq!(answer["jobId"].is_string(), is_wanted, "{answer}");
        if is_wanted {
            let job = ada.job_in(answer["jobId"].as_str().unwrap(), "completed").await;
            assert_eq!((&job["kind"], job.get("result")), (&json!("ai_chat_response"), None));
        }
    }
    assert_eq!(ada.get("/api/jobs").await["jobs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_reply_is_told_in_pieces_that_make_up_its_whole() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let asked = post(&ada, &json!({"channel": GENERAL, "content": "What can you do?"})).await;
    let (mut text, mut pieces) = (String::new(), 0);
    let whole = loop {
        let event = stream.next_logged().await;
        if event.kind() == "chat" {
            continue;
        }
        let (result, keys) = (&event.data["result"], event.data.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((keys, &event.data["jobId"]), (vec!["channel", "jobId", "result", "timestamp", "type"], &asked["jobId"]));
        assert_eq!(result["replyTo"], asked["message"]["id"]);
        if event.kind() == "ai_chat" {
            break result.clone();
        }
        assert_eq!((&result["seq"], &result["provider"], result.get("restart")), (&json!(pieces), &json!("offline"), None));
        let piece = result["text"].as_str().unwrap();
        assert_eq!(result["done"], json!(piece.is_empty()), "the last piece is empty, and no other");
        text.push_str(piece);
        pieces += 1;
    };
    assert_eq!((&whole["content"], &whole["finishReason"], &whole["provider"]), (&json!(text), &json!("stop"), &json!("offline")));
    assert!(pieces > 1);
}

#[tokio::test]
async fn a_generated_text_is_told_to_its_user_alone() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let (mut hers, mut his) = (ada.listen(&[GENERAL]).await, ben.listen(&[GENERAL]).await);
    let job = ada.generate("text", &json!({"prompt": "A poem"})).await;
    let own = json!(format!("user:{}", ada.id));
    let started = hers.next_logged().await;
    assert_eq!((started.kind(), &started.data["channel"], started.data["message"].is_string()), ("generation_started", &own, true));
    let mut text = String::new();
    let end = loop {
        let event = hers.next_logged().await;
        assert_eq!((&event.data["channel"], &event.data["jobId"]), (&own, &json!(job)));
        match event.kind() {
            "ai_chat_chunk" => text.push_str(event.data["result"]["text"].as_str().unwrap()),
            "generation_progress" => assert!(event.data["message"].is_string()),
            _ => break event.data,
        }
    };
    assert_eq!((&end["type"], &end["progress"], &end["result"]["text"]), (&json!("generation_complete"), &json!(100), &json!(text)));
    ada.say(GENERAL, "Look!").await;
    assert_eq!(his.next_logged().await.kind(), "chat");
}
