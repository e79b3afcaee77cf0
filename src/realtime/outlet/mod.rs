//! The way out of a connection: straight into its socket, or into the body of a response that the HTTP layer writes.
//!
//! Either takes pieces, says when it takes no more, and lets the host know when it does again. Refuses to hold more than it
//! must: what was not taken stays with the connection.

pub mod body;
pub mod socket;

use self::{body::Queue, socket::Socket};
use super::frame::Piece;

/// Where a stream's pieces go.
#[derive(Debug)]
pub enum Outlet {
    /// A socket of its own.
    Socket(Socket),
    /// The body of a response.
    Body(Queue),
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// All of it is on its way.
    All,
    /// So much of it is, and the host will be told when more is taken.
    Until(usize),
    /// Nobody reads any more.
    Gone,
}

impl Outlet {
    /// Sends what comes behind the first `from` bytes of `piece`.
    pub fn write(&self, piece: &Piece, from: usize) -> Wrote {
        match self {
            Self::Socket(socket) => socket.write(piece.whole(), from),
            Self::Body(queue) => queue.write(piece),
        }
    }

    /// The last piece was sent.
    pub fn end(&self) {
        match self {
            Self::Socket(socket) => socket.end(),
            Self::Body(queue) => queue.end(),
        }
    }
}
