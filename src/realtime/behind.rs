//! What a stream has still to be told: while its channels join, while it is shown what it missed, and whenever its reader
//! takes less than comes.
//!
//! It waits as shared frames and is encoded only when the reader takes more, so that a reader who stalls holds little and a
//! replay costs nothing until it is read. Live events may pile up to [`MAX_WAITING`] bytes; what is replayed does not count, as
//! the log itself bounds it. Refuses to write to anybody.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    cursor::{self, Key},
    frame::{Frame, PIECE, Piece, PieceWriter},
    news::{News, Places},
};
use crate::log::Position;

/// How many bytes of live events may wait for a reader: with the piece that is on its way, 256 KiB.
pub const MAX_WAITING: usize = 256 * 1024 - PIECE;

/// What a room has at hand for one who comes back, shared by all who do at the same time.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    frames: Option<Arc<Vec<Frame>>>,
    next: usize,
}

impl Replay {
    /// The frames from the `next`-th on.
    #[must_use]
    pub fn new(frames: Arc<Vec<Frame>>, next: usize) -> Self {
        Self { frames: Some(frames), next }
    }

    /// The first of them.
    #[must_use]
    pub fn first(&self) -> Option<&Frame> {
        self.frames.as_ref()?.get(self.next)
    }
}

enum Owed {
    News(usize, News),
    Replay(usize, Replay),
    /// About the stream itself.
    Said(Bytes),
}

/// One stream's backlog.
pub struct Behind {
    /// Where the reader is in each channel, once it has all that was encoded.
    places: Places,
    /// How many channels have not joined yet; until then nothing leaves.
    joining: usize,
    /// The frames that say which of them begin with a gap.
    resets: Vec<u8>,
    queue: VecDeque<Owed>,
    /// Bytes of live events in the queue.
    live: usize,
    /// What the outlet has not taken yet of the last piece, and from where on.
    unsent: Option<(Piece, usize)>,
    /// The head of the response, where it has not left yet.
    head: Bytes,
    /// Nothing comes after the queue.
    ends: bool,
}

impl Behind {
    /// That of a new stream of so many channels.
    #[must_use]
    pub fn joining(channels: usize, head: Bytes) -> Self {
        let nowhere = (Key::OWN, Position::NOWHERE);
        let places = std::iter::repeat_n(nowhere, channels).collect();
        Self { places, joining: channels, resets: Vec::new(), queue: VecDeque::new(), live: 0, unsent: None, head, ends: false }
    }

    /// That of a stream at `places` whose reader did not take all of `piece`.
    #[must_use]
    pub fn blocked(places: Places, piece: Piece, taken: usize) -> Self {
        Self { unsent: Some((piece, taken)), places, ..Self::joining(0, Bytes::new()) }
    }

    /// Whether channels have yet to join.
    #[must_use]
    pub fn is_joining(&self) -> bool {
        self.joining > 0
    }

    /// The `slot`-th channel has joined, and goes on after `from`. Gives whether it was the last one.
    pub fn joined(&mut self, slot: usize, key: Key, from: Position) -> bool {
        self.places[slot] = (key, from);
        self.joining -= 1;
        self.joining == 0
    }

    /// A channel begins with a gap, as `frame` says.
    pub fn reset(&mut self, frame: &[u8]) {
        self.resets.extend_from_slice(frame);
    }

    /// All channels have joined: `retry` and `ready` come before all else. A cursor that stands behind a gap would, had it left
    /// before the gap is told, let a reader who is cut in between resume without hearing of it; so it comes after.
    pub fn begin(&mut self, retry: &str, ready: &str) {
        let mut id = b"id: ".to_vec();
        cursor::write(&self.places, &mut id);
        id.push(b'\n');
        let resets = std::mem::take(&mut self.resets);
        let frames = if resets.is_empty() {
            [retry.as_bytes(), &id, ready.as_bytes()].concat()
        } else {
            [retry.as_bytes(), ready.as_bytes(), &resets, &id, b"\n"].concat()
        };
        self.queue.push_front(Owed::Said(frames.into()));
    }

    /// What is to be told of the stream itself.
    pub fn say(&mut self, frame: Bytes) {
        self.queue.push_back(Owed::Said(frame));
    }

    /// What the `slot`-th channel has told before.
    pub fn replay(&mut self, slot: usize, replay: Replay) {
        if replay.first().is_some() {
            self.queue.push_back(Owed::Replay(slot, replay));
        }
    }

    /// Takes in what the `slot`-th channel tells; whoever is behind misses first what is not logged. Gives whether there was
    /// room for it.
    #[must_use]
    pub fn push(&mut self, slot: usize, news: &[News]) -> bool {
        for news in news {
            if matches!(news, News::Show(_)) && self.joining == 0 && self.live > MAX_WAITING / 4 {
                continue;
            }
            self.live += news.size();
            self.queue.push_back(Owed::News(slot, news.clone()));
        }
        self.live <= MAX_WAITING
    }

    /// Nothing but `last` shall come any more, after what waits, or instead of it.
    pub fn end(&mut self, last: Bytes, instead: bool) {
        if instead || self.joining > 0 {
            self.queue.clear();
        }
        self.joining = 0;
        self.queue.push_back(Owed::Said(last));
        self.ends = true;
    }

    /// Whether the stream is to end when nothing is left.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.ends
    }

    /// So much of `piece` has been taken, and no more for now.
    pub fn put_back(&mut self, piece: Piece, taken: usize) {
        self.unsent = Some((piece, taken));
    }

    /// A comment, and the head before it: for a stream that has nothing else to say yet.
    #[must_use]
    pub fn murmur(&mut self) -> Piece {
        let mut writer = PieceWriter::new(&std::mem::take(&mut self.head), 8);
        writer.push(b":\n\n");
        writer.finish(false)
    }

    /// What leaves next, and from which byte on; nothing where nothing is left, or may leave yet.
    pub fn next_piece(&mut self) -> Option<(Piece, usize)> {
        if let Some(unsent) = self.unsent.take() {
            return Some(unsent);
        }
        if self.joining > 0 || self.queue.is_empty() {
            return None;
        }
        let mut writer = PieceWriter::new(&std::mem::take(&mut self.head), PIECE / 16);
        while let Some(owed) = self.queue.front_mut() {
            let size = match owed {
                Owed::News(_, news) => news.size(),
                Owed::Replay(_, replay) => replay.first().map_or(0, |frame| frame.data.len()),
                Owed::Said(frame) => frame.len(),
            };
            if writer.size() > 0 && writer.size() + size > PIECE {
                break;
            }
            match owed {
                Owed::News(slot, news) => {
                    news.write(&mut self.places, *slot, &mut writer);
                    self.live -= size;
                }
                Owed::Replay(slot, replay) => {
                    if let Some(frame) = replay.first() {
                        self.places[*slot].1 = frame.position;
                        writer.id(&self.places);
                        writer.push(&frame.data);
                    }
                    replay.next += 1;
                    if replay.first().is_some() {
                        continue;
                    }
                }
                Owed::Said(frame) => writer.push(frame),
            }
            self.queue.pop_front();
        }
        let is_last = self.ends && self.queue.is_empty();
        Some((writer.finish(is_last), 0))
    }
}
