//! A stream of events, read as a browser would (WHATWG HTML, section 9.2).

use std::{collections::VecDeque, future::ready, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::DEADLINE;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// The SSE event name; empty for `message`.
    pub name: String,
    /// The `id:` line, where there was one.
    pub id: Option<String>,
    pub data: Value,
}

impl Event {
    /// The `type` in its data.
    pub fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap()
    }

    /// Whether it ends a job.
    pub fn is_terminal(&self) -> bool {
        matches!(self.kind(), "ai_chat" | "generation_complete" | "generation_failed")
    }
}

/// What a block told.
enum Told {
    Event(Event),
    Id(String),
}

/// An open stream.
pub struct Stream {
    pieces: BoxStream<'static, Bytes>,
    buffer: Vec<u8>,
    events: VecDeque<Told>,
    /// The newest id: what a browser would send as `Last-Event-ID`.
    pub last_id: Option<String>,
    /// The newest `retry:`.
    pub retry: Option<u64>,
    /// The `stream_ready` event, once it was read.
    pub opened: Option<Event>,
}

impl Stream {
    /// Opens a stream; it must be granted.
    pub async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Self::of(response)
    }

    /// The stream in an answer.
    pub fn of(response: Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        // A stream that breaks ends.
        Self::of_pieces(response.bytes_stream().take_while(|piece| ready(piece.is_ok())).filter_map(|piece| ready(piece.ok())).boxed())
    }

    /// The stream in the pieces of a body.
    pub fn of_pieces(pieces: BoxStream<'static, Bytes>) -> Self {
        Self { pieces, buffer: Vec::new(), events: VecDeque::new(), last_id: None, retry: None, opened: None }
    }

    /// Reads `stream_ready`, which must be first.
    pub async fn ready(&mut self) {
        let event = self.next().await;
        assert_eq!((event.name.as_str(), event.kind()), ("ready", "stream_ready"));
        self.opened = Some(event);
    }

    /// The next event of any kind; there must be one.
    pub async fn next(&mut self) -> Event {
        match timeout(DEADLINE, self.try_next()).await {
            Ok(Some(event)) => event,
            Ok(None) => panic!("the stream has ended"),
            Err(late) => panic!("no event came, {late}; unread: {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// The next event, or nothing where the stream ends or breaks.
    pub async fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.events.pop_front() {
                Some(Told::Event(event)) => {
                    if let Some(id) = &event.id {
                        self.last_id = Some(id.clone());
                    }
                    return Some(event);
                }
                Some(Told::Id(id)) => {
                    self.last_id = Some(id);
                    continue;
                }
                None => {}
            }
            let piece = self.pieces.next().await?;
            self.buffer.extend_from_slice(&piece);
            self.parse();
        }
    }

    /// The next event of this type; others are passed over.
    pub async fn next_of(&mut self, kind: &str) -> Event {
        timeout(DEADLINE, self.next_of_patiently(kind)).await.unwrap_or_else(|_| panic!("no {kind} came"))
    }

    /// The next event of this type, however long it takes: for a test that sets a deadline of its own.
    pub async fn next_of_patiently(&mut self, kind: &str) -> Event {
        loop {
            let event = self.try_next().await.expect("the stream has ended");
            if event.kind() == kind {
                return event;
            }
        }
    }

    /// The next event that was logged, whatever its type; presence, typing and what is about the stream are passed over.
    pub async fn next_logged(&mut self) -> Event {
        let next = async {
            loop {
                let event = self.try_next().await.expect("the stream has ended");
                if event.name.is_empty() && event.id.is_some() {
                    return event;
                }
            }
        };
        timeout(DEADLINE, next).await.expect("no logged event came")
    }

    /// Everything that it tells until `is_all` of it is there.
    pub async fn told(&mut self, is_all: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        self.told_within(DEADLINE, is_all).await
    }

    /// The same, within as long as that takes at the most.
    pub async fn told_within(&mut self, deadline: Duration, is_all: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        let read = async {
            while !is_all(&events) {
                events.push(self.try_next().await.expect("the stream has ended"));
            }
        };
        let is_late = timeout(deadline, read).await.is_err();
        assert!(!is_late, "there is no more than {events:#?}");
        events
    }

    /// Reads until the stream ends, and gives what came.
    #[expect(clippy::wrong_self_convention, reason = "it says how far is read")]
    pub async fn to_end(&mut self) -> Vec<Event> {
        let read = async {
            let mut events = Vec::new();
            while let Some(event) = self.try_next().await {
                events.push(event);
            }
            events
        };
        timeout(DEADLINE, read).await.expect("the stream does not end")
    }

    fn parse(&mut self) {
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("a stream is UTF-8");
            let (mut name, mut id, mut data) = (String::new(), None, None);
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", text)) => text.clone_into(&mut name),
                    Some(("id", text)) => id = Some(text.to_owned()),
                    Some(("data", text)) => data = Some(serde_json::from_str(text).expect("data is JSON")),
                    Some(("retry", text)) => self.retry = text.parse().ok(),
                    _ => assert!(line.is_empty() || line.starts_with(':'), "{line:?}"),
                }
            }
            match data {
                Some(data) => self.events.push_back(Told::Event(Event { name, id, data })),
                // A block without data is no event, but its id counts.
                None => self.events.extend(id.map(Told::Id)),
            }
        }
    }
}
