//! The other end of a socket that the HTTP layer serves, and the streams that it reads.
//!
//! When it hangs up, all its streams end at once. An HTTP/2 client may also drop one stream of many: the peer then pokes all
//! of them, and a write tells the dropped one. Refuses to touch the socket.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use actix::Addr;

use super::{
    host::{Gone, Host, Poke, Ready, Seat},
    watch::Watch,
};

/// The other end of one socket, and the streams it reads.
pub struct Peer {
    host: Addr<Host>,
    address: Option<SocketAddr>,
    secure: bool,
    gone: Cell<bool>,
    streams: RefCell<Vec<Seat>>,
    key: usize,
    watch: Rc<Watch>,
}

impl Peer {
    pub(super) fn new(host: Addr<Host>, address: Option<SocketAddr>, secure: bool, key: usize, watch: Rc<Watch>) -> Self {
        Self { host, address, secure, gone: Cell::new(false), streams: RefCell::default(), key, watch }
    }

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

    /// It has hung up; these streams it read.
    pub(super) fn hang_up(&self) -> Vec<Seat> {
        self.gone.set(true);
        self.streams.borrow().clone()
    }

    /// It reads the stream at `seat`, from now on.
    pub(super) fn attach(&self, seat: Seat) {
        self.streams.borrow_mut().push(seat);
        if self.gone.get() {
            self.host.do_send(Gone(seat));
        }
    }

    /// It takes more of that stream.
    pub(super) fn proceed(&self, seat: Seat) {
        self.host.do_send(Ready(seat));
    }

    /// It reads that stream no longer.
    pub(super) fn detach(&self, seat: Seat) {
        self.streams.borrow_mut().retain(|other| *other != seat);
        self.host.do_send(Gone(seat));
    }

    /// It has given up one of its streams; which one, a write to each will tell.
    pub fn poke(&self) {
        for seat in self.streams.borrow().iter() {
            self.host.do_send(Poke(*seat));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.watch.forget(self.key);
    }
}
