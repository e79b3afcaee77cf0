//! Reads a stream of Server-Sent Events as far as the benchmark needs it: that it is ready, and which of its messages came.
//!
//! A message carries its number and when it was sent, so that whoever gets it can say how old it is. Refuses to be a parser
//! for anything but this server's frames, one `data:` line an event.

use anyhow::{Result, bail, ensure};

use super::{
    client::find,
    dialect::Dialect,
    http::{Part, Reader},
};

/// What the load has written into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// From 0, over all rooms.
    pub number: u64,
    /// When it was sent, in nanoseconds since the load began.
    pub nanos: u64,
}

/// What a line of the stream says.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Ready,
    Message(Mark),
}

impl Mark {
    /// A message of `bytes` bytes, or a few more where the mark needs them.
    pub fn content(self, bytes: usize) -> String {
        let mark = format!("{} {} ", self.number, self.nanos);
        let padding = bytes.saturating_sub(mark.len()).max(1);
        mark + &"x".repeat(padding)
    }

    fn read(line: &[u8]) -> Option<Self> {
        const CONTENT: &[u8] = br#""content":""#;
        let number: u64 = find(line, CONTENT, b' ')?;
        let nanos = find(line, format!(r#""content":"{number} "#).as_bytes(), b' ')?;
        Some(Self { number, nanos })
    }
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    dialect: Dialect,
    reader: Reader,
    /// The newest id.
    pub last_id: String,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Stream {
    /// One that has not begun.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, reader: Reader::default(), last_id: String::new(), partial: Vec::new() }
    }

    /// Takes what was read from the socket, and tells what it says.
    pub fn feed(&mut self, mut bytes: &[u8], mut told: impl FnMut(Line)) -> Result<()> {
        while let Some(part) = self.reader.next(&mut bytes)? {
            match part {
                Part::Head { status } => ensure!(status == 200, "the server answers a stream with {status}"),
                Part::Body(piece) => self.split(piece, &mut told),
                Part::End => bail!("the server has ended a stream"),
            }
        }
        Ok(())
    }

    fn split(&mut self, piece: &[u8], told: &mut impl FnMut(Line)) {
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if !line.ends_with(b"\n") {
                self.partial.extend_from_slice(line);
            } else if self.partial.is_empty() {
                self.read(line).into_iter().for_each(&mut *told);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.read(&whole).into_iter().for_each(&mut *told);
                whole.clear();
                self.partial = whole;
            }
        }
    }

    fn read(&mut self, line: &[u8]) -> Option<Line> {
        if let Some(data) = line.strip_prefix(b"data:") {
            let is_chat = data.trim_ascii_start().starts_with(br#"{"type":"chat","#);
            return if is_chat { Mark::read(line).map(Line::Message) } else { None };
        }
        if let Some(id) = line.strip_prefix(b"id: ") {
            self.last_id.clear();
            self.last_id.push_str(str::from_utf8(id).unwrap_or_default().trim_end());
            return None;
        }
        self.dialect.is_ready(line).then_some(Line::Ready)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(marks: &[Mark]) -> Vec<u8> {
        let frames = marks.iter().map(|mark| {
            let content = mark.content(40);
            format!(
                "id: abc\ndata: {{\"type\":\"chat\",\"timestamp\":\"t\",\"channel\":\"c\",\"result\":{{\"id\":\"i\",\"content\":\"{content}\"}}}}\n\n"
            )
        });
        let first = "retry: 2\nid: abc\nevent: ready\ndata: {\"type\":\"stream_ready\"}\n\n".to_owned();
        let other = "data: {\"type\":\"presence\",\"status\":\"join\"}\n\n".to_owned();
        let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for frame in [first, other].into_iter().chain(frames) {
            bytes.extend(format!("{:x}\r\n{frame}\r\n", frame.len()).bytes());
        }
        bytes
    }

    proptest! {
        #[test]
        fn messages_are_found_however_the_bytes_are_cut(marks in prop::collection::vec((any::<u64>(), any::<u64>()), 0..8), cut in 1_usize..300) {
            let marks: Vec<Mark> = marks.into_iter().map(|(number, nanos)| Mark { number, nanos }).collect();
            let (mut stream, mut lines) = (Stream::new(Dialect::Persona), Vec::new());
            for piece in answer(&marks).chunks(cut) {
                stream.feed(piece, |line| lines.push(line)).unwrap();
            }
            let right: Vec<Line> = std::iter::once(Line::Ready).chain(marks.into_iter().map(Line::Message)).collect();
            prop_assert_eq!(lines, right);
        }
    }

    #[test]
    fn a_stream_that_is_refused_or_ends_is_an_error() {
        for text in ["HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"] {
            assert!(Stream::new(Dialect::Persona).feed(text.as_bytes(), |_| {}).is_err(), "{text}");
        }
    }

    #[test]
    fn a_message_is_as_long_as_was_asked() {
        let mark = Mark { number: 7, nanos: 123 };
        assert_eq!(mark.content(200).len(), 200);
        assert_eq!(mark.content(0), "7 123 x");
    }
}
