//! The load of `bench post`: people who talk as fast as they are answered, each over a connection of their own.
//!
//! Whatever was acknowledged is remembered, and looked for in the history afterwards. Refuses to pipeline, and to count a
//! message that was not acknowledged.

use std::{
    collections::HashSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    Done, Latency,
    client::{self, Client, find, room},
    histogram::Histogram,
    stage,
};
use crate::id::MessageId;

/// Later than every message.
const LAST: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// What is to be done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Plan {
    pub server: SocketAddr,
    pub connections: usize,
    pub rooms: usize,
    pub seconds: u32,
    pub reply: bool,
    pub idempotent: bool,
}

/// What came of posting.
#[derive(Debug, Serialize, Deserialize)]
pub struct Posted {
    pub acknowledged: u64,
    pub window_seconds: f64,
    #[serde(flatten)]
    pub latency: Latency,
}

/// What the history says of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Verified {
    /// Messages by people.
    pub in_history: u64,
    /// Acknowledged, and not there.
    pub missing: u64,
    /// There, and not acknowledged.
    pub unexpected: u64,
}

struct Speaker {
    client: Client,
    token: String,
    room: String,
    latency: Histogram,
    acknowledged: Vec<MessageId>,
}

/// Does the plan.
pub async fn run(plan: Plan) -> Result<()> {
    let mut speakers = Vec::new();
    stage(async {
        for (index, token) in client::sign_in(plan.server, plan.connections).await?.into_iter().enumerate() {
            let client = Client::connect(plan.server).await?;
            let room = room(index, plan.rooms);
            speakers.push(Speaker { client, token, room, latency: Histogram::default(), acknowledged: Vec::new() });
        }
        Ok(Done {})
    })
    .await?;
    stage(async {
        let began = Instant::now();
        let end = began + Duration::from_secs(plan.seconds.into());
        try_join_all(speakers.iter_mut().enumerate().map(|(index, speaker)| speaker.talk(plan, index, end))).await?;
        let mut latency = Histogram::default();
        for speaker in &speakers {
            latency.add(&speaker.latency);
        }
        let acknowledged = speakers.iter().map(|speaker| speaker.acknowledged.len() as u64).sum();
        Ok(Posted { acknowledged, window_seconds: began.elapsed().as_secs_f64(), latency: latency.latency() })
    })
    .await?;
    stage(async {
        let mut said: HashSet<MessageId> = speakers.iter().flat_map(|speaker| speaker.acknowledged.iter().copied()).collect();
        let reader = speakers.first_mut().context("somebody must talk")?;
        let mut verified = Verified { in_history: 0, missing: 0, unexpected: 0 };
        for index in 0..plan.rooms.min(plan.connections) {
            reader.look_for(&mut said, &room(index, plan.rooms), &mut verified).await?;
        }
        verified.missing = said.len() as u64;
        Ok(verified)
    })
    .await
}

impl Speaker {
    /// Posts one message after the other until `end`.
    async fn talk(&mut self, plan: Plan, index: usize, end: Instant) -> Result<()> {
        for number in 0.. {
            let (key, content) = (format!("{index}-{number}"), format!("message {number} of connection {index}, as long as people write"));
            let key = Some(key.as_str()).filter(|_| plan.idempotent);
            let request = client::chat_message(&self.token, &self.room, &content, plan.reply, key);
            let began = Instant::now();
            if began >= end {
                break;
            }
            let status = self.client.ask(&request).await?;
            self.latency.record(began.elapsed());
            ensure!(status == 202, "a message is answered with {status}: {}", self.client.answer());
            let id = find(&self.client.body, br#""id":""#, b'"').context("an answer has no id")?;
            self.acknowledged.push(id);
        }
        Ok(())
    }

    /// Reads all of a room's history, and takes what it finds out of `said`.
    async fn look_for(&mut self, said: &mut HashSet<MessageId>, room: &str, verified: &mut Verified) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            messages: Vec<Told>,
            next_before: Option<String>,
        }
        #[derive(Deserialize)]
        struct Told {
            id: MessageId,
            role: String,
        }
        let mut before = Some(LAST.to_owned());
        while let Some(place) = before {
            let page: Page = self.client.get(&format!("/api/chat/messages?channel={room}&limit=200&before={place}"), &self.token).await?;
            for message in page.messages.iter().filter(|message| message.role == "user") {
                verified.in_history += 1;
                verified.unexpected += u64::from(!said.remove(&message.id));
            }
            before = page.next_before;
        }
        Ok(())
    }
}
