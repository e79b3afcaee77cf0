//! Who can't be told from a request is refused, whatever it asks for.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{
    answer::Answer,
    app::App,
    person::Person,
    token::{self, SECRET},
};

/// Every call that needs somebody.
const CALLS: [(Method, &str); 12] = [
    (Method::GET, "/api/session"),
    (Method::GET, "/api/events"),
    (Method::GET, "/api/events?channel=channel:general"),
    (Method::POST, "/api/chat/messages"),
    (Method::GET, "/api/chat/messages?channel=channel:general"),
    (Method::POST, "/api/chat/typing"),
    (Method::GET, "/api/presence?channel=channel:general"),
    (Method::POST, "/api/generate/text"),
    (Method::POST, "/api/generate/image"),
    (Method::GET, "/api/jobs"),
    (Method::GET, "/api/jobs/0190a000-0000-7000-8000-00000000000a"),
    (Method::DELETE, "/api/jobs/0190a000-0000-7000-8000-00000000000a"),
];

fn app() -> App {
    App::with(&[("PERSONA_SECRET", SECRET)])
}

fn claims() -> Value {
    json!({"sub": "u_ada", "name": "Ada", "exp": token::in_seconds(60)})
}

/// The request must be refused, and say how one would be let in.
async fn turned_away(request: RequestBuilder) -> Value {
    let answer = Answer::to(request).await;
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    answer.is_problem(401, "unauthenticated", None)
}

#[tokio::test]
async fn nobody_is_turned_away_from_everything() {
    let app = app();
    let client = Client::new();
    for (method, path) in CALLS {
        turned_away(client.request(method, format!("{}{path}", app.url))).await;
    }
    Person::new(&app, "Ada").await.has_stored_nothing().await;
}

#[tokio::test]
async fn a_token_that_is_not_good_is_turned_away_from_everything() {
    let app = app();
    let client = Client::new();
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let good = token::of(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = token::of(&json!({"sub": "u_ben", "name": "Ben", "exp": token::in_seconds(60)}));
    let swapped = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims().to_string()));
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        token::of(&claims)
    };
    let bad = [
        String::new(),
        "nonsense".into(),
        "..".into(),
        signed.into(),
        format!("{signed}."),
        format!("{good}A"),
        format!("{good}="),
        good[..good.len() - 3].into(),
        swapped,
        unsigned,
        token::sign(&header, &claims(), "another-secret-of-32-bytes-or-more"),
        token::sign(&json!({"alg": "none"}), &claims(), SECRET),
        token::sign(&json!({"alg": "HS512"}), &claims(), SECRET),
        token::sign(&json!({}), &claims(), SECRET),
        with("exp", json!(token::in_seconds(-1))),
        with("exp", json!(0)),
        with("exp", json!(-1)),
        with("exp", json!(i64::MIN)),
        with("exp", json!("tomorrow")),
        with("exp", Value::Null),
        with("sub", json!("not an id")),
        with("sub", json!("")),
        with("sub", json!("a".repeat(65))),
        with("name", Value::Null),
        with("name", json!("a".repeat(5000))),
    ];
    for token in &bad {
        for (method, path) in CALLS {
            turned_away(client.request(method, format!("{}{path}", app.url)).header("Authorization", format!("Bearer {token}"))).await;
        }
        turned_away(client.get(format!("{}/api/session", app.url)).header("Cookie", format!("persona_session={token}"))).await;
        turned_away(client.get(format!("{}/api/events", app.url)).query(&[("access_token", token)])).await;
        turned_away(client.post(format!("{}/api/session", app.url)).bearer_auth(token)).await;
    }
    assert_eq!(Person::with_token(&app, &good).await.name, "Ada");
}

#[tokio::test]
async fn an_expired_token_is_told_from_a_forged_one() {
    let app = app();
    let client = Client::new();
    let ask = |token: &str| client.get(format!("{}/api/jobs", app.url)).bearer_auth(token);
    let expired = json!({"sub": "u_ada", "name": "Ada", "exp": token::in_seconds(-5)});
    let detail = async |token: &str| turned_away(ask(token)).await["detail"].as_str().unwrap().to_owned();
    assert!(detail(&token::of(&expired)).await.contains("expired"));
    assert!(!detail(&token::sign(&json!({"alg": "HS256"}), &expired, "another-secret-of-32-bytes-or-more")).await.contains("expired"));
}

#[tokio::test]
async fn an_authorization_of_another_scheme_is_turned_away() {
    let app = app();
    let client = Client::new();
    let good = token::of(&claims());
    for wrong in ["Basic YTpi", "Bearer", "", "Token x", &good, &format!("Bearer{good}"), &format!("Bearer, {good}")] {
        turned_away(client.get(format!("{}/api/jobs", app.url)).header("Authorization", wrong)).await;
    }
    for right in [format!("bearer {good}"), format!("BEARER  {good} ")] {
        assert_eq!(Answer::to(client.get(format!("{}/api/jobs", app.url)).header("Authorization", right)).await.status, 200);
    }
}

#[tokio::test]
async fn who_is_turned_away_learns_nothing_of_what_else_is_wrong() {
    let app = app();
    let client = Client::new();
    let request = client.post(format!("{}/api/chat/messages", app.url)).header("Content-Type", "text/plain").body("{".repeat(300 * 1024));
    turned_away(request).await;
    turned_away(client.get(format!("{}/api/events?channel=nonsense&limit=x", app.url))).await;
}
