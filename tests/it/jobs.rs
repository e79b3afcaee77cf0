//! Jobs as their owner sees them: shown, listed, stopped, and told to exactly one end.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    admin::{TOKEN, admin, put_persona},
    answer::{Answer, refused},
    app::App,
    eventually,
    person::{GENERAL, Person},
};

fn ids(jobs: &Value) -> Vec<&str> {
    jobs["jobs"].as_array().unwrap().iter().map(|job| job["jobId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_generation_is_accepted_with_the_place_of_its_job() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for (what, kind) in [("text", "generate_text"), ("image", "generate_image")] {
        let answer = Answer::to(ada.request(Method::POST, &format!("/api/generate/{what}")).json(&json!({"prompt": "A cat"}))).await;
        let id = answer.json()["jobId"].as_str().unwrap().to_owned();
        assert_eq!((answer.status, answer.json()), (202, json!({"jobId": id})));
        assert_eq!((answer.header("location"), id.as_bytes()[14]), (format!("/api/jobs/{id}").as_str(), b'7'));
        assert_eq!(ada.get(answer.header("location")).await["kind"], kind);
    }
}

#[tokio::test]
async fn a_job_is_shown_from_its_beginning_to_its_end() {
    let app = App::with(&[("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", "300")]);
    let ada = Person::new(&app, "Ada").await;
    let first = ada.generate("text", &json!({"prompt": "A poem"})).await;
    let runs = ada.job_in(&first, "running").await;
    let waiting = ada.generate("text", &json!({"prompt": "A poem", "maxTokens": 1})).await;
    let waits = ada.get(&format!("/api/jobs/{waiting}")).await;
    assert_eq!(
        waits,
        json!({"jobId": waiting, "kind": "generate_text", "state": "available", "attempt": 0, "createdAt": waits["createdAt"], "queuePosition": 1})
    );
    assert_eq!(
        (&runs["attempt"], runs["startedAt"].is_string(), &runs["finishedAt"], &runs["result"]),
        (&json!(1), true, &json!(null), &json!(null))
    );
    assert_eq!(ada.stop(&first).await.status, 202);
    let done = ada.job_in(&waiting, "completed").await;
    let result = &done["result"];
    assert_eq!((&done["progress"], &done["attempt"], &result["provider"]), (&json!(100), &json!(1), &json!("offline")));
    assert!(!result["text"].as_str().unwrap().is_empty() && result["model"].is_string(), "{done}");
    assert_eq!(result["usage"]["outputTokens"], 1);
    let times = ["createdAt", "startedAt", "finishedAt"].map(|name| done[name].as_str().unwrap().to_owned());
    assert!(times.is_sorted() && times.iter().all(|time| time.len() == 24), "{times:?}");
    assert_eq!(done.get("error"), None);
}

#[tokio::test]
async fn a_text_under_way_can_be_picked_up_in_the_middle() {
    let app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "60")]);
    let ada = Person::new(&app, "Ada").await;
    let job = ada.generate("text", &json!({"prompt": "What can you do?"})).await;
    let begun = eventually("some of the text is told", async || {
        let shown = ada.get(&format!("/api/jobs/{job}")).await;
        (shown["partial"]["seq"].as_u64()? > 2).then_some(shown)
    })
    .await;
    let mut stream = ada.listen(&[]).await;
    let partial = ada.get(&format!("/api/jobs/{job}")).await["partial"].clone();
    assert!(partial["text"].as_str().unwrap().starts_with(begun["partial"]["text"].as_str().unwrap()), "{begun} {partial}");
    let (mut text, mut seq) = (partial["text"].as_str().unwrap().to_owned(), partial["seq"].as_u64().unwrap());
    let end = loop {
        let event = stream.next_logged().await;
        let result = &event.data["result"];
        match event.kind() {
            "ai_chat_chunk" if result["seq"].as_u64().unwrap() <= seq => {}
            "ai_chat_chunk" => {
                seq += 1;
                assert_eq!((&result["seq"], &result["streamId"]), (&json!(seq), &partial["streamId"]));
                text.push_str(result["text"].as_str().unwrap());
            }
            "generation_complete" => break event,
            _ => {}
        }
    };
    assert_eq!(end.data["result"]["text"], json!(text));
    assert_eq!(ada.get(&format!("/api/jobs/{job}")).await.get("partial"), None);
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_state_and_kind_and_page() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let (mut texts, mut pictures) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        texts.push(ada.generate("text", &json!({"prompt": "A poem"})).await);
        pictures.push(ada.generate("image", &json!({"prompt": "A cat", "size": "64x64"})).await);
        ben.generate("text", &json!({"prompt": "Not hers"})).await;
    }
    let reply = ada.ask(GENERAL, "Hello").await;
    let all: Vec<&String> = texts.iter().zip(&pictures).flat_map(|(text, picture)| [text, picture]).chain([&reply]).rev().collect();
    for id in &all {
        ada.job_in(id, "completed").await;
    }
    assert_eq!(ids(&ada.get("/api/jobs").await), all);
    assert_eq!(ids(&ada.get("/api/jobs?kind=generate_text&limit=200").await), texts.iter().rev().collect::<Vec<_>>());
    assert_eq!(ids(&ada.get("/api/jobs?kind=ai_chat_response&state=completed").await), [&reply]);
    assert_eq!(ada.get("/api/jobs?state=running").await, json!({"jobs": []}));
    assert_eq!(ada.get("/api/jobs?kind=process_upload").await, json!({"jobs": []}));

    let (mut paged, mut path) = (Vec::new(), "/api/jobs?limit=4".to_owned());
    loop {
        let page = ada.get(&path).await;
        paged.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(before) = page["nextBefore"].as_str() else { break };
        assert_eq!((ids(&page).len(), Some(&before.to_owned())), (4, paged.last()));
        path = format!("/api/jobs?limit=4&before={before}");
    }
    assert_eq!(paged.iter().collect::<Vec<_>>(), all);
    let exact = ada.get(&format!("/api/jobs?limit={}", all.len())).await;
    assert_eq!((ids(&exact).len(), exact.get("nextBefore")), (all.len(), None));
}

#[tokio::test]
async fn a_room_of_many_personas_is_not_a_way_around_the_limit() {
    let app = App::with(&[("PERSONA_ADMIN_TOKEN", TOKEN), ("PERSONA_MAX_JOBS_PER_USER", "4")]);
    let pause = admin(&app, Method::PUT, "/api/admin/queue/kinds/ai_chat_response").json(&json!({"paused": true}));
    assert!(Answer::to(pause).await.status < 300);
    for id in ["a", "b", "c"] {
        put_persona(&app, id, &json!({"channel": "channel:lab", "name": id})).await;
    }
    let ada = Person::new(&app, "Ada").await;
    let ask = || ada.request(Method::POST, "/api/chat/messages").json(&json!({"channel": "channel:lab", "content": "Hello"}));
    assert_eq!(Answer::to(ask()).await.status, 202);
    refused(ask(), 429, "too_many_jobs", None).await;
    assert_eq!(ada.get("/api/jobs?state=available").await["jobs"].as_array().unwrap().len(), 3);
    // Whoever has nothing waiting is answered by all of a room.
    let ben = Person::new(&app, "Ben").await;
    for id in ["d", "e"] {
        put_persona(&app, id, &json!({"channel": "channel:lab", "name": id})).await;
    }
    let asked = ben.post("/api/chat/messages", &json!({"channel": "channel:lab", "content": "Hello"})).await.json::<Value>().await.unwrap();
    assert_eq!(asked["jobIds"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn who_has_too_many_jobs_waiting_is_told_when_to_come_back_and_nothing_is_stored() {
    let app = App::with(&[("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", "10000"), ("PERSONA_MAX_JOBS_PER_USER", "3")]);
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let running = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&running, "running").await;
    for _ in 0..3 {
        ada.generate("text", &json!({"prompt": "A poem"})).await;
    }
    let message = json!({"channel": GENERAL, "content": "Hello?"});
    for (path, body) in [("text", &json!({"prompt": "One more"})), ("image", &json!({"prompt": "One more"})), ("", &message)] {
        let path = if path.is_empty() { "/api/chat/messages".to_owned() } else { format!("/api/generate/{path}") };
        let answer = Answer::to(ada.request(Method::POST, &path).json(body)).await;
        answer.is_problem(429, "too_many_jobs", None);
        assert!((1..=60).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
    }
    assert_eq!(ada.get("/api/jobs").await["jobs"].as_array().unwrap().len(), 4);
    assert_eq!(ada.get("/api/chat/messages?channel=channel:general").await["messages"], json!([]));
    // Who asks for no job, or is somebody else, is not concerned.
    ada.say(GENERAL, "Hello!").await;
    ben.generate("text", &json!({"prompt": "A poem"})).await;
}

#[tokio::test]
async fn every_job_has_one_end_and_its_progress_only_grows() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let (text, image, reply) = (json!({"prompt": "A poem of many words"}), json!({"prompt": "A cat", "size": "256x256"}), "What can you do?");
    let mut made = Vec::new();
    for round in 0..8 {
        let (one, two, three) = tokio::join!(ada.generate("text", &text), ada.generate("image", &image), ada.ask(GENERAL, reply));
        if round % 2 == 0 {
            // Some are stopped, at whatever moment it hits them.
            for answer in join_all([&one, &two, &three].map(|job| ada.stop(job))).await {
                assert!([202, 409].contains(&answer.status), "{answer:?}");
            }
        }
        made.extend([one, two, three]);
    }
    let mut open: HashSet<&str> = made.iter().map(String::as_str).collect();
    let (mut progress, mut ends) = (HashMap::new(), HashMap::new());
    while !open.is_empty() {
        let event = stream.next_logged().await;
        let Some(job) = event.data["jobId"].as_str().map(str::to_owned) else { continue };
        assert!(open.contains(job.as_str()), "after its end: {event:?}");
        if event.kind() == "generation_progress" {
            let percent = event.data["progress"].as_u64().unwrap();
            assert!(percent < 100 && progress.insert(job.clone(), percent).is_none_or(|before| before < percent), "{event:?}");
        }
        if event.is_terminal() {
            open.remove(job.as_str());
            ends.insert(job, event);
        }
    }
    for job in &made {
        let shown = ada.get(&format!("/api/jobs/{job}")).await;
        let end = &ends[job];
        match shown["state"].as_str().unwrap() {
            "completed" if end.kind() == "ai_chat" => assert_eq!(end.data["result"]["finishReason"], "stop"),
            "completed" => {
                assert_eq!((end.kind(), &end.data["progress"], &end.data["result"]), ("generation_complete", &json!(100), &shown["result"]));
            }
            "cancelled" if end.kind() == "ai_chat" => assert_eq!(end.data["result"]["finishReason"], "cancelled"),
            "cancelled" => assert_eq!((end.kind(), &end.data["error"]), ("generation_failed", &json!("cancelled"))),
            other => panic!("{other}: {shown}"),
        }
    }
}

#[tokio::test]
async fn a_job_that_is_unknown_malformed_or_of_another_is_not_found() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let job = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&job, "completed").await;
    let upper = job.to_uppercase();
    let wrong = [
        "0190a000-0000-7000-8000-00000000000a",
        "1",
        "x",
        "%20",
        "%ff",
        "%00",
        "%zz",
        "%F0%9F%90%88",
        &upper,
        &job.replace('-', ""),
        &"a".repeat(5000),
    ];
    for method in [Method::GET, Method::DELETE] {
        for id in wrong {
            refused(ada.request(method.clone(), &format!("/api/jobs/{id}")), 404, "job_not_found", None).await;
        }
        refused(ben.request(method, &format!("/api/jobs/{job}")), 404, "job_not_found", None).await;
    }
    assert_eq!(ben.get("/api/jobs").await, json!({"jobs": []}));
    let answer = Answer::to(ada.request(Method::GET, &format!("/api/jobs/{job}"))).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
}
