//! The way out through the body of a response.
//!
//! The connection pushes shared pieces, the HTTP layer pulls them: all that wait leave as one. Takes no more than a
//! piece's size, so that what the reader does not take stays with the connection. Refuses to know about SSE.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};

use super::{Outlet, Wrote};
use crate::realtime::{
    frame::{PIECE, Piece},
    host::Seat,
    peer::Peer,
};

/// The connection's end.
#[derive(Debug)]
pub struct Queue(Shared);

type Shared = Arc<Mutex<State>>;

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Bytes>,
    /// Bytes of the pieces.
    waiting: usize,
    /// A piece was not taken: the host is to be told when there is room.
    refused: bool,
    ended: bool,
    /// The response is gone, nobody will pull.
    gone: bool,
    waker: Option<Waker>,
}

/// Both ends of the way to the reader at `peer`.
#[must_use]
pub fn outlet(peer: Rc<Peer>) -> (Outlet, Body) {
    let shared = Shared::default();
    (Outlet::Body(Queue(shared.clone())), Body { shared, peer, seat: None })
}

impl Queue {
    pub(super) fn write(&self, piece: &Piece) -> Wrote {
        let mut state = lock(&self.0);
        if state.gone {
            return Wrote::Gone;
        }
        if state.waiting >= PIECE {
            state.refused = true;
            return Wrote::Until(0);
        }
        let bytes = piece.bare();
        state.waiting += bytes.len();
        state.pieces.push_back(bytes);
        state.wake();
        Wrote::All
    }

    pub(super) fn end(&self) {
        let mut state = lock(&self.0);
        state.ended = true;
        state.wake();
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Queue {
    /// Without its connection there is no more to come.
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// All that waits, as one.
    fn pop(&mut self) -> Option<Bytes> {
        let first = self.pieces.pop_front()?;
        if self.pieces.is_empty() {
            self.pieces = VecDeque::new();
            self.waiting = 0;
            return Some(first);
        }
        let mut all = BytesMut::with_capacity(self.waiting);
        all.extend_from_slice(&first);
        for piece in std::mem::take(&mut self.pieces) {
            all.extend_from_slice(&piece);
        }
        self.waiting = 0;
        Some(all.freeze())
    }
}

/// The response body: a stream of unknown length that ends when the connection does.
pub struct Body {
    shared: Shared,
    peer: Rc<Peer>,
    seat: Option<Seat>,
}

impl Body {
    /// Its connection sits there.
    pub fn attach(&mut self, seat: Seat) {
        self.seat = Some(seat);
        self.peer.attach(seat);
    }
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut state = lock(&self.shared);
        if let Some(bytes) = state.pop() {
            if std::mem::take(&mut state.refused)
                && let Some(seat) = self.seat
            {
                self.peer.proceed(seat);
            }
            return Poll::Ready(Some(Ok(bytes)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.gone = true;
        state.pieces = VecDeque::new();
        drop(state);
        if let Some(seat) = self.seat {
            self.peer.detach(seat);
        }
    }
}
