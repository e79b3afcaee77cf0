//! Services and workers of their own on one database and one Redis: each may die, be stopped and woken, lose the database or
//! have a wrong clock, and what was acknowledged comes to exactly one end.

use std::{cell::RefCell, collections::HashSet, process::Command, time::Duration};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    DEADLINE,
    answer::Answer,
    app::{App, Builder, meanwhile},
    eventually,
    fleet::Fleet,
    person::{GENERAL, Person},
    sse::{Event, Stream},
};

/// A worker that takes its time: a reply lasts some seconds.
pub const SLOW: [(&str, &str); 2] = [("PERSONA_LEASE_SECONDS", "2"), ("PERSONA_OFFLINE_PACE_MS", "60")];

/// Somebody who has asked for a reply, her stream, the job, and the first piece that has come of it.
pub async fn under_way(service: &App) -> (Person, Stream, String, Event) {
    let ada = Person::new(service, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    let first = stream.next_of("ai_chat_chunk").await;
    (ada, stream, job, first)
}

async fn told(stream: &mut Stream, is_all: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    stream.told_within(DEADLINE * 2, is_all).await
}

async fn told_to(stream: &mut Stream, last: &str) -> Vec<Event> {
    told(stream, |events| events.last().is_some_and(|event| event.data["result"]["content"] == json!(last))).await
}

/// What its pieces have made of a text, from its last beginning on.
fn text(events: &[Event]) -> String {
    let pieces = events.iter().filter(|event| event.kind() == "ai_chat_chunk").map(|event| &event.data["result"]);
    pieces.fold(String::new(), |text, piece| if piece["seq"] == json!(0) { String::new() } else { text } + piece["text"].as_str().unwrap())
}

/// The reply was begun anew, has one end, and is what was told of it.
async fn ends_once(stream: &mut Stream, first: Event, person: &Person, job: &str) {
    let mut events = vec![first];
    events.extend(told(stream, |events| events.iter().any(Event::is_terminal)).await);
    let restarts = events.iter().filter(|event| event.data["result"]["restart"] == json!(true)).count();
    let end = events.last().unwrap();
    assert_eq!((restarts, &end.data["jobId"], &end.data["result"]["finishReason"]), (1, &json!(job), &json!("stop")), "{events:#?}");
    assert_eq!(end.data["result"]["content"], json!(text(&events)));
    assert!(!events.iter().any(|event| event.kind() == "stream_reset"), "{events:#?}");
    let done = person.job_in(job, "completed").await;
    assert_eq!(done["attempt"], json!(2));
}

/// Nothing more is told of this job.
async fn is_over(stream: &mut Stream, person: &Person, job: &str) {
    person.say(GENERAL, "after").await;
    let rest = told_to(stream, "after").await;
    assert!(rest.iter().all(|event| event.data["jobId"] != json!(job)), "{rest:#?}");
}

#[tokio::test]
async fn a_reply_whose_worker_is_killed_is_begun_anew_by_another_and_ends_once() {
    let fleet = Fleet::new();
    let service = fleet.service(&[]).start();
    let mut worker = fleet.worker(&SLOW).start();
    let (ada, mut stream, job, first) = under_way(&service).await;
    let _other = fleet.worker(&SLOW).start();
    worker.kill();
    ends_once(&mut stream, first, &ada, &job).await;
    is_over(&mut stream, &ada, &job).await;
}

#[tokio::test]
async fn a_worker_that_is_woken_after_its_lease_neither_tells_nor_ends_what_another_has_done() {
    let fleet = Fleet::new();
    let service = fleet.service(&[]).start();
    let worker = fleet.worker(&SLOW).start();
    let (ada, mut stream, job, first) = under_way(&service).await;
    worker.signal("STOP");
    let _other = fleet.worker(&SLOW).start();
    ends_once(&mut stream, first, &ada, &job).await;
    let done = ada.get(&format!("/api/jobs/{job}")).await;
    worker.signal("CONT");
    // It would go on where it was; a whole reply's time is enough for that.
    meanwhile(Duration::from_secs(3)).await;
    is_over(&mut stream, &ada, &job).await;
    assert_eq!(ada.get(&format!("/api/jobs/{job}")).await, done);
}

#[tokio::test]
async fn a_worker_that_is_woken_while_another_is_at_its_reply_leaves_it_alone() {
    let fleet = Fleet::new();
    let service = fleet.service(&[]).start();
    let worker = fleet.worker(&SLOW).start();
    let (ada, mut stream, job, first) = under_way(&service).await;
    worker.signal("STOP");
    let _other = fleet.worker(&SLOW).start();
    let anew = told(&mut stream, |events| events.iter().any(|event| event.data["result"]["restart"] == json!(true))).await;
    worker.signal("CONT");
    let mut events = [vec![first], anew].concat();
    events.extend(told(&mut stream, |events| events.iter().any(Event::is_terminal)).await);
    let end = events.last().unwrap();
    assert_eq!(end.data["result"]["content"], json!(text(&events)), "{events:#?}");
    is_over(&mut stream, &ada, &job).await;
}

#[tokio::test]
async fn a_claim_that_the_database_has_lost_is_made_again_and_its_reply_is_told_without_a_break() {
    for is_alone in [true, false] {
        let fleet = Fleet::new();
        let service = fleet.service(&[]).start();
        let _worker = fleet.worker(&SLOW).start();
        let (ada, mut stream, job, first) = under_way(&service).await;
        let _other = (!is_alone).then(|| fleet.worker(&SLOW).start());
        // As a crash may leave it: the job is what it was before its claim, of which its worker learns nothing.
        let lost = format!("update job set state = 0, attempt = 0, tries = 0, worker = null, started_at = null where id = '{job}' and state = 3");
        assert_eq!(fleet.database.client().await.execute(&lost, &[]).await.unwrap(), 1);
        // Whoever is woken for this one finds the other as well.
        Person::new(&service, "Ben").await.ask("channel:elsewhere", "Is anybody there?").await;
        ends_once(&mut stream, first, &ada, &job).await;
        is_over(&mut stream, &ada, &job).await;
    }
}

#[tokio::test]
async fn workers_whose_clocks_are_minutes_apart_take_over_from_one_another_no_sooner_and_no_later() {
    let fleet = Fleet::new();
    let service = fleet.service(&[]).start();
    for (one, other) in [("-300s", "+300s"), ("+300s", "-300s")] {
        let mut worker = with_clock(fleet.worker(&SLOW), one).start();
        let (ada, mut stream, job, first) = under_way(&service).await;
        let other = with_clock(fleet.worker(&SLOW), other).start();
        // The other one looks for abandoned jobs all the time, and finds none while this one lives.
        let so_far = told(&mut stream, |events| events.iter().filter(|event| event.kind() == "ai_chat_chunk").count() > 20).await;
        assert!(so_far.iter().all(|event| event.data["result"]["restart"] != json!(true)), "{so_far:#?}");
        worker.kill();
        ends_once(&mut stream, first, &ada, &job).await;
        drop(other);
    }
}

/// A process whose clock is wrong by this much.
fn with_clock(builder: Builder, wrong_by: &str) -> Builder {
    // `faketime` stays between a program and its parent, so that a kill would be its own; what it loads is enough.
    let library = Command::new("faketime").args(["-m", "-f", "+0s", "printenv", "LD_PRELOAD"]).output().unwrap().stdout;
    let library = format!("LD_PRELOAD={}", String::from_utf8(library).unwrap().trim());
    let clock = [library, format!("FAKETIME={wrong_by}"), "FAKETIME_DONT_FAKE_MONOTONIC=1".into(), "FAKETIME_NO_CACHE=1".into()];
    builder.through(["env".to_owned()].into_iter().chain(clock).collect())
}

async fn posted(person: &Person, content: &str) -> Answer {
    let body = json!({"channel": GENERAL, "content": content, "reply": false});
    Answer::to(person.request(Method::POST, "/api/chat/messages").json(&body)).await
}

#[tokio::test]
async fn while_the_database_is_away_requests_are_refused_for_a_while_and_streams_stay_open() {
    for is_silent in [false, true] {
        let fleet = Fleet::new();
        // A database that says nothing is given up after twice this time.
        let service = fleet.service(&[("PERSONA_PING_MS", "200"), ("PERSONA_DATABASE_MS", "3000")]).start();
        let _worker = fleet.worker(&SLOW).start();
        let ada = Person::new(&service, "Ada").await;
        let mut stream = ada.listen(&[GENERAL]).await;
        ada.say(GENERAL, "before").await;
        told_to(&mut stream, "before").await;
        if is_silent {
            fleet.way.go_dead();
        } else {
            fleet.way.cut();
        }
        let refused = posted(&ada, "refused").await;
        assert_eq!((refused.status, refused.header("retry-after").is_empty()), (503, false), "{refused:?}");
        told(&mut stream, |events| events.iter().filter(|event| event.kind() == "ping").count() > 2).await;
        let ready = service.readiness().await;
        ready.is_problem(503, "not_ready", None);

        fleet.way.mend();
        eventually("a message is taken", || async { (posted(&ada, "taken").await.status == 202).then_some(()) }).await;
        let events = told_to(&mut stream, "taken").await;
        assert!(!events.iter().any(|event| ["stream_reset", "stream_closing"].contains(&event.kind())), "{events:#?}");
        assert!(!events.iter().any(|event| event.data["result"]["content"] == json!("refused")), "{events:#?}");
        let reply = ada.ask(GENERAL, "What can you do?").await;
        let ended = told(&mut stream, |events| events.iter().any(Event::is_terminal)).await;
        assert_eq!((&ended.last().unwrap().data["jobId"], &ended.last().unwrap().data["result"]["finishReason"]), (&json!(reply), &json!("stop")));
    }
}

#[tokio::test]
async fn a_reply_that_is_under_way_when_the_database_goes_away_comes_to_one_end_when_it_is_back() {
    let fleet = Fleet::new();
    let service = fleet.service(&[]).start();
    let _worker = fleet.worker(&SLOW).start();
    let (ada, mut stream, job, first) = under_way(&service).await;
    fleet.way.cut();
    // Longer than the lease: whoever runs it has to stop.
    meanwhile(Duration::from_secs(4)).await;
    fleet.way.mend();
    let mut events = vec![first];
    events.extend(told(&mut stream, |events| events.iter().any(Event::is_terminal)).await);
    let end = events.last().unwrap();
    assert_eq!((&end.data["jobId"], &end.data["result"]["content"]), (&json!(job), &Value::from(text(&events))));
    ada.job_in(&job, "completed").await;
    is_over(&mut stream, &ada, &job).await;
}

/// Says one thing after the other until it isn't acknowledged any more.
async fn talk(person: &Person, voice: usize, acknowledged: &RefCell<Vec<String>>) {
    for number in 0.. {
        let content = format!("message {number} of {voice}");
        let body = json!({"channel": GENERAL, "content": content, "reply": false});
        let answer = person.request(Method::POST, "/api/chat/messages").json(&body).send().await;
        if !answer.is_ok_and(|answer| answer.status() == 202) {
            return;
        }
        acknowledged.borrow_mut().push(content);
    }
}

#[tokio::test]
async fn a_service_that_is_killed_under_load_has_lost_nothing_that_it_had_acknowledged() {
    let fleet = Fleet::new();
    let (mut one, other) = (fleet.service(&[]).start(), fleet.service(&[]).start());
    let ada = Person::new(&one, "Ada").await;
    let ben = Person::with_token(&other, &ada.token).await;
    let mut stream = ben.listen(&[GENERAL]).await;
    let acknowledged = RefCell::new(Vec::new());
    let kill = async {
        eventually("it is under load", async || (acknowledged.borrow().len() > 200).then_some(())).await;
        fleet.redis.signal("STOP");
        eventually("more is taken than can be told", async || (acknowledged.borrow().len() > 260).then_some(())).await;
        one.kill();
        fleet.redis.signal("CONT");
    };
    tokio::join!(join_all((0..8).map(|voice| talk(&ada, voice, &acknowledged))), kill);
    // What the dead one had not told yet, it tells in its next life.
    let _next = one.restart();
    let contents =
        |events: &[Event]| -> Vec<String> { events.iter().filter_map(|event| event.data["result"]["content"].as_str()).map(str::to_owned).collect() };
    let is_told = |events: &[Event]| {
        let told: HashSet<String> = contents(events).into_iter().collect();
        acknowledged.borrow().iter().all(|message| told.contains(message))
    };
    let mut events = told(&mut stream, is_told).await;
    ben.say(GENERAL, "after").await;
    events.extend(told_to(&mut stream, "after").await);
    let told = contents(&events);
    assert_eq!(told.iter().collect::<HashSet<_>>().len(), told.len(), "something is told twice: {told:?}");
}
