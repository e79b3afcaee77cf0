//! Two processes at one Redis are one product to those who listen: events, presence and typing, whoever is where.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::App,
    eventually,
    person::{GENERAL, Person},
    redis::Redis,
    sse::Stream,
};

const SECRET: &str = "both of these processes share this secret";

/// Two processes at one Redis.
fn two(redis: &Redis) -> (App, App) {
    let start = || App::with(&[("REDIS_URL", &redis.url()), ("PERSONA_SECRET", SECRET)]);
    (start(), start())
}

/// The same person, at another process.
fn at(app: &App, person: &Person) -> Person {
    Person { client: person.client.clone(), url: app.url.clone(), id: person.id.clone(), name: person.name.clone(), token: person.token.clone() }
}

/// Waits until so many are in the room, as this process says.
async fn count_is(person: &Person, count: usize) -> Value {
    eventually(&format!("{count} are in the room"), || async {
        let there = person.get(&format!("/api/presence?channel={GENERAL}")).await;
        (there["count"] == count).then_some(there)
    })
    .await
}

/// The next frame about presence that speaks of this user.
async fn told_of(stream: &mut Stream, status: &str, user: &str) {
    loop {
        let event = stream.next_of("presence").await;
        let data = &event.data;
        let names = |list: &Value| list.as_array().is_some_and(|people| people.iter().any(|person| person["userId"] == user));
        let list = if status == "join" { &data["joined"] } else { &data["left"] };
        if (data["status"] == status && data["userId"] == user) || (data["status"] == "update" && names(list)) {
            return;
        }
    }
}

#[tokio::test]
async fn everybody_sees_who_is_in_a_room_wherever_they_are() {
    let redis = Redis::start();
    let (here, there) = two(&redis);
    let ada = Person::new(&here, "Ada").await;
    let mut hers = ada.listen(&[GENERAL]).await;
    // A process at which nobody listens knows it as well.
    let bob = Person::new(&there, "Bob").await;
    let seen = count_is(&bob, 1).await;
    assert_eq!(seen["users"], json!([{"userId": ada.id, "userName": "Ada"}]));

    // A newcomer is shown at once who is there, here and elsewhere.
    let mut his = bob.listen(&[GENERAL]).await;
    let snapshot = his.next_of("presence").await;
    assert_eq!((&snapshot.data["status"], &snapshot.data["count"]), (&json!("snapshot"), &json!(2)));
    told_of(&mut hers, "join", &bob.id).await;
    count_is(&ada, 2).await;

    // Who is at both is one person, and leaves when they have left both.
    let second = at(&here, &bob).listen(&[GENERAL]).await;
    count_is(&ada, 2).await;
    drop(his);
    at(&here, &bob).say(GENERAL, "still here").await;
    assert_eq!(hers.next_of("chat").await.data["result"]["userId"], json!(bob.id));
    count_is(&bob, 2).await;
    drop(second);
    told_of(&mut hers, "leave", &bob.id).await;
    count_is(&ada, 1).await;
    count_is(&bob, 1).await;
}

#[tokio::test]
async fn whoever_was_at_a_process_that_is_killed_has_left_when_its_lease_has_run_out() {
    let redis = Redis::start();
    let (here, mut there) = two(&redis);
    let (ada, bob) = (Person::new(&here, "Ada").await, Person::new(&there, "Bob").await);
    let mut hers = ada.listen(&[GENERAL]).await;
    let _his = bob.listen(&[GENERAL]).await;
    told_of(&mut hers, "join", &bob.id).await;
    there.kill();
    tokio::time::timeout(Duration::from_mins(1), async {
        while ada.get(&format!("/api/presence?channel={GENERAL}")).await["count"] != 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    told_of(&mut hers, "leave", &bob.id).await;
}

#[tokio::test]
async fn presence_outlives_a_redis_that_has_lost_its_data() {
    let mut redis = Redis::start();
    let (here, there) = two(&redis);
    let (ada, bob) = (Person::new(&here, "Ada").await, Person::new(&there, "Bob").await);
    let mut hers = ada.listen(&[GENERAL]).await;
    let _his = bob.listen(&[GENERAL]).await;
    told_of(&mut hers, "join", &bob.id).await;
    redis.restart();
    // A process that begins to listen now is told by those that were there before.
    let late = App::with(&[("REDIS_URL", &redis.url()), ("PERSONA_SECRET", SECRET)]);
    let eve = Person::new(&late, "Eve").await;
    let _stream = eve.listen(&[GENERAL]).await;
    count_is(&eve, 3).await;
    told_of(&mut hers, "join", &eve.id).await;
    count_is(&ada, 3).await;
}

#[tokio::test]
async fn typing_is_seen_at_the_other_process_though_nobody_listens_where_it_is_told() {
    let redis = Redis::start();
    let (here, there) = two(&redis);
    let (ada, bob) = (Person::new(&here, "Ada").await, Person::new(&there, "Bob").await);
    let mut hers = ada.listen(&[GENERAL]).await;
    let types = async |is_typing: bool| {
        let told = bob.post("/api/chat/typing", &json!({"channel": GENERAL, "isTyping": is_typing})).await;
        assert_eq!(told.status(), 204);
    };
    // Her process may not be subscribed yet: until then it is told to nobody.
    tokio::time::timeout(crate::support::DEADLINE, async {
        loop {
            types(true).await;
            if let Ok(event) = tokio::time::timeout(Duration::from_millis(1200), hers.next_of_patiently("typing")).await {
                assert_eq!((&event.data["userId"], &event.data["isTyping"]), (&json!(bob.id), &json!(true)));
                return;
            }
        }
    })
    .await
    .unwrap();
    types(false).await;
    assert_eq!(hers.next_of("typing").await.data["isTyping"], json!(false));
}

#[tokio::test]
async fn a_stream_that_is_cut_at_one_process_goes_on_at_the_other_without_a_hole_or_a_duplicate() {
    let redis = Redis::start();
    let (here, there) = two(&redis);
    let ada = Person::new(&here, "Ada").await;
    let bob = Person::new(&there, "Bob").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let (mut said, mut seen) = (Vec::new(), Vec::new());
    for round in 0..12 {
        for number in 0..5 {
            let speaker = if number % 2 == 0 { &bob } else { &ada };
            said.push(speaker.say(GENERAL, &format!("{round}.{number}")).await["id"].clone());
        }
        // It is cut with some events read, some on their way.
        for _ in 0..round % 6 {
            seen.push(stream.next_logged().await.data["result"]["id"].clone());
        }
        let cursor = stream.last_id.clone();
        drop(stream);
        let process = if round % 2 == 0 { &there } else { &here };
        stream = at(process, &ada).resume(&[GENERAL], cursor.as_deref()).await;
        assert_eq!(stream.opened.as_ref().unwrap().data["resumed"], json!(true));
    }
    while seen.len() < said.len() {
        seen.push(stream.next_logged().await.data["result"]["id"].clone());
    }
    assert_eq!(seen, said);
    let mark = bob.say(GENERAL, "mark").await;
    assert_eq!(stream.next_logged().await.data["result"]["id"], mark["id"]);
}

#[tokio::test]
async fn a_message_is_told_here_at_once_and_once_though_redis_tells_it_again() {
    let redis = Redis::start();
    let (here, _there) = two(&redis);
    let ada = Person::new(&here, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    for number in 0..200 {
        let said = ada.say(GENERAL, &number.to_string()).await;
        assert_eq!(stream.next_logged().await.data["result"]["id"], said["id"]);
    }
    // Without any message of Redis it is told all the same.
    redis.ask::<redis::Value>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let said = ada.say(GENERAL, "without messages").await;
    assert_eq!(stream.next_logged().await.data["result"]["id"], said["id"]);
}

#[tokio::test]
async fn a_redis_that_hangs_delays_no_post_and_tells_everything_when_it_is_back() {
    let redis = Redis::start();
    let (here, there) = two(&redis);
    let (ada, bob) = (Person::new(&here, "Ada").await, Person::new(&there, "Bob").await);
    let mut his = bob.listen(&[GENERAL]).await;
    let first = ada.say(GENERAL, "before").await;
    assert_eq!(his.next_logged().await.data["result"]["id"], first["id"]);
    redis.signal("STOP");
    let mut said = Vec::new();
    for number in 0..5 {
        let begun = Instant::now();
        said.push(ada.say(GENERAL, &number.to_string()).await["id"].clone());
        // Far below the time after which an answer of Redis counts as lost; on a busy machine too.
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    }
    eventually("it is said that Redis is away", || async {
        let answer = ada.request(Method::GET, "/readyz").send().await.unwrap();
        (answer.status() == 503).then_some(())
    })
    .await;
    redis.signal("CONT");
    let mut seen = Vec::new();
    while seen.len() < said.len() {
        seen.push(his.next_logged().await.data["result"]["id"].clone());
    }
    seen.sort_by_key(ToString::to_string);
    assert_eq!(seen, said);
}
