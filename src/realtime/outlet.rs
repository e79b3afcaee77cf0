//! The way out of a connection into a streamed response body.
//!
//! The connection pushes shared frames, the HTTP side pulls them: all that wait leave as one piece. The queue is bounded in
//! bytes: what is told live may pile up to [`MAX_QUEUED`], then the reader is too slow. What is replayed from the log does not
//! count, as the log itself bounds it and its frames are shared. Refuses to know about SSE.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};

/// How many bytes of live events may wait for a reader.
pub const MAX_QUEUED: usize = 256 * 1024;
/// How much leaves as one piece.
const MAX_PIECE: usize = 64 * 1024;

/// The connection's end.
#[derive(Debug, Clone)]
pub struct Outlet(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Bytes of live events among the frames; replayed ones, which come first, are not counted.
    live: usize,
    replayed: usize,
    finished: bool,
    /// The response is gone, nobody will pull.
    gone: bool,
    waker: Option<Waker>,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It will leave.
    Taken,
    /// More than [`MAX_QUEUED`] bytes wait.
    Full,
    /// The response is gone.
    Gone,
}

impl Outlet {
    /// Both ends; `on_drop` is called when the response is dropped, however that comes about.
    pub fn new(on_drop: Box<dyn FnOnce()>) -> (Self, Body) {
        let queue = Arc::new(Mutex::new(Queue::default()));
        (Self(queue.clone()), Body { queue, on_drop: Some(on_drop) })
    }

    /// Queues a live frame.
    pub fn push(&self, frame: Bytes) -> Pushed {
        let mut queue = lock(&self.0);
        if queue.gone || queue.finished {
            return Pushed::Gone;
        }
        if queue.live + frame.len() > MAX_QUEUED {
            return Pushed::Full;
        }
        queue.live += frame.len();
        queue.frames.push_back(frame);
        queue.wake();
        Pushed::Taken
    }

    /// Queues what the log replays.
    pub fn push_replay(&self, frames: impl Iterator<Item = Bytes>) {
        let mut queue = lock(&self.0);
        for frame in frames {
            queue.replayed += frame.len();
            queue.frames.push_back(frame);
        }
        queue.wake();
    }

    /// How much waits, in bytes of live frames.
    #[must_use]
    pub fn queued(&self) -> usize {
        lock(&self.0).live
    }

    /// Ends the response after `last`. What waits before it leaves as well, unless the reader is too slow for it.
    pub fn finish(&self, last: Bytes, discard: bool) {
        let mut queue = lock(&self.0);
        if discard {
            queue.frames.clear();
            queue.live = 0;
            queue.replayed = 0;
        }
        queue.frames.push_back(last);
        queue.finished = true;
        queue.wake();
    }

    /// Ends the response at once; nobody is there to read.
    pub fn cut(&self) {
        let mut queue = lock(&self.0);
        queue.frames = VecDeque::new();
        queue.finished = true;
        queue.wake();
    }
}

impl Queue {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        let replayed = frame.len().min(self.replayed);
        self.replayed -= replayed;
        self.live = self.live.saturating_sub(frame.len() - replayed);
        Some(frame)
    }

    /// All that waits, as one piece of bounded size.
    fn pop_piece(&mut self) -> Option<Bytes> {
        let first = self.pop()?;
        if self.frames.is_empty() {
            self.frames.shrink_to(8);
            return Some(first);
        }
        let mut piece = BytesMut::with_capacity(MAX_PIECE.min(self.live + self.replayed + first.len()));
        piece.extend_from_slice(&first);
        while self.frames.front().is_some_and(|next| piece.len() + next.len() <= MAX_PIECE) {
            if let Some(next) = self.pop() {
                piece.extend_from_slice(&next);
            }
        }
        Some(piece.freeze())
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The response body: a stream of unknown length that ends when the connection does.
pub struct Body {
    queue: Arc<Mutex<Queue>>,
    on_drop: Option<Box<dyn FnOnce()>>,
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut queue = lock(&self.queue);
        if let Some(piece) = queue.pop_piece() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if queue.finished {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        queue.gone = true;
        queue.frames = VecDeque::new();
        drop(queue);
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}
