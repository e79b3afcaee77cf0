//! What the HTTP/1.1 layer refuses before any handler has seen it: what is no HTTP, has too many headers, or comes too slowly.
//!
//! The layer writes such a refusal without a body, as the last thing on its connection. Here it is found in what is about
//! to be written, and gets the body that every refusal has. No other answer can be taken for one: each has an
//! `X-Request-Id`, and no body ends so, as JSON and events hold no bare line ends and pictures have ends of their own. Then
//! the connection is closed in a way that lets the client read it (RFC 9112, section 9.6). Refuses to look into anything else.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::api::error;

/// How long a client is given to take the answer, and to hear that it shall send no more.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest head that a refusal without a body has.
const MAX_HEAD: usize = 256;
const VERSION: &str = "HTTP/1.1 ";

/// Where the refusal begins that `written` ends with, if it does.
pub fn begin_in(written: &[u8]) -> Option<usize> {
    if !written.ends_with(b"\r\n\r\n") {
        return None;
    }
    let tail = written.len().saturating_sub(MAX_HEAD);
    let begin = tail + written[tail..].windows(VERSION.len()).rposition(|bytes| bytes == VERSION.as_bytes())?;
    read(&written[begin..]).map(|_| begin)
}

/// Its status and its date, where `head` is nothing but a refusal without a body.
fn read(head: &[u8]) -> Option<(u16, &str)> {
    let mut lines = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?.split("\r\n");
    let status = lines.next()?.strip_prefix(VERSION)?.get(..3)?.parse().ok().filter(|status| (400..600).contains(status))?;
    let mut lines = lines.filter(|line| !line.starts_with("connection: "));
    let is_bare = lines.next()? == "content-length: 0";
    let date = lines.next()?.strip_prefix("date: ")?;
    (is_bare && lines.next().is_none()).then_some((status, date))
}

/// The refusal with a body.
fn complete(head: &[u8]) -> Bytes {
    let Some((status, date)) = read(head) else { return Bytes::copy_from_slice(head) };
    let (status, headers, body) = error::of_protocol(status);
    let mut text = format!("{VERSION}{status}\r\ncontent-length: {}\r\nconnection: close\r\ndate: {date}\r\n", body.len()).into_bytes();
    for (name, value) in &headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend([b"\r\n", body.as_bytes()].concat());
    text.into()
}

/// The last words on a connection.
pub struct Parting {
    unsent: Bytes,
    told: bool,
    deadline: Pin<Box<Sleep>>,
}

impl Parting {
    /// Begins to refuse; `head` is the refusal as it would have been written.
    pub fn new(head: &[u8]) -> Self {
        Self { unsent: complete(head), told: false, deadline: Box::pin(tokio::time::sleep(PATIENCE)) }
    }

    /// Ready when the client has everything, or has had its time.
    pub fn poll(&mut self, socket: &mut (impl AsyncRead + AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut *socket).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
        }
        if !self.told {
            ready!(Pin::new(&mut *socket).poll_shutdown(cx))?;
            self.told = true;
        }
        // To close on what it still sends would take the answer away from it.
        let mut scratch = [0; 4096];
        loop {
            let mut unread = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut unread))?;
            if unread.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\ndate: now\r\n\r\n";

    #[test]
    fn a_refusal_is_found_at_the_end_alone() {
        assert_eq!(begin_in(BARE.as_bytes()), Some(0));
        assert_eq!(begin_in(BARE.replace("connection: close\r\n", "").as_bytes()), Some(0));
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: now\r\nx-request-id: 1\r\n\r\n{}";
        assert_eq!(begin_in(format!("{answer}{BARE}").as_bytes()), Some(answer.len()));
        for other in ["", "\r\n\r\n", answer, &format!("{BARE}{answer}"), &BARE[1..], &BARE.replace("431", "200"), &BARE.replace(": 0", ": 1")] {
            assert_eq!(begin_in(other.as_bytes()), None, "{other}");
        }
        assert_eq!(begin_in(BARE.replace("date", "x-request-id: 1\r\ndate").as_bytes()), None);
        assert_eq!(begin_in(BARE.replace("date: now", "date: now\r\nx-request-id: 1").as_bytes()), None);
    }

    #[test]
    fn it_gets_a_body_and_keeps_its_status_and_date() {
        let complete = String::from_utf8(complete(BARE.as_bytes()).to_vec()).unwrap();
        let (head, body) = complete.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        for line in ["date: now", "connection: close", "content-type: application/problem+json", &format!("content-length: {}", body.len())] {
            assert!(head.contains(line), "{line} in {head}");
        }
        assert!(body.contains(r#""code":"headers_too_large""#), "{body}");
    }
}
