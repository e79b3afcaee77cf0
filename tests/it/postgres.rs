//! A shared database to which the way breaks, and in which others get in the way: nothing is lost, nothing done twice.

use std::time::Duration;

use futures_util::future::join_all;
use persona_community::{
    channel::Channel,
    event::{ChatMessage, Event, Fact},
    id::{MessageId, OutboxId, UserId},
    job::{NewJob, Work},
    persona::{Answers, Parameters, Persona},
    store::{
        Accepted, Author, Idempotency, Isolation, Kept, MAX_PERSONAS_OF_ROOM, Message, Outgoing, PersonaStore as _, PostgresConfig, PostgresStore,
        Request, Store as _,
    },
    timestamp::Timestamp,
};
use serde_json::{Value, json};

use crate::support::{
    app::App,
    eventually,
    person::{GENERAL, Person},
    pgwire::{Mishap, Proxy, is_commit},
    postgres::{Database, config},
};

const SECRET: &str = "a-secret-of-the-tests-that-everybody-may-know";

/// A way to a database of a test's own.
async fn way() -> (Database, Proxy) {
    let database = Database::new();
    let proxy = Proxy::start(database.address()).await;
    (database, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_posts_are_refused_for_now_and_streams_stay_and_then_it_goes_on() {
    let (database, proxy) = way().await;
    let url = proxy.url(&database.url);
    let settings = [("DATABASE_URL", url.as_str()), ("PERSONA_SECRET", SECRET), ("PERSONA_DATABASE_MS", "1000"), ("PERSONA_PING_MS", "300")];
    let app = App::with(&settings);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    ada.say(GENERAL, "before").await;
    assert_eq!(stream.next_of("chat").await.data["result"]["content"], json!("before"));

    proxy.go_away();
    let refused = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": "away", "reply": false})).await;
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], json!("storage_unavailable"));
    assert_eq!(ada.request(reqwest::Method::GET, "/readyz").send().await.unwrap().status().as_u16(), 503);
    // The stream is the same one, and what needs no database goes through it.
    stream.next_of("ping").await;

    proxy.come_back();
    eventually("the database is back", || async {
        let answer = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": "after", "reply": false})).await;
        (answer.status().as_u16() == 202).then_some(())
    })
    .await;
    assert_eq!(stream.next_of("chat").await.data["result"]["content"], json!("after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_may_only_be_read_is_not_ready_and_posts_are_refused_until_it_may_be_written() {
    let database = Database::new();
    let app = App::with(&[("DATABASE_URL", &*database.url), ("PERSONA_SECRET", SECRET)]);
    let ada = Person::new(&app, "Ada").await;
    let post = async || ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": "Hello", "reply": false})).await;
    let ready = async || ada.request(reqwest::Method::GET, "/readyz").send().await.unwrap().status().as_u16();
    assert_eq!((post().await.status().as_u16(), ready().await), (202, 200));

    // As where the connections lead to a server that only follows another one.
    let client = database.client().await;
    let read_only = async |is_so: &str| {
        let name = database.url.rsplit('/').next().unwrap();
        client
            .batch_execute(&format!("set default_transaction_read_only = off; alter database {name} set default_transaction_read_only = {is_so}"))
            .await
    };
    read_only("on").await.unwrap();
    client
        .execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'persona' and datname = current_database()", &[])
        .await
        .unwrap();
    let refused = post().await;
    assert_eq!((refused.status().as_u16(), ready().await), (503, 503));
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], json!("storage_unavailable"));

    // Connections that were made meanwhile would refuse for good: they are not kept.
    read_only("off").await.unwrap();
    assert_eq!((post().await.status().as_u16(), ready().await), (202, 200));
}

/// A message of Ada's that asks for something to be done.
pub fn request(content: &str, key: Option<&str>) -> Request {
    let (user, channel, id): (UserId, Channel, _) = ("ada".parse().unwrap(), GENERAL.parse().unwrap(), MessageId::new());
    let said = ChatMessage {
        id,
        content: content.to_owned(),
        user_id: user.clone(),
        user_name: "Ada".to_owned(),
        timestamp: Timestamp::now(),
        client_id: None,
    };
    let author = Author::Person { user_id: user.clone(), user_name: "Ada".to_owned(), client_id: None };
    let message = Message { id, channel: channel.clone(), content: content.to_owned(), author, timestamp: said.timestamp };
    let event = Event { timestamp: said.timestamp, channel, fact: Fact::Chat { result: said } };
    let idempotency = key.map(|key| Idempotency { key: key.to_owned(), fingerprint: [1; 32], response: content.to_owned() });
    Request {
        jobs: vec![NewJob::new(user.clone(), Work::Noop {})],
        user,
        message: Some((message, Outgoing { id: OutboxId::from_bytes(*id.as_bytes()), event })),
        idempotency,
        max_waiting: 1000,
        is_over_daily_limit: false,
    }
}

/// A store behind a way on which things go wrong.
async fn store(database: &Database, proxy: &Proxy, isolation: Isolation) -> PostgresStore {
    let url = proxy.url(&database.url);
    PostgresStore::open(&PostgresConfig { isolation, ..config(&url) }).await.unwrap()
}

/// What has become of all that was taken: the messages, how many events wait, and how many jobs.
async fn taken(database: &Database) -> (Vec<String>, i64, i64) {
    let client = database.client().await;
    let rows = client.query("select content from message order by content", &[]).await.unwrap();
    let counts = client.query_one("select (select count(*) from outbox), (select count(*) from job)", &[]).await.unwrap();
    (rows.iter().map(|row| row.get(0)).collect(), counts.get(0), counts.get(1))
}

#[tokio::test]
async fn whatever_befalls_whichever_statement_of_a_request_it_is_taken_once() {
    let (database, proxy) = way().await;
    let store = store(&database, &proxy, Isolation::Serializable).await;
    // The statements that a request takes, when nothing goes wrong.
    store.accept(request("00", Some("00"))).await.unwrap();
    let before = proxy.heard().len();
    store.accept(request("01", Some("01"))).await.unwrap();
    let each = proxy.heard().len() - before;
    assert!(proxy.heard().last().unwrap().eq_ignore_ascii_case("commit"), "{:?}", proxy.heard());

    let (mut number, mut wanted) = (1, vec!["00".to_owned(), "01".to_owned()]);
    for mishap in [Mishap::Restart, Mishap::CutBefore, Mishap::CutAfter, Mishap::Delay(Duration::from_millis(20))] {
        for place in 1..=each {
            number += 1;
            let (content, mishaps) = (format!("{number:02}"), proxy.mishaps());
            let first = proxy.heard().len();
            proxy.let_fate(move |_, count| (count == first + place).then_some(mishap));
            let outcome = store.accept(request(&content, Some(&content))).await;
            proxy.calm();
            assert_eq!(outcome.unwrap(), Accepted::New, "{mishap:?} at statement {place}");
            assert!(proxy.mishaps() > mishaps, "{mishap:?} at statement {place} did not come about");
            // Asked again, it is the same request.
            assert_eq!(store.accept(request(&content, Some(&content))).await.unwrap(), Accepted::Replayed(content.clone()));
            wanted.push(content);
        }
    }
    let count = i64::try_from(wanted.len()).unwrap();
    assert_eq!(taken(&database).await, (wanted, count, count));
    store.close().await;
}

#[tokio::test]
async fn a_commit_of_which_nobody_hears_is_not_done_again_without_a_key_either() {
    let (database, proxy) = way().await;
    let store = store(&database, &proxy, Isolation::OfEngine).await;
    for (number, mishap) in [Mishap::CutAfter, Mishap::CutBefore, Mishap::Restart].into_iter().enumerate() {
        proxy.at_commit(mishap);
        assert_eq!(store.accept(request(&number.to_string(), None)).await.unwrap(), Accepted::New, "{mishap:?}");
    }
    assert_eq!(taken(&database).await, (vec!["0".to_owned(), "1".to_owned(), "2".to_owned()], 3, 3));
    store.close().await;
}

#[tokio::test]
async fn requests_that_come_together_are_written_together_and_each_is_answered_by_itself() {
    let (database, proxy) = way().await;
    let store = store(&database, &proxy, Isolation::OfEngine).await;
    store.accept(request("first", Some("key"))).await.unwrap();
    let other =
        Request { idempotency: Some(Idempotency { key: "key".into(), fingerprint: [2; 32], response: "other".into() }), ..request("other", None) };
    let before = proxy.heard().len();
    let many = (0..200).map(|number| store.accept(request(&format!("{number}"), None)));
    let (many, other) = tokio::join!(join_all(many), store.accept(other));
    assert!(many.into_iter().all(|outcome| outcome.unwrap() == Accepted::New));
    assert_eq!(other.unwrap(), Accepted::Mismatch);
    let commits = proxy.heard()[before..].iter().filter(|sql| sql.eq_ignore_ascii_case("commit")).count();
    assert!(commits <= 20, "{commits} commits for 201 requests");
    let (messages, outgoing, jobs) = taken(&database).await;
    assert_eq!((messages.len(), outgoing, jobs), (201, 201, 201));
    store.close().await;
}

#[tokio::test]
async fn two_processes_that_are_asked_at_once_take_no_more_of_a_users_jobs_than_may_wait() {
    for isolation in [Isolation::OfEngine, Isolation::Serializable] {
        let (database, proxy) = way().await;
        let (slow, fast) =
            (store(&database, &proxy, isolation).await, PostgresStore::open(&PostgresConfig { isolation, ..config(&database.url) }).await);
        let fast = fast.unwrap();
        let ask = |content: &str| {
            let request = request(content, None);
            Request { jobs: (0..10).map(|_| NewJob::new(request.user.clone(), Work::Noop {})).collect(), max_waiting: 10, ..request }
        };
        // One has counted, and is about to commit, when the other begins.
        let (told, hears) = tokio::sync::oneshot::channel();
        let mut told = Some(told);
        proxy.let_fate(move |sql, _| {
            let counted = is_commit(sql).then(|| told.take()).flatten()?;
            let _ = counted.send(());
            Some(Mishap::Delay(Duration::from_millis(300)))
        });
        let other = async {
            hears.await.unwrap();
            fast.accept(ask("other")).await.unwrap()
        };
        let (one, other) = tokio::join!(slow.accept(ask("one")), other);
        let outcomes = [one.unwrap(), other];
        let taken = outcomes.iter().filter(|outcome| **outcome == Accepted::New).count();
        assert_eq!(taken, 1, "{isolation:?}: {outcomes:?}");
        assert!(outcomes.contains(&Accepted::TooManyJobs), "{isolation:?}: {outcomes:?}");
        slow.close().await;
        fast.close().await;
    }
}

#[tokio::test]
async fn transactions_that_really_get_in_each_others_way_run_again_until_all_are_right() {
    let (database, proxy) = way().await;
    let store = store(&database, &proxy, Isolation::Serializable).await;
    // Each counts the personas of the room before it adds one, so that no two can have counted the same.
    let persona = |number: usize| Persona {
        id: format!("p{number}").parse().unwrap(),
        channel: "channel:crowd".parse().unwrap(),
        name: format!("P{number}"),
        prompt: String::new(),
        answers: Answers::Never,
        route: Vec::new(),
        parameters: Parameters::default(),
        created_at: Timestamp::now(),
        updated_at: Timestamp::now(),
    };
    let kept = join_all((0..20).map(|number| store.put_persona(persona(number)))).await;
    let created = kept.iter().filter(|kept| *kept.as_ref().unwrap() == Kept::Created).count();
    assert_eq!(created, MAX_PERSONAS_OF_ROOM as usize);
    assert!(proxy.conflicts() > 0, "nobody was refused with 40001");
    store.close().await;
}
