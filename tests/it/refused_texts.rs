//! The lengths and characters of texts: at the edge they are taken, beyond it they are refused, and characters count, not bytes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    answer::{Answer, refused},
    app::App,
    person::{GENERAL, Person},
};

/// A field with the most characters it may have, and how a body with it is made.
struct Field {
    path: &'static str,
    name: &'static str,
    most: usize,
    body: fn(&str) -> Value,
}

const FIELDS: [Field; 5] = [
    Field { path: "/api/chat/messages", name: "content", most: 8_000, body: |text| json!({"channel": GENERAL, "content": text, "reply": false}) },
    Field {
        path: "/api/chat/messages",
        name: "clientId",
        most: 128,
        body: |text| json!({"channel": GENERAL, "content": "Hello", "clientId": text, "reply": false}),
    },
    Field { path: "/api/generate/text", name: "prompt", most: 16_000, body: |text| json!({"prompt": text}) },
    Field { path: "/api/generate/image", name: "prompt", most: 16_000, body: |text| json!({"prompt": text, "size": "64x64"}) },
    Field { path: "/api/session", name: "userName", most: 64, body: |text| json!({"userName": text}) },
];

#[tokio::test]
async fn a_text_that_is_too_long_or_empty_is_refused_and_nothing_is_stored() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for Field { path, name, most, body } in FIELDS {
        let long = ["a", "é", "猫", "🐈"].map(|character| character.repeat(most + 1));
        let padded = format!("  {}  ", "a".repeat(most + 1));
        for text in long.iter().map(String::as_str).chain([padded.as_str(), "", "   ", "\n\t", "\u{a0}\u{2003}"]) {
            let problem = refused(ada.request(Method::POST, path).json(&body(text)), 400, "invalid_field", Some(name)).await;
            assert!(problem["detail"].as_str().unwrap().contains(&most.to_string()), "{problem}");
        }
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_text_of_one_character_or_as_many_as_it_may_have_is_taken() {
    let app = App::start();
    for Field { path, name, most, body } in FIELDS {
        let ada = Person::new(&app, "Ada").await;
        for character in ["a", "é", "猫", "🐈"] {
            for text in [character.to_owned(), character.repeat(most), format!(" \u{a0} {} \u{2003}", character.repeat(most))] {
                let answer = Answer::to(ada.request(Method::POST, path).json(&body(&text))).await;
                assert!((200..203).contains(&answer.status), "{path} {name}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_around_a_text_is_trimmed_and_what_is_within_stays() {
    let app = App::start();
    let ada = Person::new(&app, "  Ada\u{a0}").await;
    assert_eq!(ada.name, "Ada");
    let said = ada.say(GENERAL, " \n one\n\ttwo \u{2028} <b>three</b> \u{feff}\"\\ ").await;
    assert_eq!(said["content"], "one\n\ttwo \u{2028} <b>three</b> \u{feff}\"\\");
    let history = ada.get("/api/chat/messages?channel=channel:general").await;
    assert_eq!(history["messages"][0]["content"], said["content"]);
}

#[tokio::test]
async fn control_characters_are_refused_wherever_they_stand() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for Field { path, name, body, .. } in FIELDS {
        let multiline = matches!(name, "content" | "prompt");
        for control in ('\0'..='\u{9f}').filter(|character| character.is_control()) {
            let text = format!("a{control}b");
            if !(multiline && matches!(control, '\n' | '\r' | '\t')) {
                refused(ada.request(Method::POST, path).json(&body(&text)), 400, "invalid_field", Some(name)).await;
            }
        }
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_name_stands_on_one_line() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for name in ["a\nb", "a\rb", "a\tb", "a\u{2028}b", "a\u{2029}b"] {
        refused(ada.request(Method::POST, "/api/session").json(&json!({"userName": name})), 400, "invalid_field", Some("userName")).await;
    }
}

#[tokio::test]
async fn numbers_and_sizes_have_edges_as_well() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for most in [0, 32_001, i64::from(u32::MAX) + 1] {
        let body = json!({"prompt": "A poem", "maxTokens": most});
        refused(ada.request(Method::POST, "/api/generate/text").json(&body), 400, "invalid_field", Some("maxTokens")).await;
    }
    for size in ["", "64", "64x", "63x64", "64x2049", "64X64", "64x64x64", "-64x64", " 64x64", "1e2x64", "99999999999999999999x64"] {
        let body = json!({"prompt": "A cat", "size": size});
        refused(ada.request(Method::POST, "/api/generate/image").json(&body), 400, "invalid_field", Some("size")).await;
    }
    ada.has_stored_nothing().await;
    for most in [1, 32_000] {
        ada.generate("text", &json!({"prompt": "A poem", "maxTokens": most})).await;
    }
    for size in ["64x64", "64x2048"] {
        ada.generate("image", &json!({"prompt": "A cat", "size": size})).await;
    }
}
