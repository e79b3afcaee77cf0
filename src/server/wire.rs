//! A client's socket, plain or encrypted, as the HTTP layers use it.
//!
//! On its way it notices what an HTTP/2 client says about single streams: a `RST_STREAM` (RFC 9113, section 6.4) makes the
//! peer poke its streams, so that the one that was dropped is found at once. Refuses to change a byte, but for
//! what [`super::refusal`] completes.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::refusal::{self, Parting};
use crate::realtime::peer::Peer;

/// What carries the bytes: plain, or encrypted.
pub type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A client's socket.
pub struct Wire {
    transport: Transport,
    peer: Rc<Peer>,
    /// Followed where the client speaks HTTP/2.
    frames: Option<Frames>,
    parting: Option<Parting>,
}

impl Wire {
    /// The socket of `peer`, which speaks HTTP/2 or not.
    pub fn new(transport: Transport, peer: Rc<Peer>, is_http2: bool) -> Self {
        Self { transport, peer, frames: is_http2.then(Frames::after_preface), parting: None }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Rc<Peer> {
        &self.peer
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(cx, buffer);
        if let Some(frames) = &mut self.frames
            && frames.has_reset(&buffer.filled()[before..])
        {
            self.peer.poke();
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { transport, frames, parting, .. } = &mut *self;
        match refusal::begin_in(bytes).filter(|_| frames.is_none()) {
            None => Pin::new(transport).poll_write(cx, bytes),
            Some(0) => {
                ready!(parting.get_or_insert_with(|| Parting::new(bytes)).poll(transport, cx))?;
                Poll::Ready(Ok(bytes.len()))
            }
            // What stands before it goes first.
            Some(begin) => Pin::new(transport).poll_write(cx, &bytes[..begin]),
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// The client's connection preface, `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113, section 3.4).
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const RST_STREAM: u8 = 0x3;

/// Follows the frame headers in a stream of bytes that comes in any pieces.
struct Frames {
    /// Bytes to pass over: the preface, or a frame's payload.
    skip: usize,
    header: [u8; FRAME_HEADER],
    filled: usize,
}

impl Frames {
    fn after_preface() -> Self {
        Self { skip: PREFACE, header: [0; FRAME_HEADER], filled: 0 }
    }

    /// Whether a `RST_STREAM` begins in `bytes`.
    fn has_reset(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = bytes.len().min(FRAME_HEADER - self.filled);
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == FRAME_HEADER {
                let [a, b, c, kind, ..] = self.header;
                found |= kind == RST_STREAM;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.filled = 0;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let [_, a, b, c] = (payload as u32).to_be_bytes();
        [&[a, b, c, kind, 0, 0, 0, 0, 1][..], &vec![RST_STREAM; payload]].concat()
    }

    proptest! {
        #[test]
        fn a_reset_is_found_however_the_bytes_are_cut(kinds in prop::collection::vec((0_u8..10, 0_usize..40), 0..12), piece in 1_usize..64) {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            for (kind, payload) in &kinds {
                bytes.extend(frame(*kind, *payload));
            }
            let mut frames = Frames::after_preface();
            let found = bytes.chunks(piece).filter(|piece| frames.has_reset(piece)).count() > 0;
            prop_assert_eq!(found, kinds.iter().any(|(kind, _)| *kind == RST_STREAM));
        }
    }
}
