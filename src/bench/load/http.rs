//! Reads answers of HTTP/1.1 (RFC 9112), as far as the server under load gives them.
//!
//! Pure, and lean: it hands on slices of what was read. Refuses to know compression, upgrades and informational answers.

/// A part of an answer, in this order: one head, any number of pieces of the body, one end.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Head { status: u16 },
    Body(&'a [u8]),
    End,
}

/// Reads one answer after the other from bytes that come in any pieces.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    /// The line that is being read.
    line: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    StatusLine,
    Headers(Head),
    /// So many bytes of the body follow, and then nothing.
    Sized(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
}

/// The bytes are no answer of HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server does not answer in HTTP/1.1")]
pub struct Malformed;

impl Reader {
    /// Takes the next part off the front of `bytes`, or all of them where the part isn't complete.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Part<'a>>, Malformed> {
        loop {
            match self.state {
                State::Sized(0) => {
                    self.state = State::StatusLine;
                    return Ok(Some(Part::End));
                }
                State::Chunk(0) => self.state = State::ChunkEnd,
                State::Sized(left) | State::Chunk(left) => {
                    let piece = take(bytes, left);
                    if piece.is_empty() {
                        return Ok(None);
                    }
                    let left = left - piece.len() as u64;
                    self.state = if matches!(self.state, State::Sized(_)) { State::Sized(left) } else { State::Chunk(left) };
                    return Ok(Some(Part::Body(piece)));
                }
                _ => {
                    if !self.read_line(bytes) {
                        return Ok(None);
                    }
                    let part = self.heed_line()?;
                    self.line.clear();
                    if part.is_some() {
                        return Ok(part);
                    }
                }
            }
        }
    }

    /// Whether the line is complete, without its end, in `self.line`.
    fn read_line(&mut self, bytes: &mut &[u8]) -> bool {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        self.line.extend_from_slice(take(bytes, end.map_or(u64::MAX, |end| end as u64 + 1)));
        if end.is_some() {
            self.line.pop();
            self.line.pop_if(|last| *last == b'\r');
        }
        end.is_some()
    }

    fn heed_line(&mut self) -> Result<Option<Part<'static>>, Malformed> {
        let line = str::from_utf8(&self.line).map_err(|_| Malformed)?;
        let mut part = None;
        self.state = match self.state {
            State::StatusLine => State::Headers(Head { status: status(line)?, length: None, chunked: false }),
            State::Headers(head) if line.is_empty() => {
                part = Some(Part::Head { status: head.status });
                if head.chunked { State::ChunkSize } else { State::Sized(head.length()) }
            }
            State::Headers(head) => State::Headers(head.with(line)?),
            State::ChunkSize => match u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16) {
                Ok(0) => State::Trailer,
                Ok(size) => State::Chunk(size),
                Err(_) => return Err(Malformed),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::Trailer if line.is_empty() => {
                part = Some(Part::End);
                State::StatusLine
            }
            State::Trailer => State::Trailer,
            State::ChunkEnd | State::Sized(_) | State::Chunk(_) => return Err(Malformed),
        };
        Ok(part)
    }
}

impl Head {
    /// Where nothing is said, a body lasts until the connection ends, and most answers have none (RFC 9112, section 6.3).
    fn length(self) -> u64 {
        self.length.unwrap_or(if self.status == 200 { u64::MAX } else { 0 })
    }

    fn with(self, header: &str) -> Result<Self, Malformed> {
        let (name, value) = header.split_once(':').ok_or(Malformed)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            return Ok(Self { length: Some(value.parse().map_err(|_| Malformed)?), ..self });
        }
        let chunked = name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked");
        Ok(Self { chunked: self.chunked || chunked, ..self })
    }
}

fn status(line: &str) -> Result<u16, Malformed> {
    let rest = line.strip_prefix("HTTP/1.1 ").ok_or(Malformed)?;
    rest.get(..3).and_then(|digits| digits.parse().ok()).ok_or(Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], most: u64) -> &'a [u8] {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    let (front, rest) = bytes.split_at(length);
    *bytes = rest;
    front
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Statuses and bodies, however the bytes are cut.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<(u16, Vec<u8>)>, Malformed> {
        let (mut reader, mut answers, mut current) = (Reader::default(), Vec::new(), None);
        for mut bytes in bytes.chunks(piece) {
            while let Some(part) = reader.next(&mut bytes)? {
                match part {
                    Part::Head { status } => current = Some((status, Vec::new())),
                    Part::Body(piece) => current.as_mut().unwrap().1.extend_from_slice(piece),
                    Part::End => answers.extend(current.take()),
                }
            }
        }
        Ok(answers)
    }

    fn chunked(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n".to_vec();
        for piece in pieces {
            bytes.extend(format!("{:X}\r\n", piece.len()).bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }

    proptest! {
        #[test]
        fn answers_are_read_however_the_bytes_are_cut(
            body in prop::collection::vec(any::<u8>(), 0..80),
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
            cut in 1_usize..50,
        ) {
            let mut bytes = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\nx-y: z\r\n\r\n", body.len()).into_bytes();
            bytes.extend(&body);
            bytes.extend(chunked(&pieces));
            bytes.extend(b"HTTP/1.1 204 No Content\r\n\r\n");
            prop_assert_eq!(read(&bytes, cut), Ok(vec![(202, body), (200, pieces.concat()), (204, Vec::new())]));
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 1_usize..20) {
            let _ = read(&bytes, cut);
            let _ = read(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", bytes.as_slice()].concat(), cut);
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in ["HTTP/2 200\r\n", "HTTP/1.1 2\r\n", "HTTP/1.1 200 OK\r\nno header\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n"] {
            assert_eq!(read(text.as_bytes(), 7), Err(Malformed), "{text}");
        }
    }
}
