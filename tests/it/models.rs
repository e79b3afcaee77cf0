//! Models by name: which may be asked for, and that those are asked.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    answer::{Answer, refused},
    app::App,
    person::{GENERAL, Person},
    provider::{Answer as Told, FakeProvider},
};

const PATHS: [&str; 3] = ["/api/chat/messages", "/api/generate/text", "/api/generate/image"];

fn body(path: &str, model: &str) -> Value {
    if path == PATHS[0] { json!({"channel": GENERAL, "content": "Hello", "model": model}) } else { json!({"prompt": "A poem", "model": model}) }
}

#[tokio::test]
async fn what_may_be_asked_for_is_listed_and_taken_and_nothing_else_is() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    assert_eq!(ada.get("/api/models").await, json!({"text": ["offline/offline-writer"], "image": ["offline/offline-painter"]}));
    refused(ada.client.get(format!("{}/api/models", app.url)), 401, "unauthenticated", None).await;
    for (path, right, other) in [(PATHS[0], "writer", "painter"), (PATHS[1], "writer", "painter"), (PATHS[2], "painter", "writer")] {
        for wrong in [&format!("offline-{other}"), "offline", "openai/offline-writer", "gpt", &"a".repeat(128)] {
            let problem = refused(ada.request(Method::POST, path).json(&body(path, wrong)), 400, "model_not_allowed", Some("model")).await;
            assert!(problem["detail"].as_str().unwrap().contains(&format!("offline/offline-{right}")), "{problem}");
        }
        for wrong in ["", " ", "a\nb", &"a".repeat(129)] {
            refused(ada.request(Method::POST, path).json(&body(path, wrong)), 400, "invalid_field", Some("model")).await;
        }
    }
    ada.has_stored_nothing().await;
    for (path, right) in [(PATHS[0], "writer"), (PATHS[1], "writer"), (PATHS[2], "painter")] {
        for name in [format!("offline-{right}"), format!("offline/offline-{right}")] {
            assert_eq!(Answer::to(ada.request(Method::POST, path).json(&body(path, &name))).await.status, 202, "{path} {name}");
        }
    }
    for most in [0, 32_001] {
        let body = json!({"channel": GENERAL, "content": "Hello", "maxTokens": most});
        refused(ada.request(Method::POST, PATHS[0]).json(&body), 400, "invalid_field", Some("maxTokens")).await;
    }
}

#[tokio::test]
async fn the_model_that_is_asked_for_serves_though_another_one_is_first() {
    let (first, second) = (FakeProvider::start([Told::words(&["first"])]).await, FakeProvider::start([Told::words(&["second"])]).await);
    let (one, two) = (first.url(), second.url());
    let app = App::with(&[
        ("OPENAI_BASE_URL", &one),
        ("LAOZHANG_API_KEY", "sk-test"),
        ("LAOZHANG_BASE_URL", &two),
        ("PERSONA_CHAT_ROUTE", "openai/m-1"),
        ("PERSONA_TEXT_ROUTE", "openai/m-1"),
        ("PERSONA_TEXT_MODELS", "openai/m-1,laozhang/m-1,laozhang/m-2"),
        ("PERSONA_IMAGE_ROUTE", "openai/draws"),
    ]);
    let ada = Person::new(&app, "Ada").await;
    let listed = json!({"text": ["openai/m-1", "laozhang/m-1", "laozhang/m-2"], "image": ["openai/draws"]});
    assert_eq!(ada.get("/api/models").await, listed);
    for (name, provider, model) in [("m-2", "laozhang", "m-2"), ("m-1", "openai", "m-1"), ("laozhang/m-1", "laozhang", "m-1")] {
        let job = ada.generate("text", &json!({"prompt": "p", "model": name, "maxTokens": 7})).await;
        let done = ada.job_in(&job, "completed").await;
        assert_eq!(done["result"]["provider"], provider, "{name}");
        let asked = if provider == "openai" { &first } else { &second }.asked().pop().unwrap();
        assert_eq!((&asked.body["model"], &asked.body["max_tokens"]), (&json!(model), &json!(7)));
    }
    let posted = ada.post(PATHS[0], &json!({"channel": GENERAL, "content": "Hello", "model": "laozhang/m-2", "maxTokens": 9})).await;
    let posted: Value = posted.json().await.unwrap();
    ada.job_in(posted["jobId"].as_str().unwrap(), "completed").await;
    let asked = second.asked().pop().unwrap();
    assert_eq!((&asked.body["model"], &asked.body["max_tokens"]), (&json!("m-2"), &json!(9)));
}

#[test]
fn a_list_that_names_a_provider_without_a_key_is_refused() {
    let said = App::builder(&[("OPENAI_API_KEY", "sk-test"), ("PERSONA_TEXT_MODELS", "gemini/g"), ("PERSONA_IMAGE_MODELS", "draws")]).refusal();
    assert!(said.contains("PERSONA_TEXT_MODELS: \"gemini/g\"") && said.contains("PERSONA_IMAGE_MODELS: \"draws\""), "{said}");
}
