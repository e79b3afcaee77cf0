//! A provider that fails at random, by a seed: the same requests fail in the same ways, whoever comes first.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::provider::{Asked, chunk, opening, read_request, usage};

/// In whose protocol it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    OpenAi,
    Gemini,
}

/// What all of them have said of each prompt, in order: the texts that came to their proper end.
pub type Whole = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// An unreliable provider.
pub struct Unreliable {
    pub address: SocketAddr,
}

struct Mind {
    name: &'static str,
    protocol: Protocol,
    seed: u64,
    /// How often each prompt came.
    times: Mutex<HashMap<String, u64>>,
    whole: Whole,
}

impl Unreliable {
    /// Begins to fail.
    pub async fn start(name: &'static str, protocol: Protocol, seed: u64, whole: Whole) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mind = Arc::new(Mind { name, protocol, seed, times: Mutex::default(), whole });
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(mind.clone(), socket));
            }
        });
        Self { address }
    }
}

/// How one request is answered: these bytes, and the text that they say where it comes to its end.
struct Answered {
    pieces: Vec<String>,
    whole: Option<String>,
}

async fn serve(mind: Arc<Mind>, mut socket: TcpStream) {
    let Some(asked) = read_request(&mut socket).await else { return };
    let prompt = mind.prompt(&asked);
    let answered = mind.answer(&prompt);
    // Before its last byte is sent, so that whoever has it finds it here.
    if let Some(text) = answered.whole {
        mind.whole.lock().unwrap().entry(prompt).or_default().push(text);
    }
    for piece in answered.pieces {
        if socket.write_all(piece.as_bytes()).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

impl Mind {
    fn prompt(&self, asked: &Asked) -> String {
        let prompt = match self.protocol {
            Protocol::OpenAi => &asked.body["messages"][0]["content"],
            Protocol::Gemini => &asked.body["contents"][0]["parts"][0]["text"],
        };
        prompt.as_str().unwrap().to_owned()
    }

    fn answer(&self, prompt: &str) -> Answered {
        let time = {
            let mut times = self.times.lock().unwrap();
            let time = times.entry(prompt.to_owned()).or_default();
            *time += 1;
            *time
        };
        let mut hasher = DefaultHasher::new();
        (self.seed, self.name, prompt, time).hash(&mut hasher);
        let mut chance = StdRng::seed_from_u64(hasher.finish());
        let words: Vec<String> = (0..chance.random_range(1..20)).map(|word| format!("{prompt}/{}/{time}/{word} ü🦀 ", self.name)).collect();
        let head =
            |status: u16, kind: &str, more: &str| format!("HTTP/1.1 {status} Whatever\r\ncontent-type: {kind}\r\n{more}connection: close\r\n\r\n");
        let stream = |more: &str| head(200, "text/event-stream", more);
        let broken = |status: u16, body: &str| Answered { pieces: vec![head(status, "application/json", ""), body.to_owned()], whole: None };
        let so_far = &words[..chance.random_range(0..words.len())];
        match chance.random_range(0..20) {
            0 => broken(429, r#"{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}"#),
            1 => broken(500, r#"{"error": "boom"}"#),
            2 => broken(502, "<html>Bad gateway</html>"),
            3 => broken(402, r#"{"error": {"message": "no credits", "code": 402}}"#),
            4 => Answered { pieces: Vec::new(), whole: None },
            5 => Answered { pieces: vec![stream(""), self.say(so_far)], whole: None },
            6 => Answered { pieces: vec![stream("content-length: 1000000\r\n"), self.say(so_far)], whole: None },
            7 => Answered {
                pieces: vec![stream(""), self.say(so_far), r#"data: {"error":{"message":"busy","code":503}}"#.into(), "\n\n".into()],
                whole: None,
            },
            _ => {
                let pieces = std::iter::once(stream("")).chain(words.iter().map(|word| self.say(std::slice::from_ref(word)))).chain(self.end());
                Answered { pieces: pieces.collect(), whole: Some(words.concat()) }
            }
        }
    }

    fn say(&self, words: &[String]) -> String {
        match self.protocol {
            Protocol::OpenAi => opening(&words.iter().map(String::as_str).collect::<Vec<_>>()),
            Protocol::Gemini => {
                words.iter().map(|word| format!("data: {}\r\n\r\n", json!({"candidates": [{"content": {"parts": [{"text": word}]}}]}))).collect()
            }
        }
    }

    fn end(&self) -> Vec<String> {
        match self.protocol {
            Protocol::OpenAi => vec![chunk(&json!({}), Some("stop")), usage(9, 2), "data: [DONE]\n\n".into()],
            Protocol::Gemini => vec![format!("data: {}\r\n\r\n", json!({"candidates": [{"finishReason": "STOP"}]}))],
        }
    }
}
