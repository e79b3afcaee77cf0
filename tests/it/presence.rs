//! Who is in a room: users, not tabs, and told in few frames.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    app::{App, meanwhile},
    person::{GENERAL, Person, Way, on_each_way},
    sse::Stream,
};

on_each_way! {
    a_user_with_three_tabs_joins_once_and_leaves_once,
    a_reload_within_the_grace_is_no_leave,
    many_joins_at_once_are_told_together_and_add_up,
}

async fn count(person: &Person) -> u64 {
    person.get(&format!("/api/presence?channel={GENERAL}")).await["count"].as_u64().unwrap()
}

fn status(event: &Value) -> (&str, &str) {
    (event["status"].as_str().unwrap(), event["userName"].as_str().unwrap_or_default())
}

async fn a_user_with_three_tabs_joins_once_and_leaves_once(way: Way) {
    let app = App::start();
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let mut watcher = ada.listen(&[GENERAL]).await;
    let snapshot = watcher.next_of("presence").await.data;
    assert_eq!((&snapshot["status"], &snapshot["count"]), (&json!("snapshot"), &json!(1)));
    assert_eq!(snapshot["users"], json!([{"userId": ada.id, "userName": "Ada"}]));

    let tabs = [ben.listen(&[GENERAL]).await, ben.listen(&[GENERAL]).await, ben.listen(&[GENERAL]).await];
    assert_eq!(status(&watcher.next_of("presence").await.data), ("join", "Ben"));
    assert_eq!(count(&ada).await, 2);
    drop(tabs);
    assert_eq!(status(&watcher.next_of("presence").await.data), ("leave", "Ben"));
    assert_eq!(count(&ada).await, 1);
}

async fn a_reload_within_the_grace_is_no_leave(way: Way) {
    let app = App::with(&[("PERSONA_PRESENCE_GRACE_MS", "1500")]);
    let (ada, ben, cleo) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await, Person::on(&app, "Cleo", way).await);
    let mut watcher = ada.listen(&[GENERAL]).await;
    let tab = ben.listen(&[GENERAL]).await;
    drop(tab);
    let _tab = ben.listen(&[GENERAL]).await;
    meanwhile(Duration::from_secs(2)).await;
    let _mark = cleo.listen(&[GENERAL]).await;

    let mut told = Vec::new();
    loop {
        let event = watcher.next_of("presence").await.data;
        told.push(format!("{:?}", status(&event)));
        if event["userName"] == "Cleo" {
            break;
        }
    }
    assert_eq!(told, [r#"("snapshot", "")"#, r#"("join", "Ben")"#, r#"("join", "Cleo")"#]);
}

async fn many_joins_at_once_are_told_together_and_add_up(way: Way) {
    const PEOPLE: usize = 150;
    let app = App::with(&[("PERSONA_MAX_STREAMS_PER_ADDRESS", "0")]);
    let ada = Person::on(&app, "Ada", way).await;
    let mut watcher = ada.listen(&[GENERAL]).await;
    assert_eq!(watcher.next_of("presence").await.data["status"], "snapshot");
    let mut streams: Vec<Stream> = Vec::new();
    for number in 0..PEOPLE {
        streams.push(Person::on(&app, &format!("Guest {number}"), way).await.listen(&[GENERAL]).await);
    }

    let (mut there, mut frames) = (1, Vec::new());
    while there < PEOPLE as u64 + 1 {
        let event = watcher.next_of("presence").await.data;
        there = match status(&event).0 {
            "join" => there + 1,
            "update" => event["count"].as_u64().unwrap(),
            other => panic!("{other}"),
        };
        let told: persona_community::timestamp::Timestamp = event["timestamp"].as_str().unwrap().parse().unwrap();
        frames.push(told.millis());
    }
    for (index, begin) in frames.iter().enumerate() {
        let within = frames[index..].iter().filter(|told| **told - begin < 1_000).count();
        assert!(within <= 4, "{within} frames within a second: {frames:?}");
    }
    assert_eq!(count(&ada).await, PEOPLE as u64 + 1);
    drop(streams);
    while there > 1 {
        let event = watcher.next_of("presence").await.data;
        there = if status(&event).0 == "leave" { there - 1 } else { event["count"].as_u64().unwrap() };
    }
}
