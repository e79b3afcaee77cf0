//! The delivery check finds what it is for: between the crowd and a server that keeps the contract stands a liar that breaks
//! it once, in each way there is. Each breach is found, by its name, and shown by few records.

use std::time::Duration;

use futures_util::future::join_all;
use persona_community::check::{
    crowd::{Crowd, Ended, Plan},
    reader::Manners,
    report::Report,
    verify::{Rules, shortest},
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::{
    DEADLINE,
    app::App,
    liar::{Liar, Lie},
};

/// The most records that it takes to show a breach.
const FEW: usize = 6;

/// A small crowd behind a liar.
fn plan(liar: &Liar) -> Plan {
    Plan {
        servers: vec![liar.url.clone()],
        seed: 7,
        rooms: 1,
        people: 2,
        readers: 1,
        visitors: 0,
        thinks: Duration::from_millis(400),
        manners: Manners { cut_after: None, silence: Duration::from_secs(10) },
        patience: Duration::from_secs(3),
        rules: Rules::default(),
    }
}

/// A crowd that goes on until the server has lied to it, and a little longer.
async fn crowd_before(app: &App, lie: Lie) -> Ended {
    let liar = Liar::before(&app.url, lie).await;
    let crowd = Crowd::gather(plan(&liar)).await.unwrap();
    // What is said at the end alone need not have come yet.
    let _ = timeout(Duration::from_secs(8), liar.has_lied.cancelled()).await;
    sleep(Duration::from_millis(800)).await;
    let ended = timeout(DEADLINE, crowd.end()).await.expect("the run does not end");
    assert!(liar.has_lied.is_cancelled(), "there was no occasion to lie");
    ended
}

/// The breach of this name is found, and shown by few records.
fn found(ended: &Ended, kind: &str) {
    let report = Report(ended).to_string();
    let Some(violation) = ended.violations.iter().find(|violation| violation.kind() == kind) else { panic!("no {kind} is found, but\n{report}") };
    let short = shortest(&ended.recorder.trace(), ended.rules, violation);
    assert!(short.len() <= FEW, "{kind} is shown by {} records", short.len());
    assert!(report.starts_with("seed 7: ") && report.contains(&format!("× {kind}")), "{report}");
}

async fn all_found(lies: Vec<(&str, Lie)>) {
    let app = App::with(&[("PERSONA_OFFLINE_PACE_MS", "2")]);
    let app = &app;
    join_all(lies.into_iter().map(|(kind, lie)| async move { found(&crowd_before(app, lie).await, kind) })).await;
}

/// The event in a block, where there is one that is logged.
fn event(block: &str) -> Option<Value> {
    let data = block.lines().find_map(|line| line.strip_prefix("data: "))?;
    let is_logged = block.contains("id: ") && !block.contains("event: ");
    is_logged.then(|| serde_json::from_str(data).unwrap())
}

fn is_kind(event: &Value, kind: &str) -> bool {
    event["type"] == json!(kind)
}

fn is_end(event: &Value) -> bool {
    ["ai_chat", "generation_complete", "generation_failed"].iter().any(|kind| is_kind(event, kind))
}

/// The block with another event in it.
fn telling(block: &str, event: &Value) -> String {
    let lines = block.lines().map(|line| if line.starts_with("data: ") { format!("data: {event}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

/// Lies about one event: the first one for which there is a lie.
fn about_one(mut lie: impl FnMut(&str, Value) -> Option<Vec<String>> + Send + 'static) -> Lie {
    let mut has_lied = false;
    Lie::Stream(Box::new(move |_, block| {
        let told = if has_lied { None } else { lie(block, event(block)?) };
        has_lied |= told.is_some();
        told
    }))
}

/// Has one stream tell another event in the place of the one that follows one such as this.
fn in_place_of_the_next(is_it: fn(&Value) -> bool) -> Lie {
    let (mut before, mut has_lied) = (None, false);
    Lie::Stream(Box::new(move |stream, block| {
        let event = event(block).filter(|_| !has_lied)?;
        if let Some((_, told)) = before.as_ref().filter(|(on, _)| *on == stream) {
            has_lied = true;
            return Some(vec![telling(block, told)]);
        }
        if before.is_none() && is_it(&event) {
            before = Some((stream, event));
        }
        None
    }))
}

#[tokio::test]
async fn an_event_that_is_dropped_repeated_exchanged_or_changed_is_found() {
    let mut held: Option<(usize, String)> = None;
    let exchange = Lie::Stream(Box::new(move |stream, block| {
        event(block)?;
        match held.take() {
            None => {
                held = Some((stream, block.to_owned()));
                Some(Vec::new())
            }
            Some((on, first)) if on == stream => {
                held = Some((usize::MAX, String::new()));
                Some(vec![block.to_owned(), first])
            }
            other => {
                held = other;
                None
            }
        }
    }));
    all_found(vec![
        ("hole", about_one(|_, event| is_kind(&event, "chat").then(Vec::new))),
        ("again", about_one(|block, event| is_kind(&event, "chat").then(|| vec![block.to_owned(); 2]))),
        ("again", exchange),
        (
            "disagreement",
            about_one(|block, mut event| {
                is_kind(&event, "chat").then(|| {
                    event["result"]["content"] = json!("what nobody has said");
                    vec![telling(block, &event)]
                })
            }),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_stream_that_goes_silent_is_behind_and_owes_messages() {
    let silent = || {
        let (mut silent, mut told) = (None, 0);
        Lie::Stream(Box::new(move |stream, block| {
            event(block).filter(|_| *silent.get_or_insert(stream) == stream)?;
            told += 1;
            (told > 3).then(Vec::new)
        }))
    };
    all_found(vec![("behind", silent()), ("untold", silent())]).await;
}

#[tokio::test]
async fn a_gap_that_is_none_is_found() {
    let needless = about_one(|block, event| {
        let reset = json!({"type": "stream_reset", "timestamp": event["timestamp"], "channel": event["channel"], "reason": "epoch"});
        Some(vec![block.to_owned(), format!("event: reset\ndata: {reset}")])
    });
    all_found(vec![("needless reset", needless)]).await;
}

#[tokio::test]
async fn a_job_with_two_ends_or_more_after_its_end_or_none_is_found() {
    let mut last: Option<(usize, Value)> = None;
    // In the place of an end, the piece before it is told once more.
    let no_end = Lie::Stream(Box::new(move |stream, block| {
        let event = event(block)?;
        if is_kind(&event, "ai_chat_chunk") {
            last.get_or_insert((stream, event));
            return None;
        }
        let (on, piece) = last.as_ref()?;
        (*on == stream && is_end(&event) && piece["jobId"] == event["jobId"]).then(|| vec![telling(block, piece)])
    }));
    let mut pieces: Vec<(usize, Value)> = Vec::new();
    let mut ended: Option<(usize, Value)> = None;
    let after_the_end = Lie::Stream(Box::new(move |stream, block| {
        let event = event(block)?;
        if let Some((on, piece)) = &ended {
            return (*on == stream).then(|| vec![telling(block, piece)]);
        }
        if is_kind(&event, "ai_chat_chunk") {
            pieces.push((stream, event));
        } else if is_end(&event) {
            ended = pieces.iter().find(|(on, piece)| *on == stream && piece["jobId"] == event["jobId"]).cloned();
        }
        None
    }));
    all_found(vec![("second end", in_place_of_the_next(is_end)), ("after the end", after_the_end), ("no end", no_end)]).await;
}

#[tokio::test]
async fn a_text_whose_pieces_or_whose_end_are_not_its_own_is_found() {
    let broken = about_one(|block, mut event| {
        let seq = event["result"]["seq"].as_u64().filter(|seq| *seq == 1)?;
        event["result"]["seq"] = json!(seq + 1);
        Some(vec![telling(block, &event)])
    });
    let other = about_one(|block, mut event| {
        (is_kind(&event, "ai_chat") && event["result"]["finishReason"] == json!("stop")).then(|| {
            event["result"]["content"] = json!("another text");
            vec![telling(block, &event)]
        })
    });
    all_found(vec![("broken text", broken), ("other text", other)]).await;
}

/// The page's messages; nothing where this is none.
fn page<'a>(request: &str, body: &'a mut Value) -> Option<&'a mut Vec<Value>> {
    let messages = body["messages"].as_array_mut().filter(|_| request == "GET /api/chat/messages")?;
    messages.iter().any(|message| message["role"] == json!("user")).then_some(messages)
}

#[tokio::test]
async fn an_acknowledged_message_that_is_not_told_not_kept_or_kept_twice_is_found() {
    let another_id = || {
        let mut has_lied = false;
        Lie::Answer(Box::new(move |request, _, body| {
            let lies = !has_lied && request == "POST /api/chat/messages" && body["message"].is_object();
            if lies {
                body["message"]["id"] = json!(uuid::Uuid::now_v7());
                has_lied = true;
            }
            lies
        }))
    };
    // Whatever history is asked, it lacks the message that was said first.
    let forgotten = || {
        Lie::Answer(Box::new(|request, _, body| {
            let Some(messages) = page(request, body) else { return false };
            let first = messages.iter().position(|message| message["role"] == json!("user")).unwrap();
            messages.remove(first);
            true
        }))
    };
    let otherwise = Lie::Answer(Box::new(|request, _, body| {
        let Some(messages) = page(request, body) else { return false };
        let reply = messages.iter_mut().find(|message| message["role"] == json!("assistant"));
        reply.is_some_and(|reply| {
            reply["content"] = json!("another text");
            true
        })
    }));
    let doubled = Lie::Answer(Box::new(|request, _, body| {
        let Some(messages) = page(request, body) else { return false };
        let mut copy = messages.iter().find(|message| message["role"] == json!("user")).unwrap().clone();
        copy["id"] = json!(uuid::Uuid::now_v7());
        messages.push(copy);
        true
    }));
    all_found(vec![
        ("untold", another_id()),
        ("lost", another_id()),
        ("lost", forgotten()),
        ("phantom", forgotten()),
        ("kept otherwise", otherwise),
        ("doubled", doubled),
    ])
    .await;
}

#[tokio::test]
async fn a_job_that_never_ends_or_otherwise_than_was_told_a_person_who_is_not_there_and_an_answer_that_must_not_be_are_found() {
    let unfinished = Lie::Answer(Box::new(|request, _, body| {
        let lies = request.starts_with("GET /api/jobs/");
        if lies {
            body["state"] = json!("running");
        }
        lies
    }));
    let other_end = Lie::Answer(Box::new(|request, _, body| {
        let lies = request.starts_with("GET /api/jobs/") && body["state"] == json!("completed");
        if lies {
            body["state"] = json!("discarded");
        }
        lies
    }));
    let nobody = Lie::Answer(Box::new(|request, _, body| {
        let lies = request == "GET /api/presence";
        if lies {
            body["users"] = json!([]);
        }
        lies
    }));
    let mut has_failed = false;
    let failure = Lie::Answer(Box::new(move |request, status, _| {
        let lies = !has_failed && request == "POST /api/chat/messages";
        has_failed |= lies;
        if lies {
            *status = 503;
        }
        lies
    }));
    all_found(vec![("unfinished", unfinished), ("other end", other_end), ("presence", nobody), ("wrong answer: 503 without Retry-After", failure)])
        .await;
}

#[tokio::test]
async fn a_gap_that_nobody_tells_is_found() {
    let app = App::start();
    // Without a log that outlives it, a server that starts again can't go on where it was.
    let lie = Lie::Stream(Box::new(|_, block| block.contains("event: reset").then(Vec::new)));
    let liar = Liar::before(&app.url, lie).await;
    let plan = Plan { thinks: Duration::from_millis(200), patience: Duration::from_secs(5), ..plan(&liar) };
    let crowd = Crowd::gather(plan).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    crowd.recorder.fault("the server is killed and started again", true);
    let app = tokio::task::spawn_blocking(|| app.restart()).await.unwrap();
    timeout(DEADLINE, liar.has_lied.cancelled()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    found(&timeout(DEADLINE, crowd.end()).await.unwrap(), "untold gap");
    drop(app);
}
