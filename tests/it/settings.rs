//! Settings: given by flags or the environment, and told when they are wrong, all at once.

use std::process::Output;

use crate::support::{app::App, person::Person};

fn check(settings: &[(&str, &str)], flags: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = App::builder(settings).command().args(flags).arg("check-config").output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn every_bad_setting_is_listed_at_once_with_what_would_be_right() {
    let numbers = [
        "PERSONA_REQUEST_MS",
        "PERSONA_HTTP_THREADS",
        "PERSONA_WORKER_SLOTS",
        "PERSONA_LEASE_SECONDS",
        "PERSONA_MAX_STREAMS_PER_USER",
        "PERSONA_MAX_STREAMS_PER_ADDRESS",
        "PERSONA_MAX_STREAMS",
        "PERSONA_MAX_JOBS_PER_USER",
        "PERSONA_SESSION_HOURS",
        "PERSONA_PRESENCE_GRACE_MS",
        "PERSONA_TYPING_MS",
        "PERSONA_PING_MS",
        "PERSONA_STREAM_LIFETIME_SECONDS",
        "PERSONA_LOG_EVENTS",
        "PERSONA_LOG_BYTES",
        "PERSONA_LOG_HOURS",
        "PERSONA_OFFLINE_PACE_MS",
        "PERSONA_DRAIN_MS",
        "PERSONA_PROVIDER_CONNECT_MS",
        "PERSONA_PROVIDER_FIRST_MS",
        "PERSONA_PROVIDER_GAP_MS",
        "PERSONA_PROVIDER_TOTAL_MS",
        "PERSONA_PROVIDER_REST_MS",
        "PERSONA_PROVIDER_LONG_REST_MS",
        "PERSONA_MAX_TOKENS_PER_DAY",
        "PERSONA_MAX_IMAGES_PER_DAY",
    ];
    for wrong in ["-1", "", "many", "1.5", "99999999999999999999"] {
        let settings: Vec<(&str, &str)> = numbers.iter().map(|name| (*name, wrong)).collect();
        let (code, _, said) = check(&settings, &[]);
        assert_eq!(code, Some(1));
        for name in numbers {
            assert!(said.contains(&format!("{name}: {wrong:?} is wrong, expected a number from ")), "{name} = {wrong} in:\n{said}");
        }
    }
    let others = [
        ("PERSONA_LISTEN", "nowhere"),
        ("PERSONA_SECRET", "too short to be a secret"),
        ("DATABASE_URL", "mysql://root:hunter2@db/persona"),
        ("PERSONA_TLS_CERT", "cert.pem"),
        ("PERSONA_STOP_SECONDS", "soon"),
        ("PERSONA_MODELS", r#"{"openai/x": {"maxTokenName": "y"}}"#),
        ("PERSONA_PROVIDER_CONCURRENCY", "4,anybody=2"),
        ("PERSONA_PRICES", r#"{"openai/x": {"in": 1}}"#),
        ("PERSONA_MAX_COST_PER_DAY", "1,50"),
    ];
    let (code, _, said) = check(&others, &[]);
    assert_eq!(code, Some(1));
    for (name, _) in others {
        assert!(said.contains(name), "{name} in:\n{said}");
    }
    assert!(!said.contains("hunter2") && !said.contains("too short to be"), "a secret in:\n{said}");
    let refused = App::builder(&others).try_start().err().unwrap();
    assert!(others.iter().all(|(name, _)| refused.contains(name)), "{refused}");
}

#[test]
fn good_settings_are_shown_without_their_secrets() {
    let secret = "correct-horse-battery-staple-0123456789";
    let models = r#"{"openai/x": {"maxTokensName": "limit-of-tokens"}}"#;
    let (code, shown, said) = check(&[("PERSONA_SECRET", secret), ("PERSONA_PING_MS", "12345"), ("PERSONA_MODELS", models)], &[]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(shown.contains("12.345s") && shown.contains("limit-of-tokens") && !shown.contains("horse"), "{shown}");
}

#[tokio::test]
async fn a_flag_wins_over_the_environment() {
    let environment = [("PERSONA_LISTEN", "nowhere"), ("PERSONA_SESSION_HOURS", "many"), ("PERSONA_MAX_STREAMS_PER_USER", "-1"), ("RUST_LOG", "off")];
    let flags = ["--persona-listen=127.0.0.1:0", "--persona-session-hours=1", "--persona-max-streams-per-user=1", "--rust-log=info"];
    let app = flags.iter().fold(App::builder(&environment), |builder, flag| builder.flag(flag)).start();
    let ada = Person::new(&app, "Ada").await;
    let _first = ada.listen(&[]).await;
    assert_eq!(ada.stream_request(&[], None).send().await.unwrap().status(), 429);
    assert!(app.log().contains("INFO"), "{}", app.log());
}

#[test]
fn a_flag_that_is_not_known_is_refused_and_help_tells_of_all() {
    let run = |flag: &str| App::builder(&[]).command().arg(flag).output().unwrap();
    let unknown = run("--persona-listne=127.0.0.1:0");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("--persona-listen"));
    let help = String::from_utf8(run("--help").stdout).unwrap();
    for name in [
        "PERSONA_LISTEN",
        "PERSONA_DATA_DIR",
        "DATABASE_URL",
        "PERSONA_SECRET",
        "PERSONA_TLS_CERT",
        "PERSONA_MAX_STREAMS_PER_USER",
        "RUST_LOG",
        "check-config",
        "health",
    ] {
        assert!(help.contains(name), "{name} in:\n{help}");
    }
}

#[test]
fn the_settings_of_a_command_may_stand_behind_it() {
    let output = App::builder(&[]).command().args(["check-config", "--persona-ping-ms=12345"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("12.345s"), "{:?}", output.stderr);
}

#[test]
fn an_address_or_a_data_folder_that_is_taken_is_told() {
    let app = App::start();
    let said = App::builder(&[("PERSONA_LISTEN", &app.address.to_string())]).try_start().err().unwrap();
    assert!(said.contains(&format!("can't listen on {}", app.address)), "{said}");
    let data = app.data();
    let said = App::builder(&[("PERSONA_DATA_DIR", data.to_str().unwrap())]).try_start().err().unwrap();
    assert!(said.contains("another persona uses"), "{said}");
}
