//! How many streams there may be, and what is told to whom there is no place for.

use serde_json::json;

use crate::support::{
    answer::Answer,
    app::App,
    eventually,
    person::{GENERAL, Person, Way, on_each_way},
    sse::Stream,
};

on_each_way! {
    one_user_may_have_so_many_streams,
    one_address_may_have_so_many_streams,
    the_server_may_have_so_many_streams,
    zero_is_no_limit,
}

/// There is no place for a stream of this person.
async fn turned_down(person: &Person, status: u16, code: &str) {
    let answer = Answer::to(person.stream_request(&[GENERAL], None)).await;
    answer.is_problem(status, code, None);
    assert!((1..=60).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
}

/// Waits for a place: that a stream is gone is noticed a little later.
async fn listen(person: &Person) -> Stream {
    eventually("there is a place", async || {
        let response = person.stream_request(&[GENERAL], None).send().await.unwrap();
        (response.status() == 200).then(|| Stream::of(response))
    })
    .await
}

async fn one_user_may_have_so_many_streams(way: Way) {
    let app = App::with(&[("PERSONA_MAX_STREAMS_PER_USER", "2")]);
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let (first, _second) = (listen(&ada).await, listen(&ada).await);
    turned_down(&ada, 429, "too_many_streams").await;
    let _his = listen(&ben).await;
    drop(first);
    let _third = listen(&ada).await;
    turned_down(&ada, 429, "too_many_streams").await;
}

async fn one_address_may_have_so_many_streams(way: Way) {
    let app = App::with(&[("PERSONA_MAX_STREAMS_PER_ADDRESS", "2")]);
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let (_first, second) = (listen(&ada).await, listen(&ben).await);
    turned_down(&ada, 429, "too_many_streams").await;
    turned_down(&ben, 429, "too_many_streams").await;
    drop(second);
    let _third = listen(&ada).await;
}

async fn the_server_may_have_so_many_streams(way: Way) {
    let app = App::with(&[("PERSONA_MAX_STREAMS", "1")]);
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let first = listen(&ada).await;
    turned_down(&ben, 503, "server_full").await;
    // All else is served.
    ben.say(GENERAL, "Hello").await;
    drop(first);
    let _second = listen(&ben).await;
}

async fn zero_is_no_limit(way: Way) {
    let none = ["PERSONA_MAX_STREAMS_PER_USER", "PERSONA_MAX_STREAMS_PER_ADDRESS", "PERSONA_MAX_STREAMS", "PERSONA_MAX_JOBS_PER_USER"];
    let app = App::with(&none.map(|name| (name, "0")));
    let ada = Person::on(&app, "Ada", way).await;
    let mut streams = Vec::new();
    for _ in 0..60 {
        streams.push(ada.listen(&[GENERAL]).await);
    }
    ada.say(GENERAL, "Hello").await;
    for stream in &mut streams {
        assert_eq!(stream.next_of("chat").await.data["result"]["content"], "Hello");
    }
    ada.generate("text", &json!({"prompt": "A poem"})).await;
}
