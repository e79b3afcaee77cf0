//! Usage: what is counted of whom, and what a day allows.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    admin::{TOKEN, admin},
    answer::{Answer, refused},
    app::App,
    eventually,
    person::{GENERAL, Person},
    provider::{Answer as Told, FakeProvider, chunk, opening, usage},
};

const PRICES: &str = r#"{"openai/*": {"input": 1, "output": 10, "image": 0.04}, "laozhang/*": {"input": 2, "output": 20}}"#;

/// A server with two providers, of which the first is asked first.
fn app(first: &FakeProvider, second: &FakeProvider, more: &[(&str, &str)]) -> App {
    let (one, two) = (first.url(), second.url());
    let settings = [
        ("PERSONA_ADMIN_TOKEN", TOKEN),
        ("OPENAI_BASE_URL", one.as_str()),
        ("LAOZHANG_API_KEY", "sk-test"),
        ("LAOZHANG_BASE_URL", two.as_str()),
        ("PERSONA_CHAT_ROUTE", "openai/m-1,laozhang/m-2"),
        ("PERSONA_TEXT_ROUTE", "openai/m-1,laozhang/m-2"),
        ("PERSONA_IMAGE_ROUTE", "openai/draws"),
        ("PERSONA_PRICES", PRICES),
    ];
    App::with(&[settings.as_slice(), more].concat())
}

async fn idle() -> FakeProvider {
    FakeProvider::start([Told::json(500, &json!({}))]).await
}

async fn text(person: &Person, state: &str) -> Value {
    let job = person.generate("text", &json!({"prompt": "A poem of eight"})).await;
    person.job_in(&job, state).await
}

/// The lines of somebody's usage, without the day, which must be one.
async fn lines(person: &Person) -> Value {
    let report = person.get("/api/usage").await;
    let mut lines = report["usage"].clone();
    for line in lines.as_array_mut().unwrap() {
        let day = line.as_object_mut().unwrap().remove("day").unwrap();
        assert!(day.as_str().is_some_and(|day| day.len() == 10 && day <= report["last"].as_str().unwrap()), "{report}");
    }
    lines
}

#[tokio::test]
async fn tokens_are_counted_as_the_provider_says_and_cost_what_the_table_says() {
    let (first, second) = (FakeProvider::start([Told::words(&["one ", "two"])]).await, idle().await);
    let app = app(&first, &second, &[]);
    let ada = Person::new(&app, "Ada").await;
    for _ in 0..2 {
        text(&ada, "completed").await;
    }
    let job = ada.ask(GENERAL, "Hello").await;
    ada.job_in(&job, "completed").await;
    let line = json!({"provider": "openai", "model": "m-1", "calls": 3, "inputTokens": 27, "outputTokens": 6, "images": 0, "cost": 0.000_087});
    assert_eq!(lines(&ada).await, json!([line]));
    let report = ada.get("/api/usage?by=").await;
    assert_eq!(report["usage"], json!([report["total"]]));
    assert_eq!((&report["today"]["tokens"], &report["today"]["cost"], &report["today"]["limits"]), (&json!(33), &json!(0.000_087), &json!({})));
    assert!(report["today"]["resetsAt"].as_str().unwrap().ends_with("T00:00:00.000Z"));
    // It is durable.
    let app = app.restart();
    let ada = Person { url: app.url.clone(), ..ada };
    assert_eq!(lines(&ada).await, json!([line]));
    assert_eq!(lines(&Person::new(&app, "Ben").await).await, json!([]));
}

#[tokio::test]
async fn tokens_are_guessed_and_marked_where_the_provider_is_silent_about_them() {
    let silent = Told::stream([opening(&["four", "four"]), chunk(&json!({}), Some("stop")), "data: [DONE]\n\n".into()]);
    let (first, second) = (FakeProvider::start([silent]).await, idle().await);
    let app = app(&first, &second, &[]);
    let ada = Person::new(&app, "Ada").await;
    text(&ada, "completed").await;
    let line = json!({"provider": "openai", "model": "m-1", "calls": 1, "estimatedCalls": 1, "inputTokens": 4, "outputTokens": 2, "images": 0, "cost": 0.000_024});
    assert_eq!(lines(&ada).await, json!([line]));
}

#[tokio::test]
async fn a_provider_that_breaks_off_counts_beside_the_one_in_its_place() {
    let (first, second) = (FakeProvider::start([Told::stream([opening(&["four"])])]).await, FakeProvider::start([Told::words(&["all"])]).await);
    let app = app(&first, &second, &[]);
    let ada = Person::new(&app, "Ada").await;
    text(&ada, "completed").await;
    let broken = json!({"provider": "openai", "model": "m-1", "calls": 1, "estimatedCalls": 1, "inputTokens": 4, "outputTokens": 1, "images": 0, "cost": 0.000_014});
    let whole = json!({"provider": "laozhang", "model": "m-2", "calls": 1, "inputTokens": 9, "outputTokens": 1, "images": 0, "cost": 0.000_038});
    assert_eq!(lines(&ada).await, json!([whole, broken]));
}

#[tokio::test]
async fn an_attempt_that_failed_after_its_first_word_counts_once_beside_the_one_that_succeeds() {
    let (first, second) = (FakeProvider::start([Told::words(&["all"])]).await, idle().await);
    first.answer_next(Told::stream([opening(&["four"])]));
    let app = app(&first, &second, &[("PERSONA_TEXT_ROUTE", "openai/m-1")]);
    let ada = Person::new(&app, "Ada").await;
    assert_eq!(text(&ada, "completed").await["attempt"], 2);
    let line = json!({"provider": "openai", "model": "m-1", "calls": 2, "estimatedCalls": 1, "inputTokens": 13, "outputTokens": 2, "images": 0, "cost": 0.000_033});
    assert_eq!(lines(&ada).await, json!([line]));
}

#[tokio::test]
async fn what_was_said_before_a_stop_counts_and_what_was_never_begun_does_not() {
    let (first, second) = (FakeProvider::start([Told::stream([opening(&["fourfour"])]).then_silence()]).await, idle().await);
    let app = app(&first, &second, &[]);
    let ada = Person::new(&app, "Ada").await;
    let job = ada.ask(GENERAL, "Hello").await;
    eventually("the reply has begun", async || {
        let history = ada.get("/api/chat/messages?channel=channel:general").await;
        history["streaming"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(ada.stop(&job).await.status, 202);
    ada.job_in(&job, "cancelled").await;
    let counted = lines(&ada).await;
    assert_eq!((&counted[0]["calls"], &counted[0]["estimatedCalls"], &counted[0]["outputTokens"]), (&json!(1), &json!(1), &json!(2)));
    first.answer_next(Told::json(401, &json!({"error": {"message": "no"}})));
    second.answer_next(Told::json(401, &json!({"error": {"message": "no"}})));
    text(&ada, "discarded").await;
    assert_eq!(lines(&ada).await, counted);
}

#[tokio::test]
async fn a_picture_counts_by_itself() {
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let (first, second) = (FakeProvider::start([Told::json(200, &json!({"data": [{"b64_json": png}]}))]).await, idle().await);
    let app = app(&first, &second, &[]);
    let ada = Person::new(&app, "Ada").await;
    let job = ada.generate("image", &json!({"prompt": "A lake"})).await;
    ada.job_in(&job, "completed").await;
    let line = json!({"provider": "openai", "model": "draws", "calls": 1, "inputTokens": 0, "outputTokens": 0, "images": 1, "cost": 0.04});
    assert_eq!(lines(&ada).await, json!([line]));
}

#[tokio::test]
async fn the_administrator_sees_everybody_and_everybody_sees_themselves() {
    let (first, second) = (FakeProvider::start([Told::words(&["one"])]).await, idle().await);
    let app = app(&first, &second, &[]);
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    text(&ada, "completed").await;
    for _ in 0..2 {
        text(&ben, "completed").await;
    }
    let all = Answer::to(admin(&app, Method::GET, "/api/usage?by=user")).await.json();
    let calls = |report: &Value| -> Vec<(String, u64)> {
        let line = |line: &Value| (line["userId"].as_str().unwrap().to_owned(), line["calls"].as_u64().unwrap());
        report["usage"].as_array().unwrap().iter().map(line).collect()
    };
    let mut expected = [(ada.id.clone(), 1), (ben.id.clone(), 2)];
    expected.sort();
    assert_eq!((calls(&all).as_slice(), &all["total"]["calls"], all.get("today")), (expected.as_slice(), &json!(3), None));
    let page = |skip| admin(&app, Method::GET, &format!("/api/usage?by=user&limit=1&skip={skip}"));
    let (one, two) = (Answer::to(page(0)).await.json(), Answer::to(page(1)).await.json());
    assert_eq!(([calls(&one), calls(&two)].concat().as_slice(), &one["nextSkip"], two.get("nextSkip")), (expected.as_slice(), &json!(1), None));
    let of_ben = Answer::to(admin(&app, Method::GET, &format!("/api/usage?user={}", ben.id))).await.json();
    assert_eq!((&of_ben["total"]["calls"], &of_ben["today"]["tokens"]), (&json!(2), &json!(20)));
    assert_eq!(ben.get(&format!("/api/usage?user={}&by=model", ben.id)).await["total"]["calls"], 2);
    assert_eq!(ada.get("/api/usage?by=user").await["usage"][0]["userId"], ada.id.as_str());
    let ask = |query: &str| ada.request(Method::GET, &format!("/api/usage?{query}"));
    refused(ask(&format!("user={}", ben.id)), 403, "admin_required", Some("user")).await;
    refused(ada.client.get(format!("{}/api/usage", app.url)), 401, "unauthenticated", None).await;
    for (query, field) in [
        ("first=yesterday", "first"),
        ("last=2026-13-01", "last"),
        ("first=2026-11-25&last=2026-11-24", "first"),
        ("first=2025-01-01&last=2026-11-24", "first"),
        ("by=hour", "by"),
        ("limit=0", "limit"),
        ("skip=-1", "skip"),
    ] {
        refused(ask(query), 400, "invalid_field", Some(field)).await;
    }
    assert_eq!(ada.get("/api/usage?first=2020-01-01&last=2020-12-31").await["usage"], json!([]));
}

#[tokio::test]
async fn whoever_has_used_up_their_day_is_refused_texts_and_replies_but_not_the_room() {
    let (first, second) = (FakeProvider::start([Told::words(&["one"])]).await, idle().await);
    let app = app(&first, &second, &[("PERSONA_MAX_TOKENS_PER_DAY", "10"), ("PERSONA_MAX_IMAGES_PER_DAY", "5")]);
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let body = json!({"prompt": "A poem"});
    let keyed = || ada.request(Method::POST, "/api/generate/text").header("Idempotency-Key", "first").json(&body);
    let accepted = Answer::to(keyed()).await;
    ada.job_in(accepted.json()["jobId"].as_str().unwrap(), "completed").await;

    let refusal = Answer::to(ada.request(Method::POST, "/api/generate/text").json(&body)).await;
    let pause: u64 = refusal.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&pause), "{pause}");
    let problem = refusal.is_problem(429, "daily_limit", None);
    assert!(problem["detail"].as_str().unwrap().contains("10 tokens"), "{problem}");
    // What was accepted before is answered as it was.
    assert_eq!(Answer::to(keyed()).await.json(), accepted.json());

    let mut stream = ben.listen(&[GENERAL]).await;
    let posted = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": "Still here"})).await;
    assert_eq!(posted.status(), 202);
    let posted: Value = posted.json().await.unwrap();
    assert_eq!((&posted["replyRefused"]["code"], posted.get("jobId")), (&json!("daily_limit"), None));
    assert!(posted["replyRefused"]["until"].as_str().unwrap().ends_with("T00:00:00.000Z"), "{posted}");
    assert_eq!(stream.next_logged().await.data["result"]["content"], "Still here");
    // Where nobody would answer, nothing is refused.
    let silent = ada.post("/api/chat/messages", &json!({"channel": GENERAL, "content": "To people", "reply": false})).await;
    assert_eq!(silent.json::<Value>().await.unwrap().get("replyRefused"), None);
    // Pictures have a limit of their own, and others a day of their own.
    assert_eq!(ada.post("/api/generate/image", &body).await.status(), 202);
    text(&ben, "completed").await;
    assert_eq!(ada.get("/api/usage").await["today"]["limits"], json!({"tokens": 10, "images": 5}));
    assert_eq!(ada.get("/api/jobs?kind=generate_text").await["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_job_that_waited_while_the_day_was_used_up_is_not_begun() {
    let (first, second) = (FakeProvider::start([Told::stream([opening(&["one"])]).then_silence()]).await, idle().await);
    let app = app(&first, &second, &[("PERSONA_MAX_COST_PER_DAY", "0.000001"), ("PERSONA_WORKER_SLOTS", "1")]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let running = ada.generate("text", &json!({"prompt": "A poem"})).await;
    let (text, reply) = (ada.generate("text", &json!({"prompt": "Another"})).await, ada.ask(GENERAL, "Hello").await);
    ada.job_in(&running, "running").await;
    eventually("the provider is asked", async || (first.asked().len() == 1).then_some(())).await;
    assert_eq!(ada.stop(&running).await.status, 202);
    ada.job_in(&text, "discarded").await;
    ada.job_in(&reply, "discarded").await;
    let mut ends = Vec::new();
    while ends.len() < 2 {
        let event = stream.next_logged().await;
        ends.extend(Some(event).filter(|event| event.is_terminal() && event.data["jobId"] != running.as_str()));
    }
    for end in ends {
        assert_eq!((&end.data["code"], &end.data["retryable"]), (&json!("daily_limit"), &json!(true)), "{end:?}");
    }
    assert_eq!(first.asked().len(), 1);
}

#[test]
fn a_limit_of_cost_without_prices_is_refused() {
    let said = App::builder(&[("PERSONA_MAX_COST_PER_DAY", "1.5")]).refusal();
    assert!(said.contains("PERSONA_MAX_COST_PER_DAY: nothing costs anything without PERSONA_PRICES"), "{said}");
}

#[tokio::test]
async fn the_page_of_usage_tells_of_every_field() {
    let (first, second) =
        (FakeProvider::start([Told::stream([usage(9, 1), opening(&["one"]), chunk(&json!({}), Some("stop"))])]).await, idle().await);
    let app = app(&first, &second, &[("PERSONA_MAX_TOKENS_PER_DAY", "1000")]);
    let ada = Person::new(&app, "Ada").await;
    text(&ada, "completed").await;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/usage.md")).unwrap();
    let example = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let mut example: Value = serde_json::from_str(example).unwrap();
    let report = ada.get("/api/usage?by=day").await;
    // No call of this day was guessed.
    for amount in ["/usage/0", "/total"] {
        example.pointer_mut(amount).unwrap().as_object_mut().unwrap().remove("estimatedCalls");
    }
    let names = |value: &Value| -> Vec<String> {
        fn paths(value: &Value, before: &str, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => fields.iter().for_each(|(name, value)| paths(value, &format!("{before}/{name}"), found)),
                Value::Array(list) => list.iter().for_each(|value| paths(value, before, found)),
                _ => found.push(before.to_owned()),
            }
        }
        let mut found = Vec::new();
        paths(value, "", &mut found);
        found
    };
    assert_eq!(names(&report), names(&example));
}
