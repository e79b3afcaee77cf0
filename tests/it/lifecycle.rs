//! From start to stop, and what stands in the way of either.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection, connection::SimpleConnection as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    app::App,
    eventually,
    person::{GENERAL, Person},
};

fn database(app: &App) -> SqliteConnection {
    SqliteConnection::establish(app.data().join("persona.sqlite").to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn the_start_says_where_it_listens_and_how_to_try_it() {
    let app = App::start();
    let said = eventually("the three lines to try", || async { Some(app.log()).filter(|log| log.matches("\n  curl ").count() == 3) }).await;
    assert!(said.contains(&format!("listening on {}", app.url)), "{said}");
}

#[tokio::test]
async fn a_termination_tells_the_streams_and_closes_the_database_clean() {
    let mut app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    ada.say(GENERAL, "kept").await;
    app.signal("TERM");
    let closing = stream.to_end().await.pop().unwrap();
    assert_eq!((closing.name.as_str(), &closing.data["reason"], &closing.data["reconnect"]), ("closing", &json!("drain"), &json!(true)));
    assert!(app.wait(), "{}", app.log());
    let left: Vec<_> = std::fs::read_dir(app.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.ends_with("-wal")), "{left:?}");

    let app = app.restart();
    let history = ada.get(&format!("/api/chat/messages?channel={GENERAL}")).await;
    assert_eq!(history["messages"][0]["content"], json!("kept"));
    drop(app);
}

#[test]
fn a_termination_ends_the_first_process_of_a_container_too() {
    let builder = App::builder(&[]);
    let mut command = Command::new("unshare");
    // The shell outside waits for the server inside, which is process 1 of its own namespace.
    command.args(["--fork", "--pid", "--kill-child", "--mount-proc", env!("CARGO_BIN_EXE_persona")]);
    command.env("PERSONA_LISTEN", "127.0.0.1:0").env("PERSONA_DATA_DIR", builder.data()).stdout(Stdio::piped());
    let mut outside = command.spawn().unwrap();
    let mut lines = BufReader::new(outside.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("listening on "));
    let inside = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", outside.id())).unwrap();
    assert!(Command::new("kill").args(["-TERM", inside.trim()]).status().unwrap().success());
    assert!(outside.wait().unwrap().success());
}

#[test]
fn a_second_server_on_the_same_data_is_refused_with_the_reason() {
    let app = App::start();
    let data = app.data();
    let second = App::builder(&[("PERSONA_DATA_DIR", data.to_str().unwrap())]);
    let said = second.try_start().err().expect("two servers share one database");
    assert!(said.contains("another persona uses") && said.contains("persona.sqlite"), "{said}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let app = App::start();
    let said = App::builder(&[("PERSONA_LISTEN", &app.address.to_string())]).try_start().err().expect("two servers share one address");
    assert!(said.contains(&format!("can't listen on {}", app.address)), "{said}");
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let builder = App::builder(&[]);
    let (data, _kept) = (builder.data(), builder.folder());
    std::fs::create_dir_all(&data).unwrap();
    let damaged: Vec<u8> = (0..8192_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(data.join("persona.sqlite"), &damaged).unwrap();
    let said = builder.try_start().err().expect("a damaged database is served");
    assert!(said.contains("persona.sqlite") && said.contains("not a database"), "{said}");
    assert_eq!(std::fs::read(data.join("persona.sqlite")).unwrap(), damaged);
}

#[tokio::test]
async fn while_another_program_locks_the_database_a_message_is_refused_and_nothing_is_stored() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    ada.say(GENERAL, "before").await;
    let mut other = database(&app);
    other.batch_execute("begin exclusive").unwrap();
    let refused = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": "locked out", "reply": false})).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], json!("storage_unavailable"));
    other.batch_execute("rollback").unwrap();
    ada.say(GENERAL, "after").await;
    let history = ada.get(&format!("/api/chat/messages?channel={GENERAL}")).await;
    let kept: Vec<_> = history["messages"].as_array().unwrap().iter().map(|message| message["content"].clone()).collect();
    assert_eq!(kept, [json!("before"), json!("after")]);
}

/// A file system of its own, of two megabytes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder.path()).status().unwrap();
        assert!(mounted.success(), "this test mounts a small file system, which needs root");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file open there keeps it only for as long as that.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_clearly_and_keeps_exactly_what_was_acknowledged() {
    let disk = SmallDisk::new();
    let data = disk.path().join("data");
    let app = App::with(&[("PERSONA_DATA_DIR", data.to_str().unwrap())]);
    let ada = Person::new(&app, "Ada").await;
    let long = "x".repeat(7_900);
    let mut acknowledged = Vec::new();
    let refusal = loop {
        let content = format!("{} {long}", acknowledged.len());
        let answer = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": content})).await;
        if answer.status() != StatusCode::ACCEPTED {
            break answer;
        }
        acknowledged.push(content);
        assert!(acknowledged.len() < 1_000, "the disk is never full");
    };
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refusal.headers().contains_key("retry-after"));
    assert_eq!(refusal.json::<Value>().await.unwrap()["code"], json!("storage_full"));

    let mut kept = Vec::new();
    let mut before = String::new();
    loop {
        let page = ada.get(&format!("/api/chat/messages?channel={GENERAL}&limit=200{before}")).await;
        let messages = page["messages"].as_array().unwrap();
        kept.extend(messages.iter().filter(|message| message["role"] == "user").map(|message| message["content"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextBefore"].as_str() else { break };
        before = format!("&before={next}");
    }
    kept.sort();
    acknowledged.sort();
    assert_eq!(kept, acknowledged);
    assert_eq!(ada.request(Method::GET, "/healthz").send().await.unwrap().status(), StatusCode::OK);
}

#[derive(diesel::QueryableByName)]
struct Check {
    #[diesel(sql_type = diesel::sql_types::Text)]
    integrity_check: String,
}

#[tokio::test]
async fn a_database_is_sound_after_kill_upon_kill() {
    let mut app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for round in 0..5 {
        ada.say(GENERAL, &round.to_string()).await;
        app.kill();
        app = app.restart();
    }
    let checked: Vec<Check> = diesel::sql_query("pragma integrity_check").load(&mut database(&app)).unwrap();
    assert_eq!(checked[0].integrity_check, "ok");
}
