//! What is written for people is true: every event, every setting and every command of the pages is held against the
//! program.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use clap::CommandFactory as _;
use persona_community::{
    cli::Cli,
    event::{ClosingReason, Control, Event, Fact, FinishReason, Presence, ResetReason},
    failure::FailureCode,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::app::App;

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a page in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("\n```\n").next().unwrap()).collect()
}

/// JSON without the white space between its words, in the order in which it is written.
fn compact(json: &str) -> String {
    let (mut is_text, mut is_escaped) = (false, false);
    json.chars()
        .filter(|char| {
            is_text ^= *char == '"' && !is_escaped;
            is_escaped = is_text && *char == '\\' && !is_escaped;
            is_text || !char.is_whitespace()
        })
        .collect()
}

/// What serde takes where this JSON has `?`: its refusal lists every name there is, however many a type comes to have.
fn names_of<T: DeserializeOwned>(json: &Value) -> Vec<String> {
    let refusal = serde_json::from_value::<T>(json.clone()).err().expect("`?` names nothing").to_string();
    let (_, names) = refusal.split_once("expected ").unwrap_or_else(|| panic!("{refusal}"));
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_control(kind: &str) -> bool {
    names_of::<Control>(&json!({"type": "?"})).iter().any(|name| name == kind)
}

#[test]
fn every_example_of_an_event_is_what_the_program_would_send() {
    let events = page("docs/events.md");
    for example in blocks(&events, "json") {
        let kind = serde_json::from_str::<Value>(example).unwrap_or_else(|error| panic!("{error} in\n{example}"))["type"].clone();
        let kind = kind.as_str().unwrap_or_else(|| panic!("no type in\n{example}"));
        let printed = if is_control(kind) {
            serde_json::from_str::<Control>(example).map(|control| serde_json::to_string(&control).unwrap())
        } else {
            example.parse::<Event>().map(|event| event.to_json())
        };
        assert_eq!(printed.unwrap_or_else(|error| panic!("{error} in\n{example}")), compact(example));
    }
}

#[test]
fn every_event_has_a_section_with_an_example() {
    let events = page("docs/events.md");
    let mut wanted = names_of::<Fact>(&json!({"type": "?"}));
    assert_eq!(wanted, Fact::KINDS, "Fact::KINDS has not every kind");
    wanted.extend(names_of::<Control>(&json!({"type": "?"})));
    for kind in &wanted {
        let mut examples = blocks(&events, "json").into_iter().map(|example| serde_json::from_str::<Value>(example).unwrap());
        assert!(examples.any(|example| example["type"] == kind.as_str()), "docs/events.md has no example of `{kind}`");
        // What is about the stream stands under the name that a client listens to.
        let name = kind.strip_prefix("stream_").unwrap_or(kind);
        assert!(events.contains(&format!("\n### `{name}`\n")), "docs/events.md has no section `{name}`");
    }
}

#[test]
fn every_word_that_a_field_may_have_is_explained() {
    let events = page("docs/events.md");
    let words = [
        names_of::<Presence>(&json!({"status": "?"})),
        names_of::<FinishReason>(&json!("?")),
        names_of::<FailureCode>(&json!("?")),
        names_of::<ResetReason>(&json!("?")),
        names_of::<ClosingReason>(&json!("?")),
    ];
    for word in words.concat() {
        assert!(events.contains(&format!("`{word}`")), "docs/events.md does not explain `{word}`");
    }
}

/// One setting, as the pages are to have it.
struct Setting {
    /// Its row in docs/settings.md.
    row: String,
    /// Its line in .env.sample, where it is an environment variable.
    line: Option<String>,
}

fn settings() -> Vec<Setting> {
    let command = Cli::command();
    let settings = command.get_arguments().map(|argument| {
        let variable = argument.get_env().map(|name| name.to_str().unwrap().to_owned());
        let flag = format!("`--{}`", argument.get_long().expect("every setting is a flag"));
        let default = argument.get_default_values().first().map(|value| value.to_str().unwrap().to_owned());
        let meaning = argument.get_help().expect("every setting is explained").to_string();
        let quoted = |text: &Option<String>| text.as_ref().map_or("–".to_owned(), |text| format!("`{text}`"));
        let row = format!("| {} | {flag} | {} | {meaning} |", quoted(&variable), quoted(&default));
        Setting { row, line: variable.map(|name| format!("#{name}={}", default.unwrap_or_default())) }
    });
    let settings: Vec<Setting> = settings.collect();
    assert!(settings.len() > 20, "the settings are not where they are looked for");
    settings
}

/// Fails unless both have the same lines, in whatever order.
fn same(page: &str, written: &BTreeSet<String>, right: &BTreeSet<String>) {
    let missing: Vec<&str> = right.difference(written).map(String::as_str).collect();
    let wrong: Vec<&str> = written.difference(right).map(String::as_str).collect();
    assert!(missing.is_empty(), "{page} must have:\n{}\n", missing.join("\n"));
    assert!(wrong.is_empty(), "{page} must not have:\n{}\n", wrong.join("\n"));
}

#[test]
fn every_setting_stands_in_the_table_with_its_default_and_no_other_does() {
    let rows = page("docs/settings.md").lines().filter(|line| line.contains("`--")).map(str::to_owned).collect();
    same("docs/settings.md", &rows, &settings().into_iter().map(|setting| setting.row).collect());
}

#[test]
fn every_variable_stands_in_the_sample_with_its_default_and_no_other_does() {
    let sample = page(".env.sample");
    let is_setting = |line: &&str| !line.is_empty() && !line.starts_with("# ");
    let lines = sample.lines().filter(is_setting).map(str::to_owned).collect();
    same(".env.sample", &lines, &settings().into_iter().filter_map(|setting| setting.line).collect());
}

#[tokio::test]
async fn every_metric_stands_in_the_table_and_no_other_does() {
    let app = App::start();
    let text = reqwest::get(format!("{}/metrics", app.url)).await.unwrap().text().await.unwrap();
    let mut rows = BTreeSet::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).unwrap();
            rows.insert(format!("| `{name}` | {kind} | {help} |"));
        }
    }
    let written = page("docs/metrics.md").lines().filter(|line| line.contains("`persona_")).map(str::to_owned).collect();
    same("docs/metrics.md", &written, &rows);
}

#[test]
fn every_command_of_the_tour_answers_as_it_says() {
    const TOUR: &str = "\n## A tour with curl\n";
    let readme = page("README.md");
    let tour = readme.split(TOUR).nth(1).expect("README.md has a tour").split("\n## ").next().unwrap();
    let script = blocks(tour, "sh").join("\n");
    let expected: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(':')).map(|(status, _)| status).collect();
    assert_eq!(expected.len(), script.matches("curl ").count(), "every command of the tour says what it answers, and nothing else does");

    // Streams end by themselves after a while, so that the next command's turn comes; texts take long enough to be stopped.
    let app = App::with(&[("PERSONA_STREAM_LIFETIME_SECONDS", "1"), ("PERSONA_PING_MS", "100"), ("PERSONA_OFFLINE_PACE_MS", "50")]);
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "curl() {{ command curl --silent --show-error --max-time 20 --write-out '%{{stderr}}status %{{http_code}}\\n' \"$@\"; }}\n{}",
        script.replace("http://127.0.0.1:8080", &app.url)
    );
    let mut sh = Command::new("sh");
    let ran = sh.args(["-euc", &script]).current_dir(&folder).stdin(Stdio::null()).output().unwrap();
    let (said, told) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    let statuses: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("status ")).collect();
    assert_eq!(statuses, expected, "{script}\n{said}\n{told}");
    assert!(ran.status.success(), "{script}\n{said}\n{told}");
    // The last stream was resumed: it tells what was said before it began.
    let resumed = said.rsplit("event: ready").next().unwrap();
    assert!(resumed.contains(r#""resumed":true"#) && resumed.contains(r#""type":"chat""#), "{resumed}");
    assert!(said.contains("HTTP/2 200"), "{said}");
}
