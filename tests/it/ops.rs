//! What those who operate the server see of it.

use std::collections::HashMap;

use reqwest::{Client, Method, header::HeaderValue};
use serde_json::json;

use crate::support::{
    answer::Answer,
    app::App,
    eventually,
    person::{GENERAL, Person},
    raw::Raw,
    sse::Stream,
};

async fn get(app: &App, path: &str) -> Answer {
    Answer::to(Client::new().get(format!("{}{path}", app.url))).await
}

#[tokio::test]
async fn a_server_that_is_well_is_alive_and_ready() {
    let app = App::start();
    let (health, ready) = (get(&app, "/healthz").await, get(&app, "/readyz").await);
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready"})));
    for answer in [health, ready] {
        assert_eq!((answer.header("cache-control"), answer.header("content-type")), ("no-store", "application/json"));
    }
}

#[tokio::test]
async fn a_server_that_stops_is_alive_but_not_ready() {
    let mut app = App::with(&[("PERSONA_DRAIN_MS", "1000")]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let mut raw = Raw::connect(&app).await;
    // Asks on a connection that is open already, as new ones are no longer accepted soon.
    let mut asked = async |path: &str| {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: persona\r\n\r\n")).await;
        raw.answer().await
    };
    assert_eq!(asked("/readyz").await.status, 200);
    app.signal("TERM");
    let ready = loop {
        let answer = asked("/readyz").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(ready.is_problem(503, "not_ready", None)["detail"], "the server is stopping");
    assert_eq!(asked("/healthz").await.status, 200);
    // Who would listen now is sent away with what a browser comes back from.
    let response = ada.stream_request(&[GENERAL], None).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["connection"]), (200, &HeaderValue::from_static("close")));
    let mut farewell = Stream::of(response);
    farewell.ready().await;
    let [closing] = farewell.to_end().await.try_into().unwrap();
    assert_eq!((closing.name.as_str(), &closing.data["reason"], &closing.data["reconnect"]), ("closing", &json!("drain"), &json!(true)));
    assert!((2000..=5000).contains(&farewell.retry.unwrap()) && farewell.last_id.is_none());
    let last = stream.to_end().await.pop().unwrap();
    assert_eq!((last.name.as_str(), &last.data["reason"], &last.data["reconnect"]), ("closing", &json!("drain"), &json!(true)));
    assert!(app.wait());
    assert!(app.log().contains("stopped"), "{}", app.log());
}

/// The values of a text in Prometheus' format, which must be right to the letter.
fn prometheus(text: &str) -> HashMap<String, f64> {
    let (mut helped, mut typed, mut values) = (Vec::new(), Vec::new(), HashMap::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                assert!(!help.is_empty() && !helped.contains(name), "{line}");
                helped.push(name);
            }
            ["#", "TYPE", name, kind] => {
                assert!(matches!(*kind, "gauge" | "counter" | "histogram" | "summary" | "untyped") && !typed.contains(name), "{line}");
                typed.push(name);
            }
            [sample, value] => {
                let name = sample.split('{').next().unwrap();
                let suffixes = ["", "_bucket", "_sum", "_count"];
                let family = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix).filter(|family| typed.contains(family)));
                assert!(family.is_some_and(|family| helped.contains(&family)), "{line} comes before what it is");
                assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':'), "{line}");
                assert!(values.insert((*sample).to_owned(), value.parse().unwrap()).is_none(), "{line} twice");
            }
            _ => panic!("{line:?}"),
        }
    }
    values
}

#[tokio::test]
async fn the_figures_are_what_prometheus_reads() {
    let app = App::with(&[("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", "10000")]);
    let ada = Person::new(&app, "Ada").await;
    let (_one, _two) = (ada.listen(&[GENERAL]).await, ada.listen(&[GENERAL, "channel:other"]).await);
    let running = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&running, "running").await;
    for _ in 0..3 {
        ada.generate("text", &json!({"prompt": "A poem"})).await;
    }
    let answer = get(&app, "/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4"));
    let values = prometheus(answer.text());
    let told = ["persona_streams", "persona_rooms", "persona_jobs_running"].map(|name| values[name].to_string());
    assert_eq!(told, ["2", "3", "1"]);
    // What keeps the house may wait as well.
    assert!(values["persona_jobs_waiting"] >= 3.0, "{values:?}");
    let texts = ["available", "running"].map(|state| values[&format!("persona_queue_jobs{{kind=\"generate_text\",state=\"{state}\"}}")].to_string());
    assert_eq!(texts, ["3", "1"]);
    assert!(values["persona_queue_oldest_seconds{kind=\"generate_text\"}"] < 60.0);
}

#[tokio::test]
async fn a_newcomer_finds_a_page_that_may_do_no_more_than_it_needs() {
    let app = App::start();
    let page = get(&app, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none';"), "{page:?}");
    assert!(page.text().to_lowercase().starts_with("<!doctype html>"));
}

#[tokio::test]
async fn health_exits_by_what_the_server_answers() {
    let mut app = App::start();
    let health = |app: &App| app.command().arg("health").output().unwrap();
    assert!(health(&app).status.success());
    let everywhere = app.address.to_string().replace("127.0.0.1", "0.0.0.0");
    assert!(app.command().env("PERSONA_LISTEN", everywhere).arg("health").status().unwrap().success());
    app.kill();
    let output = health(&app);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&format!("nobody listens on {}", app.address)));
}

#[tokio::test]
async fn health_is_not_taken_in_by_somebody_else() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap().to_string();
    let health = tokio::task::spawn_blocking(move || App::builder(&[("PERSONA_LISTEN", &address)]).command().arg("health").output().unwrap());
    let (socket, _) = other.accept().await.unwrap();
    let mut raw = Raw::over(socket);
    assert!(raw.until("\r\n\r\n").await.starts_with("GET /healthz HTTP/1.1\r\n"));
    raw.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let output = health.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("404"));
}

#[tokio::test]
async fn the_log_tells_how_long_the_start_took_and_nothing_of_what_clients_do_wrong() {
    let app = App::start();
    let mut raw = Raw::connect(&app).await;
    raw.send("nonsense\r\n\r\n").await;
    raw.answer().await.is_problem(400, "bad_request", None);
    let ada = Person::new(&app, "Ada").await;
    assert_eq!(Answer::to(ada.request(Method::POST, "/api/generate/text").json(&json!({}))).await.status, 400);
    eventually("the start is logged", async || app.log().contains("accepting connections after ").then_some(())).await;
    assert!(!app.log().contains("ERROR") && !app.log().contains("WARN"), "{}", app.log());
    assert!(!app.log().contains(&ada.token));
}
