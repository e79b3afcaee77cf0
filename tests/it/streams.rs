//! What a stream tells of itself and of who is there.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    app::App,
    person::{GENERAL, Person},
    sse::{Event, Stream},
};

/// The reset that comes before anything logged.
async fn reset(stream: &mut Stream) -> Event {
    loop {
        let event = stream.next().await;
        assert!(event.kind() == "stream_reset" || event.id.is_none(), "{event:?}");
        if event.kind() == "stream_reset" {
            return event;
        }
    }
}

#[tokio::test]
async fn ready_comes_first_and_at_once_with_all_channels() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let stream = ada.listen(&["channel:team", GENERAL]).await;
    let ready = stream.opened.unwrap();
    assert_eq!(ready.data.as_object().unwrap().keys().collect::<Vec<_>>(), ["channels", "resumed", "timestamp", "type"]);
    assert_eq!((&ready.data["channels"], &ready.data["resumed"]), (&json!([format!("user:{}", ada.id), "channel:team", GENERAL]), &json!(false)));
    assert!((2000..=5000).contains(&stream.retry.unwrap()));
}

#[tokio::test]
async fn a_newcomer_is_shown_who_is_there_and_the_room_is_told_who_comes_and_goes() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let (her, him) = (json!({"userId": ada.id, "userName": "Ada"}), json!({"userId": ben.id, "userName": "Ben"}));
    let mut hers = ada.listen(&[GENERAL]).await;
    let presence = |event: Event| {
        assert_eq!((event.name.as_str(), &event.id, &event.data["channel"]), ("", &None, &json!(GENERAL)));
        event.data
    };
    let shown = presence(hers.next_of("presence").await);
    assert_eq!((&shown["status"], &shown["count"], &shown["users"]), (&json!("snapshot"), &json!(1), &json!([her])));
    let mut his = ben.listen(&[GENERAL]).await;
    let shown = presence(his.next_of("presence").await);
    assert_eq!((&shown["status"], &shown["count"]), (&json!("snapshot"), &json!(2)));
    assert!([&her, &him].iter().all(|person| shown["users"].as_array().unwrap().contains(person)));
    let told = presence(hers.next_of("presence").await);
    assert_eq!((&told["status"], &told["userId"], &told["userName"]), (&json!("join"), &him["userId"], &him["userName"]));
    drop(his);
    let told = presence(hers.next_of("presence").await);
    assert_eq!((&told["status"], &told["userId"], &told["userName"]), (&json!("leave"), &him["userId"], &him["userName"]));
}

#[tokio::test]
async fn many_who_come_at_once_are_told_together_and_none_is_missed() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let people = join_all((0..30).map(|_| Person::new(&app, "Somebody"))).await;
    let _streams = join_all(people.iter().map(|person| person.listen(&[GENERAL]))).await;
    let mut missed: HashSet<&str> = people.iter().map(|person| person.id.as_str()).collect();
    let mut told = 0;
    while !missed.is_empty() {
        let event = stream.next_of("presence").await.data;
        let id = |person: &Value| person["userId"].as_str().unwrap().to_owned();
        let joined = match event["status"].as_str().unwrap() {
            "snapshot" => continue,
            "join" => vec![id(&event)],
            "update" => event["joined"].as_array().unwrap().iter().map(id).collect(),
            other => panic!("{other}"),
        };
        assert!(joined.iter().all(|id| missed.remove(id.as_str())), "twice: {event}");
        told += 1;
    }
    assert!(told < 15, "told one by one: {told}");
}

#[tokio::test]
async fn a_gap_that_is_too_long_to_be_kept_is_told() {
    let app = App::with(&[("PERSONA_LOG_EVENTS", "5")]);
    let ada = Person::new(&app, "Ada").await;
    let cursor = ada.listen(&[GENERAL]).await.opened.unwrap().id;
    for _ in 0..25 {
        ada.say(GENERAL, &"🐈".repeat(8_000)).await;
    }
    let mut stream = ada.resume(&[GENERAL], cursor.as_deref()).await;
    assert_eq!(stream.opened.as_ref().unwrap().data["resumed"], true);
    let event = reset(&mut stream).await;
    assert_eq!((event.name.as_str(), &event.data["channel"], &event.data["reason"]), ("reset", &json!(GENERAL), &json!("trimmed")));
    let new = ada.say(GENERAL, "Something new").await;
    while stream.next_logged().await.data["result"]["id"] != new["id"] {}
    assert_eq!(ada.get("/api/chat/messages?channel=channel:general").await["messages"].as_array().unwrap().len(), 26);
}

#[tokio::test]
async fn a_stream_that_comes_back_to_another_life_of_the_server_is_told() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    ada.say(GENERAL, "Hello").await;
    let cursor = stream.next_logged().await.id;
    let app = app.restart();
    let ada = Person::with_token(&app, &ada.token).await;
    let mut stream = ada.resume(&[GENERAL], cursor.as_deref()).await;
    let (one, two) = (reset(&mut stream).await.data, reset(&mut stream).await.data);
    assert!([&one, &two].iter().all(|reset| reset["reason"] == "epoch"), "{one} {two}");
    assert!([&one, &two].iter().any(|reset| reset["channel"] == GENERAL), "{one} {two}");
    let new = ada.say(GENERAL, "Something new").await;
    while stream.next_logged().await.data["result"]["id"] != new["id"] {}
}

#[tokio::test]
async fn the_header_of_a_reconnect_goes_before_the_query_of_the_first_connect() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let first = stream.opened.clone().unwrap().id.unwrap();
    ada.say(GENERAL, "one").await;
    let second = stream.next_logged().await.id.unwrap();
    let two = ada.say(GENERAL, "two").await;
    let request = ada.stream_request(&[GENERAL], Some(&second)).query(&[("lastEventId", &first)]);
    let mut stream = Stream::open(request).await;
    stream.ready().await;
    assert_eq!(stream.next_logged().await.data["result"]["id"], two["id"]);
}
