//! The benchmarks run, and are strict about what they count. How fast anything is, no test says.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{postgres::Database, redis::Redis};

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
    let database = Database::new();
    let on_postgres = ["post", "--seconds", "1", "--database-url", &database.url];
    for words in [&["post", "--seconds", "1"][..], &["post", "--seconds", "1", "--reply"], &on_postgres] {
        let figures = bench(&[words, &["--connections", "4"]].concat());
        assert!(figures["acknowledged"].as_u64().is_some_and(|count| count > 0), "{figures}");
    }
}

#[test]
fn messages_are_told_with_the_log_in_memory_and_in_redis_and_at_two_instances() {
    let redis = Redis::start();
    let words = ["--streams", "6", "--timed", "2", "--rate", "10", "--turns", "2", "--messages", "200", "--readers", "4"];
    let figures = bench(&[&["redis", "--redis-url", &redis.url()][..], &words].concat());
    for way in ["memory", "redis", "redis_elsewhere"] {
        assert!(figures[way]["all"]["latency_p50_us"].as_u64().is_some_and(|micros| micros > 0), "{figures}");
        assert_eq!(figures[way]["turns"].as_array().unwrap().len(), 2, "{figures}");
    }
    // What isn't durable is told to nobody, and what comes from Redis takes longer than nothing.
    for stage in ["durable", "told"] {
        assert!(figures["stages_in_redis"][stage]["mean_us"].as_u64().is_some_and(|micros| micros > 0), "{figures}");
    }
    assert!(figures["carried_to_two_instances"]["events_per_second"].as_f64().is_some_and(|count| count > 0.0), "{figures}");
}

#[test]
fn every_token_of_a_provider_is_read_in_each_way() {
    let figures = bench(&["providers", "--streams", "4", "--tokens", "10", "--pace", "30", "--rounds", "1"]);
    let ways = figures["ways"].as_array().unwrap();
    assert_eq!(ways.iter().map(|way| way["way"].as_str().unwrap()).collect::<Vec<_>>(), ["bare", "provider", "server"]);
    assert!(ways.iter().all(|way| way["later"]["tokens"] == 40 && way["first"]["tokens"] == 4), "{figures}");
}
