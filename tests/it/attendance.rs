//! Who is in a room, asked by REST.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    app::App,
    eventually,
    person::{GENERAL, Person},
};

#[tokio::test]
async fn a_room_knows_who_listens_each_once() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let there = async || ben.get("/api/presence?channel=channel:general").await;
    assert_eq!(there().await, json!({"channel": GENERAL, "count": 0, "users": []}));
    let (first, second) = (ada.listen(&[GENERAL]).await, ada.listen(&[GENERAL, "channel:other"]).await);
    let her = json!({"userId": ada.id, "userName": "Ada"});
    assert_eq!(there().await, json!({"channel": GENERAL, "count": 1, "users": [her]}));
    let _his = ben.listen(&[GENERAL]).await;
    let both = there().await;
    assert_eq!(both["count"], 2);
    let names: HashSet<_> = both["users"].as_array().unwrap().iter().map(|user| user["userName"].as_str().unwrap()).collect();
    assert_eq!(names, HashSet::from(["Ada", "Ben"]));
    drop((first, second));
    eventually("she has left", async || (there().await["count"] == 1).then_some(())).await;
    assert_eq!(ben.get("/api/presence?channel=channel:other").await["count"], 0);
}

#[tokio::test]
async fn of_a_full_room_the_first_hundred_are_told() {
    let app = App::start();
    let people = join_all((0..105).map(|number| {
        let app = &app;
        async move { Person::new(app, &format!("Person {number}")).await }
    }))
    .await;
    let _streams = join_all(people.iter().map(|person| person.listen(&[GENERAL]))).await;
    // Many who come at once are told together, a little later.
    let there = eventually("all are there", async || {
        let there = people[0].get("/api/presence?channel=channel:general").await;
        (there["count"] == 105).then_some(there)
    })
    .await;
    assert_eq!(there["users"].as_array().unwrap().len(), 100);
}
