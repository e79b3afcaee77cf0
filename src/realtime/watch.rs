//! One epoll a thread, itself registered once with tokio: what happens to the sockets that this thread holds.
//!
//! Of every client's socket it tells when the other end is gone (EPOLLRDHUP, EPOLLHUP, EPOLLERR): an HTTP server that only
//! writes learns that late, or never. Of the sockets that connections own it tells besides when they take more after having
//! been full. Refuses to read or write a socket: descriptors are watched, never touched.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    rc::{Rc, Weak},
};

use actix::{Addr, Message};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use slab::Slab;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    host::{Host, Seat},
    peer::Peer,
};

/// Connections whose readers are gone, or take more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Noticed(pub Vec<(Seat, bool)>);

/// Watches the sockets of one thread.
pub struct Watch {
    epoll: OwnedFd,
    peers: RefCell<Slab<Weak<Peer>>>,
}

/// Whether what is watched is a connection's own socket: its seat is in the other bits.
const IS_SEAT: u64 = 1 << 63;
const GONE: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

impl Watch {
    /// One that watches nothing yet.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn new() -> io::Result<Rc<Self>> {
        Self::epoll().map(Self::over)
    }

    /// What one watches with; it may be made on another thread.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub(super) fn epoll() -> io::Result<OwnedFd> {
        Ok(epoll::create(CreateFlags::CLOEXEC)?)
    }

    /// One that watches with `epoll`.
    pub(super) fn over(epoll: OwnedFd) -> Rc<Self> {
        Rc::new(Self { epoll, peers: RefCell::default() })
    }

    /// Tells `host` what happens, until the current thread ends.
    pub fn start(self: Rc<Self>, host: Addr<Host>) {
        match self.epoll.try_clone().and_then(register) {
            Ok(ready) => {
                actix_rt::spawn(self.run(ready, host));
            }
            Err(error) => log::error!("sockets can't be watched: {error}"),
        }
    }

    async fn run(self: Rc<Self>, ready: AsyncFd<OwnedFd>, host: Addr<Host>) {
        let mut events = Vec::with_capacity(256);
        loop {
            let Ok(mut guard) = ready.readable().await else { return };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&rustix::fs::Timespec::default())) {
                Ok(0) => guard.clear_ready(),
                Ok(_) => self.tell(&events, &host),
                Err(error) => log::error!("watching sockets failed: {error}"),
            }
        }
    }

    fn tell(&self, events: &[epoll::Event], host: &Addr<Host>) {
        let mut noticed = Vec::new();
        for event in events {
            let (data, flags) = (event.data.u64(), event.flags);
            if data & IS_SEAT != 0 {
                let seat = Seat { index: data as u32, generation: (data & !IS_SEAT).wrapping_shr(32) as u32 };
                noticed.push((seat, flags.intersects(GONE)));
            } else if let Some(peer) = self.peers.borrow().get(data as usize).and_then(Weak::upgrade) {
                noticed.extend(peer.hang_up().into_iter().map(|seat| (seat, true)));
            }
        }
        if !noticed.is_empty() {
            host.do_send(Noticed(noticed));
        }
    }

    /// Watches the socket that the connection at `seat` owns, for as long as it is open.
    ///
    /// # Errors
    /// Where the system refuses to watch it.
    pub(super) fn add(&self, socket: &impl AsFd, seat: Seat) -> io::Result<()> {
        let data = IS_SEAT | u64::from(seat.generation) << 32 | u64::from(seat.index);
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(data), EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET)?)
    }

    /// Watches `socket` for as long as the peer is held, for the streams of `host`.
    ///
    /// # Errors
    /// Where the system refuses to watch it.
    pub fn peer(self: &Rc<Self>, host: Addr<Host>, socket: &impl AsFd, address: Option<SocketAddr>, secure: bool) -> io::Result<Rc<Peer>> {
        let key = self.peers.borrow_mut().insert(Weak::new());
        let peer = Rc::new(Peer::new(host, address, secure, key, self.clone()));
        self.peers.borrow_mut()[key] = Rc::downgrade(&peer);
        epoll::add(&self.epoll, socket, EventData::new_u64(key as u64), EventFlags::RDHUP | EventFlags::ET)?;
        Ok(peer)
    }

    /// The descriptor leaves the epoll by itself when it is closed.
    pub(super) fn forget(&self, key: usize) {
        self.peers.borrow_mut().try_remove(key);
    }
}

#[expect(unsafe_code, reason = "tokio can't know that this descriptor stays what it is")]
fn register(epoll: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, stays the same descriptor for as long as it is owned, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }.map_err(io::Error::from)
}
