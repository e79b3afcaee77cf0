//! HTTP/2 without encryption: many requests and streams on one connection.

use std::collections::HashSet;

use futures_util::future::join_all;
use http::{HeaderValue, Method};
use reqwest::Client;
use serde_json::json;

use crate::support::{
    answer::Answer,
    app::App,
    eventually,
    http2::Http2,
    person::{GENERAL, Person},
};

async fn streams(connection: &Http2, person: &Person) -> String {
    let metrics = connection.answer(connection.request(person, Method::GET, "/metrics"), None).await;
    metrics.text().lines().find_map(|line| line.strip_prefix("persona_streams ")).unwrap().to_owned()
}

#[tokio::test]
async fn both_protocols_are_spoken_on_the_plain_port() {
    let app = App::start();
    let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    for (client, version) in [(Client::new(), http::Version::HTTP_11), (http2, http::Version::HTTP_2)] {
        let ada = Person::with_client(&app, "Ada", client).await;
        let response = ada.request(Method::GET, "/api/session").send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
        let mut stream = ada.listen(&[GENERAL]).await;
        let said = ada.say(GENERAL, "Hello").await;
        assert_eq!(stream.next_of("chat").await.data["result"]["id"], said["id"]);
    }
}

#[tokio::test]
async fn streams_and_posts_share_one_connection() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let connection = Http2::connect(&app).await;
    let (mut hers, mut his) = tokio::join!(connection.listen(&ada, GENERAL), connection.listen(&ben, GENERAL));
    let posted = join_all((0..50).map(|number| {
        let body = json!({"channel": GENERAL, "content": format!("message {number}"), "reply": false});
        let (connection, person) = (&connection, if number % 2 == 0 { &ada } else { &ben });
        async move { connection.answer(connection.request(person, Method::POST, "/api/chat/messages"), Some(&body)).await }
    }))
    .await;
    let said: HashSet<_> = posted.iter().map(|answer| answer.json()["message"]["id"].as_str().unwrap().to_owned()).collect();
    assert!(said.len() == 50 && posted.iter().all(|answer| answer.status == 202));
    for stream in [&mut hers, &mut his] {
        let mut heard = HashSet::new();
        while heard.len() < 50 {
            heard.insert(stream.next_of("chat").await.data["result"]["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(heard, said);
    }
    assert_eq!(streams(&connection, &ada).await, "2");
}

#[tokio::test]
async fn a_stream_that_is_given_up_ends_while_its_connection_goes_on() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let connection = Http2::connect(&app).await;
    let first = connection.listen(&ada, GENERAL).await;
    let mut second = connection.listen(&ada, GENERAL).await;
    assert_eq!(streams(&connection, &ada).await, "2");
    drop(first);
    eventually("the stream is gone", async || (streams(&connection, &ada).await == "1").then_some(())).await;
    let said = ada.say(GENERAL, "Still there?").await;
    assert_eq!(second.next_of("chat").await.data["result"]["id"], said["id"]);
    drop((second, connection));
    eventually("all are gone", async || {
        let metrics = Answer::to(ada.request(Method::GET, "/metrics")).await;
        metrics.text().contains("persona_streams 0\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_stream_has_no_header_of_http1_and_is_not_compressed() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let connection = Http2::connect(&app).await;
    let mut request = connection.request(&ada, Method::GET, "/api/events?channel=channel:general");
    request.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip, br, zstd"));
    let response = connection.send(request, None).await;
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!((response.status().as_u16(), header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(header("cache-control"), Some("private, no-cache, no-store, no-transform"));
    assert_eq!((header("x-accel-buffering"), header("x-request-id").map(str::len)), (Some("no"), Some(36)));
    for name in ["content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"] {
        assert_eq!(header(name), None, "{name}");
    }
}

#[tokio::test]
async fn refusals_and_answers_without_a_body_are_what_they_are_over_http1() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let connection = Http2::connect(&app).await;
    let ask = async |method: Method, path: &str| connection.answer(connection.request(&ada, method, path), None).await;
    ask(Method::GET, "/nothing").await.is_problem(404, "not_found", None);
    let refused = ask(Method::PUT, "/api/jobs").await;
    refused.is_problem(405, "method_not_allowed", None);
    assert_eq!(refused.header("allow"), "GET, HEAD");
    let head = ask(Method::HEAD, "/api/session").await;
    assert_eq!((head.status, head.body.len(), head.header("content-type")), (200, 0, "application/json"));
    let gone = ask(Method::DELETE, "/api/session").await;
    assert_eq!((gone.status, gone.body.len(), gone.headers.contains_key("set-cookie")), (204, 0, true));
    let body = json!({"channel": GENERAL, "content": "a".repeat(300 * 1024)});
    let large = connection.answer(connection.request(&ada, Method::POST, "/api/chat/messages"), Some(&body)).await;
    large.is_problem(413, "body_too_large", None);
    assert_eq!(ask(Method::GET, "/api/session").await.status, 200);
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_cookie_that_comes_in_crumbs_is_put_together() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let connection = Http2::connect(&app).await;
    let mut request = connection.request(&ada, Method::GET, "/api/session");
    request.headers_mut().remove("authorization");
    for crumb in ["a=b".to_owned(), format!("persona_session={}", ada.token), "nonsense".to_owned()] {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    assert_eq!(connection.answer(request, None).await.json()["userId"], json!(ada.id));
}
