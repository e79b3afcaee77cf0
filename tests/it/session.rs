//! Becoming somebody, staying so, and being nobody again.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    answer::{Answer, refused},
    app::App,
    person::{GENERAL, Person},
    sse::Stream,
    token::{self, SECRET},
};

/// The value of the session cookie and its attributes, in lower case and sorted.
fn cookie(answer: &Answer) -> (String, Vec<String>) {
    let mut parts = answer.header("set-cookie").split("; ");
    let value = parts.next().unwrap().strip_prefix("persona_session=").unwrap().to_owned();
    let mut attributes: Vec<String> = parts.map(str::to_lowercase).collect();
    attributes.sort();
    (value, attributes)
}

#[tokio::test]
async fn a_guest_gets_a_token_and_a_cookie_that_scripts_cannot_read() {
    let app = App::start();
    let answer = Answer::to(Client::new().post(format!("{}/api/session", app.url)).json(&json!({"userName": " Ada "}))).await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, "no-store"));
    let session = answer.json();
    assert_eq!(session.as_object().unwrap().keys().collect::<Vec<_>>(), ["expiresAt", "token", "userId", "userName"]);
    let id = session["userId"].as_str().unwrap().strip_prefix("u_").unwrap();
    assert!((1..=62).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert_eq!(session["userName"], "Ada");
    let expires = session["expiresAt"].as_str().unwrap();
    assert!(expires.len() == 24 && expires.ends_with('Z') && expires.as_bytes()[19] == b'.', "{expires}");
    let (value, attributes) = cookie(&answer);
    assert_eq!(session["token"], value);
    let age = attributes.iter().find_map(|attribute| attribute.strip_prefix("max-age=")).unwrap().parse::<u32>().unwrap();
    assert!((720 * 3600 - 5..=720 * 3600).contains(&age), "{age}");
    assert_eq!(attributes, ["httponly".to_owned(), format!("max-age={age}"), "path=/".into(), "samesite=lax".into()]);
}

#[tokio::test]
async fn a_guest_needs_no_name_and_no_body() {
    let app = App::start();
    let url = format!("{}/api/session", app.url);
    let client = Client::new();
    let json = |body: Value| client.post(&url).json(&body);
    for request in [client.post(&url), client.post(&url).header("Content-Type", "text/plain"), json(json!({})), json(json!({"userName": null}))] {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 201);
        assert!(answer.json()["userName"].as_str().unwrap().starts_with("Guest "));
    }
    refused(client.post(&url).header("Content-Type", "application/json").body(" "), 400, "invalid_json", None).await;
}

#[tokio::test]
async fn whoever_is_known_by_cookie_or_token_stays_the_same_person() {
    let app = App::with(&[("PERSONA_SESSION_HOURS", "1")]);
    let ada = Person::new(&app, "Ada").await;
    let url = format!("{}/api/session", app.url);
    let by_token = ada.client.post(&url).bearer_auth(&ada.token);
    let by_cookie = ada.client.post(&url).header("Cookie", format!("persona_session={}", ada.token));
    for request in [by_token, by_cookie] {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200);
        let session = answer.json();
        assert_eq!((&session["userId"], &session["userName"]), (&json!(ada.id), &json!("Ada")));
        let again = Person::with_token(&app, session["token"].as_str().unwrap()).await;
        assert_eq!((again.id, again.name), (ada.id.clone(), ada.name.clone()));
        assert_eq!(cookie(&answer).0, session["token"]);
    }
    let renamed = Answer::to(ada.client.post(&url).bearer_auth(&ada.token).json(&json!({"userName": "Ada L."}))).await;
    assert_eq!((renamed.status, &renamed.json()["userId"], &renamed.json()["userName"]), (200, &json!(ada.id), &json!("Ada L.")));
    let said = Person::with_token(&app, renamed.json()["token"].as_str().unwrap()).await.say(GENERAL, "Hello").await;
    assert_eq!((&said["userId"], &said["userName"]), (&json!(ada.id), &json!("Ada L.")));
    assert_ne!(Person::new(&app, "Ada").await.id, ada.id);
}

#[tokio::test]
async fn who_one_is_can_be_asked_and_forgotten() {
    let app = App::start();
    let browser = Client::builder().cookie_store(true).build().unwrap();
    let url = format!("{}/api/session", app.url);
    let made = Answer::to(browser.post(&url).json(&json!({"userName": "Ada"}))).await.json();
    let shown = Answer::to(browser.get(&url)).await;
    assert_eq!((shown.status, shown.header("cache-control")), (200, "no-store"));
    assert_eq!(shown.json(), json!({"userId": made["userId"], "userName": "Ada", "expiresAt": made["expiresAt"]}));
    assert_eq!(Answer::to(browser.head(&url)).await.status, 200);

    let deleted = Answer::to(browser.delete(&url)).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    let (value, attributes) = cookie(&deleted);
    assert_eq!(value, "");
    for attribute in ["max-age=0", "path=/", "httponly", "samesite=lax"] {
        assert!(attributes.iter().any(|other| other == attribute), "{attribute} in {attributes:?}");
    }
    refused(browser.get(&url), 401, "unauthenticated", None).await;
    assert_eq!(browser.delete(&url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(Answer::to(browser.post(&url)).await.status, 201);
}

#[tokio::test]
async fn the_cookie_is_found_among_others_whatever_they_are() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let ask = |cookies: &[u8]| Answer::to(ada.client.get(format!("{}/api/session", app.url)).header("Cookie", cookies));
    let own = format!("persona_session={}", ada.token);
    for around in [
        &["a=b; ", "; c=d"],
        &["nonsense; ", ""],
        &["=; ", "; ="],
        &["a=%ff;", ";b=\"x"],
        &["é=ü; ", ""],
        &["xpersona_session=1; ", "; persona_session2=3"],
    ] {
        let answer = ask(around.join(&own).as_bytes()).await;
        assert_eq!((answer.status, &answer.json()["userId"]), (200, &json!(ada.id)), "{around:?}");
    }
    assert_eq!(ask(&[b"a=\xff; ", own.as_bytes()].concat()).await.status, 200);
}

#[tokio::test]
async fn an_old_cookie_is_no_reason_to_refuse_a_new_guest() {
    let app = App::start();
    let post = || Client::new().post(format!("{}/api/session", app.url));
    for old in ["", "nonsense", &token::of(&json!({"sub": "u_1", "name": "A", "exp": token::in_seconds(60)}))] {
        assert_eq!(Answer::to(post().header("Cookie", format!("persona_session={old}"))).await.status, 201);
    }
}

#[tokio::test]
async fn a_session_outlives_the_server_with_a_secret_that_nobody_else_can_read() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mode = std::fs::metadata(app.data().join("secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let app = app.restart();
    assert_eq!(Person::with_token(&app, &ada.token).await.id, ada.id);
}

#[tokio::test]
async fn a_token_in_the_query_is_for_the_stream_alone() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let own = |stream: Stream| stream.opened.unwrap().data["channels"][0].clone();
    let open = async |request| {
        let mut stream = Stream::open(request).await;
        stream.ready().await;
        own(stream)
    };
    let url = |path: &str| format!("{}{path}", app.url);
    let by_query = || ada.client.get(url("/api/events")).query(&[("access_token", &ada.token)]);
    assert_eq!(open(by_query()).await, format!("user:{}", ada.id));
    // What is said on purpose goes before what the browser sends by itself.
    for cookie in [&ben.token, "nonsense"] {
        assert_eq!(open(by_query().header("Cookie", format!("persona_session={cookie}"))).await, format!("user:{}", ada.id));
    }
    assert_eq!(open(by_query().bearer_auth(&ben.token)).await, format!("user:{}", ben.id));
    assert_eq!(open(ada.client.get(url("/api/events")).header("Cookie", format!("persona_session={}", ben.token))).await, format!("user:{}", ben.id));

    let gets = ["/api/session", "/api/jobs", "/api/chat/messages?channel=channel:general", "/api/presence?channel=channel:general"];
    for path in gets {
        refused(ada.client.get(url(path)).query(&[("access_token", &ada.token)]), 401, "unauthenticated", None).await;
    }
    for path in ["/api/chat/messages", "/api/chat/typing", "/api/generate/text", "/api/generate/image"] {
        refused(ada.client.post(url(path)).query(&[("access_token", &ada.token)]).json(&json!({})), 401, "unauthenticated", None).await;
    }
    let session = Answer::to(ada.client.post(url("/api/session")).query(&[("access_token", &ada.token)])).await;
    assert_eq!(session.status, 201, "a new guest, as nobody is known");
}

#[tokio::test]
async fn a_channels_claim_limits_rooms_in_every_call() {
    let app = App::with(&[("PERSONA_SECRET", SECRET)]);
    let claims = json!({"sub": "u_ada", "name": "Ada", "exp": token::in_seconds(60), "channels": ["channel:general", "channel:team-*"]});
    let ada = Person::with_token(&app, &token::of(&claims)).await;
    let calls = |channel: &str| {
        [
            ada.request(Method::GET, &format!("/api/events?channel=channel:general&channel={channel}")),
            ada.request(Method::POST, "/api/chat/messages").json(&json!({"channel": channel, "content": "Hello", "reply": false})),
            ada.request(Method::POST, "/api/chat/typing").json(&json!({"channel": channel, "isTyping": false})),
            ada.request(Method::GET, &format!("/api/chat/messages?channel={channel}")),
            ada.request(Method::GET, &format!("/api/presence?channel={channel}")),
        ]
    };
    for channel in ["channel:general", "channel:team-a", "channel:team-"] {
        for request in calls(channel) {
            assert!(request.send().await.unwrap().status().is_success(), "{channel}");
        }
    }
    for channel in ["channel:generals", "channel:General", "channel:team", "channel:secret", "channel:ateam-a"] {
        for request in calls(channel) {
            refused(request, 403, "channel_forbidden", Some("channel")).await;
        }
    }
    // A new session of the same person has the same limits.
    let again = ada.post("/api/session", &json!({"userName": "Ada L."})).await.json::<Value>().await.unwrap();
    let again = Person::with_token(&app, again["token"].as_str().unwrap()).await;
    refused(again.request(Method::GET, "/api/presence?channel=channel:secret"), 403, "channel_forbidden", Some("channel")).await;
    assert_eq!(again.name, "Ada L.");
}

#[tokio::test]
async fn a_stream_ends_with_its_identity() {
    let app = App::with(&[("PERSONA_SECRET", SECRET)]);
    let claims = json!({"sub": "u_ada", "name": "Ada", "exp": token::in_seconds(2)});
    let ada = Person::with_token(&app, &token::of(&claims)).await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let last = stream.to_end().await.pop().unwrap();
    assert_eq!((last.name.as_str(), last.kind()), ("closing", "stream_closing"));
    assert_eq!((&last.data["reason"], &last.data["reconnect"]), (&json!("expired"), &json!(true)));
    refused(ada.request(Method::GET, "/api/jobs"), 401, "unauthenticated", None).await;
}
