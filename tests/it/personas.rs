//! Personas: who answers in a room, managed by whoever has the administrator's token.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    admin::{TOKEN, admin, put_persona as put},
    answer::{Answer, refused},
    app::App,
    person::{GENERAL, Person},
};

fn app() -> App {
    App::with(&[("PERSONA_ADMIN_TOKEN", TOKEN)])
}

/// A server with two providers, whom nobody asks.
fn app_with_models() -> App {
    App::with(&[
        ("PERSONA_ADMIN_TOKEN", TOKEN),
        ("OPENAI_API_KEY", "sk-test"),
        ("GEMINI_API_KEY", "g-test"),
        ("PERSONA_CHAT_ROUTE", "openai/m-1"),
        ("PERSONA_TEXT_ROUTE", "openai/m-2"),
        ("PERSONA_TEXT_MODELS", "openai/m-3"),
        ("PERSONA_MODELS", r#"{"gemini/g/*": {}, "openai/m-4": {"temperature": 1}}"#),
    ])
}

#[tokio::test]
async fn a_persona_is_made_shown_replaced_and_forgotten() {
    let app = app_with_models();
    let whole = json!({"channel": "channel:lab", "name": "Ada Lovelace", "prompt": "You count.", "answers": "mentioned",
        "route": ["openai/m-1", "gemini/g/2"], "maxTokens": 100, "contextTokens": 4000});
    let made = Answer::to(admin(&app, Method::PUT, "/api/personas/ada").json(&whole)).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/personas/ada"));
    let made = made.json();
    for (name, value) in whole.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!((&made["id"], made["createdAt"].is_string()), (&json!("ada"), true));
    assert_eq!(Answer::to(admin(&app, Method::GET, "/api/personas/ada")).await.json(), made);

    let replaced = Answer::to(admin(&app, Method::PUT, "/api/personas/ada").json(&json!({"channel": "channel:lab", "name": "Ada"}))).await;
    assert_eq!(replaced.status, 200);
    let replaced = replaced.json();
    assert_eq!(replaced["createdAt"], made["createdAt"]);
    assert_eq!((&replaced["answers"], &replaced["prompt"], &replaced["route"]), (&json!("always"), &json!(""), &json!([])));
    assert_eq!((replaced.get("maxTokens"), replaced.get("contextTokens")), (None, None));

    assert_eq!(Answer::to(admin(&app, Method::DELETE, "/api/personas/ada")).await.status, 204);
    refused(admin(&app, Method::DELETE, "/api/personas/ada"), 404, "persona_not_found", None).await;
    refused(admin(&app, Method::GET, "/api/personas/ada"), 404, "persona_not_found", None).await;
}

#[tokio::test]
async fn a_route_that_nobody_serves_is_refused_with_what_would_be_right() {
    let app = app_with_models();
    let put = |route: &str| admin(&app, Method::PUT, "/api/personas/ada").json(&json!({"channel": "channel:lab", "name": "Ada", "route": [route]}));
    for (route, said) in [
        ("laozhang/m-1", "provider that does not serve here; these do: gemini, openai"),
        ("offline/offline-writer", "provider that does not serve here"),
        ("openai/m-9", "openai/m-1, openai/m-2, gemini/g/*, openai/m-4"),
        ("gemini/h", "PERSONA_TEXT_MODELS and PERSONA_MODELS make others known"),
    ] {
        let problem = refused(put(route), 400, "unknown_model", Some("route")).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said) && detail.contains(&format!("`{route}`")), "{problem}");
    }
    refused(admin(&app, Method::GET, "/api/personas/ada"), 404, "persona_not_found", None).await;
    for route in ["openai/m-1", "openai/m-2", "openai/m-3", "openai/m-4", "gemini/g/2"] {
        assert!([200, 201].contains(&Answer::to(put(route)).await.status), "{route}");
    }
}

#[tokio::test]
async fn everybody_sees_who_answers_and_the_administrator_alone_sees_how() {
    let app = app();
    let ben = Person::new(&app, "Ben").await;
    for id in ["b", "a", "c"] {
        put(&app, id, &json!({"channel": "channel:lab", "name": id, "prompt": "A secret."})).await;
    }
    let seen = ben.get("/api/personas?channel=channel:lab").await;
    let shown = |id: &str| json!({"id": id, "channel": "channel:lab", "name": id, "answers": "always"});
    assert_eq!(seen, json!({"personas": [shown("a"), shown("b"), shown("c")]}));
    assert_eq!(ben.get("/api/personas/a").await, shown("a"));
    let page = ben.get("/api/personas?channel=channel:lab&limit=2").await;
    assert_eq!((page["personas"].as_array().unwrap().len(), &page["nextAfter"]), (2, &json!("b")));
    assert_eq!(ben.get("/api/personas?channel=channel:lab&limit=2&after=b").await, json!({"personas": [shown("c")]}));
    let all = Answer::to(admin(&app, Method::GET, "/api/personas?channel=channel:lab")).await.json();
    assert_eq!(all["personas"][0]["prompt"], "A secret.");
    refused(ben.request(Method::GET, "/api/personas?channel=user:x"), 400, "invalid_field", Some("channel")).await;
    refused(ben.request(Method::GET, "/api/personas/none"), 404, "persona_not_found", None).await;
}

#[tokio::test]
async fn only_the_administrators_token_opens_what_is_the_administrators() {
    let (app, closed) = (app(), App::start());
    let ada = Person::new(&app, "Ada").await;
    let body = json!({"channel": GENERAL, "name": "Eve"});
    for method in [Method::PUT, Method::DELETE] {
        let path = "/api/personas/eve";
        refused(ada.request(method.clone(), path).json(&body), 403, "admin_required", None).await;
        let bare = ada.client.request(method.clone(), format!("{}{path}", app.url)).json(&body);
        refused(bare.try_clone().unwrap(), 401, "unauthenticated", None).await;
        for wrong in ["", "an-admin-token-for-test", "an-admin-token-for-tests1", "An-admin-token-for-tests"] {
            refused(bare.try_clone().unwrap().bearer_auth(wrong), 401, "unauthenticated", None).await;
        }
        let cookie = bare.try_clone().unwrap().header("Cookie", format!("persona_session={TOKEN}"));
        refused(cookie, 401, "unauthenticated", None).await;
        refused(admin(&closed, method, path).json(&body), 403, "admin_disabled", None).await;
    }
    assert!(!app.log().contains(TOKEN));
    let said = App::builder(&[("PERSONA_ADMIN_TOKEN", "too short")]).refusal();
    assert!(said.contains("PERSONA_ADMIN_TOKEN") && !said.contains("too short"), "{said}");
}

#[tokio::test]
async fn a_persona_that_breaks_a_rule_is_refused_with_what_would_be_right() {
    let app = app();
    let good = json!({"channel": GENERAL, "name": "Eve"});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let wrong = [
        ("channel", json!("general")),
        ("channel", json!("user:u_1")),
        ("name", json!(" ")),
        ("name", json!("a\nb")),
        ("name", json!("a".repeat(65))),
        ("prompt", json!("a".repeat(16_001))),
        ("answers", json!("sometimes")),
        ("route", json!(["nobody"])),
        ("route", json!(["a/b", "/"])),
        ("route", json!(vec!["a/b"; 9])),
        ("maxTokens", json!(0)),
        ("maxTokens", json!(32_001)),
        ("contextTokens", json!(255)),
    ];
    for (field, value) in wrong {
        let problem =
            refused(admin(&app, Method::PUT, "/api/personas/eve").json(&with(field, value.clone())), 400, "invalid_field", Some(field)).await;
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
    }
    refused(admin(&app, Method::PUT, "/api/personas/eve").json(&with("mood", json!(1))), 400, "unknown_field", Some("mood")).await;
    refused(admin(&app, Method::PUT, "/api/personas/e%20e").json(&good), 400, "invalid_field", Some("id")).await;
    refused(admin(&app, Method::GET, "/api/personas/eve"), 404, "persona_not_found", None).await;
}

#[tokio::test]
async fn a_room_takes_only_so_many_personas() {
    let app = app();
    for number in 0..16 {
        put(&app, &format!("p{number}"), &json!({"channel": "channel:full", "name": "One of many"})).await;
    }
    let one_more = json!({"channel": "channel:full", "name": "One more"});
    refused(admin(&app, Method::PUT, "/api/personas/p16").json(&one_more), 409, "too_many_personas", Some("channel")).await;
    put(&app, "p3", &one_more).await;
    put(&app, "p16", &json!({"channel": "channel:other", "name": "One more"})).await;
    refused(admin(&app, Method::PUT, "/api/personas/p16").json(&one_more), 409, "too_many_personas", Some("channel")).await;
}
