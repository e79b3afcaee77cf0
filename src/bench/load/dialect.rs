//! How each kind of server is asked for a stream and told a message, so that one load measures them all.
//!
//! What is published is the same text everywhere: the event as this server makes it. Refuses to know more of the others than
//! that takes.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::client::{chat_message, room};

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// This server
    Persona,
    /// A loop of `send()`: takes what this server does, and asks for no names
    Bare,
    /// nginx with nchan, with `/pub` and `/sub` and the channel in `id`
    Nchan,
    /// The server of Durable Streams
    DurableStreams,
}

impl Dialect {
    /// Whether people need a token.
    pub fn has_sessions(self) -> bool {
        self == Self::Persona
    }

    /// The request for a stream of the `index`-th reader, from `last_id` on where it comes back.
    pub fn stream(self, token: &str, index: usize, rooms: usize, rooms_each: usize, last_id: &str) -> String {
        let path = match self {
            Self::Persona | Self::Bare => {
                let of_reader = (index * rooms_each..(index + 1) * rooms_each).map(|index| format!("channel={}", room(index, rooms)));
                format!("/api/events?{}", of_reader.collect::<Vec<_>>().join("&"))
            }
            Self::Nchan => format!("/sub?id={}", name(&room(index, rooms))),
            Self::DurableStreams => format!("/v1/stream/{}?offset=now&live=sse", name(&room(index, rooms))),
        };
        let authorization = if self.has_sessions() { format!("Authorization: Bearer {token}\r\n") } else { String::new() };
        let resume = if last_id.is_empty() { String::new() } else { format!("Last-Event-ID: {last_id}\r\n") };
        format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n{authorization}{resume}\r\n")
    }

    /// The request that has a room be there, where that is needed.
    pub fn make_room(self, room: &str) -> Option<String> {
        (self == Self::DurableStreams).then(|| {
            let name = name(room);
            format!("PUT /v1/stream/{name} HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n")
        })
    }

    /// The request that tells `room` something.
    pub fn message(self, token: &str, room: &str, content: &str) -> Vec<u8> {
        let path = match self {
            Self::Persona | Self::Bare => return chat_message(token, room, content, false, None),
            Self::Nchan => format!("/pub?id={}", name(room)),
            Self::DurableStreams => format!("/v1/stream/{}", name(room)),
        };
        let event = event(room, content);
        // What is appended there is text: a line is a message.
        let end = if self == Self::DurableStreams { "\n" } else { "" };
        let length = event.len() + end.len();
        format!("POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{event}{end}").into_bytes()
    }

    /// Whether a line says that the stream has begun.
    pub fn is_ready(self, line: &[u8]) -> bool {
        match self {
            Self::Persona | Self::Bare => line == b"event: ready\n",
            Self::Nchan => line.starts_with(b":"),
            Self::DurableStreams => line.starts_with(b"event: control") || line.starts_with(b"event:control"),
        }
    }
}

/// A chat message as this server tells it.
pub fn event(room: &str, content: &str) -> String {
    const ID: &str = "01a20ba6-0be5-701a-b273-c17e4dd9b53f";
    const TIME: &str = "2026-11-24T09:30:02.125Z";
    format!(
        r#"{{"type":"chat","timestamp":"{TIME}","channel":"{room}","result":{{"id":"{ID}","content":"{content}","userId":"u_0123456789abcdef","userName":"Guest 1234","timestamp":"{TIME}"}}}}"#
    )
}

/// A room's name where a colon would be in the way.
fn name(room: &str) -> &str {
    room.trim_start_matches("channel:")
}
