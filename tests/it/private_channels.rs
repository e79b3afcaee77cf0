//! A user's private channel: it has no room before something is told in it, and nobody can tell.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    app::App,
    person::{GENERAL, Person, Way, on_each_way},
    sse::{Event, Stream},
};

on_each_way! {
    the_first_event_reaches_all_streams_of_its_user_and_nobody_else,
    what_was_told_while_nobody_listened_is_told_whoever_comes_back,
    streams_that_begin_while_something_is_told_miss_nothing_behind_their_beginning,
}

async fn write(person: &Person) -> String {
    person.generate("text", &json!({"prompt": "2 + 2"})).await
}

/// What the private channel tells, up to the end of `job`.
async fn told(stream: &mut Stream, job: &str) -> Vec<Value> {
    let is_last = |event: &Event| event.is_terminal() && event.data["jobId"] == job;
    let mut events = Vec::new();
    loop {
        let event = stream.next().await;
        assert_ne!(event.name, "reset", "{event:?}");
        if event.data["channel"].as_str().is_some_and(|channel| channel.starts_with("user:")) {
            let is_last = is_last(&event);
            events.push(event.data);
            if is_last {
                return events;
            }
        }
    }
}

async fn the_first_event_reaches_all_streams_of_its_user_and_nobody_else(way: Way) {
    let app = App::with(&[("PERSONA_HTTP_THREADS", "2")]);
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let mut of_ben = ben.listen(&[GENERAL]).await;
    let own = json!([format!("user:{}", ada.id)]);
    let mut streams = vec![ada.listen(&[GENERAL]).await, ada.listen(&[]).await];
    assert_eq!(streams[1].opened.as_ref().unwrap().data["channels"], own);
    streams.extend(join_all((0..4).map(|_| ada.listen(&[]))).await);
    // One that is gone again is not waited for.
    drop(streams.pop());
    for _ in 0..2 {
        let job = write(&ada).await;
        let all = join_all(streams.iter_mut().map(|stream| told(stream, &job))).await;
        assert_eq!(all[0][0]["type"], "generation_started");
        assert!(all.iter().all(|events| *events == all[0]), "{all:#?}");
    }
    // The room comes after it: had something come before, it would have come first.
    ada.say(GENERAL, "done").await;
    assert_eq!(of_ben.next_logged().await.data["result"]["content"], "done");
}

async fn what_was_told_while_nobody_listened_is_told_whoever_comes_back(way: Way) {
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    let mut stays = ada.listen(&[]).await;
    let cursors: Vec<String> = join_all((0..3).map(|_| ada.listen(&[GENERAL]))).await.into_iter().filter_map(|stream| stream.last_id).collect();
    let job = write(&ada).await;
    let all = told(&mut stays, &job).await;
    for cursor in cursors {
        let mut back = ada.resume(&[GENERAL], Some(&cursor)).await;
        assert_eq!(told(&mut back, &job).await, all);
    }
    drop(stays);

    // And where nobody listened at all.
    let eve = Person::on(&app, "Eve", way).await;
    let cursor = eve.listen(&[GENERAL]).await.last_id.unwrap();
    let job = write(&eve).await;
    eve.job_in(&job, "completed").await;
    let mut back = eve.resume(&[GENERAL], Some(&cursor)).await;
    let events = told(&mut back, &job).await;
    assert_eq!(events[0]["type"], "generation_started");
}

async fn streams_that_begin_while_something_is_told_miss_nothing_behind_their_beginning(way: Way) {
    let app = App::with(&[("PERSONA_MAX_STREAMS_PER_USER", "0")]);
    for _ in 0..8 {
        let ada = Person::on(&app, "Ada", way).await;
        let mut first = ada.listen(&[]).await;
        let (job, streams) = tokio::join!(write(&ada), join_all((0..6).map(|_| ada.listen(&[]))));
        let all = told(&mut first, &job).await;
        for mut stream in streams {
            // It may have begun when all had been told: another job ends that.
            let last = write(&ada).await;
            let events = told(&mut stream, &last).await;
            let before: Vec<&Value> = events.iter().filter(|event| event["jobId"] == job.as_str()).collect();
            assert!(all.iter().rev().zip(before.iter().rev()).all(|(one, other)| one == *other), "{all:#?} {before:#?}");
        }
    }
}
