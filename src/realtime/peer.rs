//! Notices at once when the other end of a socket is gone.
//!
//! An HTTP server that only writes learns late, or never, that nobody reads. One epoll a thread watches the sockets of that
//! thread for hang-up alone (EPOLLRDHUP, EPOLLHUP, EPOLLERR), itself registered once with tokio. An HTTP/2 client may also
//! drop one stream of many: the connection then pokes all of them, and a write tells the dropped one. Refuses to read or
//! write a socket: descriptors are watched, never touched.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    rc::{Rc, Weak},
};

use actix::Addr;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use slab::Slab;
use tokio::io::{Interest, unix::AsyncFd};

use super::host::{Gone, Host, Poke, Seat};

/// Watches the sockets of one thread.
pub struct Watch {
    epoll: OwnedFd,
    peers: RefCell<Slab<Weak<Peer>>>,
    host: Addr<Host>,
}

/// The other end of one socket, and the streams it reads.
pub struct Peer {
    address: Option<SocketAddr>,
    secure: bool,
    gone: Cell<bool>,
    streams: RefCell<Vec<Seat>>,
    key: usize,
    watch: Rc<Watch>,
}

impl Watch {
    /// A watch whose streams live in `host`; runs on the current thread until that ends.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn start(host: Addr<Host>) -> io::Result<Rc<Self>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let ready = register(epoll.try_clone()?)?;
        let watch = Rc::new(Self { epoll, peers: RefCell::default(), host });
        actix_rt::spawn(watch.clone().run(ready));
        Ok(watch)
    }

    async fn run(self: Rc<Self>, ready: AsyncFd<OwnedFd>) {
        let mut events = Vec::with_capacity(256);
        loop {
            let Ok(mut guard) = ready.readable().await else { return };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&rustix::fs::Timespec::default())) {
                Ok(0) => guard.clear_ready(),
                Ok(_) => events.iter().for_each(|event| self.hung_up(event.data.u64())),
                Err(error) => log::error!("watching for hang-ups failed: {error}"),
            }
        }
    }

    fn hung_up(&self, key: u64) {
        let peer = usize::try_from(key).ok().and_then(|key| self.peers.borrow().get(key).and_then(Weak::upgrade));
        if let Some(peer) = peer {
            peer.gone.set(true);
            for seat in peer.streams.borrow().iter() {
                self.host.do_send(Gone(*seat));
            }
        }
    }

    /// Watches `socket` for as long as the peer is held.
    ///
    /// # Errors
    /// Where the system refuses to watch it.
    pub fn peer(self: &Rc<Self>, socket: &impl AsFd, address: Option<SocketAddr>, secure: bool) -> io::Result<Rc<Peer>> {
        let key = self.peers.borrow_mut().insert(Weak::new());
        let peer = Rc::new(Peer { address, secure, gone: Cell::new(false), streams: RefCell::default(), key, watch: self.clone() });
        self.peers.borrow_mut()[key] = Rc::downgrade(&peer);
        epoll::add(&self.epoll, socket, EventData::new_u64(key as u64), EventFlags::RDHUP | EventFlags::ET)?;
        Ok(peer)
    }
}

#[expect(unsafe_code, reason = "tokio can't know that this descriptor stays what it is")]
fn register(epoll: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, stays the same descriptor for as long as it is owned, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }.map_err(io::Error::from)
}

impl Peer {
    /// Its address, without the port.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip())
    }

    /// Whether it came over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// It reads the stream at `seat`, from now on.
    pub fn attach(&self, seat: Seat) {
        self.streams.borrow_mut().push(seat);
        if self.gone.get() {
            self.watch.host.do_send(Gone(seat));
        }
    }

    /// It reads that stream no longer.
    pub fn detach(&self, seat: Seat) {
        self.streams.borrow_mut().retain(|other| *other != seat);
        self.watch.host.do_send(Gone(seat));
    }

    /// It has given up one of its streams; which one, a write to each will tell.
    pub fn poke(&self) {
        for seat in self.streams.borrow().iter() {
            self.watch.host.do_send(Poke(*seat));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The descriptor leaves the epoll set by itself when it is closed.
        self.watch.peers.borrow_mut().try_remove(self.key);
    }
}
