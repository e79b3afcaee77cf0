//! Service and worker apart, several of each, on one database and one Redis.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    app::App,
    fleet::Fleet,
    person::{GENERAL, Person},
    provider::{Answer, FakeProvider, opening},
};

/// The same person, at another process.
fn at(app: &App, person: &Person) -> Person {
    Person { client: person.client.clone(), url: app.url.clone(), id: person.id.clone(), name: person.name.clone(), token: person.token.clone() }
}

#[tokio::test]
async fn what_is_asked_of_one_service_a_worker_does_and_another_service_tells() {
    let fleet = Fleet::new();
    let (one, other) = (fleet.service(&[]).start(), fleet.service(&[]).start());
    let worker = fleet.worker(&[]).start();
    let ada = Person::new(&one, "Ada").await;
    let elsewhere = at(&other, &ada);
    let mut stream = elsewhere.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    assert_eq!(stream.next_of("chat").await.data["result"]["content"], json!("What can you do?"));
    let reply = stream.next_of("ai_chat").await;
    assert_eq!(reply.data["jobId"], json!(job));
    elsewhere.job_in(&job, "completed").await;
    // A picture is painted by the worker and shown by either service.
    ada.generate("image", &json!({"prompt": "a lighthouse", "size": "256x256"})).await;
    let image = stream.next_of("generation_complete").await.data["result"]["images"][0]["url"].as_str().unwrap().to_owned();
    for service in [&one, &other] {
        assert_eq!(reqwest::get(format!("{}{image}", service.url)).await.unwrap().status(), 200);
    }
    // A worker says how it is, and nothing else.
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/models", 404), ("/", 404)] {
        assert_eq!(reqwest::get(format!("{}{path}", worker.url)).await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_limit_of_a_provider_holds_over_all_workers_and_is_free_again_when_they_have_died() {
    let fake = FakeProvider::start([Answer::words(&["all ", "is ", "said"]).slowly(Duration::from_millis(50))]).await;
    let (fleet, url) = (Fleet::new(), fake.url());
    let settings = [
        ("OPENAI_BASE_URL", &*url),
        ("PERSONA_CHAT_ROUTE", "openai/m-1"),
        ("PERSONA_TEXT_ROUTE", "openai/m-1"),
        ("PERSONA_IMAGE_ROUTE", "openai/m-1"),
        ("PERSONA_JOB_LIMITS", "provider:openai=2"),
        ("PERSONA_LEASE_SECONDS", "2"),
    ];
    let service = fleet.service(&settings).start();
    let mut workers = [fleet.worker(&settings).start(), fleet.worker(&settings).start()];
    let ada = Person::new(&service, "Ada").await;
    let prompt = json!({"prompt": "Say all."});
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(ada.generate("text", &prompt).await);
    }
    for job in jobs.drain(..) {
        ada.job_in(&job, "completed").await;
    }
    // Both places are taken when the workers die.
    let asked = fake.asked().len();
    for _ in 0..2 {
        fake.answer_next(Answer::stream([opening(&["so far"])]).then_silence());
    }
    for _ in 0..3 {
        jobs.push(ada.generate("text", &prompt).await);
    }
    fake.asked_times(asked + 2).await;
    workers.iter_mut().for_each(App::kill);
    let _other = fleet.worker(&settings).start();
    for job in &jobs {
        ada.job_in(job, "completed").await;
    }
    assert_eq!(fake.busy().most, 2);
}
