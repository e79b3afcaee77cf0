//! From an accepted socket to one that speaks HTTP: encryption, which protocol, and how the dead are found.
//!
//! Refuses to wait for a client that says nothing.

use std::{io, os::fd::AsFd, rc::Rc, time::Duration};

use actix_http::{Protocol, error::DispatchError};
use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::wire::{Transport, Wire};
use crate::realtime::peer::Watch;

/// How much of what is not yet sent the kernel takes: what is behind it waits where it is counted.
const UNSENT: u32 = 64 * 1024;
/// A client is asked for a sign of life after so long without one, and is dead when it leaves that, or anything else, without
/// an answer. The worst case is a ping that the stream sends just after such a question, and then waits for alone: a
/// half-open connection is found within 30 s.
const SILENT: Duration = Duration::from_secs(12);
const PROBE_EVERY: Duration = Duration::from_secs(4);
const UNANSWERED: Duration = Duration::from_secs(12);

/// What the HTTP layer is given.
pub type Accepted = (Wire, Protocol, Option<std::net::SocketAddr>);

/// Makes a socket ready for HTTP; `patience` is how long its client may take for a handshake, or for its first bytes.
///
/// # Errors
/// Where the client breaks off, says nothing, or fails the handshake.
pub async fn accept(socket: TcpStream, watch: Rc<Watch>, tls: Option<TlsAcceptor>, patience: Duration) -> Result<Accepted, DispatchError> {
    let address = socket.peer_addr().ok();
    tune(&socket);
    let peer = watch.peer(&socket.as_fd(), address, tls.is_some()).map_err(DispatchError::Io)?;
    let (transport, is_http2) = match tls {
        None => {
            let is_http2 = within(patience, speaks_http2(&socket)).await?;
            (Transport::Left(socket), is_http2)
        }
        Some(tls) => {
            let socket = within(patience, async { tls.accept(socket).await }).await?;
            let is_http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
            (Transport::Right(Box::new(socket)), is_http2)
        }
    };
    let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
    Ok((Wire::new(transport, peer, is_http2), protocol, address))
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, DispatchError> {
    timeout(limit, work).await.map_err(|_| DispatchError::SlowRequestTimeout)?.map_err(DispatchError::Io)
}

/// A client that is gone without a word is found by the kernel. What it refuses is not needed to serve.
fn tune(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new().with_time(SILENT).with_interval(PROBE_EVERY).with_retries(3);
    let tuned = [
        socket.set_tcp_nodelay(true),
        socket.set_tcp_keepalive(&keepalive),
        socket.set_tcp_user_timeout(Some(UNANSWERED)),
        socket.set_tcp_notsent_lowat(UNSENT),
    ];
    for error in tuned.into_iter().filter_map(Result::err) {
        log::debug!("a socket option is not to be had: {error}");
    }
}

/// Whether the first bytes are those of HTTP/2 with prior knowledge (RFC 9113, section 3.3).
async fn speaks_http2(socket: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2";
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = socket.peek(&mut first).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        // Peeking gives the same bytes again at once, so the rest is waited for.
        actix_rt::time::sleep(Duration::from_millis(5)).await;
    }
}
