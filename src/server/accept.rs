//! From an accepted socket to one that speaks HTTP: encryption, which protocol, and how the dead are found.
//!
//! A plain connection whose first request asks for a stream of events never reaches the HTTP layer, where it may have one:
//! its socket goes to the hub, and to nothing else. Everything else is handed on untouched. Refuses to wait for a client
//! that says nothing.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use actix::{Addr, dev::Request};
use actix_http::{Protocol, error::DispatchError};
use actix_web::web::Data;
use rustix::net::{RecvFlags, recv};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::Interest,
    net::TcpStream,
    sync::{Semaphore, SemaphorePermit},
    time::{error::Elapsed, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    first::{self, First},
    wire::{Transport, Wire},
};
use crate::{
    api::{State, events},
    realtime::{
        host::{Host, Open},
        outlet::{Outlet, socket::Socket},
        watch::Watch,
    },
};

/// How much of what is not yet sent the kernel takes: what is behind it waits where it is counted.
const UNSENT: u32 = 64 * 1024;
/// A client is asked for a sign of life after so long without one, and is dead when it leaves that, or anything else, without
/// an answer. The worst case is a ping that the stream sends just after such a question, and then waits for alone: a
/// half-open connection is found within 30 s.
const SILENT: Duration = Duration::from_secs(12);
const PROBE_EVERY: Duration = Duration::from_secs(4);
const UNANSWERED: Duration = Duration::from_secs(12);
/// So many streams of a thread are on their way to its host at once: those that are open have their turn in between.
const AT_ONCE: usize = 32;

/// Where a thread's sockets arrive.
pub struct Entrance {
    state: Data<State>,
    host: Addr<Host>,
    watch: Rc<Watch>,
    tls: Option<TlsAcceptor>,
    /// How long a client may take for a handshake, or for its first bytes.
    patience: Duration,
    turn: Semaphore,
}

/// What became of a socket.
pub enum Accepted {
    /// It is for the HTTP layer.
    Http(Wire, Protocol, Option<SocketAddr>),
    /// It is a stream.
    Stream,
}

impl Entrance {
    /// That of the thread with this host and this watch.
    pub fn new(state: Data<State>, host: Addr<Host>, watch: Rc<Watch>, tls: Option<TlsAcceptor>, patience: Duration) -> Self {
        Self { state, host, watch, tls, patience, turn: Semaphore::new(AT_ONCE) }
    }

    /// Finds out what a socket is for, and makes it ready for that.
    ///
    /// # Errors
    /// Where the client breaks off, says nothing, or fails the handshake.
    pub async fn accept(&self, socket: TcpStream) -> Result<Accepted, DispatchError> {
        tune(&socket);
        if let Some(tls) = &self.tls {
            // Apart, as the plain ones pay for it too.
            return Box::pin(self.encrypt(tls, socket)).await;
        }
        let (opening, _turn) = {
            let (first, turn) = self.first(&socket).await?;
            match self.arrive(socket, first)? {
                Arrived::Http(wire, protocol, address) => return Ok(Accepted::Http(wire, protocol, address)),
                Arrived::Stream(opening) => (opening, turn),
            }
        };
        // A host that is gone takes no streams: the server stops.
        let _ = opening.await;
        Ok(Accepted::Stream)
    }

    async fn encrypt(&self, tls: &TlsAcceptor, socket: TcpStream) -> Result<Accepted, DispatchError> {
        let address = socket.peer_addr().ok();
        let peer = self.watch.peer(self.host.clone(), &socket.as_fd(), address, true)?;
        let socket = timeout(self.patience, tls.accept(socket)).await.map_err(too_slow)??;
        let is_http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Accepted::Http(Wire::new(Transport::Right(Box::new(socket)), peer, is_http2), protocol(is_http2), address))
    }

    /// What the client asks for first, and its turn; unclear where it is HTTP/1.1 that comes too slowly, which the HTTP layer has
    /// words for. The turn comes first: what a client asks for is larger by far than a socket that waits, and thousands wait at once.
    async fn first(&self, socket: &TcpStream) -> Result<(First, Option<SemaphorePermit<'_>>), DispatchError> {
        let clear = async {
            loop {
                socket.readable().await?;
                let turn = self.turn.acquire().await.ok();
                match socket.try_io(Interest::READABLE, || look(socket)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    first => return Ok::<_, io::Error>((first?, turn)),
                }
            }
        };
        match timeout(self.patience, clear).await {
            Ok(first) => Ok(first?),
            Err(elapsed) => {
                let mut byte = [0; 1];
                let has_begun = recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok_and(|(_, read)| read == 1);
                if has_begun && byte == *b"G" { Ok((First::Unclear, None)) } else { Err(too_slow(elapsed)) }
            }
        }
    }

    /// Gives the socket to the hub, where the stream is to be had, or else to the HTTP layer.
    fn arrive(&self, socket: TcpStream, first: First) -> io::Result<Arrived> {
        let address = socket.peer_addr().ok();
        let is_http2 = match first {
            First::Http2 => true,
            First::Http1 | First::Unclear => false,
            First::Stream(asked) => {
                if let Some(admitted) = events::admit(&self.state, &asked.headers, &asked.query, address.map(|address| address.ip())) {
                    take(&socket, asked.length)?;
                    let outlet = Outlet::Socket(Socket::new(OwnedFd::from(socket.into_std()?))?);
                    return Ok(Arrived::Stream(Box::pin(self.host.send(Open(admitted.opening(&self.state, outlet))))));
                }
                false
            }
        };
        let peer = self.watch.peer(self.host.clone(), &socket.as_fd(), address, false)?;
        Ok(Arrived::Http(Wire::new(Transport::Left(socket), peer, is_http2), protocol(is_http2), address))
    }
}

/// What became of a plain socket that is asked for something.
enum Arrived {
    Http(Wire, Protocol, Option<SocketAddr>),
    /// It is on its way to the host.
    Stream(Pin<Box<Request<Host, Open>>>),
}

fn protocol(is_http2: bool) -> Protocol {
    if is_http2 { Protocol::Http2 } else { Protocol::Http1 }
}

fn too_slow(_: Elapsed) -> DispatchError {
    DispatchError::SlowRequestTimeout
}

/// Looks at what has come, without taking it. While it is unclear, more is waited for: this would block.
fn look(socket: &TcpStream) -> io::Result<First> {
    let mut bytes = [0; first::MAX_HEAD];
    match recv(socket, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT)? {
        (_, 0) => Err(io::ErrorKind::UnexpectedEof.into()),
        (_, read) => match first::look(&bytes[..read]) {
            First::Unclear => Err(io::ErrorKind::WouldBlock.into()),
            first => Ok(first),
        },
    }
}

/// Takes what was looked at. Apart, as a buffer that lives on while its task waits makes every task that waits as large.
fn take(socket: &TcpStream, length: usize) -> io::Result<()> {
    let mut head = [0; first::MAX_HEAD];
    if socket.try_read(&mut head[..length])? == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future>(_: impl FnOnce(&'a Entrance, TcpStream) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_socket_on_its_way_is_small() {
        // Thousands come at once, and it is part of what every connection to the HTTP layer holds for as long as it lasts.
        assert!(size(Entrance::accept) <= 512, "{} bytes", size(Entrance::accept));
    }
}
