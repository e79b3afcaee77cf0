//! How events look on the wire: Server-Sent Events (WHATWG HTML, section 9.2).
//!
//! Pure. Refuses to encode anything but JSON, which has no line break and so needs no splitting.

use bytes::Bytes;

use crate::{event::Control, log::Position};

/// A logged event, encoded once for all its readers; each puts its own `id:` line before it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The event's place in its channel.
    pub position: Position,
    /// `data: {…}` and the empty line that ends the event.
    pub data: Bytes,
}

/// The `data:` line of an event and the end of it.
#[must_use]
pub fn data(json: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(json.len() + 8);
    frame.extend_from_slice(b"data: ");
    frame.extend_from_slice(json);
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

/// A named event about the stream itself.
#[must_use]
pub fn control(event: &Control) -> String {
    let json = serde_json::to_string(event).expect("a control event is plain data with text keys");
    format!("event: {}\ndata: {json}\n\n", event.name())
}

/// How long the browser waits before it comes back.
#[must_use]
pub fn retry(millis: u64) -> String {
    format!("retry: {millis}\n")
}
