//! HTTP/1.1, down to its bytes.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    answer::Answer,
    app::{App, meanwhile},
    eventually,
    person::{GENERAL, Person},
    raw::{self, Raw},
};

/// How many streams the server has.
async fn streams(person: &Person) -> String {
    let metrics = Answer::to(person.request(Method::GET, "/metrics")).await;
    metrics.text().lines().find_map(|line| line.strip_prefix("persona_streams ")).unwrap().to_owned()
}

/// The next event of a raw stream, as its lines.
async fn event(raw: &mut Raw, buffer: &mut String) -> Vec<String> {
    loop {
        if let Some((event, rest)) = buffer.split_once("\n\n") {
            let lines = event.lines().map(str::to_owned).collect();
            *buffer = rest.into();
            return lines;
        }
        buffer.push_str(std::str::from_utf8(&raw.chunk().await.unwrap()).unwrap());
    }
}

#[tokio::test]
async fn the_stream_has_the_headers_and_the_frames_of_its_specification() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut raw = Raw::connect(&app).await;
    let request = raw::request("GET", "/api/events?channel=channel:general", &ada, None);
    raw.send(request.replace("\r\n\r\n", "\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\r\n")).await;
    let head = raw.head().await;
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));
    assert_eq!(head.header("cache-control"), "private, no-cache, no-store, no-transform");
    assert_eq!((head.header("x-accel-buffering"), head.header("transfer-encoding")), ("no", "chunked"));
    assert_eq!((head.header("x-content-type-options"), head.header("x-request-id").len()), ("nosniff", 36));
    // The connection is the stream's own, and ends with it.
    assert_eq!(head.header("connection"), "close");
    assert!(["content-encoding", "content-length"].iter().all(|name| !head.headers.contains_key(*name)), "{head:?}");

    let mut buffer = String::new();
    let ready = event(&mut raw, &mut buffer).await;
    let [retry, id, name, data] = ready.as_slice() else { panic!("{ready:?}") };
    assert!((2000..=5000).contains(&retry.strip_prefix("retry: ").unwrap().parse::<u32>().unwrap()), "{retry}");
    assert!(id.starts_with("id: ") && name == "event: ready", "{ready:?}");
    assert!(data.starts_with(r#"data: {"type":"stream_ready","timestamp":""#), "{data}");
    let presence = event(&mut raw, &mut buffer).await;
    assert!(presence[0].starts_with(r#"data: {"type":"presence","timestamp":""#) && presence.len() == 1, "{presence:?}");

    ada.say(GENERAL, "one\ntwo").await;
    let chat = loop {
        let event = event(&mut raw, &mut buffer).await;
        if event.len() > 1 {
            break event;
        }
    };
    assert!(chat[0].starts_with("id: ") && chat.len() == 2, "{chat:?}");
    let (start, rest) = chat[1].split_at(r#"data: {"type":"chat","timestamp":"2026-01-01T00:00:00.000Z","#.len());
    assert!(start.starts_with(r#"data: {"type":"chat","timestamp":"2"#) && start.ends_with("Z\","), "{start}");
    assert!(rest.starts_with(r#""channel":"channel:general","result":{"id":""#), "{rest}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut raw = Raw::connect(&app).await;
    let mut requests = String::new();
    for number in 0..40 {
        let body = json!({"channel": GENERAL, "content": format!("message {number}"), "reply": false}).to_string();
        requests += &raw::request("POST", "/api/chat/messages", &ada, Some(&body));
        requests += &raw::request("GET", &format!("/nothing/{number}"), &ada, None);
    }
    raw.send(requests).await;
    for number in 0..40 {
        assert_eq!(raw.answer().await.json()["message"]["content"], format!("message {number}"));
        raw.answer().await.is_problem(404, "not_found", None);
    }
    let history = ada.get("/api/chat/messages?channel=channel:general").await;
    let contents: Vec<_> = history["messages"].as_array().unwrap().iter().map(|message| message["content"].clone()).collect();
    assert_eq!(contents, (0..40).map(|number| json!(format!("message {number}"))).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_connection_that_was_used_before_can_carry_a_stream_and_its_end_is_noticed() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut raw = Raw::connect(&app).await;
    for _ in 0..3 {
        raw.send(raw::request("GET", "/api/session", &ada, None)).await;
        assert_eq!(raw.answer().await.json()["userId"], json!(ada.id));
    }
    raw.send(raw::request("GET", "/api/events?channel=channel:general", &ada, None)).await;
    assert_eq!(raw.head().await.status, 200);
    let mut buffer = String::new();
    assert!(event(&mut raw, &mut buffer).await.contains(&"event: ready".to_owned()));
    assert_eq!(streams(&ada).await, "1");
    ada.say(GENERAL, "Hello").await;
    while !event(&mut raw, &mut buffer).await.iter().any(|line| line.contains(r#""type":"chat""#)) {}
    drop(raw);
    eventually("the stream is gone", async || (streams(&ada).await == "0").then_some(())).await;
}

#[tokio::test]
async fn a_request_that_dribbles_is_understood() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let body = json!({"channel": GENERAL, "content": "é 猫 🐈", "reply": false}).to_string();
    let mut raw = Raw::connect(&app).await;
    for (method, path, body, status) in [("POST", "/api/chat/messages", Some(body.as_str()), 202), ("GET", "/api/session", None, 200)] {
        for byte in raw::request(method, path, &ada, body).bytes() {
            raw.send([byte]).await;
            // Lets the byte go on its own.
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.answer().await.status, status);
    }
}

#[tokio::test]
async fn a_client_that_is_silent_is_let_go() {
    let app = App::with(&[("PERSONA_REQUEST_MS", "1000")]);
    let app = &app;
    let silent = ["", "P", "PRI * HTTP"].map(|first| async move {
        let begun = Instant::now();
        let mut raw = Raw::connect(app).await;
        raw.send(first).await;
        raw.gone().await;
        assert!(begun.elapsed() >= Duration::from_millis(900), "{first}");
    });
    let slow = ["G", "GET / HT", "GET /healthz HTTP/1.1\r\nHost: persona\r\n"].map(|first| async move {
        let mut raw = Raw::connect(app).await;
        raw.send(first).await;
        raw.answer().await.is_problem(408, "request_timeout", None);
        assert_eq!(raw.rest().await, b"", "{first}");
    });
    tokio::join!(join_all(silent), join_all(slow));
}

#[tokio::test]
async fn a_connection_that_was_used_is_kept_while_it_rests() {
    let app = App::with(&[("PERSONA_REQUEST_MS", "1000")]);
    let mut raw = Raw::connect(&app).await;
    for _ in 0..2 {
        raw.send("GET /healthz HTTP/1.1\r\nHost: persona\r\n\r\n").await;
        assert_eq!(raw.answer().await.status, 200);
        meanwhile(Duration::from_millis(1100)).await;
    }
}

#[tokio::test]
async fn head_answers_as_get_does_without_a_body() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let job = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&job, "completed").await;
    let job = format!("/api/jobs/{job}");
    let history = "/api/chat/messages?channel=channel:general";
    let mut raw = Raw::connect(&app).await;
    for path in
        ["/", "/healthz", "/readyz", "/metrics", "/api/session", "/api/jobs", &job, history, "/api/presence?channel=channel:general", "/nothing"]
    {
        raw.send(raw::request("HEAD", path, &ada, None)).await;
        let head = raw.head().await;
        raw.send(raw::request("GET", path, &ada, None)).await;
        let get = raw.answer().await;
        assert!(!get.body.is_empty());
        // Figures are others at each request, and as long as they come.
        let length = if path == "/metrics" { "content-type" } else { "content-length" };
        for name in ["content-type", length, "cache-control", "x-content-type-options"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
        assert_eq!((head.status, head.header("x-request-id").len()), (get.status, 36));
    }
}

#[tokio::test]
async fn a_client_of_1996_is_answered_and_may_listen() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let http10 = |method: &str, path: &str| raw::request(method, path, &ada, None).replace("HTTP/1.1", "HTTP/1.0");
    let mut raw = Raw::connect(&app).await;
    raw.send(http10("GET", "/healthz")).await;
    let answer = String::from_utf8(raw.rest().await).unwrap();
    assert!(answer.contains(" 200 OK\r\n") && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");

    let mut raw = Raw::connect(&app).await;
    raw.send(http10("GET", "/api/events")).await;
    let said = raw.until("event: ready").await;
    assert!(!said.to_lowercase().contains("transfer-encoding") && said.contains("\r\n\r\nretry: "), "{said}");
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let request = raw::request("POST", "/api/generate/text", &ada, Some(r#"{"prompt":"A poem"}"#));
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut raw = Raw::connect(&app).await;
    raw.send(format!("{head}\r\nExpect: 100-continue\r\n\r\n")).await;
    assert_eq!(raw.head().await.status, 100);
    raw.send(body).await;
    assert_eq!(raw.answer().await.status, 202);
}

#[tokio::test]
async fn an_upgrade_is_not_taken_up() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for protocol in ["websocket", "h2c"] {
        let mut raw = Raw::connect(&app).await;
        let upgrade = format!(
            "\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        raw.send(raw::request("GET", "/api/session", &ada, None).replace("\r\n\r\n", &upgrade)).await;
        assert_eq!(raw.answer().await.json()["userId"], json!(ada.id), "{protocol}");
    }
}
