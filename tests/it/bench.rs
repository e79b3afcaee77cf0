//! The benchmarks run, and are strict about what they count. How fast anything is, no test says.

use std::process::Command;

use serde_json::{Value, json};

/// Runs `persona bench` with these words, and gives the object it ends with.
fn bench(words: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_persona"));
    command.arg("bench").args(words).args(["--json", "--folder"]).arg(folder.path()).env_clear();
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said = String::from_utf8(ran.stdout).unwrap();
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

#[test]
fn the_hub_tells_every_message_to_every_stream() {
    let figures = bench(&["hub", "--streams", "20", "--rate", "20", "--seconds", "1"]);
    for figures in [&figures, &figures["floor"]] {
        assert_eq!((&figures["deliveries"], &figures["missed"]), (&json!(20 * 20), &json!(0)), "{figures}");
    }
    let figures =
        bench(&["hub", "--streams", "6", "--users", "2", "--rooms", "6", "--rooms-each", "2", "--burst", "12", "--rate", "12", "--seconds", "1"]);
    assert_eq!((&figures["deliveries"], &figures["floor"]), (&json!(6 * 2 * 2), &json!(null)), "{figures}");
}

#[test]
fn streams_over_http2_are_held_plain_and_encrypted() {
    for words in [&["held"][..], &["held", "--tls"]] {
        let figures = bench(&[words, &["--streams", "6", "--per-connection", "3"]].concat());
        assert!(figures["resident_kib_idle"].as_u64().is_some_and(|memory| memory > 0), "{figures}");
    }
}

#[test]
fn every_acknowledged_message_is_in_history() {
    for words in [&["post", "--seconds", "1"][..], &["post", "--seconds", "1", "--reply"]] {
        let figures = bench(&[words, &["--connections", "4"]].concat());
        assert!(figures["acknowledged"].as_u64().is_some_and(|count| count > 0), "{figures}");
    }
}

#[test]
fn every_token_of_a_provider_is_read_in_each_way() {
    let figures = bench(&["providers", "--streams", "4", "--tokens", "10", "--pace", "30", "--rounds", "1"]);
    let ways = figures["ways"].as_array().unwrap();
    assert_eq!(ways.iter().map(|way| way["way"].as_str().unwrap()).collect::<Vec<_>>(), ["bare", "provider", "server"]);
    assert!(ways.iter().all(|way| way["later"]["tokens"] == 40 && way["first"]["tokens"] == 4), "{figures}");
}
