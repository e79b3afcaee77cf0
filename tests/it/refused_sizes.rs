//! Requests that are too large, or take too long to come.

use std::fmt::Write as _;

use futures_util::{StreamExt as _, future::join_all, stream};
use reqwest::{Body, Client, Method};
use serde_json::json;

use crate::support::{
    answer::{Answer, refused},
    app::{App, resident_kib},
    person::{GENERAL, Person},
    raw::{self, Raw},
};

/// The largest body.
const MOST: usize = 256 * 1024;

#[tokio::test]
async fn a_body_may_have_256_kib_and_no_more() {
    let app = App::start();
    let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    for client in [Client::new(), http2] {
        let ada = Person::with_client(&app, "Ada", client).await;
        let said = json!({"channel": GENERAL, "content": "Hello", "reply": false}).to_string();
        let padded = |length: usize| said.clone() + &" ".repeat(length - said.len());
        let post = |body: Body| ada.request(Method::POST, "/api/chat/messages").header("Content-Type", "application/json").body(body);
        let chunked = |text: String| Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>(text)]));
        for body in [Body::from(padded(MOST)), chunked(padded(MOST))] {
            assert_eq!(Answer::to(post(body)).await.status, 202);
        }
        for body in [Body::from(padded(MOST + 1)), chunked(padded(MOST + 1)), chunked(padded(8 * MOST))] {
            refused(post(body), 413, "body_too_large", None).await;
        }
    }
    let ada = Person::new(&app, "Ada").await;
    let history = ada.get("/api/chat/messages?channel=channel:general").await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_it_comes() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for announced in [MOST + 1, usize::MAX] {
        let mut raw = Raw::connect(&app).await;
        let head = raw::request("POST", "/api/chat/messages", &ada, None);
        raw.send(head.replace("\r\n\r\n", &format!("\r\nContent-Type: application/json\r\nContent-Length: {announced}\r\n\r\n"))).await;
        raw.answer().await.is_problem(413, "body_too_large", None);
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let body = json!({"channel": GENERAL, "content": "Hello", "reply": false}).to_string();
    let whole = raw::request("POST", "/api/chat/messages", &ada, Some(&format!("{body}   ")));
    let mut raw = Raw::connect(&app).await;
    raw.send(&whole[..whole.len() - 1]).await;
    raw.finish().await;
    raw.rest().await;
    let mut raw = Raw::connect(&app).await;
    let head = raw::request("POST", "/api/chat/messages", &ada, None);
    let chunked = head.replace("\r\n\r\n", "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    raw.send(format!("{chunked}{:x}\r\n{body}\r\nnonsense\r\n", body.len())).await;
    raw.answer().await.is_problem(400, "incomplete_body", None);
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let app = App::with(&[("PERSONA_REQUEST_MS", "1000")]);
    let ada = Person::new(&app, "Ada").await;
    let request = raw::request("POST", "/api/generate/text", &ada, Some(r#"{"prompt":"A poem"}"#));
    let (mut none, mut half) = (Raw::connect(&app).await, Raw::connect(&app).await);
    none.send(request.split_inclusive("\r\n\r\n").next().unwrap()).await;
    half.send(&request[..request.len() - 1]).await;
    for mut raw in [none, half] {
        raw.answer().await.is_problem(408, "request_timeout", None);
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_flood_of_bodies_does_not_fill_the_memory() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let before = resident_kib(app.pid());
    let megabyte = bytes::Bytes::from(vec![b' '; 1024 * 1024]);
    let flood = join_all((0..20).map(|_| {
        let pieces = stream::iter(vec![megabyte.clone(); 16]).map(Ok::<_, std::io::Error>);
        let request = ada.request(Method::POST, "/api/chat/messages").header("Content-Type", "application/json").body(Body::wrap_stream(pieces));
        // The server may hang up on who goes on sending.
        async { drop(request.send().await) }
    }));
    flood.await;
    let grown = resident_kib(app.pid()).saturating_sub(before);
    assert!(grown < 64 * 1024, "320 MiB of bodies have left {grown} KiB");
}

/// 64 KiB of headers, as one and as a thousand.
fn too_many_headers() -> [String; 2] {
    let mut many = String::new();
    for number in 0..1000 {
        let _ = write!(many, "X-Header-{number}: {}\r\n", "a".repeat(50));
    }
    [format!("X-Header: {}\r\n", "a".repeat(64 * 1024)), many]
}

#[tokio::test]
async fn headers_of_64_kib_are_refused() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let [one, many] = too_many_headers();
    for headers in [one, many, "a: b\r\n".repeat(97), format!("X-Header: {}\r\n", "a".repeat(300 * 1024))] {
        let mut raw = Raw::connect(&app).await;
        let request = raw::request("POST", "/api/generate/text", &ada, Some(r#"{"prompt":"A poem"}"#));
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        raw.send(format!("{head}\r\n{headers}\r\n{body}")).await;
        raw.answer().await.is_problem(431, "headers_too_large", None);
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn headers_of_64_kib_are_refused_over_http2_as_well() {
    let app = App::start();
    let ada = Person::with_client(&app, "Ada", Client::builder().http2_prior_knowledge().build().unwrap()).await;
    for headers in too_many_headers() {
        let lines = headers.lines().map(|line| line.split_once(": ").unwrap());
        let request = lines.fold(ada.request(Method::POST, "/api/generate/text"), |request, (name, value)| request.header(name, value));
        refused(request.json(&json!({"prompt": "A poem"})), 431, "headers_too_large", None).await;
    }
    ada.has_stored_nothing().await;
}
