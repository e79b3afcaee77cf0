//! The three ways to read a text.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use reqwest::{Client, Response};
use serde_json::json;
use tokio::sync::Mutex;

use super::{
    Plan, Way,
    tally::{Tally, Text},
};
use crate::{
    bench::load::client::{find, sign_in},
    providers::{
        Key, Provider, Purpose, Role, TextRequest, TextStep,
        models::Models,
        router::{Routes, breaker::Rests, turns::Concurrency},
        setup::{Account, ProviderConfig},
        wire::Patience,
    },
};

/// Longer than any text takes.
const PATIENCE: Duration = Duration::from_mins(10);

/// Reads texts.
pub enum Reader {
    Bare { client: Client, url: String },
    Provider(Arc<dyn Provider>),
    Server { client: Client, url: String, users: Vec<Mutex<User>> },
}

/// Somebody who asks the server for texts.
pub struct User {
    token: String,
    events: Response,
    /// Of an event that has not come whole.
    rest: Vec<u8>,
}

impl Reader {
    /// A reader that is ready.
    pub async fn new(plan: Plan) -> Result<Self> {
        // Where one is installed already, it is this one.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build()?;
        match plan.way {
            Way::Bare => Ok(Self::Bare { client, url: format!("http://{}/v1/chat/completions", plan.address) }),
            Way::Provider => Ok(Self::Provider(provider(plan)?)),
            Way::Server => {
                let url = format!("http://{}", plan.address);
                let mut users = Vec::with_capacity(plan.streams);
                for token in sign_in(plan.address, plan.streams).await? {
                    let mut user =
                        User { events: client.get(format!("{url}/api/events")).bearer_auth(&token).send().await?, token, rest: Vec::new() };
                    while user.next().await?.is_empty() {}
                    users.push(Mutex::new(user));
                }
                Ok(Self::Server { client, url, users })
            }
        }
    }

    /// Reads a text of so many tokens, as the `index`-th reader.
    pub async fn read(&self, index: usize, tally: &Tally, tokens: u32) -> Result<Text> {
        let mut text = Text::default();
        match self {
            Self::Bare { client, url } => {
                let body = json!({"model": "bench", "messages": [{"role": "user", "content": "p"}], "stream": true, "max_tokens": tokens});
                let mut answer = client.post(url).json(&body).send().await?.error_for_status()?;
                while let Some(piece) = answer.chunk().await? {
                    let mut piece = piece.as_ref();
                    while let Some(at) = memchr::memmem::find(piece, CONTENT) {
                        piece = &piece[at + CONTENT.len()..];
                        let end = memchr::memchr(b'"', piece).context("a token is cut")?;
                        tally.count(&mut text, str::from_utf8(&piece[..end])?);
                    }
                }
            }
            Self::Provider(provider) => {
                let turns = vec![(Role::User(String::new()), "p".to_owned())];
                let request = TextRequest { purpose: Purpose::Text, turns, route: Vec::new(), model: None, max_tokens: Some(tokens) };
                let mut steps = provider.clone().text(request);
                while let Some(step) = steps.next().await {
                    if let TextStep::Delta { text: piece, .. } = step? {
                        tally.count(&mut text, &piece);
                    }
                }
            }
            Self::Server { client, url, users } => {
                let mut user = users[index].try_lock().context("somebody else reads")?;
                let request = client.post(format!("{url}/api/generate/text")).bearer_auth(&user.token);
                let answer = request.json(&json!({"prompt": "p", "maxTokens": tokens})).send().await?;
                ensure!(answer.status().as_u16() == 202, "a text is answered with {}", answer.status());
                user.follow(tally, &mut text).await?;
            }
        }
        Ok(text)
    }
}

/// What stands before a token.
const CONTENT: &[u8] = b"\"content\":\"";

impl User {
    /// Reads events until the text has ended.
    async fn follow(&mut self, tally: &Tally, text: &mut Text) -> Result<()> {
        loop {
            for event in self.next().await? {
                if let Some(piece) = find::<String>(&event, b"\"text\":\"", b'"').filter(|_| contains(&event, b"\"ai_chat_chunk\"")) {
                    tally.count(text, &piece);
                } else if contains(&event, b"\"generation_complete\"") {
                    return Ok(());
                } else if contains(&event, b"\"generation_failed\"") {
                    bail!("a text has failed: {}", String::from_utf8_lossy(&event));
                }
            }
        }
    }

    /// The events that have come whole.
    async fn next(&mut self) -> Result<Vec<Vec<u8>>> {
        let piece = self.events.chunk().await?.context("a stream has ended")?;
        self.rest.extend_from_slice(&piece);
        let mut events = Vec::new();
        while let Some(end) = memchr::memmem::find(&self.rest, b"\n\n") {
            events.push(self.rest.drain(..end + 2).collect());
        }
        Ok(events)
    }
}

fn contains(event: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(event, word).is_some()
}

/// The product's own reader, with its router and breakers.
fn provider(plan: Plan) -> Result<Arc<dyn Provider>> {
    let target = "openai/bench".parse().context("a target")?;
    let config = ProviderConfig {
        laozhang: None,
        gemini: None,
        openai: Some(Account { key: Key::new("none"), base_url: format!("http://{}/v1", plan.address) }),
        routes: Routes { text: vec![target], ..Routes::default() },
        models: Models::default(),
        patience: Patience { connect: PATIENCE, first: PATIENCE, between: PATIENCE, total: PATIENCE },
        rests: Rests { short: Duration::ZERO, long: Duration::ZERO },
        concurrency: Concurrency::default(),
        may_be_local: false,
        offline_pace: Duration::ZERO,
    };
    Ok(config.build()?)
}
