//! A proxy before a server that breaks the delivery contract in one way of a test's choice: what a faulty server would do.
//!
//! Everything passes through it as it is, but for what the lie changes: blocks of event streams, and JSON answers.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Says of a block of a stream, of which the number is given, what is to come in its place, where it is to be another.
type OfStream = dyn FnMut(usize, &str) -> Option<Vec<String>> + Send;
/// Changes the answer to a request, `GET /api/…`, and says whether it has.
type OfAnswer = dyn FnMut(&str, &mut u16, &mut Value) -> bool + Send;

/// What is to be changed.
pub enum Lie {
    Stream(Box<OfStream>),
    Answer(Box<OfAnswer>),
}

/// The proxy.
pub struct Liar {
    pub url: String,
    /// Cancelled once it has lied.
    pub has_lied: CancellationToken,
    ends: CancellationToken,
}

struct Proxy {
    server: String,
    client: Client,
    lie: Mutex<Lie>,
    has_lied: CancellationToken,
}

struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Liar {
    /// A liar before the server at this address.
    pub async fn before(server: &str, lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (has_lied, ends) = (CancellationToken::new(), CancellationToken::new());
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let proxy = Arc::new(Proxy { server: server.to_owned(), client, lie: Mutex::new(lie), has_lied: has_lied.clone() });
        let end = ends.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let (proxy, end) = (proxy.clone(), end.clone());
                tokio::spawn(async move {
                    // Whoever is gone reads nothing more.
                    tokio::select! { _ = proxy.serve(number, socket) => {}, () = end.cancelled() => {} }
                });
            }
        });
        Self { url, has_lied, ends }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}

impl Proxy {
    /// One request, and its answer.
    async fn serve(&self, number: usize, mut socket: TcpStream) -> std::io::Result<()> {
        let request = read(&mut socket).await?;
        let asked = self.client.request(request.method.clone(), format!("{}{}", self.server, request.path));
        let answer = asked.headers(request.headers).body(request.body).send().await.map_err(std::io::Error::other)?;
        let is_stream = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        if is_stream {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await?;
            return self.stream(number, answer, &mut socket).await;
        }
        let (mut status, replayed) = (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"));
        let mut body = answer.bytes().await.map_err(std::io::Error::other)?.to_vec();
        let path = request.path.split('?').next().unwrap_or_default();
        if let Ok(mut json) = serde_json::from_slice(&body)
            && self.change(&format!("{} {path}", request.method), &mut status, &mut json)
        {
            body = json.to_string().into_bytes();
        }
        let marks = if replayed { "idempotency-replayed: true\r\n" } else { "" };
        let kind = if (400..600).contains(&status) { "application/problem+json" } else { "application/json" };
        let head = format!("HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\n{marks}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(&body).await
    }

    async fn stream(&self, number: usize, answer: Response, socket: &mut TcpStream) -> std::io::Result<()> {
        let (mut pieces, mut text) = (answer.bytes_stream(), Vec::new());
        while let Some(piece) = pieces.next().await {
            text.extend_from_slice(&piece.map_err(std::io::Error::other)?);
            while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = text.drain(..end + 2).collect();
                for block in self.blocks(number, String::from_utf8(block).unwrap().trim_end()) {
                    socket.write_all(format!("{block}\n\n").as_bytes()).await?;
                }
            }
        }
        Ok(())
    }

    fn blocks(&self, number: usize, block: &str) -> Vec<String> {
        let lie = match &mut *self.lie.lock().unwrap() {
            Lie::Stream(lie) => lie(number, block),
            Lie::Answer(_) => None,
        };
        if lie.is_some() {
            self.has_lied.cancel();
        }
        lie.unwrap_or_else(|| vec![block.to_owned()])
    }

    fn change(&self, request: &str, status: &mut u16, body: &mut Value) -> bool {
        let is_changed = match &mut *self.lie.lock().unwrap() {
            Lie::Answer(lie) => lie(request, status, body),
            Lie::Stream(_) => false,
        };
        if is_changed {
            self.has_lied.cancel();
        }
        is_changed
    }
}

/// A request with its body, whose length must be said.
async fn read(socket: &mut TcpStream) -> std::io::Result<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break end;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).map_err(std::io::Error::other)?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default().parse().unwrap(), first.next().unwrap_or_default().to_owned());
    let mut headers: HeaderMap = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if socket.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    headers.remove("host");
    headers.remove("content-length");
    Ok(Request { method, path, headers, body })
}
