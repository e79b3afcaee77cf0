//! What an operator can ask of the program beside running all of it: its parts, a token, the database's tables.

use std::process::Output;

use serde_json::json;

use crate::support::{app::App, person::Person};

const SECRET: &str = "a secret that is at least so long";

fn asked(app: &App, words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = app.command().args(words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_part_of_the_product_refuses_to_be_apart_from_the_others() {
    for part in ["serve", "work"] {
        let said = App::builder(&[]).flag(part).refusal();
        for name in ["REDIS_URL: ", "DATABASE_URL: ", "PERSONA_SECRET: "] {
            assert!(said.contains(name), "{part}: {name} in:\n{said}");
        }
        let said = App::builder(&[("REDIS_URL", "redis://localhost"), ("PERSONA_SECRET", SECRET)]).flag(part).refusal();
        assert!(said.contains("DATABASE_URL: expected a database that all processes share") && !said.contains("REDIS_URL"), "{said}");
    }
}

#[tokio::test]
async fn a_token_is_who_it_says_and_may_what_it_says() {
    let app = App::start();
    let (code, token, _) = asked(&app, &["token", "u_ada", "--name", "Ada", "--channel", "channel:team-*"]);
    assert_eq!(code, Some(0));
    let ada = Person::with_token(&app, token.trim()).await;
    assert_eq!((ada.id.as_str(), ada.name.as_str()), ("u_ada", "Ada"));
    let said = async |channel: &str| ada.post("/api/chat/messages", &json!({"channel": channel, "content": "hello", "reply": false})).await.status();
    assert_eq!(said("channel:team-red").await, 202);
    assert_eq!(said("channel:general").await, 403);
}

#[tokio::test]
async fn a_token_is_refused_where_it_would_be_wrong() {
    let app = App::start();
    for words in [&["token", "no id"][..], &["token", "u_1", "--name", " "], &["token", "u_1", "--channel", "general"]] {
        let (code, token, said) = asked(&app, words);
        assert_eq!((code, token.as_str()), (Some(1), ""), "{said}");
    }
    let said = App::builder(&[]).flag("token").flag("u_1").refusal();
    assert!(said.contains("PERSONA_SECRET"), "{said}");
}

#[test]
fn migrate_makes_the_tables_and_ends_and_is_content_with_those_that_are_there() {
    let builder = App::builder(&[]);
    for _ in 0..2 {
        let ended = builder.command().arg("migrate").output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
    }
    assert!(builder.data().join("persona.sqlite").exists());
    builder.start();
}
