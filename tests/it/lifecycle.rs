//! From start to stop: what the start says, who may not start, and that a stop is clean.

use std::process::Command;

use reqwest::Client;
use serde_json::{Value, json};

use crate::support::{
    app::{App, Builder},
    eventually,
    person::{GENERAL, Person},
};

/// Settings under which a stream ends by itself before long, so that a command that reads one ends too.
const SHORT_STREAMS: [(&str, &str); 2] = [("PERSONA_STREAM_LIFETIME_SECONDS", "1"), ("PERSONA_PING_MS", "100")];

#[tokio::test]
async fn the_start_says_where_it_listens_and_its_three_commands_work_as_they_stand() {
    let app = App::with(&SHORT_STREAMS);
    let commands = eventually("three commands", || async {
        let log = app.log();
        let commands: Vec<_> = log.lines().filter(|line| line.starts_with("  curl ")).map(str::to_owned).collect();
        (commands.len() == 3).then_some(commands)
    });
    let commands = commands.await;
    assert!(app.log().contains(&format!("listening on {}\n", app.url)), "{}", app.log());

    let folder = tempfile::tempdir().unwrap();
    let script = format!("curl() {{ command curl --silent --show-error --fail --max-time 20 \"$@\"; }}\n{}\nwait", commands.join("\n"));
    let ran = Command::new("sh").args(["-euc", &script]).current_dir(&folder).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    for part in [r#""token":"#, r#""type":"stream_ready""#, r#""jobId":"#] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[tokio::test]
async fn a_termination_tells_every_stream_and_leaves_nothing_beside_the_database() {
    let mut app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let ben = Person::with_client(&app, "Ben", Client::builder().http2_prior_knowledge().build().unwrap()).await;
    let streams = [ada.listen(&[GENERAL]).await, ben.listen(&[GENERAL]).await];
    ada.say(GENERAL, "kept").await;
    app.signal("TERM");
    for mut stream in streams {
        let closing = stream.to_end().await.pop().unwrap();
        assert_eq!((closing.name.as_str(), &closing.data["reason"], &closing.data["reconnect"]), ("closing", &json!("drain"), &json!(true)));
    }
    assert!(app.wait(), "{}", app.log());
    let left: Vec<_> = std::fs::read_dir(app.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.ends_with("-wal") || name.ends_with("-shm")), "{left:?}");

    let _app = app.restart();
    let history = ada.get(&format!("/api/chat/messages?channel={GENERAL}")).await;
    assert_eq!(history["messages"][0]["content"], json!("kept"));
}

#[tokio::test]
async fn an_interruption_is_a_stop_as_well() {
    let mut app = App::start();
    app.signal("INT");
    assert!(app.wait(), "{}", app.log());
}

#[tokio::test]
async fn a_termination_ends_the_first_process_of_a_container_too() {
    let namespace = ["unshare", "--map-root-user", "--fork", "--pid", "--kill-child"].map(str::to_owned).to_vec();
    if !Command::new(&namespace[0]).args(&namespace[1..]).arg("true").status().unwrap().success() {
        eprintln!("no process namespace can be made here: this test says nothing");
        return;
    }
    let mut app = App::builder(&[]).through(namespace).start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[]).await;
    // What was started waits outside for the server, which is process 1 of its namespace.
    let inside = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", app.pid())).unwrap();
    assert!(Command::new("kill").args(["-s", "TERM", inside.trim()]).status().unwrap().success());
    assert_eq!(stream.to_end().await.pop().unwrap().data["reason"], json!("drain"));
    assert!(app.wait(), "{}", app.log());
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_and_the_first_one_serves_on() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let said = App::builder(&[("PERSONA_DATA_DIR", app.data().to_str().unwrap())]).refusal();
    assert!(said.contains("another persona uses") && said.contains(app.data().join("persona.sqlite").to_str().unwrap()), "{said}");
    ada.say(GENERAL, "still here").await;
}

#[test]
fn an_address_that_is_taken_is_named() {
    let app = App::start();
    let said = App::builder(&[("PERSONA_LISTEN", &app.address.to_string())]).refusal();
    assert!(said.contains(&format!("can't listen on {}", app.address)), "{said}");
}

#[test]
fn settings_that_are_wrong_are_all_told_before_anything_is_made() {
    let builder = App::builder(&[("PERSONA_LISTEN", "nowhere"), ("PERSONA_SECRET", "short"), ("PERSONA_PING_MS", "soon")]);
    let data = builder.data();
    let said = builder.refusal();
    assert!(["PERSONA_LISTEN", "PERSONA_SECRET", "PERSONA_PING_MS"].iter().all(|name| said.contains(name)), "{said}");
    assert!(!said.contains("short") && !data.exists(), "{said}");
}

/// Whether `persona health` finds the server well, and what it says.
fn health(app: &App, flag: Option<&str>) -> (bool, String) {
    let asked =
        Command::new(env!("CARGO_BIN_EXE_persona")).args(flag).args(["--listen", &app.address.to_string(), "health"]).env_clear().output().unwrap();
    (asked.status.success(), String::from_utf8(asked.stderr).unwrap())
}

#[test]
fn health_is_asked_of_a_running_server_with_and_without_tls() {
    for flag in [None, Some("--dev-tls")] {
        let builder = App::builder(&[]);
        let mut app = flag.into_iter().fold(builder, Builder::flag).start();
        assert_eq!(health(&app, flag), (true, String::new()));
        app.kill();
        let (is_well, said) = health(&app, flag);
        assert!(!is_well && said.contains(&format!("nobody listens on {}", app.address)), "{said}");
    }
}

#[tokio::test]
async fn a_secret_is_made_once_and_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let secret = app.data().join("secret");
    let (mode, first) = (secret.metadata().unwrap().permissions().mode(), std::fs::read(&secret).unwrap());
    assert_eq!((mode & 0o777, first.len()), (0o600, 32));
    let app = app.restart();
    assert_eq!(std::fs::read(&secret).unwrap(), first);
    let session: Value = ada.get("/api/session").await;
    assert_eq!(session["userId"], json!(ada.id));
    drop(app);
}
