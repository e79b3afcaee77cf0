//! A Redis server that starts anew, or another one in its place, may know less than was told: nobody goes on as if it knew all.

use std::time::Duration;

use persona_community::{
    channel::Channel,
    event::ResetReason,
    log::{EventLog as _, Position},
};
use redis::Value as Answered;
use serde_json::{Value, json};

use crate::support::{
    app::App,
    eventually,
    log::{Heard, room, say},
    person::{GENERAL, Person},
    redis::{Cluster, Redis},
};

/// A server that keeps what it has on disk where it is told to, and then only.
const SNAPSHOTS: [&str; 4] = ["--save", "3600 1000000", "--appendonly", "no"];

/// Says five things, of which the snapshot has the first three.
async fn five_of_which_three_are_kept(heard: &Heard, channel: &Channel, keep: impl FnOnce()) -> [Position; 5] {
    let first = [say(&heard.log, channel, "1").await, say(&heard.log, channel, "2").await, say(&heard.log, channel, "3").await];
    keep();
    let [one, two, three] = first;
    [one, two, three, say(&heard.log, channel, "4").await, say(&heard.log, channel, "5").await]
}

/// Whoever was told of a place before is told of the gap, now and when the channel has grown beyond that place.
async fn is_another_life(heard: &Heard, channel: &Channel, before: &[Position]) {
    heard.ready().await;
    eventually("the channel can be read", || async { heard.log.head(channel).await.ok() }).await;
    for _ in 0..7 {
        for told in before {
            assert!(!told.continues_in(heard.log.head(channel).await.unwrap()));
            let replay = heard.log.read(channel, *told).await.unwrap();
            assert!(!replay.complete);
            // What was told of the former life is not told again as news of this one.
            assert!(replay.events.iter().all(|logged| logged.position.epoch != told.epoch && !logged.json.is_empty()));
        }
        say(&heard.log, channel, "new").await;
    }
    assert_eq!(heard.log.read(channel, before[0]).await.unwrap().events.len(), 7);
}

#[actix_rt::test]
async fn a_server_that_comes_back_with_an_older_snapshot_is_another_life() {
    let mut redis = Redis::with(&SNAPSHOTS);
    let heard = Heard::at(&redis.url()).await;
    let (general, idle) = (room("general"), room("idle"));
    let idle_before = heard.log.head(&idle).await.unwrap();
    let before = five_of_which_three_are_kept(&heard, &general, || drop(redis.ask::<Answered>(&["SAVE"]))).await;
    say(&heard.log, &idle, "lost").await;
    redis.restart();
    is_another_life(&heard, &general, &before).await;
    // Its first event was lost: who waits for it must not wait for another.
    assert!(!idle_before.continues_in(heard.log.head(&idle).await.unwrap()));
}

#[actix_rt::test]
async fn a_node_of_a_cluster_that_comes_back_with_an_older_snapshot_is_another_life() {
    let mut cluster = Cluster::start();
    let heard = Heard::at(&cluster.url()).await;
    let general = room("general");
    let before = five_of_which_three_are_kept(&heard, &general, || {
        for node in &cluster.nodes {
            node.ask::<Answered>(&["SAVE"]);
        }
    })
    .await;
    for node in &mut cluster.nodes {
        node.restart();
    }
    cluster.wait();
    is_another_life(&heard, &general, &before).await;
}

#[actix_rt::test]
async fn a_replica_that_takes_the_place_of_its_master_is_another_life() {
    // As durable as can be, and all the same it may lag behind.
    let (mut master, replica) = (Redis::durable(), Redis::durable());
    replica.ask::<Answered>(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    let heard = Heard::at(&format!("{},{}", replica.url(), master.url())).await;
    let general = room("general");
    let has_three = || replica.ask::<String>(&["INFO", "keyspace"]).contains("db0");
    let before = five_of_which_three_are_kept(&heard, &general, || {
        while !has_three() {
            std::thread::yield_now();
        }
        assert_eq!(master.ask::<u64>(&["WAIT", "1", "5000"]), 1);
        replica.ask::<Answered>(&["REPLICAOF", "NO", "ONE"]);
    })
    .await;
    master.kill();
    is_another_life(&heard, &general, &before).await;
}

#[actix_rt::test]
async fn a_master_that_has_become_a_replica_is_left_for_the_one_in_its_place() {
    let (old, new) = (Redis::start(), Redis::start());
    new.ask::<Answered>(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]);
    let heard = Heard::at(&format!("{},{}", old.url(), new.url())).await;
    let general = room("general");
    say(&heard.log, &general, "before").await;
    new.ask::<Answered>(&["REPLICAOF", "NO", "ONE"]);
    old.ask::<Answered>(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
    heard.ready().await;
    say(&heard.log, &general, "after").await;
    assert!(new.ask::<String>(&["INFO", "replication"]).contains("role:master"));
}

#[tokio::test]
async fn a_stream_is_told_that_redis_came_back_with_less_and_goes_on() {
    let mut redis = Redis::with(&SNAPSHOTS);
    let app = App::with(&[("REDIS_URL", &redis.url())]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    ada.say(GENERAL, "kept").await;
    redis.ask::<Answered>(&["SAVE"]);
    ada.say(GENERAL, "lost").await;
    stream.next_logged().await;
    let cursor = stream.next_logged().await.id;
    redis.restart();
    let reset = stream.next_of("stream_reset").await;
    assert_eq!(reset.data["reason"], serde_json::to_value(ResetReason::Epoch).unwrap());
    for number in 0..4 {
        let said = ada.say(GENERAL, &number.to_string()).await;
        assert_eq!(stream.next_logged().await.data["result"]["id"], said["id"]);
    }
    // Who comes back only now is told so as well, though the channel is longer than when they left.
    let mut later = ada.resume(&[GENERAL], cursor.as_deref()).await;
    assert_eq!(later.next_of("stream_reset").await.data["reason"], reset.data["reason"]);
}

/// What pieces make of a text that was told so far.
fn grown(text: &str, chunk: &Value) -> String {
    let before = if chunk["seq"] == json!(0) { "" } else { text };
    format!("{before}{}", chunk["text"].as_str().unwrap())
}

#[tokio::test]
async fn a_text_that_is_under_way_when_redis_loses_its_data_is_whole_for_whoever_listens_and_whoever_comes_then() {
    let redis = Redis::start();
    let app = App::with(&[("REDIS_URL", &redis.url()), ("PERSONA_OFFLINE_PACE_MS", "50")]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let job = ada.ask(GENERAL, "What can you do?").await;
    let mut text = String::new();
    for _ in 0..3 {
        text = grown(&text, &stream.next_of("ai_chat_chunk").await.data["result"]);
    }
    redis.ask::<Answered>(&["FLUSHALL"]);
    stream.next_of("stream_reset").await;
    // What the new log has begins with all that was told in the old one.
    let anew = loop {
        let chunk = stream.next_of("ai_chat_chunk").await.data["result"].clone();
        if chunk["restart"] == json!(true) {
            break chunk;
        }
    };
    assert!(anew["seq"] == json!(0) && anew["text"].as_str().unwrap().starts_with(&text), "{anew}");

    let page = ada.get(&format!("/api/chat/messages?channel={GENERAL}")).await;
    let shown = &page["streaming"][0];
    assert_eq!(shown["jobId"], json!(job), "{page}");
    let mut late = ada.resume(&[GENERAL], page["cursor"].as_str()).await;
    for (stream, begun) in [(&mut stream, &anew["text"]), (&mut late, &shown["text"])] {
        let mut text = begun.as_str().unwrap().to_owned();
        let end = loop {
            let event = stream.next_logged().await;
            match event.kind() {
                "ai_chat_chunk" => text = grown(&text, &event.data["result"]),
                _ => break event,
            }
        };
        assert_eq!((&end.data["jobId"], &end.data["result"]["content"]), (&json!(job), &json!(text)));
    }
}

#[tokio::test]
async fn whoever_stops_a_waiting_job_is_answered_while_redis_hangs_and_told_of_its_end_afterwards() {
    let redis = Redis::start();
    let app = App::with(&[("REDIS_URL", &redis.url()), ("PERSONA_WORKER_SLOTS", "1"), ("PERSONA_OFFLINE_PACE_MS", "10000")]);
    let ada = Person::new(&app, "Ada").await;
    let mut stream = ada.listen(&[GENERAL]).await;
    let running = ada.generate("text", &json!({"prompt": "A poem"})).await;
    ada.job_in(&running, "running").await;
    let waiting = ada.ask(GENERAL, "What can you do?").await;
    redis.signal("STOP");
    // Sooner than Redis is given up.
    let stopped = tokio::time::timeout(Duration::from_millis(1500), ada.stop(&waiting)).await;
    redis.signal("CONT");
    assert_eq!(stopped.expect("the answer waits for Redis").status, 202);
    ada.job_in(&waiting, "cancelled").await;
    let end = stream.next_of("ai_chat").await;
    assert_eq!((&end.data["jobId"], &end.data["result"]["finishReason"]), (&json!(waiting), &json!("cancelled")));
}
