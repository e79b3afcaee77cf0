//! HTTPS: with a certificate made on the spot, and with one from files.

use std::{io::Write as _, path::PathBuf};

use futures_util::future::join_all;
use http::Method;
use rcgen::CertifiedKey;
use reqwest::Client;
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::support::{
    app::{App, Builder},
    http2::Http2,
    person::{GENERAL, Person},
    raw::{self, Raw},
    tls,
    token::{self, SECRET},
};

/// A certificate for `localhost` in files.
struct Certificate {
    der: CertificateDer<'static>,
    folder: TempDir,
}

impl Certificate {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::File::create(folder.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        write("cert.pem", &cert.pem());
        write("key.pem", &signing_key.serialize_pem());
        Self { der: cert.der().clone(), folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server that has it, and knows the tokens that a test signs.
    fn server(&self, settings: &[(&str, &str)]) -> Builder {
        let (cert, key) = (self.file("cert.pem"), self.file("key.pem"));
        let own = [("PERSONA_TLS_CERT", cert.to_str().unwrap()), ("PERSONA_TLS_KEY", key.to_str().unwrap()), ("PERSONA_SECRET", SECRET)];
        App::builder(&[&own, settings].concat())
    }
}

/// Somebody with a token, who has not used the server yet.
fn person(app: &App, id: &str) -> Person {
    let token = token::of(&json!({"sub": id, "name": id, "exp": token::in_seconds(60)}));
    Person { client: Client::new(), url: app.url.clone(), id: id.to_owned(), name: id.to_owned(), token }
}

#[tokio::test]
async fn a_browser_gets_http2_where_it_offers_it_and_http1_where_not() {
    let certificate = Certificate::new();
    let app = certificate.server(&[]).start();
    assert!(app.url.starts_with("https://"), "{}", app.url);
    let offers: [(&[&str], Option<&[u8]>); 4] =
        [(&["h2", "http/1.1"], Some(b"h2")), (&["http/1.1", "h2"], Some(b"h2")), (&["http/1.1"], Some(b"http/1.1")), (&[], None)];
    for (offered, chosen) in offers {
        let socket = tls::connect(&app, &certificate.der, offered).await.unwrap();
        assert_eq!(socket.get_ref().1.alpn_protocol(), chosen);
        let ada = person(&app, "ada");
        let session = if chosen == Some(b"h2") {
            let connection = Http2::over(socket, &app.url).await;
            connection.answer(connection.request(&ada, Method::GET, "/api/session"), None).await
        } else {
            let mut raw = Raw::over(socket);
            raw.send(raw::request("GET", "/api/session", &ada, None)).await;
            raw.answer().await
        };
        assert_eq!((session.status, &session.json()["userId"]), (200, &json!("ada")));
    }
}

#[tokio::test]
async fn a_stream_and_posts_share_one_encrypted_connection() {
    let certificate = Certificate::new();
    let app = certificate.server(&[]).start();
    let (ada, ben) = (person(&app, "ada"), person(&app, "ben"));
    let connection = Http2::over(tls::connect(&app, &certificate.der, &["h2"]).await.unwrap(), &app.url).await;
    let mut stream = connection.listen(&ben, GENERAL).await;
    for number in 0..10 {
        let body = json!({"channel": GENERAL, "content": format!("message {number}"), "reply": number == 9});
        let answer = connection.answer(connection.request(&ada, Method::POST, "/api/chat/messages"), Some(&body)).await;
        assert_eq!(answer.status, 202);
        assert_eq!(stream.next_of("chat").await.data["result"]["id"], answer.json()["message"]["id"]);
    }
    assert_eq!(stream.next_of("ai_chat").await.data["result"]["finishReason"], "stop");
}

#[tokio::test]
async fn an_encrypted_connection_of_http1_streams_as_well() {
    let certificate = Certificate::new();
    let app = certificate.server(&[]).start();
    let ada = person(&app, "ada");
    let mut raw = Raw::over(tls::connect(&app, &certificate.der, &["http/1.1"]).await.unwrap());
    raw.send(raw::request("GET", "/api/events?channel=channel:general", &ada, None)).await;
    assert_eq!(raw.head().await.status, 200);
    raw.until("event: ready").await;
    let mut other = Raw::over(tls::connect(&app, &certificate.der, &["http/1.1"]).await.unwrap());
    other.send(raw::request("POST", "/api/chat/messages", &ada, Some(r#"{"channel":"channel:general","content":"Hello","reply":false}"#))).await;
    assert_eq!(other.answer().await.status, 202);
    raw.until(r#""type":"chat""#).await;
    other.send("nonsense\r\n\r\n").await;
    other.answer().await.is_problem(400, "bad_request", None);
}

#[tokio::test]
async fn the_cookie_of_an_encrypted_connection_is_for_such_alone() {
    let certificate = Certificate::new();
    let app = certificate.server(&[]).start();
    let ada = person(&app, "ada");
    for protocol in ["h2", "http/1.1"] {
        let socket = tls::connect(&app, &certificate.der, &[protocol]).await.unwrap();
        let answers = if protocol == "h2" {
            let connection = Http2::over(socket, &app.url).await;
            let ask = async |method| connection.answer(connection.request(&ada, method, "/api/session"), None).await;
            [ask(Method::POST).await, ask(Method::DELETE).await]
        } else {
            let mut raw = Raw::over(socket);
            raw.send(raw::request("POST", "/api/session", &ada, None)).await;
            let made = raw.answer().await;
            raw.send(raw::request("DELETE", "/api/session", &ada, None)).await;
            [made, raw.answer().await]
        };
        assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 204]);
        for answer in &answers {
            let cookie = answer.header("set-cookie");
            for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                assert!(cookie.split("; ").any(|other| other == attribute), "{attribute} in {cookie}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_can_be_made_on_the_spot() {
    let app = App::builder(&[]).flag("--dev-tls").start();
    assert!(app.url.starts_with("https://"));
    // Nobody vouches for it: a client that wants to know whom it talks to refuses.
    let other = Certificate::new();
    let error = tls::connect(&app, &other.der, &["h2"]).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let health = app.command().arg("health").output().unwrap();
    assert!(health.status.success(), "{health:?}");
}

#[tokio::test]
async fn who_does_not_speak_tls_is_let_go_and_disturbs_nobody() {
    let certificate = Certificate::new();
    let app = certificate.server(&[("PERSONA_REQUEST_MS", "1000")]).start();
    let strangers = ["GET /healthz HTTP/1.1\r\nHost: persona\r\n\r\n", "", "\x16\x03\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].map(|said| {
        let app = &app;
        async move {
            let mut raw = Raw::connect(app).await;
            raw.send(said).await;
            raw.gone().await;
        }
    });
    let silent_after_its_handshake = async {
        let mut raw = Raw::over(tls::connect(&app, &certificate.der, &["http/1.1"]).await.unwrap());
        raw.answer().await.is_problem(408, "request_timeout", None);
    };
    tokio::join!(join_all(strangers), silent_after_its_handshake);
    let connection = Http2::over(tls::connect(&app, &certificate.der, &["h2"]).await.unwrap(), &app.url).await;
    assert_eq!(connection.answer(connection.request(&person(&app, "ada"), Method::GET, "/healthz"), None).await.status, 200);
}

#[tokio::test]
async fn a_certificate_that_is_no_good_is_told_at_the_start() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (cert, key, missing) = (path(certificate.file("cert.pem")), path(certificate.file("key.pem")), path(certificate.file("none.pem")));
    let cases = [
        (missing.clone(), key.clone(), "PERSONA_TLS_CERT"),
        (cert.clone(), missing, "PERSONA_TLS_KEY"),
        (key.clone(), key.clone(), "PERSONA_TLS_CERT"),
        (cert.clone(), cert.clone(), "PERSONA_TLS_KEY"),
        (cert, path(other.file("key.pem")), "don't belong together"),
    ];
    for (cert, key, reason) in cases {
        let said = App::builder(&[("PERSONA_TLS_CERT", &cert), ("PERSONA_TLS_KEY", &key)]).try_start().err().unwrap();
        assert!(said.contains(reason), "{reason}: {said}");
    }
}
