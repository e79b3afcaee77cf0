//! The delivery check, run against a server that is killed, stopped and woken at random: what it finds is a failure.
//!
//! The same seed does the same to the server again, in the same order and after the same pauses. `just soak` runs it for as
//! long as somebody likes.

use std::time::Duration;

use persona_community::check::{
    crowd::{Crowd, Plan},
    reader::Manners,
    recorder::Recorder,
    report::Report,
    verify::Rules,
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::time::{Instant, sleep};

use crate::support::app::App;

fn plan(app: &App, seed: u64) -> Plan {
    Plan {
        servers: vec![app.url.clone()],
        seed,
        rooms: 2,
        people: 4,
        readers: 3,
        visitors: 1,
        thinks: Duration::from_millis(250),
        manners: Manners { cut_after: Some(Duration::from_secs(1)), silence: Duration::from_secs(4) },
        patience: Duration::from_secs(30),
        rules: Rules::default(),
    }
}

fn server() -> App {
    // Pings come often, so that a stopped server is given up soon.
    App::with(&[("PERSONA_PING_MS", "500"), ("PERSONA_OFFLINE_PACE_MS", "5"), ("PERSONA_LEASE_SECONDS", "5")])
}

/// Does one thing to the server, and undoes it.
async fn break_something(mut app: App, recorder: &Recorder, random: &mut SmallRng) -> App {
    match random.random_range(0..4) {
        0 | 1 => {
            recorder.fault("the server is killed and started again", true);
            app.kill();
            sleep(Duration::from_millis(random.random_range(0..500))).await;
            restart(app).await
        }
        2 => {
            recorder.fault("the server is asked to stop, and started again", true);
            app.signal("TERM");
            let ended = tokio::task::spawn_blocking(move || {
                assert!(app.wait());
                app
            });
            restart(ended.await.unwrap()).await
        }
        _ => {
            recorder.fault("the server is stopped for a while", false);
            app.signal("STOP");
            sleep(Duration::from_millis(random.random_range(200..2_000))).await;
            app.signal("CONT");
            app
        }
    }
}

async fn restart(app: App) -> App {
    tokio::task::spawn_blocking(move || app.restart()).await.unwrap()
}

/// One round: a crowd, faults for so long, and nothing may be wrong.
async fn round(mut app: App, seed: u64, lasts: Duration) -> App {
    let mut random = SmallRng::seed_from_u64(seed);
    let crowd = Crowd::gather(plan(&app, seed)).await.unwrap();
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        sleep(Duration::from_millis(random.random_range(300..2_500))).await;
        app = break_something(app, &crowd.recorder, &mut random).await;
    }
    let ended = crowd.end().await;
    println!("{}", Report(&ended));
    assert!(ended.violations.is_empty(), "seed {seed}:\n{}", Report(&ended));
    app
}

#[tokio::test]
async fn one_process_keeps_the_contract_though_it_is_killed_stopped_and_woken_seed_1() {
    round(server(), 1, Duration::from_secs(8)).await;
}

#[tokio::test]
async fn one_process_keeps_the_contract_though_it_is_killed_stopped_and_woken_seed_2() {
    round(server(), 2, Duration::from_secs(8)).await;
}

#[tokio::test]
#[ignore = "as long as PERSONA_SOAK_MINUTES says: just soak"]
#[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the product")]
async fn soak() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_mins(number("PERSONA_SOAK_MINUTES", 30));
    let mut seed = number("PERSONA_SOAK_SEED", 1);
    let mut app = server();
    while Instant::now() < end {
        app = round(app, seed, Duration::from_secs(45)).await;
        seed += 1;
    }
}

#[tokio::test]
async fn the_command_finds_nothing_wrong_with_a_server_that_is_left_alone_and_says_what_it_did() {
    let app = server();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_persona"));
    command.args(["check-delivery", "--server", &app.url, "--minutes", "0.05", "--seed", "7", "--people", "3", "--readers", "2"]);
    let ended = command.env_clear().output().await.unwrap();
    let (said, told) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "{said}\n{told}");
    assert!(said.contains("seed 7") && said.contains("nothing is wrong"), "{said}");
    assert!(!said.contains(" 0 messages") && !said.contains(" 0 events told"), "{said}");
}

#[tokio::test]
async fn the_command_fails_where_nobody_serves() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_persona"));
    command.args(["check-delivery", "--server", "http://127.0.0.1:1", "--minutes", "0.01"]);
    let ended = command.env_clear().output().await.unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && told.contains("can't be reached"), "{told}");
}
