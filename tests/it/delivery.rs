//! The delivery contract: each channel of a stream in order, no hole, no duplicate; and where that can't be, it is said.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

use crate::support::{
    app::App,
    person::{GENERAL, Person, Way, on_each_way},
    sse::{Event, Stream},
};

const TEAM: &str = "channel:team";

on_each_way! {
    two_thousand_events_over_three_channels_arrive_exactly_though_the_client_is_cut_at_random_points,
    a_cursor_before_what_the_log_has_gets_one_reset_and_then_everything_after_it,
    whoever_is_cut_before_the_gap_is_told_hears_of_it_the_next_time,
    a_cursor_of_a_former_life_gets_a_reset_and_then_everything_of_this_one,
    a_stream_that_was_cut_before_its_first_event_misses_nothing,
    a_cursor_that_cannot_be_read_is_a_fresh_start_and_said_for_each_channel,
    a_replay_larger_than_the_queue_of_a_reader_arrives_whole,
    histories_of_two_rooms_are_taken_up_in_one_stream,
    a_reader_that_stalls_is_closed_and_resumes_exactly_while_others_get_everything,
}

/// What a stream told, channel by channel.
#[derive(Debug, Default, PartialEq)]
struct View(BTreeMap<String, Vec<Value>>);

impl View {
    fn take(&mut self, event: Event) {
        self.0.entry(event.data["channel"].as_str().unwrap().to_owned()).or_default().push(event.data);
    }

    fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

/// The contents of the chat messages in `events`.
fn contents(events: &[Event]) -> Vec<String> {
    let chats = events.iter().filter(|event| event.kind() == "chat");
    chats.map(|event| event.data["result"]["content"].as_str().unwrap().to_owned()).collect()
}

fn numbers(range: impl Iterator<Item = usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

async fn next_logged(stream: &mut Stream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.push(stream.next_logged().await);
    }
    events
}

async fn two_thousand_events_over_three_channels_arrive_exactly_though_the_client_is_cut_at_random_points(way: Way) {
    const EVENTS: usize = 2_000;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    let rooms = [GENERAL, TEAM];
    let (mut whole, mut cut) = (ada.listen(&rooms).await, ada.listen(&rooms).await);

    let publish = async {
        for number in 0..EVENTS * 9 / 10 {
            ada.say(rooms[number % 2], &number.to_string()).await;
            if number % 30 == 0 {
                ada.generate("text", &json!({"prompt": "2 + 2"})).await;
            }
        }
    };
    let read_whole = async {
        let mut view = View::default();
        while view.count() < EVENTS {
            view.take(whole.next_logged().await);
        }
        view
    };
    let read_cut = async {
        let (mut view, mut cuts) = (View::default(), 0);
        while view.count() < EVENTS {
            for _ in 0..random.random_range(0..60) {
                if view.count() < EVENTS {
                    view.take(cut.next_logged().await);
                }
            }
            let cursor = cut.last_id.clone();
            cut = ada.resume(&rooms, cursor.as_deref()).await;
            assert_eq!(cut.opened.as_ref().unwrap().data["resumed"], json!(true));
            cuts += 1;
        }
        println!("cut {cuts} times");
        view
    };
    let ((), whole, cut) = tokio::join!(publish, read_whole, read_cut);

    // The two may have stopped at different places of different channels: what both have must be the same.
    for (channel, events) in &whole.0 {
        let other = &cut.0[channel];
        let both = events.len().min(other.len());
        assert_eq!(events[..both], other[..both], "{channel}");
    }
    for room in rooms {
        let said: Vec<_> = cut.0[room].iter().map(|event| event["result"]["content"].as_str().unwrap().parse::<usize>().unwrap()).collect();
        assert!(said.windows(2).all(|pair| pair[1] == pair[0] + 2), "{said:?}");
    }
}

async fn a_cursor_before_what_the_log_has_gets_one_reset_and_then_everything_after_it(way: Way) {
    let app = App::with(&[("PERSONA_LOG_EVENTS", "50")]);
    let ada = Person::on(&app, "Ada", way).await;
    let mut stream = ada.listen(&[GENERAL]).await;
    ada.say(GENERAL, "first").await;
    let cursor = stream.next_logged().await.id.unwrap();
    drop(stream);
    // More than the room has at hand, so that it has to ask the log.
    for number in 0..600 {
        ada.say(GENERAL, &number.to_string()).await;
    }

    let mut stream = ada.resume(&[GENERAL], Some(&cursor)).await;
    let reset = stream.next_of("stream_reset").await;
    assert_eq!((reset.name.as_str(), &reset.data["channel"], &reset.data["reason"]), ("reset", &json!(GENERAL), &json!("trimmed")));
    ada.say(GENERAL, "600").await;
    assert_eq!(contents(&next_logged(&mut stream, 51).await), numbers(550..=600));
}

async fn a_cursor_of_a_former_life_gets_a_reset_and_then_everything_of_this_one(way: Way) {
    let mut app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    let mut stream = ada.listen(&[GENERAL]).await;
    ada.say(GENERAL, "before").await;
    let cursor = stream.next_logged().await.id.unwrap();
    app.kill();
    let _app = app.restart();
    for number in 0..3 {
        ada.say(GENERAL, &number.to_string()).await;
    }

    let mut stream = ada.resume(&[GENERAL], Some(&cursor)).await;
    let mut resets = vec![stream.next_of("stream_reset").await];
    ada.say(GENERAL, "3").await;
    let mut told = Vec::new();
    while contents(&told).last().is_none_or(|last| last != "3") {
        let event = stream.next().await;
        if event.kind() == "stream_reset" { resets.push(event) } else { told.push(event) }
    }
    let channels: Vec<_> = resets.iter().map(|reset| (reset.data["channel"].as_str().unwrap(), reset.data["reason"].as_str().unwrap())).collect();
    let own = format!("user:{}", ada.id);
    assert!(channels.contains(&(GENERAL, "epoch")) && channels.contains(&(&own, "epoch")) && channels.len() == 2, "{channels:?}");
    told.retain(|event| event.kind() == "chat" && event.data["result"]["content"] != "before");
    assert_eq!(contents(&told), numbers(0..4));
}

async fn whoever_is_cut_before_the_gap_is_told_hears_of_it_the_next_time(way: Way) {
    let mut app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    let rooms = [GENERAL, TEAM];
    let cursor = ada.listen(&rooms).await.last_id;
    app.kill();
    let _app = app.restart();
    // So that one of the channels has something to show, which comes with an id, besides the gap.
    ada.say(TEAM, "anew").await;

    for bad in [cursor.as_deref().unwrap(), "no cursor at all"] {
        let mut stream = ada.resume(&rooms, Some(bad)).await;
        for _ in 0..3 {
            assert_eq!(stream.last_id, None, "who is cut here would not ask from the old place again");
            assert_eq!(stream.next().await.name, "reset");
        }
        // Presence at the latest comes after the last reset.
        stream.next_of("presence").await;
        let mut again = ada.resume(&rooms, stream.last_id.as_deref()).await;
        assert!(again.opened.as_ref().unwrap().id.is_some());
        ada.say(GENERAL, "after").await;
        while again.next().await.kind() != "chat" {}
        ada.resume(&rooms, again.last_id.as_deref()).await;
    }
}

async fn a_stream_that_was_cut_before_its_first_event_misses_nothing(way: Way) {
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    let stream = ada.listen(&[GENERAL]).await;
    let cursor = stream.last_id.clone();
    drop(stream);
    ada.say(GENERAL, "meanwhile").await;
    let mut stream = ada.resume(&[GENERAL], cursor.as_deref()).await;
    assert_eq!(contents(&[stream.next_logged().await]), ["meanwhile"]);
}

async fn a_cursor_that_cannot_be_read_is_a_fresh_start_and_said_for_each_channel(way: Way) {
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    ada.say(GENERAL, "old").await;
    let mut stream = ada.resume(&[GENERAL], Some("no cursor at all")).await;
    assert_eq!(stream.opened.as_ref().unwrap().data["resumed"], json!(false));
    for _ in 0..2 {
        assert_eq!(stream.next_of("stream_reset").await.data["reason"], json!("cursor"));
    }
    ada.say(GENERAL, "new").await;
    assert_eq!(contents(&[stream.next_logged().await]), ["new"]);
}

async fn a_replay_larger_than_the_queue_of_a_reader_arrives_whole(way: Way) {
    const MESSAGES: usize = 120;
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    let stream = ada.listen(&[GENERAL]).await;
    let cursor = stream.last_id.clone();
    drop(stream);
    let long = "x".repeat(7_900);
    for number in 0..MESSAGES {
        ada.say(GENERAL, &format!("{number} {long}")).await;
    }
    let mut stream = ada.resume(&[GENERAL], cursor.as_deref()).await;
    let said = contents(&next_logged(&mut stream, MESSAGES).await);
    assert!(said.iter().enumerate().all(|(number, content)| content.starts_with(&format!("{number} "))));
}

async fn histories_of_two_rooms_are_taken_up_in_one_stream(way: Way) {
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    ada.say(GENERAL, "a").await;
    ada.say(TEAM, "b").await;
    let mut cursors = Vec::new();
    for room in [GENERAL, TEAM] {
        let history = ada.get(&format!("/api/chat/messages?channel={room}")).await;
        cursors.push(history["cursor"].as_str().unwrap().to_owned());
    }
    ada.say(GENERAL, "c").await;
    ada.say(TEAM, "d").await;
    let request = ada.stream_request(&[GENERAL, TEAM], None).query(&[("lastEventId", cursors.join(","))]);
    let mut stream = Stream::open(request).await;
    stream.ready().await;
    let mut said = contents(&next_logged(&mut stream, 2).await);
    said.sort();
    assert_eq!(said, ["c", "d"]);
}

async fn a_reader_that_stalls_is_closed_and_resumes_exactly_while_others_get_everything(way: Way) {
    use std::io::{Read as _, Write as _};

    const MESSAGES: usize = 400;
    let app = App::start();
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    // Reads nothing, through a small window, so that the server has to queue soon.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(&app.address.into()).unwrap();
    let mut socket = std::net::TcpStream::from(socket);
    let head = format!("GET /api/events?channel={GENERAL}&access_token={} HTTP/1.1\r\nHost: {}\r\n{}\r\n", ben.token, app.address, way.header());
    socket.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 1];
    socket.read_exact(&mut first).unwrap();

    let mut lively = ada.listen(&[GENERAL]).await;
    let long = "x".repeat(7_900);
    let publish = async {
        for number in 0..MESSAGES {
            ada.say(GENERAL, &format!("{number} {long}")).await;
        }
    };
    let ((), told) = tokio::join!(publish, next_logged(&mut lively, MESSAGES));
    let numbers_of =
        |contents: Vec<String>| -> Vec<usize> { contents.iter().map(|content| content.split(' ').next().unwrap().parse().unwrap()).collect() };
    assert_eq!(numbers_of(contents(&told)), (0..MESSAGES).collect::<Vec<_>>());
    crate::support::eventually("the stalled stream is closed", || async {
        let metrics = ada.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        metrics.contains("\npersona_streams 1\n").then_some(())
    })
    .await;

    // Now it reads what was under way to it: whole events, and at the end why it was closed.
    let mut rest = String::new();
    socket.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    let mut bytes = Vec::new();
    // The end may be a reset: all that counts is what came before it.
    let _ = socket.read_to_end(&mut bytes);
    rest.push_str(&String::from_utf8_lossy(&bytes));
    assert!(bytes.len() < 2 * 1024 * 1024, "{} bytes were under way to a reader that reads nothing", bytes.len());
    let last_id = last_whole_id(&unchunked(&rest));
    let mut resumed = ben.resume(&[GENERAL], Some(&last_id)).await;
    let first = numbers_of(contents(&next_logged(&mut resumed, 1).await))[0];
    let seen = unchunked(&rest).matches("\"type\":\"chat\"").count();
    assert!(first <= seen, "{seen} were seen, and number {first} is next");
    let remaining = numbers_of(contents(&next_logged(&mut resumed, MESSAGES - 1 - first).await));
    assert_eq!(remaining, (first + 1..MESSAGES).collect::<Vec<_>>());
}

/// The body of a chunked answer, with the chunk sizes taken out.
fn unchunked(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").map_or(answer, |(_, body)| body);
    let (mut rest, mut text) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        let Some(chunk) = after.get(..size) else {
            text.push_str(after);
            break;
        };
        text.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    text
}

/// The id of the last event that came whole.
fn last_whole_id(text: &str) -> String {
    let whole = &text[..text.rfind("\n\n").unwrap()];
    let blocks = whole.split("\n\n");
    let ids = blocks.filter_map(|block| block.lines().find_map(|line| line.strip_prefix("id: ")));
    ids.last().unwrap().to_owned()
}
