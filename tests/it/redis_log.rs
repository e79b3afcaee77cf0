//! The event log in Redis keeps the contract that the one in memory keeps, on one server and on a cluster, and finds what
//! messages have not brought.

use std::{sync::Arc, time::Duration};

use persona_community::{
    channel::Channel,
    event::{Chunk, Event, Fact, FinishReason, Reply},
    id::{JobId, MessageId, OutboxId, StreamId},
    job::Fence,
    log::{EventLog, LogError, Logged, MemoryLog, News, Position, Publication, RedisLog, Voice},
    timestamp::Timestamp,
    wake::Wakeup,
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use redis::Value;

use crate::support::{
    DEADLINE, eventually,
    log::{Heard, LIMITS, chat, room, say},
    redis::{Cluster, Redis},
};

fn chunk(channel: &Channel, (job_id, stream_id): (JobId, StreamId), seq: u32, text: &str) -> Event {
    let result = Chunk {
        stream_id,
        text: text.into(),
        done: false,
        provider: Some("offline".into()),
        seq,
        restart: false,
        persona_id: Some("bard".parse().unwrap()),
        // As the worker does it: the first chunk says it.
        persona_name: (seq == 0).then(|| "The bard".into()),
        reply_to: Some(MessageId::new()),
    };
    Event::now(channel.clone(), Fact::AiChatChunk { job_id, result })
}

fn end(channel: &Channel, (job_id, stream_id): (JobId, StreamId)) -> Event {
    let result = Reply {
        id: MessageId::new(),
        content: "all".into(),
        provider: "offline".into(),
        timestamp: Timestamp::now(),
        stream_id,
        persona_id: None,
        persona_name: None,
        reply_to: None,
        finish_reason: FinishReason::Stop,
    };
    Event::now(channel.clone(), Fact::AiChat { job_id, result, failure: None })
}

/// What is the same about two logs' events.
fn seen(events: &[Logged]) -> Vec<(u64, String)> {
    events.iter().map(|logged| (logged.position.offset, String::from_utf8(logged.json.to_vec()).unwrap())).collect()
}

/// Does the same at random to both logs, and compares whatever they say.
async fn behaves_as_memory(redis: &RedisLog) {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let memory = MemoryLog::new(LIMITS, Arc::new(|_| {}));
    let channels: Vec<Channel> = (0..3).map(|_| room(&format!("r{}", random.random::<u32>()))).collect();
    let jobs: Vec<(JobId, StreamId)> = (0..4).map(|_| (JobId::new(), StreamId::new())).collect();
    let ids: Vec<OutboxId> = (0..60).map(|_| OutboxId::new()).collect();
    let mut seqs = [0; 4];
    for _ in 0..400 {
        let channel = channels.choose(&mut random).unwrap();
        let job = random.random_range(0..4);
        let fence = Fence { job: jobs[job].0, attempt: random.random_range(1..3) };
        let id = *ids.choose(&mut random).unwrap();
        let text = "x".repeat(random.random_range(1..900));
        let (event, fence, once) = match random.random_range(0..10) {
            0..4 => (chat(channel, &text), None, Some(id)),
            4..8 => {
                seqs[job] += 1;
                (chunk(&channels[0], jobs[job], seqs[job] % 7, &text), Some(fence), None)
            }
            8 => (end(&channels[0], jobs[job]), None, Some(id)),
            _ => (chat(channel, &text), Some(fence), None),
        };
        let right = fence.map(|fence| (fence, Voice(random.random_range(1..3))));
        let publication = || Publication { event: &event, right, once };
        let (one, other) = (memory.publish(publication()).await, redis.publish(publication()).await);
        match (&one, &other) {
            (Ok(one), Ok(other)) => assert_eq!(one.map(|position| position.offset), other.map(|position| position.offset)),
            (Err(LogError::Fenced(one)), Err(LogError::Fenced(other))) => assert_eq!(one, other),
            _ => panic!("{one:?}, but {other:?}"),
        }
        let (one, other) = (memory.head(channel).await.unwrap(), redis.head(channel).await.unwrap());
        assert_eq!(one.offset, other.offset);
        let offset = random.random_range(0..=one.offset + 1);
        let (one, other) =
            (memory.read(channel, Position { offset, ..one }).await.unwrap(), redis.read(channel, Position { offset, ..other }).await.unwrap());
        assert_eq!((one.complete, seen(&one.events)), (other.complete, seen(&other.events)), "after {offset}");
        let (one, other) = (memory.snapshot(channel).await.unwrap(), redis.snapshot(channel).await.unwrap());
        assert_eq!(one.messages, other.messages);
        let sorted = |mut running: Vec<persona_community::log::Running>| {
            running.sort_by_key(|reply| reply.stream_id.to_string());
            running
        };
        assert_eq!(sorted(one.streaming), sorted(other.streaming));
    }
}

#[actix_rt::test]
async fn a_server_keeps_what_memory_keeps_and_refuses_what_it_refuses() {
    let redis = Redis::start();
    let heard = Heard::at(&redis.url()).await;
    behaves_as_memory(&heard.log).await;
}

#[actix_rt::test]
async fn of_two_runs_of_one_attempt_only_the_first_is_heard_until_a_newer_attempt_begins() {
    let redis = Redis::start();
    let heard = Heard::at(&redis.url()).await;
    let memory = MemoryLog::new(LIMITS, Arc::new(|_| {}));
    let logs: [&dyn EventLog; 2] = [&memory, &heard.log];
    for log in logs {
        let (channel, job) = (room("twice"), JobId::new());
        let (one, other) = (Voice::new(), Voice::new());
        let told = [(1, one, true), (1, other, false), (1, one, true), (2, other, true), (1, one, false), (2, one, false), (2, other, true)];
        for (attempt, voice, is_heard) in told {
            let event = chat(&channel, "word");
            let told = log.publish(Publication::fenced(&event, Fence { job, attempt }, voice)).await;
            assert_eq!(told.is_ok(), is_heard, "{attempt} by {voice:?}: {told:?}");
        }
    }
}

#[actix_rt::test]
async fn a_cluster_keeps_what_memory_keeps_and_tells_every_process_of_channels_on_all_its_nodes() {
    let cluster = Cluster::start();
    let (here, there) = (Heard::at(&cluster.url()).await, Heard::at(&cluster.nodes[1].url()).await);
    behaves_as_memory(&here.log).await;
    for number in 0..12 {
        let channel = room(&format!("spread{number}"));
        there.follow(&channel, &here.log).await;
        let last = say(&here.log, &channel, "last").await;
        there.told(&channel, last.offset).await;
        let offsets = there.offsets(&channel);
        assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "{offsets:?}");
    }
    let used = cluster.nodes.iter().filter(|node| node.ask::<u64>(&["DBSIZE"]) > 0).count();
    assert_eq!(used, 3);
}

#[actix_rt::test]
async fn what_one_process_publishes_another_hears_in_order_and_itself_hears_once() {
    let redis = Redis::start();
    let (here, there) = (Heard::at(&redis.url()).await, Heard::at(&redis.url()).await);
    let general = room("general");
    here.follow(&general, &there.log).await;
    there.follow(&general, &here.log).await;
    let begin = here.log.head(&general).await.unwrap().offset;
    for number in 0..200 {
        let log = if number % 3 == 0 { &there.log } else { &here.log };
        say(log, &general, &number.to_string()).await;
    }
    for heard in [&here, &there] {
        heard.told(&general, begin + 200).await;
        let offsets = heard.offsets(&general);
        assert_eq!(offsets.into_iter().filter(|offset| *offset > begin).collect::<Vec<_>>(), (begin + 1..=begin + 200).collect::<Vec<_>>());
    }
}

#[actix_rt::test]
async fn only_channels_that_somebody_listens_to_are_subscribed_to() {
    let redis = Redis::start();
    let heard = Heard::at(&redis.url()).await;
    let general = room("general");
    heard.log.follow(&general);
    let topics = || {
        let topics: Vec<String> = redis.ask(&["PUBSUB", "SHARDCHANNELS"]);
        topics.into_iter().filter(|topic| topic.contains(":topic:")).count()
    };
    eventually("it is subscribed to", || async { (topics() == 1).then_some(()) }).await;
    heard.log.unfollow(&general);
    eventually("it is left", || async { (topics() == 0).then_some(()) }).await;
}

#[actix_rt::test]
async fn a_message_that_was_lost_is_found_by_comparing_places() {
    let redis = Redis::start();
    let (here, there) = (Heard::at(&redis.url()).await, Heard::at(&redis.url()).await);
    let general = room("general");
    here.follow(&general, &there.log).await;
    // Another subscriber under the same name takes this one's place in nothing: the event is logged and never published.
    let key: Vec<String> = redis.ask(&["KEYS", "test:*:channel:channel:general"]);
    let offset: u64 = redis.ask(&["HINCRBY", &key[0], "n", "1"]);
    let entries = key[0].replace(":channel:channel:", ":entries:channel:");
    redis.ask::<Value>(&["XADD", &entries, &format!("{offset}-0"), "j", &chat(&general, "lost").to_json(), "o", "", "e", ""]);
    let head = here.log.head(&general).await.unwrap();
    assert_eq!(head.offset, offset);
    here.sent_to(&general, head).await;
}

#[actix_rt::test]
async fn what_is_published_while_the_subscribers_connection_is_cut_is_found_when_it_is_back() {
    let redis = Redis::start();
    let (here, there) = (Heard::at(&redis.url()).await, Heard::at(&redis.url()).await);
    let general = room("general");
    here.follow(&general, &there.log).await;
    redis.ask::<Value>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let head = say(&there.log, &general, "meanwhile").await;
    eventually("it is told, or the room is sent to read it", || async {
        let is_known = |news: &News| match news {
            News::Logged(logged) => logged.position == head,
            News::Head(_, newest) => *newest == head,
            News::Elsewhere(..) => false,
        };
        here.news.lock().unwrap().iter().any(is_known).then_some(())
    })
    .await;
    let next = say(&there.log, &general, "after").await;
    here.told(&general, next.offset).await;
}

#[actix_rt::test]
async fn a_server_that_has_lost_its_data_is_another_life_and_one_that_has_kept_it_is_not() {
    for keeps in [true, false] {
        let mut redis = if keeps { Redis::durable() } else { Redis::start() };
        let heard = Heard::at(&redis.url()).await;
        let (general, idle) = (room("general"), room("idle"));
        let (before, idle_before) = (say(&heard.log, &general, "before").await, heard.log.head(&idle).await.unwrap());
        redis.restart();
        heard.ready().await;
        let after = heard.log.head(&general).await.unwrap();
        assert_eq!(before.continues_in(after), keeps);
        assert_eq!(idle_before.continues_in(heard.log.head(&idle).await.unwrap()), keeps);
        let replay = heard.log.read(&general, before).await.unwrap();
        assert_eq!(replay.complete, keeps);
        // The scripts went with the server's memory; they are sent again.
        let next = say(&heard.log, &general, "after").await;
        assert_eq!(next.offset, if keeps { before.offset + 1 } else { 1 });
    }
}

#[actix_rt::test]
async fn a_server_without_memory_refuses_as_a_whole_and_is_said_to_be_away() {
    let redis = Redis::start();
    let heard = Heard::at(&redis.url()).await;
    let general = room("general");
    let before = say(&heard.log, &general, "before").await;
    redis.be_full(true);
    let event = chat(&general, "refused");
    let id = OutboxId::new();
    assert!(matches!(heard.log.publish(Publication::once(&event, id)).await, Err(LogError::Unavailable(_))));
    assert!(heard.log.check().await.is_err());
    assert_eq!(heard.log.head(&general).await.unwrap(), before);
    redis.be_full(false);
    let position = heard.log.publish(Publication::once(&event, id)).await.unwrap();
    assert_eq!(position.map(|position| position.offset), Some(before.offset + 1));
    heard.ready().await;
}

#[actix_rt::test]
async fn wake_ups_reach_other_processes_and_not_their_sender_twice() {
    let redis = Redis::start();
    let (here, there) = (Heard::at(&redis.url()).await, Heard::at(&redis.url()).await);
    let (mut heard_here, mut heard_there) = (here.wakeups.listen(), there.wakeups.listen());
    let job = JobId::new();
    let woken = async {
        while tokio::time::timeout(Duration::from_millis(20), heard_there.recv()).await.is_err() {
            here.wakeups.send(Wakeup::Jobs);
        }
    };
    tokio::time::timeout(DEADLINE, woken).await.unwrap();
    here.wakeups.send(Wakeup::Stop(job));
    let stop = async { while heard_there.recv().await.unwrap() != Wakeup::Stop(job) {} };
    tokio::time::timeout(DEADLINE, stop).await.unwrap();
    let mut stops = 0;
    while let Ok(wakeup) = heard_here.try_recv() {
        stops += usize::from(wakeup == Wakeup::Stop(job));
    }
    assert_eq!(stops, 1);
}
