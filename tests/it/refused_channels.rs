//! Channels and queries that break a rule, in every call that takes them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::{
    answer::refused,
    app::App,
    person::{GENERAL, Person},
    sse::Stream,
};

/// The calls that take a channel.
const CALLS: [&str; 5] = ["stream", "message", "typing", "history", "presence"];

/// One of these calls, about `channel`.
fn call(person: &Person, call: &str, channel: &str) -> RequestBuilder {
    let encoded = utf8_percent_encode(channel, NON_ALPHANUMERIC);
    match call {
        "stream" => person.request(Method::GET, &format!("/api/events?channel={encoded}")),
        "message" => person.request(Method::POST, "/api/chat/messages").json(&json!({"channel": channel, "content": "Hello", "reply": false})),
        "typing" => person.request(Method::POST, "/api/chat/typing").json(&json!({"channel": channel, "isTyping": false})),
        "history" => person.request(Method::GET, &format!("/api/chat/messages?channel={encoded}")),
        _ => person.request(Method::GET, &format!("/api/presence?channel={encoded}")),
    }
}

/// The status of a call that is not refused.
async fn status(request: RequestBuilder) -> u16 {
    // A stream has no end, so its body is left unread.
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_channel_of_a_wrong_kind_is_refused_in_every_call() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let long = [format!("channel:{}", "a".repeat(65)), format!("user:{}", "a".repeat(65)), format!("channel:{}", "a".repeat(10_000))];
    let wrong = [
        "",
        ":",
        "channel",
        "channel:",
        "user:",
        "general",
        "room:general",
        "CHANNEL:general",
        "User:u_1",
        "channel:a b",
        " channel:a",
        "channel:a ",
        "channel:a:b",
        "channel::a",
        "channel:é",
        "channel:a/b",
        "channel:a.b",
        "channel:*",
        "channel:%41",
        "channel:a\0",
        "channel:a\n",
        "channel:🐈",
        "channel:general,channel:team",
    ];
    for channel in wrong.into_iter().chain(long.iter().map(String::as_str)) {
        for name in CALLS {
            refused(call(&ada, name, channel), 400, "invalid_field", Some("channel")).await;
        }
    }
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn a_room_may_be_called_by_64_characters_of_the_alphabet() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for id in [alphabet, "a", "-", "0", &"z".repeat(64)] {
        for name in CALLS {
            assert!([200, 202, 204].contains(&status(call(&ada, name, &format!("channel:{id}"))).await), "{name} {id}");
        }
    }
}

#[tokio::test]
async fn the_private_channel_of_another_is_forbidden_in_every_call() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    for channel in [format!("user:{}", ben.id), "user:somebody".to_owned(), format!("user:{}", ada.id.to_uppercase())] {
        for name in CALLS {
            refused(call(&ada, name, &channel), 403, "channel_forbidden", Some("channel")).await;
        }
    }
    let both = format!("/api/events?channel=channel:general&channel=user:{}", ben.id);
    refused(ada.request(Method::GET, &both), 403, "channel_forbidden", Some("channel")).await;
    ada.has_stored_nothing().await;
}

#[tokio::test]
async fn ones_own_private_channel_is_for_the_stream_and_is_no_room() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let own = format!("user:{}", ada.id);
    for name in CALLS.into_iter().filter(|name| *name != "stream") {
        refused(call(&ada, name, &own), 400, "invalid_field", Some("channel")).await;
    }
    let stream = ada.listen(&[&own, GENERAL, GENERAL, &own]).await;
    assert_eq!(stream.opened.unwrap().data["channels"], json!([own, GENERAL]));
}

#[tokio::test]
async fn a_call_without_its_channel_is_told_what_is_missing() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for path in ["/api/chat/messages", "/api/presence", "/api/chat/messages?chanel=channel:general", "/api/presence?&&=&"] {
        refused(ada.request(Method::GET, path), 400, "missing_field", Some("channel")).await;
    }
    let stream = ada.listen(&[]).await;
    assert_eq!(stream.opened.unwrap().data["channels"], json!([format!("user:{}", ada.id)]));
}

#[tokio::test]
async fn a_stream_takes_64_rooms_and_no_more() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut rooms: Vec<String> = (0..64).map(|number| format!("channel:room-{number}")).collect();
    rooms.push(format!("user:{}", ada.id));
    let stream = ada.listen(&rooms.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(stream.opened.unwrap().data["channels"].as_array().unwrap().len(), 65);
    rooms.push("channel:one-more".to_owned());
    let request = ada.stream_request(&rooms.iter().map(String::as_str).collect::<Vec<_>>(), None);
    refused(request, 400, "too_many_channels", Some("channel")).await;
}

#[tokio::test]
async fn a_query_that_is_not_percent_encoded_is_refused() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for wrong in ["%ff", "%", "%4", "%zz", "%c3", "%c3%28", "%ed%a0%80"] {
        for path in ["/api/events", "/api/chat/messages", "/api/presence", "/api/jobs"] {
            refused(ada.request(Method::GET, &format!("{path}?channel=channel:a{wrong}")), 400, "invalid_query", None).await;
            refused(ada.request(Method::GET, &format!("{path}?channel=channel:a&{wrong}=1")), 400, "invalid_query", None).await;
        }
    }
    assert_eq!(status(ada.request(Method::GET, "/api/presence?channel=%63hannel%3Ageneral&other=%F0%9F%90%88")).await, 200);
}

#[tokio::test]
async fn the_parameters_of_a_page_are_checked() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for path in ["/api/chat/messages?channel=channel:general&", "/api/jobs?"] {
        for limit in ["0", "201", "-1", "1.5", "many", "", "99999999999999999999", "1%00"] {
            refused(ada.request(Method::GET, &format!("{path}limit={limit}")), 400, "invalid_field", Some("limit")).await;
        }
        let upper = "0190A000-0000-7000-8000-00000000000A";
        for before in ["", "1", "latest", upper, &upper.replace('-', ""), &format!("{{{upper}}}"), "0190a000-0000-7000-8000-00000000000"] {
            refused(ada.request(Method::GET, &format!("{path}before={before}")), 400, "invalid_field", Some("before")).await;
        }
        for right in ["limit=1", "limit=200", "before=0190a000-0000-7000-8000-00000000000a", "other=1"] {
            assert_eq!(status(ada.request(Method::GET, &format!("{path}{right}"))).await, 200, "{right}");
        }
    }
    for (name, wrong) in [("state", "done"), ("state", ""), ("state", "Running"), ("kind", "chat"), ("kind", ""), ("kind", "generate-text")] {
        refused(ada.request(Method::GET, &format!("/api/jobs?{name}={wrong}")), 400, "invalid_field", Some(name)).await;
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_read_is_a_fresh_start_and_says_so() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let good = ada.get("/api/chat/messages?channel=channel:general").await["cursor"].as_str().unwrap().to_owned();
    let (cut, long) = (&good[..good.len() - 2], "A".repeat(9_000));
    for cursor in ["0", "?", "nonsense", cut, &format!("{good},"), &format!("{good},x"), &format!("{good}A"), &long, "%00", "é"] {
        for in_header in [true, false] {
            let request = if in_header {
                ada.stream_request(&[GENERAL], Some(cursor))
            } else {
                ada.stream_request(&[GENERAL], None).query(&[("lastEventId", cursor)])
            };
            let mut stream = Stream::open(request).await;
            stream.ready().await;
            assert_eq!(stream.opened.as_ref().unwrap().data["resumed"], false);
            for channel in [format!("user:{}", ada.id), GENERAL.to_owned()] {
                let reset = stream.next_of("stream_reset").await;
                assert_eq!((reset.name.as_str(), &reset.id), ("reset", &None));
                assert_eq!((&reset.data["channel"], &reset.data["reason"]), (&json!(channel), &json!("cursor")));
            }
        }
    }
    let said = ada.say(GENERAL, "one").await;
    let mut stream = ada.resume(&[GENERAL], Some(&good)).await;
    assert_eq!(stream.opened.as_ref().unwrap().data["resumed"], true);
    assert_eq!(stream.next_logged().await.data["result"]["id"], said["id"]);
}

#[tokio::test]
async fn an_empty_cursor_is_none() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    for request in [ada.stream_request(&[GENERAL], Some("")), ada.request(Method::GET, "/api/events?channel=channel:general&lastEventId=")] {
        let mut stream = Stream::open(request).await;
        stream.ready().await;
        assert_eq!(stream.opened.as_ref().unwrap().data["resumed"], false);
        assert_eq!(stream.next().await.kind(), "presence");
    }
}
