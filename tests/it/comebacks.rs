//! Many who come back at once: what that costs the log and the database.

use futures_util::future::join_all;

use crate::support::{
    app::App,
    person::{GENERAL, Person},
};

/// More than a room keeps at hand.
const MISSED: usize = 520;
const READERS: usize = 40;
const ROOMS: [&str; 2] = [GENERAL, "channel:team"];

/// How often rooms have asked the log.
async fn log_reads(person: &Person) -> u64 {
    let metrics = person.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix("persona_hub_log_reads_total ")).unwrap().parse().unwrap()
}

#[tokio::test]
async fn all_who_come_back_at_once_cost_a_room_at_most_one_read_of_the_log() {
    let app = App::with(&[("PERSONA_MAX_STREAMS_PER_USER", "0"), ("PERSONA_MAX_STREAMS_PER_ADDRESS", "0")]);
    let ada = Person::new(&app, "Ada").await;
    // Somebody stays, or the rooms would begin anew.
    let _stays = ada.listen(&ROOMS).await;
    let streams = join_all((0..READERS).map(|_| ada.listen(&ROOMS))).await;
    let cursors: Vec<String> = streams.iter().map(|stream| stream.last_id.clone().unwrap()).collect();
    drop(streams);
    let mut said = Vec::new();
    for number in 0..MISSED {
        said.push(ada.say(GENERAL, &number.to_string()).await["id"].clone());
    }
    let before = log_reads(&ada).await;
    let mut streams = join_all(cursors.iter().map(|cursor| ada.resume(&ROOMS, Some(cursor)))).await;
    for stream in &mut streams {
        for id in &said {
            assert_eq!(stream.next_logged().await.data["result"]["id"], *id);
        }
    }
    // What has happened is more than the room has at hand, so it has to ask; of the other one nothing was missed.
    assert_eq!(log_reads(&ada).await - before, 1);
}
