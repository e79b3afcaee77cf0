//! The queue under an operator's hand: over HTTP with the administrator's token, and by `persona jobs`.

use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    admin::{TOKEN, admin},
    answer::Answer,
    app::App,
    eventually,
    person::{GENERAL, Person},
};

/// A server with an administrator and one slot, which is taken for as long as the test lasts.
async fn busy() -> (App, Person, String) {
    let settings = [("PERSONA_ADMIN_TOKEN", TOKEN), ("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", "10000")];
    let app = App::with(&settings);
    let ada = Person::new(&app, "Ada").await;
    let running = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&running, "running").await;
    (app, ada, running)
}

async fn get(app: &App, path: &str) -> Value {
    let answer = Answer::to(admin(app, Method::GET, path)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn call(app: &App, method: Method, path: &str) -> Answer {
    Answer::to(admin(app, method, path)).await
}

fn ids(list: &Value) -> Vec<&str> {
    list["jobs"].as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap()).collect()
}

/// What the queue tells of a kind.
async fn kind(app: &App, name: &str) -> Value {
    let queue = get(app, "/api/admin/queue").await;
    queue["kinds"].as_array().unwrap().iter().find(|kind| kind["kind"] == name).cloned().unwrap_or_default()
}

#[tokio::test]
async fn an_operator_sees_everybodys_jobs_and_what_became_of_them() {
    let (app, ada, running) = busy().await;
    let ben = Person::new(&app, "Ben").await;
    let hers = ada.generate("image", &json!({"prompt": "A cat"})).await;
    let his = ben.generate("text", &json!({"prompt": "A poem"})).await;

    assert_eq!(ids(&get(&app, "/api/admin/jobs?kind=generate_text").await), [&*his, &*running]);
    assert_eq!(ids(&get(&app, &format!("/api/admin/jobs?user={}", ada.id)).await), [&*hers, &*running]);
    assert_eq!(ids(&get(&app, "/api/admin/jobs?kind=generate_text&state=running").await), [&*running]);
    let page = get(&app, &format!("/api/admin/jobs?user={}&limit=1", ada.id)).await;
    assert_eq!((ids(&page), &page["nextBefore"]), (vec![&*hers], &json!(hers)));
    let rest = get(&app, &format!("/api/admin/jobs?user={}&limit=1&before={hers}", ada.id)).await;
    assert_eq!((ids(&rest), rest.get("nextBefore")), (vec![&*running], None));

    let shown = get(&app, &format!("/api/admin/jobs/{his}")).await;
    assert_eq!((&shown["userId"], &shown["state"], &shown["priority"]), (&json!(ben.id), &json!("available"), &json!("normal")));
    assert_eq!((&shown["failures"], &shown["cancelAsked"]), (&json!([]), &json!(false)));
    assert!(get(&app, &format!("/api/admin/jobs/{running}")).await["worker"].is_string());
    // What was asked for is its user's.
    assert!(!shown.to_string().contains("A poem"));

    assert_eq!(call(&app, Method::POST, &format!("/api/admin/jobs/{his}/cancel")).await.status, 202);
    assert_eq!(ben.get(&format!("/api/jobs/{his}")).await["state"], "cancelled");
    call(&app, Method::POST, &format!("/api/admin/jobs/{his}/cancel")).await.is_problem(409, "job_finished", None);
    assert_eq!(ids(&get(&app, "/api/admin/jobs?kind=generate_text&state=cancelled").await), [&*his]);
    let none = "0190a000-0000-7000-8000-00000000000a";
    call(&app, Method::GET, &format!("/api/admin/jobs/{none}")).await.is_problem(404, "job_not_found", None);
    call(&app, Method::POST, &format!("/api/admin/jobs/{none}/retry")).await.is_problem(404, "job_not_found", None);
}

#[tokio::test]
async fn a_job_that_is_given_up_is_a_dead_letter_and_may_be_tried_again() {
    let (app, ada, running) = busy().await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let waiting = ada.generate("text", &json!({"prompt": "A poem"})).await;
    call(&app, Method::POST, &format!("/api/admin/jobs/{running}/discard")).await.is_problem(409, "job_running", None);
    assert_eq!(call(&app, Method::POST, &format!("/api/admin/jobs/{waiting}/discard")).await.status, 202);
    let event = stream.next_of("generation_failed").await;
    assert_eq!((&event.data["jobId"], &event.data["code"]), (&json!(waiting), &json!("given_up")));
    let shown = get(&app, &format!("/api/admin/jobs/{waiting}")).await;
    assert_eq!((&shown["state"], shown["failures"].as_array().unwrap().len()), (&json!("discarded"), 1));

    assert_eq!(call(&app, Method::POST, &format!("/api/admin/jobs/{waiting}/retry")).await.status, 202);
    assert_eq!(ada.get(&format!("/api/jobs/{waiting}")).await["state"], "available");
    call(&app, Method::POST, &format!("/api/admin/jobs/{running}/retry")).await.is_problem(409, "job_not_retryable", None);
    // One that runs is stopped where it runs.
    assert_eq!(call(&app, Method::POST, &format!("/api/admin/jobs/{running}/cancel")).await.status, 202);
    ada.job_in(&running, "cancelled").await;
    ada.job_in(&waiting, "running").await;
    let told = stream.told(|events| events.iter().any(|event| event.kind() == "ai_chat_chunk" && event.data["jobId"] == json!(waiting))).await;
    assert!(told.iter().all(|event| event.kind() != "generation_failed" || event.data["jobId"] != json!(waiting)), "{told:#?}");
}

#[tokio::test]
async fn a_kind_is_paused_and_limited_and_the_figures_say_so() {
    let (app, ada, running) = busy().await;
    let put = |path: &str, body: Value| admin(&app, Method::PUT, &format!("/api/admin/queue/{path}")).json(&body);
    assert_eq!(Answer::to(put("kinds/generate_image", json!({"paused": true}))).await.status, 204);
    assert_eq!(Answer::to(put("limits/kind:generate_text", json!({"most": 4}))).await.status, 204);
    assert_eq!(Answer::to(put("limits/user", json!({"most": 2}))).await.status, 204);
    let image = ada.generate("image", &json!({"prompt": "A cat"})).await;
    let told = kind(&app, "generate_image").await;
    assert_eq!((&told["paused"], &told["available"], told["oldestMs"].is_u64()), (&json!(true), &json!(1), true));
    let told = kind(&app, "generate_text").await;
    assert_eq!((&told["running"], &told["limit"]), (&json!(1), &json!(4)));
    let limits = get(&app, "/api/admin/queue").await["limits"].clone();
    assert_eq!(limits, json!([{"scope": "kind:generate_text", "most": 4}, {"scope": "user", "most": 2}]));

    // The only slot is free now, but what is paused does not begin; what comes after it does.
    ada.stop(&running).await;
    let text = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&text, "running").await;
    assert_eq!(ada.get(&format!("/api/jobs/{image}")).await["state"], "available");
    ada.stop(&text).await;
    assert_eq!(Answer::to(put("kinds/generate_image", json!({"paused": false}))).await.status, 204);
    eventually("the picture is begun", async || {
        let state = ada.get(&format!("/api/jobs/{image}")).await["state"].clone();
        (state != "available").then_some(())
    })
    .await;

    assert_eq!(call(&app, Method::DELETE, "/api/admin/queue/limits/user").await.status, 204);
    assert_eq!(get(&app, "/api/admin/queue").await["limits"].as_array().unwrap().len(), 1);
    Answer::to(put("kinds/nonsense", json!({"paused": true}))).await.is_problem(400, "invalid_field", Some("kind"));
    Answer::to(put("limits/nonsense", json!({"most": 1}))).await.is_problem(400, "invalid_field", Some("scope"));
    Answer::to(put("limits/user", json!({"most": -1}))).await.is_problem(400, "invalid_field", Some("most"));
}

#[tokio::test]
async fn nobody_but_the_administrator_looks_after_the_queue() {
    let app = App::with(&[("PERSONA_ADMIN_TOKEN", TOKEN)]);
    let ada = Person::new(&app, "Ada").await;
    for path in ["/api/admin/jobs", "/api/admin/queue", "/api/admin/jobs/0190a000-0000-7000-8000-00000000000a"] {
        Answer::to(ada.request(Method::GET, path)).await.is_problem(403, "admin_required", None);
        Answer::to(reqwest::Client::new().get(format!("{}{path}", app.url))).await.is_problem(401, "unauthenticated", None);
    }
    let app = App::start();
    call(&app, Method::GET, "/api/admin/queue").await.is_problem(403, "admin_disabled", None);
}

fn jobs(app: &App, words: &[&str]) -> Output {
    app.command().arg("jobs").args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn the_command_shows_and_changes_what_the_server_does() {
    let (app, ada, running) = busy().await;
    let waiting = ada.generate("image", &json!({"prompt": "A cat"})).await;
    let list = said(&jobs(&app, &["list", "--user", &ada.id]));
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines[1].starts_with(&waiting) && lines[2].starts_with(&running) && lines.len() == 3, "{list}");
    let list: Value = serde_json::from_str(&said(&jobs(&app, &["list", "--json", "--state", "running", "--kind", "generate_text"]))).unwrap();
    assert_eq!(ids(&list), [&*running]);
    assert!(said(&jobs(&app, &["show", &waiting])).contains("state: available"));

    said(&jobs(&app, &["pause", "generate_image"]));
    said(&jobs(&app, &["limit", "kind:generate_text", "3"]));
    let stats: Value = serde_json::from_str(&said(&jobs(&app, &["stats", "--json"]))).unwrap();
    assert_eq!(stats["limits"], json!([{"scope": "kind:generate_text", "most": 3}]));
    assert!(said(&jobs(&app, &["stats"])).lines().any(|line| line.starts_with("generate_image") && line.ends_with("paused")));
    said(&jobs(&app, &["limit", "kind:generate_text", "none"]));
    assert_eq!(get(&app, "/api/admin/queue").await["limits"], json!([]));

    said(&jobs(&app, &["discard", &waiting]));
    assert_eq!(ada.get(&format!("/api/jobs/{waiting}")).await["state"], "discarded");
    said(&jobs(&app, &["retry", &waiting]));
    assert_eq!(ada.get(&format!("/api/jobs/{waiting}")).await["state"], "available");
    said(&jobs(&app, &["cancel", &running]));
    ada.job_in(&running, "cancelled").await;
    said(&jobs(&app, &["resume", "generate_image"]));
    eventually("the picture is begun", async || {
        let state = ada.get(&format!("/api/jobs/{waiting}")).await["state"].clone();
        (state != "available").then_some(())
    })
    .await;

    // What it can't do, it says, and fails.
    for (words, what) in
        [(&["cancel", &running][..], "job_finished"), (&["show", "nonsense"], "job_not_found"), (&["pause", "nonsense"], "invalid_field")]
    {
        let output = jobs(&app, words);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains(what), "{words:?}");
    }
    let output = app.command().env_remove("PERSONA_ADMIN_TOKEN").args(["jobs", "stats"]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("PERSONA_ADMIN_TOKEN"));
}
