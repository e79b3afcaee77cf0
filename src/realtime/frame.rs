//! How events look on the wire: Server-Sent Events (WHATWG HTML, section 9.2), and the pieces they leave in.
//!
//! Pure. Refuses to encode anything but JSON, which has no line break and so needs no splitting.

use std::io::Write as _;

use bytes::Bytes;

use super::cursor::{self, Key};
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

/// How much leaves as one piece: more does only where one event is larger.
pub const PIECE: usize = 64 * 1024;

/// `00abcd` and a line break: the size of a chunk (RFC 9112, section 7.1), wide enough to be filled in at the end.
const CHUNK_HEAD: usize = 8;
/// What ends a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Frames that leave in one write. Bare as a body has them, or whole, as the chunk of an HTTP/1.1 body.
#[derive(Debug, Clone)]
pub struct Piece {
    whole: Bytes,
    /// Where the frames begin and end.
    begin: usize,
    end: usize,
}

impl Piece {
    /// The chunk; before it, where it is the first, the head of the response, and behind the last one the end of the body.
    #[must_use]
    pub fn whole(&self) -> &Bytes {
        &self.whole
    }

    /// The frames alone.
    #[must_use]
    pub fn bare(&self) -> Bytes {
        self.whole.slice(self.begin..self.end)
    }
}

/// A piece that is being written.
#[derive(Debug)]
pub struct PieceWriter {
    bytes: Vec<u8>,
    begin: usize,
}

impl PieceWriter {
    /// An empty piece of which about `size` bytes are expected, behind the `head` of a response or nothing.
    #[must_use]
    pub fn new(head: &[u8], size: usize) -> Self {
        let begin = head.len() + CHUNK_HEAD;
        let mut bytes = Vec::with_capacity(begin + size + 2);
        bytes.extend_from_slice(head);
        bytes.resize(begin, 0);
        Self { bytes, begin }
    }

    /// How many bytes of frames it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() - self.begin
    }

    /// The `id:` line of the cursor at these places.
    pub fn id(&mut self, places: &[(Key, Position)]) {
        self.bytes.extend_from_slice(b"id: ");
        cursor::write(places, &mut self.bytes);
        self.bytes.push(b'\n');
    }

    /// A frame, or what comes before it.
    pub fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
    }

    /// The piece, which may be the last one.
    #[must_use]
    pub fn finish(mut self, is_last: bool) -> Piece {
        let (length, end) = (self.size(), self.bytes.len());
        let mut head = &mut self.bytes[self.begin - CHUNK_HEAD..self.begin];
        // Six digits are enough for 16 MiB, which no event comes near.
        let _ = write!(head, "{length:06x}\r\n");
        self.bytes.extend_from_slice(b"\r\n");
        if is_last {
            self.bytes.extend_from_slice(LAST_CHUNK);
        }
        Piece { whole: self.bytes.into(), begin: self.begin, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_a_chunk_outside_and_frames_inside() {
        let mut writer = PieceWriter::new(b"head", 10);
        writer.push(b"data: 1\n\n");
        let piece = writer.finish(true);
        assert_eq!((&piece.whole()[..], &piece.bare()[..]), (&b"head000009\r\ndata: 1\n\n\r\n0\r\n\r\n"[..], &b"data: 1\n\n"[..]));
    }
}
