//! What the queue promises where the processes that work on it are really killed, or stopped and woken: on PostgreSQL with
//! others that go on, on SQLite with the next life of the same one.

use std::{process::Stdio, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    faults_processes::{SLOW, under_way},
    support::{
        DEADLINE,
        app::{App, meanwhile},
        eventually,
        fleet::Fleet,
        installation::DEPOSE,
        person::{GENERAL, Person},
        postgres::Database,
        sse::{Event, Stream},
    },
};

/// Waits until this attempt at a job runs.
async fn runs(person: &Person, job: &str, attempt: u64) {
    eventually(&format!("attempt {attempt} runs"), || async {
        let shown = person.get(&format!("/api/jobs/{job}")).await;
        (shown["state"] == json!("running") && shown["attempt"].as_u64() >= Some(attempt)).then_some(())
    })
    .await;
}

/// All that is told from here to the end of a job.
async fn to_end(stream: &mut Stream) -> Vec<Event> {
    let mut events = Vec::new();
    let read = async {
        while !events.last().is_some_and(Event::is_terminal) {
            events.push(stream.try_next().await.expect("the stream has ended"));
        }
    };
    let is_late = timeout(2 * DEADLINE, read).await.is_err();
    assert!(!is_late, "there is no more than {events:#?}");
    events
}

/// The text that pieces have made, from its last beginning on, is the one that their end tells.
fn is_whole(events: &[Event]) {
    let chunks: Vec<_> = events.iter().filter(|event| event.kind() == "ai_chat_chunk").map(|event| &event.data["result"]).collect();
    let begin = chunks.iter().rposition(|chunk| chunk["restart"] == json!(true)).expect("it was begun anew");
    let numbers: Vec<u64> = chunks[begin..].iter().map(|chunk| chunk["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "somebody else speaks: {events:#?}");
    let text: String = chunks[begin..].iter().map(|chunk| chunk["text"].as_str().unwrap()).collect();
    assert_eq!(events.last().unwrap().data["result"]["content"], json!(text));
}

/// Nothing more is told of a job that is done.
async fn is_over(stream: &mut Stream, person: &Person, job: &str) {
    person.job_in(job, "completed").await;
    person.say(GENERAL, "mark").await;
    assert_eq!(stream.next_logged().await.kind(), "chat");
}

/// It was given up as failed, and only one end was told.
async fn was_given_up(stream: &mut Stream, person: &Person, job: &str) {
    let end = stream.next_of("generation_failed").await;
    assert_eq!(end.data["jobId"], json!(job));
    let shown = person.job_in(job, "discarded").await;
    assert_eq!(shown["error"], end.data["error"]);
    person.generate("text", &json!({"prompt": "What can you do?"})).await;
    assert_eq!(stream.next_logged().await.kind(), "generation_started");
}

#[tokio::test]
async fn a_text_that_has_taken_three_workers_with_it_is_given_up_with_one_end() {
    let fleet = Fleet::new();
    let service = fleet.service(&[]).start();
    let ada = Person::new(&service, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    let job = ada.generate("text", &json!({"prompt": "What can you do?"})).await;
    for attempt in 1..=3 {
        let mut worker = fleet.worker(&SLOW).start();
        runs(&ada, &job, attempt).await;
        worker.kill();
    }
    let _last = fleet.worker(&SLOW).start();
    was_given_up(&mut stream, &ada, &job).await;
}

#[tokio::test]
async fn a_text_that_has_taken_its_server_down_three_times_is_given_up() {
    let mut app = App::with(&SLOW);
    let ada = Person::new(&app, "Ada").await;
    let job = ada.generate("text", &json!({"prompt": "What can you do?"})).await;
    for attempt in 1..=3 {
        runs(&ada, &job, attempt).await;
        app.kill();
        app = app.restart();
    }
    let shown = ada.job_in(&job, "discarded").await;
    assert_eq!((&shown["attempt"], shown["error"].is_string()), (&json!(3), true), "{shown}");
}

#[tokio::test]
async fn a_process_that_is_woken_after_its_own_lease_begins_its_reply_anew_and_ends_it_once() {
    let app = App::with(&SLOW);
    let (ada, mut stream, job, _) = under_way(&app).await;
    app.signal("STOP");
    meanwhile(Duration::from_secs(3)).await;
    app.signal("CONT");
    is_whole(&to_end(&mut stream).await);
    is_over(&mut stream, &ada, &job).await;
}

#[tokio::test]
async fn a_worker_that_was_given_up_and_does_not_know_it_tells_nothing_once_another_has_begun() {
    let fleet = Fleet::new();
    let service = fleet.service(&[]).start();
    // Its next heartbeat would be ten seconds after its claim, and until then it takes its lease for good. It is so slow that it is
    // as long until it notes its progress.
    let settings = |pace| [("PERSONA_LEASE_SECONDS", "30"), ("PERSONA_OFFLINE_PACE_MS", pace), ("PERSONA_WORKER_SLOTS", "1")];
    let _unaware = fleet.worker(&settings("1000")).start();
    let (ada, mut stream, job, _) = under_way(&service).await;
    assert_eq!(fleet.database.client().await.execute(DEPOSE, &[]).await.unwrap(), 1);
    let _other = fleet.worker(&settings("100")).start();
    is_whole(&to_end(&mut stream).await);
    is_over(&mut stream, &ada, &job).await;
}

#[tokio::test]
async fn what_a_killed_migrator_has_left_half_done_the_next_one_finishes() {
    let database = Database::empty();
    let settings = [("DATABASE_URL", &*database.url), ("PERSONA_SECRET", "what all of these processes have in common")];
    let migrate = || {
        let mut command = App::builder(&settings).command();
        command.arg("migrate").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let client = database.client().await;
    let applied = async || match client.query_one("select count(*) from migration", &[]).await {
        Ok(row) => row.get::<_, i64>(0),
        // There is no such table yet.
        Err(_) => 0,
    };
    let mut first = migrate();
    eventually("it is at work", async || (applied().await > 0).then_some(())).await;
    first.kill().unwrap();
    assert!(!first.wait().unwrap().success(), "it was done already");
    // Two more begin at once; neither has to be told that the first one is dead.
    let others = [migrate(), migrate()].map(|mut other| spawn_blocking(move || other.wait().unwrap()));
    for ended in timeout(3 * DEADLINE, join_all(others)).await.expect("they wait for a dead one") {
        assert!(ended.unwrap().success());
    }
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres")).unwrap().count();
    assert_eq!(usize::try_from(applied().await).unwrap(), files);
}
