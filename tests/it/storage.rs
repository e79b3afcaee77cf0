//! Disks and databases that fail: what is said, that nothing is half written, and that it goes on where it can.

use std::{collections::HashSet, path::Path};

use diesel::{QueryableByName, RunQueryDsl as _, connection::SimpleConnection as _, sql_types::BigInt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    app::App,
    disk::Disk,
    eventually,
    person::{GENERAL, Person},
    sqlite,
};

/// Bytes that mean nothing.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn a_file_that_is_no_database_is_named_and_left_alone() {
    let builder = App::builder(&[]);
    std::fs::create_dir_all(builder.data()).unwrap();
    let database = builder.data().join("persona.sqlite");
    std::fs::write(&database, noise(8192)).unwrap();
    let said = builder.refusal();
    assert!(said.contains(database.to_str().unwrap()) && said.contains("damaged or not a database"), "{said}");
    assert_eq!(std::fs::read(&database).unwrap(), noise(8192));
}

#[tokio::test]
async fn a_database_that_is_damaged_inside_is_named() {
    const PAGE: usize = 4096;
    let mut app = App::start();
    let ada = Person::new(&app, "Ada").await;
    ada.ask(GENERAL, "hello").await;
    app.signal("TERM");
    assert!(app.wait());
    let database = app.data().join("persona.sqlite");
    let whole = std::fs::read(&database).unwrap();
    // The first page says that it is a database, and stays; whatever else is lost, somebody notices at the start.
    for first in [1, whole.len() / PAGE / 2] {
        let mut damaged = whole.clone();
        let length = damaged.len() - first * PAGE;
        damaged[first * PAGE..].copy_from_slice(&noise(length));
        std::fs::write(&database, damaged).unwrap();
        let said = App::builder(&[("PERSONA_DATA_DIR", app.data().to_str().unwrap())]).refusal();
        assert!(said.contains(database.to_str().unwrap()) && said.contains("damaged"), "from page {first}: {said}");
    }
}

#[test]
fn a_folder_that_can_only_be_read_is_named() {
    let builder = App::builder(&[]);
    let folder = builder.folder();
    let Some(disk) = Disk::new(folder.path(), "size=8m") else { return };
    // Once with nothing in it, and once with a database.
    disk.remount("ro");
    let builder = builder.through(disk.inside());
    let said = builder.refusal();
    assert!(said.contains(folder.path().join("data").to_str().unwrap()) && said.contains("Read-only"), "{said}");
    disk.remount("rw");
    let mut app = builder.start();
    app.signal("TERM");
    assert!(app.wait());
    disk.remount("ro");
    let said = App::builder(&[("PERSONA_DATA_DIR", app.data().to_str().unwrap())]).through(disk.inside()).refusal();
    assert!(said.contains(app.data().to_str().unwrap()) && said.contains("Read-only"), "{said}");
}

#[test]
fn a_database_that_another_program_locks_at_the_start_is_named() {
    let mut app = App::start();
    app.signal("TERM");
    assert!(app.wait());
    let database = app.data().join("persona.sqlite");
    let mut other = sqlite::open(&database);
    other.batch_execute("pragma locking_mode = exclusive; begin exclusive; pragma user_version = 0;").unwrap();
    let said = App::builder(&[("PERSONA_DATA_DIR", app.data().to_str().unwrap())]).refusal();
    assert!(said.contains(database.to_str().unwrap()) && said.contains("locked by another program"), "{said}");
}

#[tokio::test]
async fn while_another_program_locks_the_database_a_message_is_refused_and_nothing_is_stored() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    ada.say(GENERAL, "before").await;
    let mut other = sqlite::open(&app.data().join("persona.sqlite"));
    other.batch_execute("begin exclusive").unwrap();
    let refused = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": "locked out", "reply": false})).await;
    assert_eq!(problem(refused).await, (503, "storage_unavailable".to_owned()));
    other.batch_execute("rollback").unwrap();
    ada.say(GENERAL, "after").await;
    assert_eq!(said_by_people(&ada).await, ["before", "after"]);
}

/// The status and code of a refusal that a client may repeat later.
async fn problem(answer: reqwest::Response) -> (u16, String) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("retry-after"));
    (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["code"].as_str().unwrap().to_owned())
}

/// All messages of the room, oldest first.
async fn history(person: &Person) -> Vec<Value> {
    let (mut messages, mut before) = (Vec::new(), String::new());
    loop {
        let page = person.get(&format!("/api/chat/messages?channel={GENERAL}&limit=200{before}")).await;
        let older = page["messages"].as_array().unwrap().clone();
        messages.splice(0..0, older);
        let Some(next) = page["nextBefore"].as_str() else { return messages };
        before = format!("&before={next}");
    }
}

async fn said_by_people(person: &Person) -> Vec<String> {
    let messages = history(person).await.into_iter().filter(|message| message["role"] == "user");
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// The job that was accepted, or nothing where it was refused because the disk is full.
async fn job_or_full(answer: reqwest::Response) -> Option<String> {
    if answer.status() == StatusCode::ACCEPTED {
        return answer.json::<Value>().await.unwrap()["jobId"].as_str().map(str::to_owned);
    }
    assert_eq!(problem(answer).await, (503, "storage_full".to_owned()));
    None
}

#[tokio::test]
async fn a_full_disk_refuses_clearly_and_what_was_acknowledged_is_kept_and_done_once_there_is_room() {
    let builder = App::builder(&[("PERSONA_MAX_JOBS_PER_USER", "0")]);
    let folder = builder.folder();
    let Some(disk) = Disk::new(folder.path(), "size=2m") else { return };
    let mut app = builder.through(disk.inside()).start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;

    // Small ones last, so that no room is left for anything.
    let (mut acknowledged, mut replies, mut texts) = (Vec::new(), HashSet::new(), HashSet::new());
    for length in [7_000, 1] {
        loop {
            let content = format!("{} {}", acknowledged.len(), "x".repeat(length));
            let answer = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": content})).await;
            let Some(job) = job_or_full(answer).await else { break };
            acknowledged.push(content);
            replies.insert(job);
        }
    }
    disk.fill();
    while let Some(job) = job_or_full(ada.post("/api/generate/text", &json!({"prompt": "2 + 2"})).await).await {
        texts.insert(job);
    }
    // What is there can be read all the while, and it is exactly what was acknowledged.
    assert_eq!(said_by_people(&ada).await, acknowledged);
    let listed = ada.get("/api/jobs?limit=200").await;
    assert_eq!(listed["jobs"].as_array().unwrap().len(), (replies.len() + texts.len()).min(200));

    disk.free();
    ada.say(GENERAL, "room again").await;
    acknowledged.push("room again".to_owned());
    let mut told = Vec::new();
    while told.last() != acknowledged.last() {
        told.push(stream.next_of("chat").await.data["result"]["content"].as_str().unwrap().to_owned());
    }
    assert_eq!(told, acknowledged);

    // Killed with whatever the full disk has left undone, the next life does all of it, each once.
    app.kill();
    let mut app = app.restart();
    for job in replies.iter().chain(&texts) {
        ada.job_in(job, "completed").await;
    }
    assert_eq!(said_by_people(&ada).await, acknowledged);
    let given: Vec<Value> = history(&ada).await.into_iter().filter(|message| message["role"] == "assistant").collect();
    let answered: HashSet<&str> = given.iter().map(|reply| reply["replyTo"].as_str().unwrap()).collect();
    assert_eq!((given.len(), answered.len()), (replies.len(), replies.len()));
    app.signal("TERM");
    assert!(app.wait(), "{}", app.log());
    // Once stopped it is one file; SQLite would follow the way into the namespace back out again.
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(disk.path(&app.data().join("persona.sqlite")), copy.path()).unwrap();
    assert_sound(copy.path());
}

#[derive(QueryableByName)]
struct Left {
    #[diesel(sql_type = BigInt)]
    faults: i64,
    #[diesel(sql_type = BigInt)]
    untold: i64,
    #[diesel(sql_type = BigInt)]
    undone: i64,
}

/// The database is whole, and nothing that people asked for waits to be told or done in it.
fn assert_sound(database: &Path) {
    let counts = "select (select count(*) from pragma_integrity_check where integrity_check <> 'ok') as faults,
        (select count(*) from outbox) as untold, (select count(*) from job where kind <> 'housekeeping') as undone";
    let left: Left = diesel::sql_query(counts).get_result(&mut sqlite::open(database)).unwrap();
    assert_eq!((left.faults, left.untold, left.undone), (0, 0, 0));
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_named() {
    let builder = App::builder(&[]);
    let folder = builder.folder();
    let Some(disk) = Disk::new(folder.path(), "size=2m") else { return };
    disk.fill();
    let builder = builder.through(disk.inside());
    let said = builder.refusal();
    assert!(said.contains(folder.path().to_str().unwrap()), "{said}");
    disk.free();
    builder.start();
}

#[tokio::test]
async fn a_server_on_a_full_disk_is_alive_but_not_ready_and_a_stop_is_clean_and_loses_nothing() {
    let builder = App::builder(&[]);
    let folder = builder.folder();
    let Some(disk) = Disk::new(folder.path(), "size=2m") else { return };
    let mut app = builder.through(disk.inside()).start();
    let ada = Person::new(&app, "Ada").await;
    let status = async |path: &str| ada.request(Method::GET, path).send().await.unwrap().status();
    ada.say(GENERAL, "before").await;
    assert_eq!(status("/readyz").await, StatusCode::OK);
    disk.fill();
    assert_eq!((status("/readyz").await, status("/healthz").await), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK));
    app.signal("TERM");
    assert!(app.wait(), "{}", app.log());
    disk.free();
    let _app = app.restart();
    assert_eq!(said_by_people(&ada).await, ["before"]);
}

#[tokio::test]
async fn a_database_is_sound_after_kill_upon_kill() {
    let mut app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for round in 0..5 {
        ada.ask(GENERAL, &round.to_string()).await;
        app.kill();
        app = app.restart();
    }
    eventually("all jobs are done", || async {
        let jobs = ada.get("/api/jobs").await;
        jobs["jobs"].as_array().unwrap().iter().all(|job| job["state"] == "completed").then_some(())
    })
    .await;
    app.signal("TERM");
    assert!(app.wait());
    assert_sound(&app.data().join("persona.sqlite"));
}
