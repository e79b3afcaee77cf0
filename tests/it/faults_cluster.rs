//! What a node of a Redis cluster does to those who listen when it hangs, and when it starts anew.

use std::time::Duration;

use redis::Value as Answered;
use serde_json::json;

use crate::support::{
    app::{App, meanwhile},
    eventually,
    person::Person,
    redis::{Cluster, Redis},
    sse::{Event, Stream},
};

/// Some of them lie on the first node, and some on others.
const ROOMS: [&str; 6] = ["channel:red", "channel:green", "channel:blue", "channel:white", "channel:grey", "channel:black"];

/// A server on this cluster. Its streams say often that they are there.
fn on(cluster: &Cluster) -> App {
    App::with(&[("REDIS_URL", &cluster.url()), ("PERSONA_PING_MS", "200")])
}

/// Where something was said, and what.
fn said(events: &[Event]) -> Vec<(&str, &str)> {
    let chats = events.iter().filter(|event| event.kind() == "chat");
    let mut said: Vec<_> = chats.map(|event| (event.data["channel"].as_str().unwrap(), event.data["result"]["content"].as_str().unwrap())).collect();
    said.sort_unstable();
    said
}

/// Says this in every room, and gives it as it is to be told.
async fn say_everywhere<'a>(person: &Person, content: &'a str) -> Vec<(&'static str, &'a str)> {
    for room in ROOMS {
        person.say(room, content).await;
    }
    let mut said = ROOMS.map(|room| (room, content)).to_vec();
    said.sort_unstable();
    said
}

/// Somebody who listens to all rooms, in each of which something was said.
async fn in_all_rooms(app: &App) -> (Person, Stream) {
    let ada = Person::new(app, "Ada").await;
    let mut stream = ada.listen(&ROOMS).await;
    let before = say_everywhere(&ada, "before").await;
    let events = stream.told(|events| said(events).len() == ROOMS.len()).await;
    assert_eq!(said(&events), before);
    (ada, stream)
}

/// The rooms that lie on a node.
fn rooms_of(node: &Redis) -> Vec<&'static str> {
    let lies_there = |room: &&str| !node.ask::<Vec<String>>(&["KEYS", &format!("*:entries:{room}")]).is_empty();
    ROOMS.into_iter().filter(lies_there).collect()
}

#[tokio::test]
async fn while_a_node_of_a_cluster_hangs_messages_are_taken_and_streams_stay_open_and_all_is_told_afterwards() {
    let cluster = Cluster::start();
    let app = on(&cluster);
    let (ada, mut stream) = in_all_rooms(&app).await;
    let theirs = rooms_of(&cluster.nodes[0]);
    assert!((1..ROOMS.len()).contains(&theirs.len()));
    cluster.nodes[0].signal("STOP");
    let mut owed = say_everywhere(&ada, "meanwhile").await;
    // Whoever is in the other rooms has nothing to do with it.
    let elsewhere: Vec<_> = owed.iter().copied().filter(|(room, _)| !theirs.contains(room)).collect();
    let mut events = stream.told(|events| said(events).len() == elsewhere.len()).await;
    assert_eq!(said(&events), elsewhere);
    let problem = eventually("it is not ready", async || {
        let answer = app.readiness().await;
        (answer.status == 503).then(|| answer.is_problem(503, "not_ready", None))
    });
    let detail = problem.await["detail"].clone();
    assert!(detail.as_str().unwrap().contains("the event log"), "{detail}");
    // Longer than its cluster waits before it gives the node up.
    meanwhile(Duration::from_secs(4)).await;
    owed.extend(say_everywhere(&ada, "still").await);
    events.extend(stream.told(|events| events.iter().filter(|event| event.kind() == "ping").count() > 2).await);

    cluster.nodes[0].signal("CONT");
    eventually("it is ready", async || (app.readiness().await.status == 200).then_some(())).await;
    owed.extend(say_everywhere(&ada, "after").await);
    events.extend(stream.told(|more| said(&events).len() + said(more).len() >= owed.len()).await);
    owed.sort_unstable();
    assert_eq!(said(&events), owed);
    assert!(!events.iter().any(|event| ["stream_reset", "stream_closing"].contains(&event.kind())), "{events:#?}");
}

#[tokio::test]
async fn a_node_of_a_cluster_that_starts_anew_is_a_gap_in_its_rooms_and_in_no_other() {
    let mut cluster = Cluster::start();
    let app = on(&cluster);
    let (ada, mut stream) = in_all_rooms(&app).await;
    let theirs = rooms_of(&cluster.nodes[0]);
    // Whatever it has kept.
    cluster.nodes[0].ask::<Answered>(&["SAVE"]);
    cluster.nodes[0].restart();
    cluster.wait();
    eventually("it is ready", async || (app.readiness().await.status == 200).then_some(())).await;
    let after = say_everywhere(&ada, "after").await;
    let is_all = |events: &[Event]| said(events).iter().filter(|(_, content)| *content == "after").count() == ROOMS.len();
    let events = stream.told(is_all).await;
    assert_eq!(said(&events), after);
    let mut gaps: Vec<&str> = Vec::new();
    for event in events.iter().filter(|event| event.kind() == "stream_reset") {
        assert_eq!(event.data["reason"], json!("epoch"));
        gaps.extend(event.data["channel"].as_str().filter(|channel| channel.starts_with("channel:")));
    }
    let in_order = |mut rooms: Vec<&'static str>| {
        rooms.sort_unstable();
        rooms
    };
    gaps.sort_unstable();
    gaps.dedup();
    assert_eq!(gaps, in_order(theirs));
}
