//! Who was at a service that is killed has left their rooms within the promised time, unless they have come back elsewhere.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    eventually,
    fleet::Fleet,
    person::{GENERAL, Person},
    sse::Event,
};

/// How long it may take until others are told: docs/redis.md.
const PROMISED: Duration = Duration::from_secs(15);

/// Who is in the room, as this person's service says.
async fn there(person: &Person) -> Vec<String> {
    let said = person.get(&format!("/api/presence?channel={GENERAL}")).await;
    let mut there: Vec<String> = said["users"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned()).collect();
    there.sort_unstable();
    there
}

async fn are_there(person: &Person, people: &[&Person]) {
    let mut ids: Vec<String> = people.iter().map(|person| person.id.clone()).collect();
    ids.sort_unstable();
    eventually("everybody is there and nobody else", async || (there(person).await == ids).then_some(())).await;
}

/// Those whom a frame about presence says to have left.
fn left(event: &Event) -> Vec<&str> {
    match event.data["status"].as_str() {
        Some("leave") => vec![event.data["userId"].as_str().unwrap()],
        Some("update") => event.data["left"].as_array().into_iter().flatten().map(|user| user["userId"].as_str().unwrap()).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn who_was_at_a_service_that_is_killed_has_left_within_the_promised_time_unless_they_are_back_elsewhere() {
    let fleet = Fleet::new();
    let (mut dies, lives) = (fleet.service(&[]).start(), fleet.service(&[]).start());
    let (ada, ben, cleo) = (Person::new(&lives, "Ada").await, Person::new(&dies, "Ben").await, Person::new(&dies, "Cleo").await);
    let mut stream = ada.listen(&[GENERAL]).await;
    let _bens = ben.listen(&[GENERAL]).await;
    let cleos = cleo.listen(&[GENERAL]).await;
    are_there(&ada, &[&ada, &ben, &cleo]).await;
    dies.kill();
    let elsewhere = Person::with_token(&lives, &cleo.token).await;
    let _cleos = elsewhere.resume(&[GENERAL], cleos.last_id.as_deref()).await;
    let mut gone: Vec<Value> = Vec::new();
    let tell = async {
        while gone.is_empty() {
            gone.extend(left(&stream.try_next().await.expect("the stream has ended")).into_iter().map(Value::from));
        }
    };
    timeout(PROMISED, tell).await.expect("nobody is told that somebody has left");
    assert_eq!(gone, [json!(ben.id)]);
    are_there(&ada, &[&ada, &cleo]).await;
    // One that starts only now is told of nobody who is not there.
    let late = fleet.service(&[]).start();
    let dan = Person::new(&late, "Dan").await;
    are_there(&dan, &[&ada, &cleo]).await;
}
