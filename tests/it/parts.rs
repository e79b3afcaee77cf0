//! Service and worker apart, several of each, on one database and one Redis.

use serde_json::json;

use crate::support::{
    app::App,
    fleet::Fleet,
    person::{GENERAL, Person},
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
