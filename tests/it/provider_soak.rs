//! Many jobs over three providers that fail at random: each job ends once, with the text that its last provider sent.
//!
//! The same seed fails in the same ways. `just soak` runs a thousand jobs.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    app::App,
    person::Person,
    sse::Stream,
    unreliable::{Protocol, Unreliable, Whole},
};

/// How long nothing may happen: longer than the longest pause before another try.
const PATIENCE: Duration = Duration::from_mins(1);
const USERS: usize = 4;

#[tokio::test]
async fn every_job_ends_once_with_what_its_last_provider_has_sent() {
    hold(1, 80).await;
}

#[tokio::test]
#[ignore = "a thousand jobs: just soak"]
#[expect(clippy::disallowed_methods, reason = "how a test is run is no setting of the product")]
async fn soak() {
    let seed = std::env::var("PERSONA_SOAK_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    hold(seed, 1000).await;
}

/// What a listener knows of a job.
#[derive(Debug, Default)]
struct Seen {
    text: String,
    ends: Vec<Value>,
}

async fn hold(seed: u64, jobs: usize) {
    let whole = Whole::default();
    let start = |name, protocol| Unreliable::start(name, protocol, seed, whole.clone());
    let (openai, laozhang, gemini) =
        (start("openai", Protocol::OpenAi).await, start("laozhang", Protocol::OpenAi).await, start("gemini", Protocol::Gemini).await);
    let (one, two, three) =
        (format!("http://{}/v1", openai.address), format!("http://{}/v1", laozhang.address), format!("http://{}", gemini.address));
    let app = App::with(&[
        ("OPENAI_BASE_URL", one.as_str()),
        ("LAOZHANG_API_KEY", "sk-test"),
        ("LAOZHANG_BASE_URL", &two),
        ("GEMINI_API_KEY", "sk-test"),
        ("GEMINI_BASE_URL", &three),
        ("PERSONA_TEXT_ROUTE", "openai/a,laozhang/b,gemini/c"),
        ("PERSONA_PROVIDER_REST_MS", "5"),
        ("PERSONA_PROVIDER_LONG_REST_MS", "20"),
        ("PERSONA_MAX_JOBS_PER_USER", "0"),
    ]);
    let share = jobs.div_ceil(USERS);
    let users = (0..USERS).map(|user| one_user(&app, user, share));
    let (mut completed, mut failed) = (0, 0);
    for (prompt, seen) in futures_util::future::join_all(users).await.into_iter().flatten() {
        let [end] = seen.ends.as_slice() else { panic!("{prompt} has ended {} times, seed {seed}: {seen:?}", seen.ends.len()) };
        let sent = whole.lock().unwrap().get(&prompt).cloned().unwrap_or_default();
        if end["type"] == "generation_failed" {
            // All of its providers, again and again or out of credit at once; and nothing that came whole may have been lost.
            assert!(sent.is_empty(), "{prompt}, seed {seed}: {end}, though {sent:?} was sent");
            failed += 1;
            continue;
        }
        // One has come whole, and nobody was asked again after it.
        let [sent] = sent.as_slice() else { panic!("{prompt} was written {} times, seed {seed}", sent.len()) };
        assert_eq!((end["result"]["text"].as_str(), &seen.text), (Some(sent.as_str()), sent), "{prompt}, seed {seed}");
        assert!(sent.contains(&format!("/{}/", end["result"]["provider"].as_str().unwrap())), "{prompt}, seed {seed}: {end}");
        completed += 1;
    }
    println!("{completed} completed, {failed} failed");
    assert!(completed + failed == share * USERS && failed * 20 <= completed, "{completed} completed, {failed} failed, seed {seed}");
}

/// Asks for texts, and follows them to their ends, by prompt; and a little beyond.
async fn one_user(app: &App, user: usize, jobs: usize) -> Vec<(String, Seen)> {
    let person = Person::new(app, "Ada").await;
    let mut stream = person.listen(&[]).await;
    let mut seen = HashMap::new();
    let ask = async {
        let mut prompts = HashMap::new();
        for job in 0..jobs {
            let prompt = format!("{user}-{job}");
            prompts.insert(person.generate("text", &json!({"prompt": prompt})).await, prompt);
        }
        prompts
    };
    // At once, or the stream would be closed as too slow.
    let (prompts, ()) = futures_util::future::join(ask, follow(&mut stream, &mut seen, jobs)).await;
    for job in prompts.keys() {
        let view = person.get(&format!("/api/jobs/{job}")).await;
        assert!(view["finishedAt"].is_string(), "{view}");
    }
    // Whatever ends twice has done so before this one ends.
    person.generate("text", &json!({"prompt": format!("{user}-last")})).await;
    follow(&mut stream, &mut seen, jobs + 1).await;
    prompts.into_iter().map(|(id, prompt)| (prompt, seen.remove(&id).unwrap_or_default())).collect()
}

/// Reads until so many jobs have ended.
async fn follow(stream: &mut Stream, seen: &mut HashMap<String, Seen>, jobs: usize) {
    while seen.values().filter(|seen| !seen.ends.is_empty()).count() < jobs {
        let event = tokio::time::timeout(PATIENCE, stream.try_next()).await.expect("jobs have no end").expect("the stream has ended").data;
        let Some(id) = event["jobId"].as_str() else { continue };
        let seen = seen.entry(id.to_owned()).or_default();
        match event["type"].as_str().unwrap() {
            "ai_chat_chunk" => {
                if event["result"]["seq"] == 0 {
                    assert!(seen.text.is_empty() || event["result"]["restart"] == true, "{event}");
                    seen.text.clear();
                }
                seen.text.push_str(event["result"]["text"].as_str().unwrap());
            }
            "generation_complete" | "generation_failed" => seen.ends.push(event),
            _ => {}
        }
    }
}
