//! Reads the event streams of providers (WHATWG HTML, section 9.2), from bytes that come in any pieces.
//!
//! Providers bend the format: events and UTF-8 are split anywhere, lines end three ways, `data:` comes without its space,
//! comments keep the line open, an error comes as bare JSON between the events, and the last event may lack its end. All that
//! is taken here, so that no provider has to. Bounded: one event may have [`MAX_EVENT`] bytes. Refuses to know what the
//! data means.

use std::collections::VecDeque;

/// The largest event: a picture may come inside of one.
pub const MAX_EVENT: usize = 32 * 1024 * 1024;
/// How much is kept of what is no event stream.
const MAX_STRAY: usize = 64 * 1024;

/// Something that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event: its name, empty where it has none, and its data.
    Event { name: String, data: String },
    /// A comment: the provider is alive and has nothing to say.
    Comment,
}

/// An event is larger than [`MAX_EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the provider has more than {MAX_EVENT} bytes")]
pub struct TooLarge;

/// Puts the pieces together.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    stray: String,
    /// The last byte was a CR, so that an LF after it ends no second line.
    after_cr: bool,
    /// A line was read: what comes is no byte order mark any more.
    begun: bool,
}

impl Decoder {
    /// Reads a piece.
    ///
    /// # Errors
    /// [`TooLarge`]; what was read before it stands in `items`.
    pub fn push(&mut self, mut piece: &[u8], items: &mut VecDeque<Item>) -> Result<(), TooLarge> {
        while let Some(first) = piece.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                piece = &piece[1..];
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', piece);
            let (text, rest) = piece.split_at(end.unwrap_or(piece.len()));
            let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
            if held + text.len() > MAX_EVENT {
                return Err(TooLarge);
            }
            self.line.extend_from_slice(text);
            let Some((ending, rest)) = rest.split_first() else { return Ok(()) };
            self.after_cr = *ending == b'\r';
            piece = rest;
            items.extend(self.end_line());
        }
        Ok(())
    }

    /// Reads the end: an event without an end counts, since some providers hang up so.
    pub fn finish(&mut self, items: &mut VecDeque<Item>) {
        if !self.line.is_empty() {
            items.extend(self.end_line());
        }
        items.extend(self.end_event());
    }

    /// What stood between the events and is no event stream, such as an error as bare JSON.
    #[must_use]
    pub fn stray(&self) -> &str {
        self.stray.trim()
    }

    fn end_line(&mut self) -> Option<Item> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let line = if std::mem::replace(&mut self.begun, true) { &*text } else { text.strip_prefix('\u{feff}').unwrap_or(&text) };
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => return Some(Item::Comment),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => value.clone_into(&mut self.name),
            "id" | "retry" => {}
            _ if self.stray.len() + line.len() < MAX_STRAY => {
                self.stray.push_str(line);
                self.stray.push('\n');
            }
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Item> {
        let name = std::mem::take(&mut self.name);
        self.data.take().map(|data| Item::Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<Item>, String) {
        let (mut decoder, mut items) = (Decoder::default(), VecDeque::new());
        for piece in pieces {
            decoder.push(&piece, &mut items).unwrap();
        }
        decoder.finish(&mut items);
        (items.into(), decoder.stray().to_owned())
    }

    fn event(name: &str, data: &str) -> Item {
        Item::Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn every_bent_form_is_read() {
        let text = "\u{feff}: hello\r\ndata:one\r\n\r\nevent: error\rdata: two\rdata: three\r\r:\n{\n  \"error\": 1\n}\nid: 7\nretry: 1\ndata: fin";
        let (items, stray) = read([text.as_bytes().to_vec()].into_iter());
        assert_eq!(items, [Item::Comment, event("", "one"), event("error", "two\nthree"), Item::Comment, event("", "fin")]);
        assert_eq!(stray, "{\n  \"error\": 1\n}");
    }

    #[test]
    fn an_event_without_end_is_refused_before_it_fills_the_memory() {
        let (mut decoder, mut items) = (Decoder::default(), VecDeque::new());
        let piece = vec![b'x'; 1024 * 1024];
        let refused = (0..40).find_map(|_| decoder.push(&piece, &mut items).err());
        assert_eq!((refused, items.len()), (Some(TooLarge), 0));
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_same_is_read(lines in prop::collection::vec("(data|event|id|:|\\{)?:? ?[a-zé🦀]{0,6}", 0..12), ends in prop::collection::vec(0_usize..3, 12), cuts in prop::collection::vec(1_usize..5, 1..40)) {
            let text: String = lines.iter().zip(&ends).flat_map(|(line, end)| [line.as_str(), ["\n", "\r\n", "\r"][*end]]).collect();
            let whole = read([text.as_bytes().to_vec()].into_iter());
            let (mut rest, mut cut) = (text.as_bytes(), cuts.iter().cycle());
            let pieces = std::iter::from_fn(|| {
                let length = (*cut.next()?).min(rest.len());
                let (piece, after) = rest.split_at(length);
                rest = after;
                (!piece.is_empty()).then(|| piece.to_vec())
            });
            prop_assert_eq!(read(pieces), whole);
        }

        #[test]
        fn random_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let _ = read([bytes].into_iter());
        }
    }
}
