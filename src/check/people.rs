//! Those who ask for things: they say something, ask for texts and pictures, change their minds, and type.
//!
//! Each asks for one thing after the other, and for each of them again under the same key until it is acknowledged; what is
//! acknowledged is noted.

use std::{ops::Range, time::Duration};

use rand::{RngExt as _, rngs::SmallRng};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    MARK,
    account::{Account, Answer},
    trace::What,
};
use crate::{
    channel::Channel,
    id::{JobId, MessageId},
};

/// Somebody who asks for things in some rooms.
pub struct Person {
    pub account: Account,
    pub rooms: Vec<Channel>,
    pub random: SmallRng,
    /// Tells this person's requests from everybody else's.
    pub name: String,
    /// How long this person thinks between two requests.
    pub thinks: Range<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    message: PostedMessage,
    job_id: Option<JobId>,
}

#[derive(Deserialize)]
struct PostedMessage {
    id: MessageId,
}

impl Person {
    /// Asks for one thing after the other until `enough`, and then to the end for the last one.
    pub async fn act(mut self, enough: CancellationToken) {
        for number in 0_u64.. {
            let pause = self.random.random_range(self.thinks.clone());
            tokio::select! {
                () = sleep(pause) => {}
                () = enough.cancelled() => return,
            }
            match self.random.random_range(0..20) {
                0..12 => self.say(number, false).await,
                12..15 => self.say(number, true).await,
                15..17 => self.ask(number, "text", json!({"prompt": "What can you do?"})).await,
                17 => self.ask(number, "image", json!({"prompt": "a lighthouse", "size": "64x64"})).await,
                _ => self.type_something().await,
            }
        }
    }

    fn room(&mut self) -> Channel {
        self.rooms[self.random.random_range(0..self.rooms.len())].clone()
    }

    fn key(&self, number: u64) -> String {
        format!("{}-{number}", self.name.replace(' ', "-"))
    }

    async fn post(&mut self, key: &str, path: &str, body: &Value) -> Option<Answer> {
        let answer = self.account.insist(&mut self.random, &Method::POST, path, |request| request.header("Idempotency-Key", key).json(body)).await?;
        // Too many of this person's jobs wait: that is an answer too, and nothing was taken.
        self.account.expect(&answer, &[202, 429], &format!("POST {path}"));
        (answer.status == 202).then_some(answer)
    }

    async fn say(&mut self, number: u64, reply: bool) {
        let (channel, since) = (self.room(), self.account.recorder.now());
        let (key, content) = (self.key(number), format!("{MARK}{} {number}", self.name));
        let body = json!({"channel": channel, "content": content, "reply": reply});
        let Some(answer) = self.post(&key, "/api/chat/messages", &body).await else { return };
        let Ok(posted) = serde_json::from_value::<Posted>(answer.body.clone()) else {
            return self.account.recorder.wrong(answer.server, format!("POST /api/chat/messages answers {}", answer.body));
        };
        self.account.recorder.note(What::Said { since, channel, message: posted.message.id, content, job: posted.job_id });
        if self.random.random_bool(0.1) {
            self.repeat(&key, &body, &answer).await;
        }
        self.reconsider(posted.job_id).await;
    }

    /// Asks again for what was acknowledged: the answer must be the same.
    async fn repeat(&mut self, key: &str, body: &Value, first: &Answer) {
        let Some(again) = self.post(key, "/api/chat/messages", body).await else { return };
        if again.body != first.body || !again.is_replayed {
            self.account.recorder.wrong(again.server, format!("a repeated request got {}, and first {}", again.body, first.body));
        }
    }

    async fn ask(&mut self, number: u64, what: &str, body: Value) {
        let since = self.account.recorder.now();
        let Some(answer) = self.post(&self.key(number), &format!("/api/generate/{what}"), &body).await else { return };
        let Some(job) = answer.body["jobId"].as_str().and_then(|id| id.parse::<JobId>().ok()) else {
            return self.account.recorder.wrong(answer.server, format!("POST /api/generate/{what} answers {}", answer.body));
        };
        self.account.recorder.note(What::Asked { since, channel: Channel::of_user(&self.account.user), job });
        self.reconsider(Some(job)).await;
    }

    /// Stops some jobs a little later.
    async fn reconsider(&mut self, job: Option<JobId>) {
        let Some(job) = job.filter(|_| self.random.random_bool(0.25)) else { return };
        sleep(Duration::from_millis(self.random.random_range(0..300))).await;
        let path = format!("/api/jobs/{job}");
        if let Some(answer) = self.account.insist(&mut self.random, &Method::DELETE, &path, |request| request).await {
            self.account.expect(&answer, &[202, 409], &format!("DELETE {path}"));
        }
    }

    async fn type_something(&mut self) {
        let body = json!({"channel": self.room(), "isTyping": self.random.random_bool(0.5)});
        if let Some(answer) = self.account.insist(&mut self.random, &Method::POST, "/api/chat/typing", |request| request.json(&body)).await {
            self.account.expect(&answer, &[204, 429], "POST /api/chat/typing");
        }
    }
}
