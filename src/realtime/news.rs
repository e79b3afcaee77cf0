//! What a room has to tell, and how it is encoded once for all who stand at the same places.
//!
//! All that a thread's members of a room are told in one turn is one batch, and leaves as one piece. The ids in it are those
//! of whole cursors, so a piece can be shared by all members whose other channels are at the same places: of the streams of
//! one room, nearly all. Refuses to know who is told.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    audience::{Audiences, Place},
    cursor::Key,
    frame::{Frame, Piece, PieceWriter},
};
use crate::log::Position;

/// One thing a room has to tell.
#[derive(Debug, Clone)]
pub enum News {
    /// A logged event.
    Event(Frame),
    /// An event that is not logged.
    Show(Bytes),
    /// Events were lost: the frame that says so, and the place after which it goes on.
    Gap { reset: Bytes, after: Position },
}

/// Where a stream is in each of its channels.
pub type Places = SmallVec<[(Key, Position); 4]>;

impl News {
    /// Its size on the wire, but for an id.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Event(frame) => frame.data.len(),
            Self::Show(data) => data.len(),
            Self::Gap { reset, .. } => reset.len(),
        }
    }

    /// Writes it for a stream that is at `places`, and takes the stream's `slot`-th channel further.
    pub fn write(&self, places: &mut Places, slot: usize, writer: &mut PieceWriter) {
        match self {
            Self::Event(frame) => {
                places[slot].1 = frame.position;
                writer.id(places);
                writer.push(&frame.data);
            }
            Self::Show(data) => writer.push(data),
            Self::Gap { reset, after } => {
                places[slot].1 = *after;
                writer.push(reset);
            }
        }
    }
}

/// Their size on the wire, but for the ids.
#[must_use]
pub fn size(news: &[News]) -> usize {
    news.iter().map(News::size).sum()
}

/// What one room tells its members in one turn.
pub struct Batch<'a> {
    news: &'a [News],
    made: Option<Made>,
}

/// A batch as it was encoded for the last member.
pub struct Made {
    slot: usize,
    before: Places,
    /// Where the member is when it has all of it.
    pub after: Places,
    pub piece: Piece,
}

impl<'a> Batch<'a> {
    /// A batch that may have been encoded before.
    #[must_use]
    pub fn new(news: &'a [News], made: Option<Made>) -> Self {
        Self { news, made }
    }

    /// How it was encoded for the last member.
    #[must_use]
    pub fn into_made(self) -> Option<Made> {
        self.made
    }

    /// What is told.
    #[must_use]
    pub fn news(&self) -> &'a [News] {
        self.news
    }

    /// The batch for a member whose `slot`-th channel this is: the same piece as for the one before, where that fits.
    pub fn encode(&mut self, slot: usize, places: &[Place], audiences: &Audiences) -> &Made {
        let news = self.news;
        let fits = |made: &Made| made.slot == slot && made.before.iter().copied().eq(places.iter().map(|place| audiences.at(*place)));
        match &mut self.made {
            Some(made) if fits(made) => {}
            made => *made = Some(Made::new(news, slot, places.iter().map(|place| audiences.at(*place)).collect())),
        }
        self.made.as_ref().expect("it was just made")
    }
}

impl Made {
    fn new(news: &[News], slot: usize, before: Places) -> Self {
        let id = 40 + 16 * before.len();
        let mut writer = PieceWriter::new(&[], news.iter().map(|news| news.size() + id).sum());
        let mut after = before.clone();
        for news in news {
            news.write(&mut after, slot, &mut writer);
        }
        Self { slot, before, after, piece: writer.finish(false) }
    }
}
