//! Bodies that break a rule: each is refused with the rule's name, and nothing is stored.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    answer::{Answer, refused},
    app::App,
    person::{GENERAL, Person},
};

/// Every path that takes a body, with one that is good.
fn good() -> [(&'static str, Value); 4] {
    [
        ("/api/chat/messages", json!({"channel": GENERAL, "content": "Hello"})),
        ("/api/chat/typing", json!({"channel": GENERAL, "isTyping": true})),
        ("/api/generate/text", json!({"prompt": "A poem"})),
        ("/api/generate/image", json!({"prompt": "A cat"})),
    ]
}

fn with(body: &Value, name: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[name] = value;
    body
}

#[tokio::test]
async fn a_body_that_does_not_say_that_it_is_json_is_refused() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let session = ("/api/session", json!({"userName": "Ada"}));
    for (path, body) in good().into_iter().chain([session]) {
        let request = || ada.request(Method::POST, path).body(body.to_string());
        refused(request(), 415, "unsupported_media_type", Some("Content-Type")).await;
        for wrong in ["text/plain", "application/jsonp", "application/x-www-form-urlencoded", "application/problem+json", ""] {
            refused(request().header("Content-Type", wrong), 415, "unsupported_media_type", Some("Content-Type")).await;
        }
    }
    ada.has_stored_nothing().await;
    let said = json!({"channel": GENERAL, "content": "Hello", "reply": false}).to_string();
    let request = ada.request(Method::POST, "/api/chat/messages").header("Content-Type", "Application/JSON; charset=utf-8").body(said);
    assert_eq!(Answer::to(request).await.status, 202);
}

#[tokio::test]
async fn broken_json_is_refused_with_its_line_and_column() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let bodies: [(&[u8], &str); 6] = [
        (b"", "line 1 column 0"),
        (b"{", "line 1 column 1"),
        (b"hello", "line 1 column 1"),
        (b"\n\n  {'a': 1}", "line 3 column 4"),
        (b"\xef\xbb\xbf{}", "line 1 column 1"),
        (b"\xff", "line 1 column 1"),
    ];
    let values: [&[u8]; 9] =
        [b"'a'", b"\"a\",", b"\"a\nb\"", b"\"\0\"", b"\"\xff\"", br#""\ud800""#, br#""\ud800\u0041""#, br#""\udc00""#, br#""\x41""#];
    for (path, good) in good() {
        let name = good.as_object().unwrap().keys().next().unwrap().clone();
        let with_values = values.map(|value| ([b"{\"", name.as_bytes(), b"\":", value, b"}"].concat(), "column"));
        for (body, place) in bodies.map(|(body, place)| (body.to_vec(), place)).into_iter().chain(with_values) {
            let request = ada.request(Method::POST, path).header("Content-Type", "application/json").body(body.clone());
            let problem = refused(request, 400, "invalid_json", None).await;
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("line ") && detail.contains(place), "{}: {problem}", String::from_utf8_lossy(&body));
        }
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn json_after_json_is_refused() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for (path, body) in good() {
        let request = ada.request(Method::POST, path).header("Content-Type", "application/json").body(format!("{body} {body}"));
        refused(request, 400, "invalid_json", None).await;
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for (path, body) in good().into_iter().chain([("/api/session", json!({"userName": "Ada"}))]) {
        let fields: Vec<Value> = body.as_object().unwrap().values().cloned().collect();
        for wrong in [json!(fields), json!([]), json!(null), json!("channel:general"), json!(1), json!(true), json!([body])] {
            refused(ada.request(Method::POST, path).json(&wrong), 400, "invalid_body", None).await;
        }
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn an_unknown_field_is_named_and_nothing_is_stored() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for (path, body) in good().into_iter().chain([("/api/session", json!({}))]) {
        for name in ["userId", "user_name", "Content", "", "a b", "__proto__"] {
            refused(ada.request(Method::POST, path).json(&with(&body, name, json!("x"))), 400, "unknown_field", Some(name)).await;
        }
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for (path, body) in good() {
        for name in body.as_object().unwrap().keys() {
            let mut body = body.clone();
            body.as_object_mut().unwrap().remove(name);
            refused(ada.request(Method::POST, path).json(&body), 400, "missing_field", Some(name)).await;
        }
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_field_that_is_there_twice_is_named() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let body = r#"{"channel":"channel:general","content":"one","content":"two"}"#;
    let request = ada.request(Method::POST, "/api/chat/messages").header("Content-Type", "application/json").body(body);
    refused(request, 400, "duplicate_field", Some("content")).await;
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let optional = [
        ("/api/chat/messages", with(&good()[0].1, "reply", json!(true))),
        ("/api/chat/messages", with(&good()[0].1, "clientId", json!("c1"))),
        ("/api/chat/messages", with(&good()[0].1, "model", json!("offline-writer"))),
        ("/api/chat/messages", with(&good()[0].1, "maxTokens", json!(7))),
        ("/api/generate/text", with(&good()[2].1, "model", json!("offline-writer"))),
        ("/api/generate/text", with(&good()[2].1, "maxTokens", json!(7))),
        ("/api/generate/image", with(&good()[3].1, "size", json!("64x64"))),
        ("/api/session", json!({"userName": "Ada"})),
    ];
    for (path, body) in good().into_iter().chain(optional) {
        for (name, right) in body.as_object().unwrap() {
            for wrong in [json!(["x"]), json!({"x": 1}), json!(1.5), json!(-1), if right.is_string() { json!(true) } else { json!("true") }] {
                refused(ada.request(Method::POST, path).json(&with(&body, name, wrong)), 400, "invalid_field", Some(name)).await;
            }
        }
    }
    ada.has_stored_nothing().await;
}
