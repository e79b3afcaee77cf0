//! What Redis does to those who listen when it dies, hangs, forgets, is full, or loses their connection: nothing that was
//! acknowledged is lost, nothing comes twice, and where there is a gap, it is told.

use std::time::Duration;

use diesel::{QueryableByName, RunQueryDsl as _, SqliteConnection, sql_types::BigInt};
use redis::Value as Answered;
use serde_json::{Value, json};

use crate::support::{
    admin,
    app::App,
    eventually,
    person::{GENERAL, Person},
    provider::{Answer, FakeProvider, opening},
    redis::Redis,
    sqlite,
    sse::{Event, Stream},
};

/// What lets two processes know the same people.
const SECRET: &str = "a secret that all processes of a test share";

/// A server on this Redis. Its streams say often that they are there.
fn on(redis: &Redis) -> App {
    App::with(&[("REDIS_URL", &redis.url()), ("PERSONA_SECRET", SECRET), ("PERSONA_PING_MS", "200")])
}

/// Waits until `/readyz` says that the event log is the trouble.
async fn not_ready(app: &App) {
    let problem = eventually("it is not ready", || async {
        let answer = app.readiness().await;
        (answer.status == 503).then(|| answer.is_problem(503, "not_ready", None))
    });
    let detail = problem.await["detail"].clone();
    assert!(detail.as_str().unwrap().contains("the event log"), "{detail}");
}

async fn ready(app: &App) {
    eventually("it is ready", || async { (app.readiness().await.status == 200).then_some(()) }).await;
}

fn content(event: &Event) -> Option<&str> {
    event.data["result"]["content"].as_str().filter(|_| event.kind() == "chat")
}

fn contents(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(content).collect()
}

/// Reads until a message says this.
async fn told_to(stream: &mut Stream, last: &str) -> Vec<Event> {
    stream.told(|events| events.last().and_then(content) == Some(last)).await
}

/// The stream is open, says so, and has told of no gap.
async fn is_open(stream: &mut Stream) {
    let events = stream.told(|events| events.iter().filter(|event| event.kind() == "ping").count() > 2).await;
    assert!(events.iter().all(|event| ["ping", "presence"].contains(&event.kind())), "{events:?}");
}

async fn history(person: &Person) -> Vec<String> {
    let page = person.get(&format!("/api/chat/messages?channel={GENERAL}&limit=100")).await;
    let said = page["messages"].as_array().unwrap().iter().filter(|message| message["role"] == json!("user"));
    said.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// Ada, and Ben with a stream on which her first words have come.
async fn talk(app: &App) -> (Person, Person, Stream) {
    let (ada, ben) = (Person::new(app, "Ada").await, Person::new(app, "Ben").await);
    let mut stream = ben.listen(&[GENERAL]).await;
    ada.say(GENERAL, "before").await;
    told_to(&mut stream, "before").await;
    (ada, ben, stream)
}

/// Says this many things, one after the other, each acknowledged.
async fn say_many(person: &Person, what: &str, count: usize) -> Vec<String> {
    let mut said = Vec::new();
    for number in 0..count {
        said.push(format!("{what} {number}"));
        person.say(GENERAL, said.last().unwrap()).await;
    }
    said
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

#[tokio::test]
async fn while_redis_is_away_messages_are_taken_and_streams_stay_open_and_all_of_it_is_told_when_it_is_back() {
    let mut redis = Redis::durable();
    let app = on(&redis);
    let (ada, _, mut stream) = talk(&app).await;

    redis.kill();
    not_ready(&app).await;
    let mut said = say_many(&ada, "meanwhile", 5).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    is_open(&mut stream).await;
    said.push("What can you do?".to_owned());

    redis.come_back();
    ready(&app).await;
    let is_all = |events: &[Event]| contents(events).len() == said.len() && events.iter().any(Event::is_terminal);
    let events = stream.told(is_all).await;
    assert_eq!(sorted(contents(&events)), sorted(said.iter().map(String::as_str).collect()));
    assert!(!events.iter().any(|event| event.kind() == "stream_reset"), "{events:?}");
    // The reply had begun in vain; now there is one, whole, with one end.
    let end = events.iter().find(|event| event.is_terminal()).unwrap();
    assert_eq!((&end.data["jobId"], &end.data["result"]["finishReason"]), (&json!(job), &json!("stop")));
    ada.say(GENERAL, "after").await;
    let rest = told_to(&mut stream, "after").await;
    assert!(!rest.iter().any(Event::is_terminal) && contents(&rest) == ["after"], "{rest:?}");
    let kept = history(&ada).await;
    assert_eq!((kept.len(), sorted(kept[1..=said.len()].to_vec())), (said.len() + 2, sorted(said)));
}

#[tokio::test]
async fn a_redis_that_comes_back_without_its_data_is_told_to_every_stream_as_a_gap_and_what_waited_comes_after_it() {
    let mut redis = Redis::start();
    let app = on(&redis);
    let (ada, ben, mut stream) = talk(&app).await;
    let cursor = stream.last_id.clone();

    redis.kill();
    not_ready(&app).await;
    ada.say(GENERAL, "meanwhile").await;
    redis.come_back();
    let events = told_to(&mut stream, "meanwhile").await;
    let gaps: Vec<&Value> = events.iter().filter(|event| event.kind() == "stream_reset").map(|event| &event.data["reason"]).collect();
    assert!(!gaps.is_empty() && gaps.iter().all(|reason| **reason == json!("epoch")), "{events:?}");
    assert_eq!(contents(&events), ["meanwhile"]);

    // Who comes back with a place in what is gone is told so as well, once for each channel.
    let mut late = ben.resume(&[GENERAL], cursor.as_deref()).await;
    let events = told_to(&mut late, "meanwhile").await;
    let gaps: Vec<&str> = events.iter().filter(|event| event.kind() == "stream_reset").map(|event| event.data["channel"].as_str().unwrap()).collect();
    assert_eq!(sorted(gaps), [GENERAL, &format!("user:{}", ben.id)]);
    assert_eq!(history(&ben).await, ["before", "meanwhile"]);
}

#[tokio::test]
async fn a_redis_without_memory_keeps_nobody_from_speaking_and_all_of_it_is_told_once_there_is_some() {
    let redis = Redis::start();
    let app = on(&redis);
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let mut stream = ben.listen(&[GENERAL]).await;
    redis.be_full(true);
    not_ready(&app).await;
    let said = say_many(&ada, "meanwhile", 5).await;
    is_open(&mut stream).await;
    // A page is served, without what is to come by the stream that goes on from it.
    assert_eq!(history(&ben).await, Vec::<String>::new());
    redis.be_full(false);
    ready(&app).await;
    let events = stream.told(|events| contents(events).len() == said.len()).await;
    assert_eq!(sorted(contents(&events)), said);
    assert!(!events.iter().any(|event| event.kind() == "stream_reset"), "{events:?}");
    assert_eq!(history(&ben).await, said);
}

#[tokio::test]
async fn a_redis_that_hangs_delays_and_loses_nothing_and_tells_nothing_twice() {
    let redis = Redis::start();
    let app = on(&redis);
    let (ada, _, mut stream) = talk(&app).await;
    redis.signal("STOP");
    // Its answer is awaited in vain, while the event may well arrive when it goes on.
    let mut said = say_many(&ada, "meanwhile", 3).await;
    not_ready(&app).await;
    is_open(&mut stream).await;
    redis.signal("CONT");
    ready(&app).await;
    let mut events = stream.told(|events| contents(events).len() == said.len()).await;
    // Whatever was sent twice has been sent by the time that the outbox is empty: a sweep lies between.
    eventually("the outbox is empty", || async { outbox_is_empty(&app).then_some(()) }).await;
    ada.say(GENERAL, "after").await;
    said.push("after".to_owned());
    events.extend(told_to(&mut stream, "after").await);
    assert_eq!(sorted(contents(&events)), sorted(said.iter().map(String::as_str).collect()));
    assert!(!events.iter().any(|event| event.kind() == "stream_reset"), "{events:?}");
}

#[tokio::test]
async fn a_job_that_has_failed_often_enough_while_redis_was_away_is_not_given_up_and_asks_its_provider_no_more_until_then() {
    let mut redis = Redis::durable();
    let slow = Answer::stream(vec![opening(&["word "]); 200]).slowly(Duration::from_millis(50));
    let fake = FakeProvider::start([slow, Answer::words(&["all of it"])]).await;
    let (url, provider) = (redis.url(), fake.url());
    let own = [("REDIS_URL", &*url), ("OPENAI_BASE_URL", &provider), ("PERSONA_CHAT_ROUTE", "openai/m-1"), ("PERSONA_ADMIN_TOKEN", admin::TOKEN)];
    let app = App::with(&own);
    let (ada, _, mut stream) = talk(&app).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    stream.next_of("ai_chat_chunk").await;
    redis.kill();
    ada.job_in(&job, "retryable").await;
    // As after the pauses of four failures.
    diesel::sql_query("update job set failures = 4 where failures > 0").execute(&mut database(&app)).unwrap();
    ada.job_in(&job, "scheduled").await;
    assert_eq!(fake.asked().len(), 1);
    redis.come_back();
    ready(&app).await;
    let retried = admin::admin(&app, reqwest::Method::POST, &format!("/api/admin/jobs/{job}/retry")).send().await.unwrap();
    assert_eq!(retried.status().as_u16(), 202);
    let events = stream.told(|events| events.iter().any(Event::is_terminal)).await;
    let end = &events.last().unwrap().data;
    let said = (&end["jobId"], &end["result"]["finishReason"], &end["result"]["content"]);
    assert_eq!(said, (&json!(job), &json!("stop"), &json!("all of it")));
    ada.job_in(&job, "completed").await;
    assert_eq!(fake.asked().len(), 2);
}

fn database(app: &App) -> SqliteConnection {
    sqlite::open(&app.data().join("persona.sqlite"))
}

fn outbox_is_empty(app: &App) -> bool {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    diesel::sql_query("select count(*) as count from outbox").get_result::<Count>(&mut database(app)).unwrap().count == 0
}

#[tokio::test]
async fn streams_of_another_process_miss_nothing_though_the_subscribers_connection_is_cut_again_and_again() {
    let redis = Redis::start();
    let (here, there) = (on(&redis), on(&redis));
    let ada = Person::new(&here, "Ada").await;
    let ben = Person::with_token(&there, &Person::new(&here, "Ben").await.token).await;
    let mut stream = ben.listen(&[GENERAL]).await;
    let (mut said, mut events) = (Vec::new(), Vec::new());
    for round in 0..10 {
        said.extend(say_many(&ada, &format!("round {round}"), 10).await);
        redis.ask::<Answered>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        // Nothing comes after it by which it would be missed.
        said.extend(say_many(&ada, &format!("cut {round}"), 1).await);
        events.extend(told_to(&mut stream, said.last().unwrap()).await);
    }
    assert_eq!(contents(&events), said);
    assert!(!events.iter().any(|event| event.kind() == "stream_reset"), "{events:?}");
}

#[tokio::test]
async fn a_stream_that_is_cut_at_one_process_goes_on_at_another_where_it_was() {
    let redis = Redis::start();
    let (here, there) = (on(&redis), on(&redis));
    let ada = Person::new(&here, "Ada").await;
    let (mut told_so_far, mut cursor, mut said) = (Vec::new(), None, Vec::new());
    for round in 0..6 {
        let at = if round % 2 == 0 { &here } else { &there };
        let reader = Person::with_token(at, &ada.token).await;
        let mut stream = reader.resume(&[GENERAL], cursor.as_deref()).await;
        said.extend(say_many(&ada, &format!("listening {round}"), 3).await);
        let events = told_to(&mut stream, said.last().unwrap()).await;
        told_so_far.extend(contents(&events).into_iter().map(str::to_owned));
        assert!(!events.iter().any(|event| event.kind() == "stream_reset"), "{events:?}");
        cursor = stream.last_id.clone();
        drop(stream);
        said.extend(say_many(&ada, &format!("cut {round}"), 3).await);
    }
    let mut stream = ada.resume(&[GENERAL], cursor.as_deref()).await;
    let events = told_to(&mut stream, said.last().unwrap()).await;
    told_so_far.extend(contents(&events).into_iter().map(str::to_owned));
    assert_eq!(told_so_far, said);
}

#[tokio::test]
async fn who_comes_from_a_process_that_has_heard_more_is_told_of_no_gap() {
    let redis = Redis::start();
    // It may ask Redis everything, and subscribe to nothing: it hears late of whatever others publish.
    redis.ask::<Answered>(&["ACL", "SETUSER", "deaf", "on", ">deaf", "~*", "&*", "+@all", "-subscribe", "-ssubscribe"]);
    let url = format!("redis://deaf:deaf@127.0.0.1:{}", redis.port);
    let (here, there) = (on(&redis), App::with(&[("REDIS_URL", &url), ("PERSONA_SECRET", SECRET)]));
    let ada = Person::new(&here, "Ada").await;
    let ada_there = Person::with_token(&there, &ada.token).await;
    ada.say(GENERAL, "first").await;
    let _there_already = ada_there.listen(&[GENERAL]).await;
    for round in 0..2 {
        let mut stream = ada.listen(&[GENERAL]).await;
        let said = say_many(&ada, &format!("round {round}"), 3).await;
        told_to(&mut stream, said.last().unwrap()).await;
        let mut elsewhere = ada_there.resume(&[GENERAL], stream.last_id.as_deref()).await;
        ada.say(GENERAL, &format!("end of {round}")).await;
        let events = told_to(&mut elsewhere, &format!("end of {round}")).await;
        assert_eq!(contents(&events), [format!("end of {round}")], "{events:?}");
        assert!(!events.iter().any(|event| event.kind() == "stream_reset"), "{events:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_while_redis_is_away_tells_in_its_next_life_what_it_had_taken() {
    let mut redis = Redis::durable();
    let mut app = on(&redis);
    let (ada, ben, stream) = talk(&app).await;
    redis.kill();
    not_ready(&app).await;
    ada.say(GENERAL, "meanwhile").await;
    app.kill();
    redis.come_back();
    let app = app.restart();
    ready(&app).await;
    let mut stream = ben.resume(&[GENERAL], stream.last_id.as_deref()).await;
    let events = told_to(&mut stream, "meanwhile").await;
    assert!(!events.iter().any(|event| event.kind() == "stream_reset"), "{events:?}");
    assert_eq!(contents(&events), ["meanwhile"]);
}

#[tokio::test]
async fn a_process_that_was_stopped_for_longer_than_its_lease_ends_its_reply_once() {
    let redis = Redis::start();
    let settings = [("REDIS_URL", redis.url()), ("PERSONA_LEASE_SECONDS", "1".into()), ("PERSONA_OFFLINE_PACE_MS", "60".into())];
    let app = App::with(&settings.each_ref().map(|(name, value)| (*name, value.as_str())));
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    let first = stream.next_of("ai_chat_chunk").await;
    app.signal("STOP");
    crate::support::app::meanwhile(Duration::from_secs(3)).await;
    app.signal("CONT");
    let mut events = vec![first];
    events.extend(stream.told(|events| events.iter().any(Event::is_terminal)).await);
    let end = events.last().unwrap().clone();
    assert_eq!((&end.data["jobId"], &end.data["result"]["finishReason"]), (&json!(job), &json!("stop")));
    let chunks = events.iter().filter(|event| event.kind() == "ai_chat_chunk");
    let text = chunks.fold(String::new(), |text, chunk| {
        let result = &chunk.data["result"];
        let before = if result["seq"] == json!(0) { "" } else { &text };
        format!("{before}{}", result["text"].as_str().unwrap())
    });
    assert_eq!(end.data["result"]["content"], json!(text));
    ada.job_in(&job, "completed").await;
    ada.say(GENERAL, "after").await;
    let rest = told_to(&mut stream, "after").await;
    assert!(rest.iter().all(|event| event.data["jobId"] != json!(job)), "{rest:?}");
}

#[tokio::test]
async fn pages_that_are_read_while_much_waits_to_be_told_leave_it_to_the_stream_and_lack_nothing_that_is_older() {
    let redis = Redis::start();
    let app = on(&redis);
    let ada = Person::new(&app, "Ada").await;
    let told_before = say_many(&ada, "before", 5).await;
    redis.be_full(true);
    not_ready(&app).await;
    let waiting = say_many(&ada, "meanwhile", 25).await;
    // The newest page has nothing but what the stream is to tell, the next one some of it.
    let (mut path, mut kept, mut cursor) = (format!("/api/chat/messages?channel={GENERAL}&limit=10"), Vec::new(), None);
    loop {
        let page = ada.get(&path).await;
        cursor.get_or_insert_with(|| page["cursor"].as_str().unwrap().to_owned());
        kept.extend(page["messages"].as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap().to_owned()));
        let Some(before) = page["nextBefore"].as_str() else { break };
        path = format!("/api/chat/messages?channel={GENERAL}&limit=10&before={before}");
    }
    assert_eq!(kept, told_before);
    redis.be_full(false);
    let mut stream = ada.resume(&[GENERAL], cursor.as_deref()).await;
    let events = stream.told(|events| contents(events).len() == waiting.len()).await;
    assert_eq!(sorted(contents(&events)), sorted(waiting.iter().map(String::as_str).collect()));
}
