//! Requests that are wrong as requests: paths, methods, keys, and bytes that are no HTTP.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    answer::{Answer, refused},
    app::App,
    person::{GENERAL, Person},
    raw::Raw,
};

#[tokio::test]
async fn a_path_that_leads_nowhere_is_not_found() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let paths = [
        "/nothing",
        "/api",
        "/api/",
        "/api/session/",
        "/API/session",
        "/api/jobs/",
        "/api/jobs/a/b",
        "/api/chat",
        "/api/generate",
        "/api/generate/video",
        "/media",
        "/media/",
        "/media/x.png",
        "/media/%2e%2e%2fpersona.sqlite",
        "/media/..%2Fsecret",
        "//api/session",
        "/%ff",
        "/healthz/x",
        "/index.html",
    ];
    for path in paths {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT] {
            // What is below /media/ is known by its method first.
            if method == Method::GET || !path.starts_with("/media/") || path == "/media/" {
                refused(ada.request(method, path), 404, "not_found", None).await;
            }
        }
        let head = Answer::to(ada.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.body.len(), head.header("content-type")), (404, 0, "application/problem+json"), "{path}");
    }
}

#[tokio::test]
async fn every_path_refuses_other_methods_and_says_which_it_takes() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let paths = [
        ("/", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/media/x.png", "GET, HEAD"),
        ("/api/session", "GET, HEAD, POST, DELETE"),
        ("/api/events", "GET"),
        ("/api/chat/messages", "GET, HEAD, POST"),
        ("/api/chat/typing", "POST"),
        ("/api/presence", "GET, HEAD"),
        ("/api/generate/text", "POST"),
        ("/api/generate/image", "POST"),
        ("/api/jobs", "GET, HEAD"),
        ("/api/jobs/0190a000-0000-7000-8000-00000000000a", "GET, HEAD, DELETE"),
    ];
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
    for (path, allowed) in paths {
        for method in methods.into_iter().filter(|method| !allowed.split(", ").any(|allowed| allowed == *method)) {
            let request = ada.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
            let answer = Answer::to(request).await;
            assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
            if method == "HEAD" {
                assert_eq!((answer.header("content-type"), answer.body.len()), ("application/problem+json", 0));
            } else {
                answer.is_problem(405, "method_not_allowed", None);
            }
        }
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn every_answer_carries_a_request_id_the_clients_own_where_it_is_usable() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let ask = |path: &str, id: &str| Answer::to(ada.request(Method::GET, path).header("X-Request-Id", id));
    let long = "a".repeat(128);
    for path in ["/", "/healthz", "/readyz", "/metrics", "/api/session", "/api/jobs", "/nothing", "/api/jobs/x", "/api/presence"] {
        for id in ["mine-1", "a", "{\"x\"}", &long] {
            assert_eq!(ask(path, id).await.header("x-request-id"), id, "{path}");
        }
        let mut made = Vec::new();
        for id in ["", "two words", &format!("{long}a"), "tab\there"] {
            let given = ask(path, id).await.header("x-request-id").to_owned();
            assert!(given.len() == 36 && given != id, "{path}: {given}");
            made.push(given);
        }
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 4);
    }
    let delete = Answer::to(ada.request(Method::DELETE, "/api/session")).await;
    assert_eq!((delete.status, delete.header("x-request-id").len()), (204, 36));
    assert_eq!(ask("/nothing", "mine-2").await.is_problem(404, "not_found", None)["requestId"], "mine-2");
}

#[tokio::test]
async fn bytes_that_are_no_http_are_refused_with_a_problem() {
    let app = App::start();
    let wrong = [
        "\r\n\r\nnonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/9.9\r\nHost: persona\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: persona\r\nHost: other\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: persona\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: persona\r\nX-\0: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: persona\r\nX-A: \0\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: persona\r\n\r\n",
        "G\x01T / HTTP/1.1\r\nHost: persona\r\n\r\n",
        "POST /api/session HTTP/1.1\r\nHost: persona\r\nContent-Length: +5\r\n\r\n{}   ",
        "POST /api/session HTTP/1.1\r\nHost: persona\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        "POST /api/session HTTP/1.1\r\nHost: persona\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "POST /api/session HTTP/1.1\r\nHost: persona\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ];
    for bytes in wrong {
        let mut raw = Raw::connect(&app).await;
        raw.send(bytes).await;
        raw.answer().await.is_problem(400, "bad_request", None);
        assert_eq!(raw.rest().await, b"", "{bytes:?}");
    }
    let mut raw = Raw::connect(&app).await;
    raw.send(format!("GET /{} HTTP/1.1\r\nHost: persona\r\n\r\n", "a".repeat(100_000))).await;
    raw.answer().await.is_problem(400, "bad_request", None);
    let mut raw = Raw::connect(&app).await;
    raw.send("GET /healthz HTTP/1.1\r\nHost: persona\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_is_answered_as_if_it_stood_alone() {
    let app = App::start();
    let mut raw = Raw::connect(&app).await;
    raw.send("GET /healthz HTTP/1.1\r\nHost: persona\r\n\r\nGET /nothing HTTP/1.1\r\nHost: persona\r\n\r\nnonsense\r\n\r\n").await;
    assert_eq!(raw.answer().await.json(), json!({"status": "ok"}));
    raw.answer().await.is_problem(404, "not_found", None);
    raw.answer().await.is_problem(400, "bad_request", None);
    assert_eq!(raw.rest().await, b"");
}

#[tokio::test]
async fn an_idempotency_key_must_be_1_to_255_visible_characters() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let long = "k".repeat(256);
    for (path, body) in [
        ("/api/chat/messages", json!({"channel": GENERAL, "content": "Hello", "reply": false})),
        ("/api/generate/text", json!({"prompt": "A poem"})),
        ("/api/generate/image", json!({"prompt": "A cat"})),
    ] {
        for key in ["", "\"\"", "two words", "tab\there", "é", &long, &format!("\"{long}\"")] {
            let request = ada.request(Method::POST, path).header("Idempotency-Key", key.as_bytes()).json(&body);
            refused(request, 400, "invalid_field", Some("Idempotency-Key")).await;
        }
    }
    ada.has_stored_nothing().await;
    for key in ["k", &"k".repeat(255), &format!("\"{}\"", "q".repeat(255)), "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"] {
        let request = ada.request(Method::POST, "/api/generate/text").header("Idempotency-Key", key).json(&json!({"prompt": "A poem"}));
        assert_eq!(Answer::to(request).await.status, 202, "{key}");
    }
}
