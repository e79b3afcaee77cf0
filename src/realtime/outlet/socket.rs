//! The way out through a socket that the connection owns.
//!
//! One system call a piece and no buffer: what the kernel does not take stays a shared piece. Refuses to read, but for what
//! would turn its end into a reset.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt},
};

use super::Wrote;

/// How much the kernel holds for a reader; it counts its own costs and so takes about half as much again.
const KERNEL_BUFFER: usize = 96 * 1024;

/// A socket whose other end reads a stream.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Takes a socket over, which must not block.
    ///
    /// # Errors
    /// Where it is none.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        sockopt::set_socket_send_buffer_size(&socket, KERNEL_BUFFER)?;
        Ok(Self(socket))
    }

    pub(super) fn write(&self, bytes: &[u8], from: usize) -> Wrote {
        let mut taken = from;
        while taken < bytes.len() {
            match send(&self.0, &bytes[taken..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => taken += sent,
                Err(Errno::AGAIN) => return Wrote::Until(taken),
                Err(Errno::INTR) => {}
                Err(_) => return Wrote::Gone,
            }
        }
        Wrote::All
    }

    /// Lets the reader have all that is under way, and then the end.
    pub(super) fn end(&self) {
        // To close on what it has sent meanwhile would take the last words away from it.
        let mut unread = [0; 4096];
        for _ in 0..16 {
            match recv(&self.0, &mut unread, RecvFlags::DONTWAIT) {
                Ok((_, read)) if read > 0 => {}
                _ => break,
            }
        }
        // It may be gone already.
        let _ = shutdown(&self.0, Shutdown::Write);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
