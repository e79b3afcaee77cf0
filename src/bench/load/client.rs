//! A client with one connection that is kept alive: asks, waits for the answer, asks again. Refuses to pipeline.

use std::{
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::http::{Part, Reader};

/// So many connections come from one address: it has some 28,000 ports, and those of connections that are gone are not free
/// for a minute. Long before none is left, finding one takes the kernel so long that nothing else gets done.
const AN_ADDRESS: usize = 2_000;
/// So many connections sign users in at once.
const SIGNING_IN: usize = 16;

/// A socket to the server.
pub async fn connect(server: SocketAddr) -> Result<TcpStream> {
    /// How many there have been.
    static MADE: AtomicUsize = AtomicUsize::new(0);

    let socket = TcpSocket::new_v4()?;
    let address = MADE.fetch_add(1, Ordering::Relaxed) / AN_ADDRESS;
    // The next run has addresses of its own.
    let second = (1 + (std::process::id() as usize + address / 256) % 250) as u8;
    socket.bind((Ipv4Addr::new(127, second, (address % 256) as u8, 1), 0).into()).context("no port is left")?;
    let stream = socket.connect(server).await.context("the server takes no connection")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection that asks one thing after the other.
pub struct Client {
    socket: TcpStream,
    reader: Reader,
    buffer: Vec<u8>,
    /// The body of the newest answer.
    pub body: Vec<u8>,
}

impl Client {
    /// A client that has asked nothing yet.
    pub async fn connect(server: SocketAddr) -> Result<Self> {
        Ok(Self { socket: connect(server).await?, reader: Reader::default(), buffer: vec![0; 16 * 1024], body: Vec::new() })
    }

    /// Sends a request and gives the status of its answer.
    pub async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.socket.write_all(request).await?;
        self.body.clear();
        let mut answered = 0;
        loop {
            let read = self.socket.read(&mut self.buffer).await?;
            ensure!(read > 0, "the server has closed a connection");
            let mut bytes = &self.buffer[..read];
            while let Some(part) = self.reader.next(&mut bytes)? {
                match part {
                    Part::Head { status } => answered = status,
                    Part::Body(piece) => self.body.extend_from_slice(piece),
                    Part::End => return Ok(answered),
                }
            }
        }
    }

    /// What a `GET` answers, as JSON; it must be 200.
    pub async fn get<T: for<'a> Deserialize<'a>>(&mut self, path: &str, token: &str) -> Result<T> {
        let status = self.ask(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes()).await?;
        ensure!(status == 200, "GET {path} is answered with {status}: {}", self.answer());
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The newest answer as text.
    pub fn answer(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    async fn sign_in(&mut self) -> Result<String> {
        #[derive(Deserialize)]
        struct Session {
            token: String,
        }
        let status = self.ask(b"POST /api/session HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n").await?;
        ensure!(status == 201, "a session is answered with {status}: {}", self.answer());
        Ok(serde_json::from_slice::<Session>(&self.body)?.token)
    }
}

/// The tokens of new guests.
pub async fn sign_in(server: SocketAddr, count: usize) -> Result<Vec<String>> {
    let lane = async |index| {
        let mut client = Client::connect(server).await?;
        let mut tokens = Vec::new();
        for _ in (index..count).step_by(SIGNING_IN) {
            tokens.push(client.sign_in().await?);
        }
        anyhow::Ok(tokens)
    };
    Ok(try_join_all((0..SIGNING_IN.min(count)).map(lane)).await?.concat())
}

/// The request that says something in a room.
pub fn chat_message(token: &str, room: &str, content: &str, reply: bool, key: Option<&str>) -> Vec<u8> {
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    let body = format!(r#"{{"channel":"{room}","content":"{content}","reply":{reply}}}"#);
    let length = body.len();
    format!(
        "POST /api/chat/messages HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{key}\r\n{body}"
    )
    .into_bytes()
}

/// The room that the `index`-th connection is in.
pub fn room(index: usize, rooms: usize) -> String {
    format!("channel:bench-{}", index % rooms.max(1))
}

/// What stands in `json` behind `before` and ends with `end`, parsed: a whole parser would cost more than it finds.
pub fn find<T: FromStr>(json: &[u8], before: &[u8], end: u8) -> Option<T> {
    let start = json.windows(before.len()).position(|window| window == before)? + before.len();
    let length = json[start..].iter().position(|byte| *byte == end)?;
    str::from_utf8(&json[start..start + length]).ok()?.parse().ok()
}
