//! Who types: told to the room, gone by itself, never kept.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    answer::Answer,
    app::App,
    person::{GENERAL, Person, Way, on_each_way},
    sse::Stream,
};

on_each_way! {
    the_room_is_told_who_types_and_who_no_longer_does,
    typing_goes_off_by_itself,
    typing_is_told_once_a_second_and_user_and_no_more,
    whoever_has_said_it_types_no_longer,
    typing_is_not_kept_for_those_who_come_back,
}

async fn tell(person: &Person, channel: &str, is_typing: bool) -> Answer {
    Answer::to(person.request(Method::POST, "/api/chat/typing").json(&json!({"channel": channel, "isTyping": is_typing}))).await
}

/// The next that the room is told of somebody's typing.
async fn heard(stream: &mut Stream) -> (Value, Value) {
    let event = stream.next_of("typing").await;
    assert_eq!((event.name.as_str(), &event.id, event.data.get("userName")), ("", &None, None));
    assert!(event.data["timestamp"].is_string() && event.data["channel"].is_string());
    (event.data["userId"].clone(), event.data["isTyping"].clone())
}

async fn the_room_is_told_who_types_and_who_no_longer_does(way: Way) {
    let app = App::start();
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let mut stream = ben.listen(&[GENERAL]).await;
    let on = tell(&ada, GENERAL, true).await;
    assert_eq!((on.status, on.body.len()), (204, 0));
    assert_eq!(heard(&mut stream).await, (json!(ada.id), json!(true)));
    assert_eq!(tell(&ada, GENERAL, false).await.status, 204);
    assert_eq!(heard(&mut stream).await, (json!(ada.id), json!(false)));
    // Nothing more to tell of her; another room is not this one's business.
    assert_eq!(tell(&ada, GENERAL, false).await.status, 204);
    assert_eq!(tell(&ben, "channel:other", true).await.status, 204);
    let last = Person::on(&app, "Cleo", way).await;
    assert_eq!(tell(&last, GENERAL, true).await.status, 204);
    assert_eq!(heard(&mut stream).await, (json!(last.id), json!(true)));
}

async fn typing_goes_off_by_itself(way: Way) {
    let app = App::with(&[("PERSONA_TYPING_MS", "250")]);
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let mut stream = ben.listen(&[GENERAL]).await;
    let begun = Instant::now();
    assert_eq!(tell(&ada, GENERAL, true).await.status, 204);
    assert_eq!(heard(&mut stream).await, (json!(ada.id), json!(true)));
    assert_eq!(heard(&mut stream).await, (json!(ada.id), json!(false)));
    assert!(begun.elapsed() >= Duration::from_millis(250));
}

async fn typing_is_told_once_a_second_and_user_and_no_more(way: Way) {
    let app = App::start();
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let begun = Instant::now();
    assert_eq!(tell(&ada, GENERAL, true).await.status, 204);
    let again = tell(&ada, GENERAL, true).await;
    let elsewhere = tell(&ada, "channel:other", true).await;
    let (off, other) = (tell(&ada, GENERAL, false).await, tell(&ben, GENERAL, true).await);
    if begun.elapsed() < Duration::from_secs(1) {
        for refused in [again, elsewhere] {
            refused.is_problem(429, "too_many_requests", None);
            assert_eq!(refused.header("retry-after"), "1");
        }
    }
    assert_eq!((off.status, other.status), (204, 204));
    let admitted = async {
        while tell(&ada, GENERAL, true).await.status != 204 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), admitted).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(990));
}

async fn whoever_has_said_it_types_no_longer(way: Way) {
    let app = App::start();
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let mut stream = ben.listen(&[GENERAL]).await;
    assert_eq!(tell(&ada, GENERAL, true).await.status, 204);
    assert_eq!(heard(&mut stream).await, (json!(ada.id), json!(true)));
    let said = ada.say(GENERAL, "Here it is").await;
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let event = stream.next().await;
        match event.kind() {
            "typing" => assert_eq!((&event.data["userId"], &event.data["isTyping"]), (&json!(ada.id), &json!(false))),
            "chat" => assert_eq!(event.data["result"]["id"], said["id"]),
            _ => continue,
        }
        kinds.push(event.kind().to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["chat", "typing"]);
}

async fn typing_is_not_kept_for_those_who_come_back(way: Way) {
    let app = App::start();
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let mut stream = ben.listen(&[GENERAL]).await;
    ada.say(GENERAL, "one").await;
    let cursor = stream.next_logged().await.id;
    assert_eq!(tell(&ada, GENERAL, true).await.status, 204);
    assert_eq!(heard(&mut stream).await, (json!(ada.id), json!(true)));
    ada.say(GENERAL, "two").await;
    let mut back = ben.resume(&[GENERAL], cursor.as_deref()).await;
    loop {
        let event = back.next().await;
        assert_ne!(event.kind(), "typing");
        if event.kind() == "chat" {
            break assert_eq!(event.data["result"]["content"], "two");
        }
    }
}

#[tokio::test]
async fn typing_where_nobody_listens_is_no_error() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    assert_eq!(tell(&ada, "channel:nobody-is-here", true).await.status, 204);
    assert_eq!(tell(&ada, "channel:nobody-is-here", false).await.status, 204);
}
