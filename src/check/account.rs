//! Somebody who uses the servers that are checked: asks any of them, and asks again until there is an answer.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use rand::{RngExt as _, rngs::SmallRng};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::recorder::Recorder;
use crate::id::UserId;

/// How long one request may take before it is made again.
const REQUEST: Duration = Duration::from_secs(5);

/// Where a run goes, and how long it has patience.
#[derive(Debug)]
pub struct Servers {
    /// `http://…`, all of one installation.
    pub urls: Vec<String>,
    /// How long what is owed may take, once nothing is broken any more.
    pub patience: Duration,
}

impl Servers {
    /// One of them.
    pub fn any(&self, random: &mut SmallRng) -> usize {
        random.random_range(0..self.urls.len())
    }
}

/// An identity that all servers know. Cheap to clone.
#[derive(Clone)]
pub struct Account {
    pub user: UserId,
    token: Arc<str>,
    http: Client,
    pub servers: Arc<Servers>,
    pub recorder: Recorder,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub server: usize,
    pub status: u16,
    pub is_replayed: bool,
    pub body: Value,
}

impl Answer {
    /// What a problem document says, without what differs from one answer to the next.
    fn problem(&self) -> String {
        let text = |field: &str| self.body[field].as_str().unwrap_or("-");
        format!("{} ({}): {}", text("code"), text("field"), text("detail"))
    }
}

impl Account {
    /// A new guest.
    ///
    /// # Errors
    /// Where no server takes guests.
    pub async fn join(servers: &Arc<Servers>, recorder: &Recorder, random: &mut SmallRng, name: &str) -> Result<Self> {
        // No connection is kept: one of a server's former life is none to send a request on.
        let http = Client::builder().no_proxy().pool_max_idle_per_host(0).connect_timeout(REQUEST).build()?;
        let url = &servers.urls[servers.any(random)];
        let request = http.post(format!("{url}/api/session")).json(&json!({"userName": name})).timeout(REQUEST);
        let answer = request.send().await.with_context(|| format!("{url} can't be reached"))?;
        if answer.status() != 201 {
            bail!("{url} takes no guests: {}", answer.status());
        }
        let session: Value = answer.json().await?;
        let text = |field: &str| session[field].as_str().with_context(|| format!("{url} gives no {field}"));
        let (user, token) = (text("userId")?.parse()?, text("token")?.into());
        Ok(Self { user, token, http, servers: servers.clone(), recorder: recorder.clone() })
    }

    /// A request to one server.
    pub fn request(&self, server: usize, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.servers.urls[server])).bearer_auth(&self.token)
    }

    /// Asks one server after the other until one answers something else than that it can't at the moment. Nothing where that
    /// takes longer than the patience goes.
    pub async fn insist(
        &self,
        random: &mut SmallRng,
        method: &Method,
        path: &str,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Option<Answer> {
        let deadline = Instant::now() + self.servers.patience;
        while Instant::now() < deadline {
            let server = self.servers.any(random);
            let request = dress(self.request(server, method.clone(), path)).timeout(REQUEST);
            if let Some(answer) = self.ask(server, request).await {
                return Some(answer);
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
        }
        None
    }

    /// One answer, unless it is none or "not now".
    async fn ask(&self, server: usize, request: RequestBuilder) -> Option<Answer> {
        let answer = request.send().await.ok()?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let is_json = headers.get("content-type").is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
        // What breaks off is no answer.
        let bytes = answer.bytes().await.ok()?;
        let body = if is_json { serde_json::from_slice(&bytes).unwrap_or(Value::Null) } else { Value::Null };
        if status == 503 {
            if !headers.contains_key("retry-after") {
                self.recorder.wrong(server, "503 without Retry-After");
            }
            return None;
        }
        Some(Answer { server, status, is_replayed: headers.contains_key("idempotency-replayed"), body })
    }

    /// Notes an answer whose status is none of those that may be.
    pub fn expect(&self, answer: &Answer, statuses: &[u16], asked: &str) {
        if !statuses.contains(&answer.status) {
            self.recorder.wrong(answer.server, format!("{asked}: {}, {}", answer.status, answer.problem()));
        }
    }
}
