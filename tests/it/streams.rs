//! What a stream tells of itself.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    app::App,
    person::{GENERAL, Person, Way, on_each_way},
    sse::Stream,
};

on_each_way! {
    ready_comes_first_and_at_once_with_all_channels,
    the_header_of_a_reconnect_goes_before_the_query_of_the_first_connect,
    a_silent_stream_is_pinged_with_its_cursor,
    a_stream_that_is_old_is_asked_to_come_back,
}

async fn ready_comes_first_and_at_once_with_all_channels(way: Way) {
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    let stream = ada.listen(&["channel:team", GENERAL]).await;
    let ready = stream.opened.unwrap();
    assert_eq!(ready.data.as_object().unwrap().keys().collect::<Vec<_>>(), ["channels", "resumed", "timestamp", "type"]);
    assert_eq!((&ready.data["channels"], &ready.data["resumed"]), (&json!([format!("user:{}", ada.id), "channel:team", GENERAL]), &json!(false)));
    assert!((2000..=5000).contains(&stream.retry.unwrap()));
}

async fn the_header_of_a_reconnect_goes_before_the_query_of_the_first_connect(way: Way) {
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
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

async fn a_silent_stream_is_pinged_with_its_cursor(way: Way) {
    let app = App::with(&[("PERSONA_PING_MS", "200")]);
    let ada = Person::on(&app, "Ada", way).await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let ping = stream.next_of("ping").await;
    assert_eq!((ping.name.as_str(), ping.data.as_object().unwrap().len()), ("ping", 2));
    assert!(ping.data["timestamp"].is_string());
    let said = ada.say(GENERAL, "Hello").await;
    let mut again = ada.resume(&[GENERAL], ping.id.as_deref()).await;
    assert_eq!(again.next_logged().await.data["result"]["id"], said["id"]);
}

async fn a_stream_that_is_old_is_asked_to_come_back(way: Way) {
    let app = App::with(&[("PERSONA_STREAM_LIFETIME_SECONDS", "1")]);
    let ada = Person::on(&app, "Ada", way).await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let events = tokio::time::timeout(Duration::from_secs(5), stream.to_end()).await.unwrap();
    let last = &events[events.len() - 1];
    assert_eq!((last.name.as_str(), &last.data["reason"], &last.data["reconnect"]), ("closing", &json!("lifetime"), &json!(true)));
    let said = ada.say(GENERAL, "Hello").await;
    let mut back = ada.resume(&[GENERAL], stream.last_id.as_deref()).await;
    assert_eq!(back.next_logged().await.data["result"]["id"], said["id"]);
}
