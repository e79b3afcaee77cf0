//! Keys of providers: in the requests to them, and nowhere else, whatever the providers say and whoever looks.

use std::{path::Path, process::Output};

use serde_json::{Value, json};

use crate::support::{
    app::App,
    calls,
    person::{GENERAL, Person},
    provider::{Answer, FakeProvider, opening},
};

/// One that looks like a key, and one that looks like nothing in particular.
const KEYS: [&str; 2] = [calls::KEY, "Correct.Horse_battery~staple"];

/// Fails where a key, or enough of it, is in `text`.
fn has_no_key(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for part in ["planted-key", "Horse_battery"] {
        let found = text.find(part).map(|at| text[at.saturating_sub(200)..].chars().take(300).collect::<String>());
        assert_eq!(found, None, "{what} has a key");
    }
}

fn files_have_no_key(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        count += if path.is_dir() {
            files_have_no_key(&path)
        } else {
            has_no_key(path.to_str().unwrap(), &std::fs::read(&path).unwrap());
            1
        };
    }
    count
}

/// Everything that providers may say a key in.
fn indiscretions(key: &str) -> Vec<Answer> {
    let said = format!("Incorrect API key provided: {key}. Authorization: Bearer {key}, ?key={key}&x (request id: {key})");
    let error = json!({"error": {"message": said, "type": key, "code": key, "param": key}});
    vec![
        Answer::json(401, &error),
        Answer::json(500, &json!({"error": said})).header("x-request-id", key).header("retry-after-ms", "1"),
        Answer::bytes(502, "text/html", said.clone()),
        Answer::bytes(302, "text/html", "").header("location", &format!("https://x.test/?key={key}")),
        Answer::stream([opening(&["so far"]), format!("data: {error}\n\n")]).header("cf-ray", key),
        Answer::stream([format!("event: error\ndata: {said}\n\n")]),
        Answer::stream([error.to_string()]),
        Answer::stream([opening(&["x"])]).header("content-encoding", key),
        Answer::stream([opening(&["x"])]).broken_off(),
        Answer::json(400, &json!({"error": {"message": said, "code": "moderation_blocked"}})),
        Answer::hang_up(),
    ]
}

#[tokio::test]
async fn a_planted_key_is_found_nowhere_but_at_its_provider() {
    for key in KEYS {
        for answer in indiscretions(key) {
            let (openai, gemini) = (FakeProvider::start([answer.clone()]).await, FakeProvider::start([answer.clone()]).await);
            let (url, gemini_url) = (openai.url(), format!("http://{}", gemini.address));
            let settings = [
                ("OPENAI_API_KEY", key),
                ("OPENAI_BASE_URL", url.as_str()),
                ("GEMINI_API_KEY", key),
                ("GEMINI_BASE_URL", &gemini_url),
                ("PERSONA_CHAT_ROUTE", "openai/m-1,gemini/g-1"),
                ("PERSONA_TEXT_ROUTE", "gemini/g-1,openai/m-1"),
                ("PERSONA_IMAGE_ROUTE", "openai/m-1,gemini/g-1"),
                ("RUST_LOG", "trace"),
            ];
            let app = App::with(&settings);
            let ada = Person::new(&app, "Ada").await;
            let mut stream = ada.listen(&[GENERAL]).await;
            let jobs = [
                ada.ask(GENERAL, "Hello?").await,
                ada.generate("text", &json!({"prompt": "p"})).await,
                ada.generate("image", &json!({"prompt": "p"})).await,
            ];
            for job in &jobs {
                // Ended or about to be tried again: its first attempt is over.
                let view = crate::support::eventually("an attempt is over", async || {
                    let view = ada.get(&format!("/api/jobs/{job}")).await;
                    view.get("error").is_some().then_some(view)
                })
                .await;
                has_no_key("a job", view.to_string().as_bytes());
                ada.stop(job).await;
            }
            let mut ended = 0;
            while ended < jobs.len() {
                let event = stream.next_logged().await;
                has_no_key("an event", event.data.to_string().as_bytes());
                ended += usize::from(event.is_terminal());
            }
            has_no_key("history", ada.get("/api/chat/messages?channel=channel:general").await.to_string().as_bytes());
            has_no_key("the log", app.log().as_bytes());
            assert!(files_have_no_key(&app.data()) > 1);
            // Which it was sent, so that there was something to find.
            assert!(openai.asked()[0].head.contains(&format!("authorization: Bearer {key}")), "{answer:?}");
            assert!(gemini.asked()[0].head.contains(&format!("x-goog-api-key: {key}")), "{answer:?}");
        }
    }
}

async fn persona(settings: &[(&str, &str)], words: &[&str]) -> Output {
    let builder = words.iter().fold(App::builder(settings), |builder, word| builder.flag(word));
    let said = tokio::process::Command::from(builder.command()).output().await.unwrap();
    has_no_key("standard output", &said.stdout);
    has_no_key("standard error", &said.stderr);
    said
}

#[tokio::test]
async fn operators_see_what_works_and_what_to_do_and_no_key() {
    let working = FakeProvider::start([Answer::words(&["rea", "dy"])]).await;
    let refusing = FakeProvider::start([indiscretions(KEYS[1]).swap_remove(0)]).await;
    let drawing = FakeProvider::start([Answer::json(200, &json!({"name": "models/draws", "supportedGenerationMethods": ["generateContent"]}))]).await;
    let (one, two, three) = (working.url(), refusing.url(), format!("http://{}", drawing.address));
    let settings = [
        ("OPENAI_API_KEY", KEYS[0]),
        ("OPENAI_BASE_URL", one.as_str()),
        ("LAOZHANG_API_KEY", KEYS[1]),
        ("LAOZHANG_BASE_URL", &two),
        ("GEMINI_API_KEY", KEYS[0]),
        ("GEMINI_BASE_URL", &three),
        ("PERSONA_CHAT_ROUTE", "openai/m-1,laozhang/m-2"),
        ("PERSONA_TEXT_ROUTE", "openai/m-1"),
        ("PERSONA_IMAGE_ROUTE", "gemini/draws"),
    ];
    let said = persona(&settings, &["providers", "check", "--json"]).await;
    assert_eq!(said.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&said.stdout).unwrap();
    let [works, fails, draws] = report["targets"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!(
        (&report["works"], &works["target"], &works["serves"], &works["works"]),
        (&json!(false), &json!("openai/m-1"), &json!(["chat", "text"]), &json!(true))
    );
    assert!(works["firstTokenMs"].is_u64() && works["totalMs"].is_u64() && works["usage"]["outputTokens"] == 2, "{works}");
    assert_eq!((&fails["works"], &fails["fault"]), (&json!(false), &json!("unauthorized")));
    assert!(
        fails["detail"].as_str().unwrap().contains("Incorrect API key") && fails["advice"].as_str().unwrap().contains("LAOZHANG_API_KEY"),
        "{fails}"
    );
    assert_eq!((&draws["works"], &draws["serves"]), (&json!(true), &json!(["image"])));
    // A few tokens are asked for, and no picture.
    assert_eq!((working.asked()[0].body["max_tokens"].as_u64(), working.asked().len()), (Some(64), 1));
    assert_eq!(drawing.asked()[0].path, "/v1beta/models/draws");

    let told = persona(&settings, &["providers", "check"]).await;
    let lines = String::from_utf8(told.stdout).unwrap();
    assert!(lines.contains("works  openai/m-1  for chat, text\n") && lines.contains("FAILS  laozhang/m-2"), "{lines}");
    let good: Vec<_> =
        settings.iter().map(|setting| if setting.0 == "PERSONA_CHAT_ROUTE" { ("PERSONA_CHAT_ROUTE", "openai/m-1") } else { *setting }).collect();
    assert_eq!(persona(&good, &["providers", "check"]).await.status.code(), Some(0));
    let nobody = persona(&[], &["providers", "check"]).await;
    assert!(nobody.status.success() && nobody.stdout.starts_with(b"no provider has a key"));

    persona(&settings, &["check-config"]).await;
    persona(&[&settings[..], &[("PERSONA_IMAGE_ROUTE", "nobody/m"), ("PERSONA_PROVIDER_FIRST_MS", "x")]].concat(), &["check-config"]).await;
    // What a panic would print of them.
    let fake = FakeProvider::start([Answer::hang_up()]).await;
    let config = calls::openai(&fake, Some(&fake));
    let error = calls::write(&config.build().unwrap()).await.error;
    has_no_key("a panic", format!("{config:?} {:?} {error:?}", config.openai).as_bytes());
}
