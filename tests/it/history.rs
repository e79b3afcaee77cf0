//! What was said, page by page, and the stream that continues it without a hole and without a double.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    app::App,
    person::{GENERAL, Person},
    sse::Stream,
};

fn messages(history: &Value) -> &Vec<Value> {
    history["messages"].as_array().unwrap()
}

fn contents(history: &Value) -> Vec<&str> {
    messages(history).iter().map(|message| message["content"].as_str().unwrap()).collect()
}

fn cursor(history: &Value) -> &str {
    history["cursor"].as_str().unwrap()
}

#[tokio::test]
async fn a_room_where_nothing_was_said_has_an_empty_page_that_a_stream_continues() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let history = ada.get("/api/chat/messages?channel=channel:general").await;
    assert_eq!(history.as_object().unwrap().keys().collect::<Vec<_>>(), ["cursor", "messages", "streaming"]);
    assert_eq!((&history["messages"], &history["streaming"]), (&json!([]), &json!([])));
    let said = ada.say(GENERAL, "the first").await;
    let mut stream = ada.resume(&[GENERAL], Some(cursor(&history))).await;
    assert_eq!(stream.next_logged().await.data["result"]["id"], said["id"]);
}

#[tokio::test]
async fn history_is_read_in_pages_from_the_newest_back() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut said = Vec::new();
    for number in 0..23 {
        said.push(ada.say(GENERAL, &format!("message {number}")).await);
        ada.say("channel:other", "elsewhere").await;
    }
    let all: Vec<&str> = said.iter().map(|message| message["content"].as_str().unwrap()).collect();
    for limit in [1, 5, 22, 23, 24] {
        let (mut read, mut path) = (Vec::new(), format!("/api/chat/messages?channel=channel:general&limit={limit}"));
        loop {
            let page = ada.get(&path).await;
            read.splice(0..0, contents(&page).into_iter().map(str::to_owned));
            let Some(before) = page["nextBefore"].as_str() else { break };
            assert_eq!((messages(&page).len(), &messages(&page)[0]["id"]), (limit, &json!(before)));
            path = format!("/api/chat/messages?channel=channel:general&limit={limit}&before={before}");
        }
        assert_eq!(read, all, "in pages of {limit}");
    }
    let unlimited = ada.get("/api/chat/messages?channel=channel:general").await;
    assert_eq!((contents(&unlimited), unlimited.get("nextBefore")), (all, None));
    let first = &messages(&unlimited)[0];
    let mut expected = said[0].clone();
    expected["role"] = json!("user");
    expected.as_object_mut().unwrap().remove("channel");
    assert_eq!(first, &expected);
}

#[tokio::test]
async fn a_page_has_50_messages_where_nobody_says_how_many() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    join_all((0..60).map(|number| ada.say(GENERAL, if number % 2 == 0 { "even" } else { "odd" }))).await;
    let page = ada.get("/api/chat/messages?channel=channel:general").await;
    assert_eq!((messages(&page).len(), page["nextBefore"].is_string()), (50, true));
    assert_eq!(messages(&ada.get("/api/chat/messages?channel=channel:general&limit=200").await).len(), 60);
}

#[tokio::test]
async fn replies_stand_in_history_with_who_made_them_and_what_they_answer() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let posted = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": "What can you do?", "clientId": "c1"})).await;
    let posted: Value = posted.json().await.unwrap();
    let reply = stream.next_of("ai_chat").await.data["result"].clone();
    let history = ada.get("/api/chat/messages?channel=channel:general").await;
    let [question, answer] = messages(&history).as_slice() else { panic!("{history}") };
    assert_eq!((&question["role"], &question["clientId"], &question["userId"]), (&json!("user"), &json!("c1"), &json!(ada.id)));
    let mut expected = reply;
    expected["role"] = json!("assistant");
    assert_eq!(answer, &expected);
    assert_eq!((&answer["replyTo"], &answer["finishReason"]), (&posted["message"]["id"], &json!("stop")));
}

/// The ids of messages that a stream tells, up to and with the message `last`.
async fn told(stream: &mut Stream, last: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let event = stream.next_logged().await;
        if !matches!(event.kind(), "chat" | "ai_chat") {
            continue;
        }
        let id = event.data["result"]["id"].clone();
        ids.push(id.as_str().unwrap().to_owned());
        if id == *last {
            return ids;
        }
    }
}

#[tokio::test]
async fn a_cursor_starts_a_stream_exactly_after_its_page_while_others_talk() {
    const TALKERS: usize = 3;
    const EACH: usize = 30;
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let talk = join_all((0..TALKERS).map(|_| async {
        let person = Person::new(&app, "Talker").await;
        for number in 0..EACH {
            // Replies are messages as well, of a job's own time.
            match number % 3 {
                0 => drop(person.ask(GENERAL, "And now?").await),
                _ => drop(person.say(GENERAL, "Blah").await),
            }
        }
    }));
    let open = async {
        let mut opened = Vec::new();
        for round in 0..40 {
            let page = ada.get("/api/chat/messages?channel=channel:general&limit=200").await;
            let stream = if round % 2 == 0 {
                ada.resume(&[GENERAL], Some(cursor(&page))).await
            } else {
                let mut stream = Stream::open(ada.stream_request(&[GENERAL], None).query(&[("lastEventId", cursor(&page))])).await;
                stream.ready().await;
                stream
            };
            assert_eq!(stream.opened.as_ref().unwrap().data["resumed"], true);
            opened.push((page, stream));
        }
        opened
    };
    let (_, opened) = tokio::join!(talk, open);
    let answered = async || ada.get("/api/chat/messages?channel=channel:general&limit=200").await["streaming"] == json!([]);
    crate::support::eventually("all replies are complete", async || {
        let whole = ada.get("/api/chat/messages?channel=channel:general&limit=200").await;
        (answered().await && messages(&whole).len() == TALKERS * (EACH + EACH / 3)).then_some(())
    })
    .await;
    let last = ada.say(GENERAL, "the last one").await["id"].clone();
    let whole = ada.get("/api/chat/messages?channel=channel:general&limit=200").await;
    let all: BTreeSet<&str> = messages(&whole).iter().map(|message| message["id"].as_str().unwrap()).collect();
    for (page, mut stream) in opened {
        let told = told(&mut stream, &last).await;
        let read = messages(&page).iter().map(|message| message["id"].as_str().unwrap());
        let ids: Vec<&str> = read.chain(told.iter().map(String::as_str)).collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!((ids.len(), unique), (all.len(), all.clone()), "page of {}, stream of {}", messages(&page).len(), told.len());
    }
}

#[tokio::test]
async fn who_comes_late_sees_a_reply_from_its_beginning() {
    let app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "40")]);
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let mut early = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do, and how, and for whom, and since when?").await;
    let mut late = Vec::new();
    let whole = loop {
        let event = early.next_logged().await;
        match event.kind() {
            "ai_chat_chunk" if late.len() < 4 => {
                let page = ben.get("/api/chat/messages?channel=channel:general").await;
                let stream = ben.resume(&[GENERAL], Some(cursor(&page))).await;
                late.push((page, stream));
            }
            "ai_chat" => break event.data["result"].clone(),
            _ => {}
        }
    };
    assert!(!late.is_empty());
    for (page, mut stream) in late {
        let [running] = page["streaming"].as_array().unwrap().as_slice() else { panic!("{page}") };
        assert_eq!((&running["jobId"], &running["streamId"], &running["provider"]), (&json!(job), &whole["streamId"], &json!("offline")));
        let (mut text, mut seq) = (running["text"].as_str().unwrap().to_owned(), running["seq"].as_u64().unwrap());
        assert!(!text.is_empty());
        let end = loop {
            let event = stream.next_logged().await;
            let result = event.data["result"].clone();
            match event.kind() {
                "ai_chat_chunk" => {
                    assert_eq!(result["seq"], seq + 1);
                    seq += 1;
                    text.push_str(result["text"].as_str().unwrap());
                }
                "ai_chat" => break result,
                other => panic!("{other}"),
            }
        };
        assert_eq!((&json!(text), &end), (&whole["content"], &whole));
    }
    let after = ben.get("/api/chat/messages?channel=channel:general").await;
    assert_eq!((&after["streaming"], messages(&after).len()), (&json!([]), 2));
}

#[tokio::test]
async fn a_reply_that_was_stopped_before_it_said_anything_hides_nothing_that_is_said_after_it() {
    let app = App::with(&[("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", "10000")]);
    let ada = Person::new(&app, "Ada").await;
    let running = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&running, "running").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let reply = ada.ask(GENERAL, "Never mind").await;
    assert_eq!(ada.stop(&reply).await.status, 202);
    assert_eq!(stream.next_of("ai_chat").await.data["result"]["content"], json!(""));
    ada.say(GENERAL, "Something else").await;
    stream.next_of("chat").await;
    let history = ada.get(&format!("/api/chat/messages?channel={GENERAL}")).await;
    assert_eq!(contents(&history), ["Never mind", "Something else"]);
}
