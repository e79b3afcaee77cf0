//! Service and worker apart, several of each, on one database and one Redis.

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    app::App,
    person::{GENERAL, Person},
    postgres::Database,
    redis::Redis,
};

/// What all processes share.
struct Shared {
    redis: Redis,
    database: Database,
    pictures: TempDir,
}

impl Shared {
    fn new() -> Self {
        Self { redis: Redis::start(), database: Database::new(), pictures: tempfile::tempdir().unwrap() }
    }

    fn start(&self, part: &str, settings: &[(&str, &str)]) -> App {
        let folder = self.pictures.path().to_str().unwrap();
        let shared = [
            ("REDIS_URL", &*self.redis.url()),
            ("DATABASE_URL", &self.database.url),
            ("PERSONA_SECRET", "what all of these processes have in common"),
            ("PERSONA_DATA_DIR", folder),
        ];
        let settings: Vec<(&str, &str)> = shared.iter().chain(settings).copied().collect();
        App::builder(&settings).flag(part).start()
    }
}

/// The same person, at another process.
fn at(app: &App, person: &Person) -> Person {
    Person { client: person.client.clone(), url: app.url.clone(), id: person.id.clone(), name: person.name.clone(), token: person.token.clone() }
}

#[tokio::test]
async fn what_is_asked_of_one_service_a_worker_does_and_another_service_tells() {
    let shared = Shared::new();
    let (one, other) = (shared.start("serve", &[]), shared.start("serve", &[]));
    let worker = shared.start("work", &[]);
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
async fn a_reply_whose_worker_is_killed_is_begun_anew_by_another_and_ends_exactly_once() {
    let shared = Shared::new();
    let service = shared.start("serve", &[]);
    let slow = [("PERSONA_OFFLINE_PACE_MS", "50"), ("PERSONA_LEASE_SECONDS", "2")];
    let mut first = shared.start("work", &slow);
    let ada = Person::new(&service, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    stream.next_of("ai_chat_chunk").await;
    let _second = shared.start("work", &slow);
    first.kill();
    loop {
        let chunk = stream.next_of("ai_chat_chunk").await;
        if chunk.data["result"]["restart"] == json!(true) {
            break;
        }
    }
    assert_eq!(stream.next_of("ai_chat").await.data["jobId"], json!(job));
    ada.say(GENERAL, "mark").await;
    assert_eq!(stream.next_logged().await.kind(), "chat");
}
