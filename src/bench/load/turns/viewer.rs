//! Those who hear: some read as soon as there is something, and say how old it is; the others are read now and then.

use std::{
    cell::{Cell, RefCell},
    io::{ErrorKind, Read as _},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::bench::load::{
    client,
    dialect::Dialect,
    histogram::Histogram,
    sse::{Line, Mark, Stream},
    tally::Seen,
};

/// What the timed viewers of a way count together.
pub struct Timed {
    pub since: Instant,
    pub deliveries: Cell<u64>,
    pub turn: RefCell<Histogram>,
    /// The newest message, and how old each was when it was first heard.
    newest: Cell<Option<u64>>,
    pub first: RefCell<Histogram>,
}

/// One stream.
pub struct Viewer<S> {
    socket: S,
    stream: Stream,
    seen: Seen,
    pub deliveries: u64,
}

impl<S> Viewer<S> {
    /// Takes what was read, and gives `told` the mark of each message.
    fn feed(&mut self, bytes: &[u8], mut told: impl FnMut(Mark)) -> Result<()> {
        ensure!(!bytes.is_empty(), "the server has closed a stream");
        let (seen, mut came, mut twice) = (&mut self.seen, 0, 0);
        self.stream.feed(bytes, |line| {
            let Line::Message(mark) = line else { return };
            if seen.insert(mark.number) {
                came += 1;
                told(mark);
            } else {
                twice += 1;
            }
        })?;
        self.deliveries += came;
        ensure!(twice == 0, "the figures are void: {twice} messages came twice");
        Ok(())
    }
}

impl Viewer<TcpStream> {
    /// Opens a stream of the `index`-th room, and waits until it is ready.
    pub async fn open(server: SocketAddr, token: &str, index: usize, rooms: usize) -> Result<Self> {
        let mut socket = client::connect(server).await?;
        socket.write_all(Dialect::Persona.stream(token, index, rooms, 1, "").as_bytes()).await?;
        let (mut stream, mut buffer, mut is_ready) = (Stream::new(Dialect::Persona), [0; 4096], false);
        while !is_ready {
            let read = socket.read(&mut buffer).await?;
            ensure!(read > 0, "the server has closed a stream");
            stream.feed(&buffer[..read], |line| is_ready |= line == Line::Ready)?;
        }
        Ok(Self { socket, stream, seen: Seen::default(), deliveries: 0 })
    }

    /// Reads as soon as there is something, for as long as this is polled.
    pub async fn read(mut self, timed: Rc<Timed>) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let read = self.socket.read(&mut buffer).await?;
            let now = timed.since.elapsed();
            self.feed(&buffer[..read], |mark| timed.hear(mark, now))?;
        }
    }

    /// The same, read when it is asked to.
    pub fn without_runtime(self) -> Result<Viewer<std::net::TcpStream>> {
        let Self { socket, stream, seen, deliveries } = self;
        Ok(Viewer { socket: socket.into_std()?, stream, seen, deliveries })
    }
}

impl Viewer<std::net::TcpStream> {
    /// Takes in all that has come.
    pub fn drain(&mut self) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(read) => self.feed(&buffer[..read], drop)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Timed {
    /// Nothing counted; ages are since then.
    pub fn new(since: Instant) -> Self {
        Self { since, deliveries: Cell::default(), turn: RefCell::default(), newest: Cell::default(), first: RefCell::default() }
    }

    fn hear(&self, mark: Mark, now: Duration) {
        let age = now.saturating_sub(Duration::from_nanos(mark.nanos));
        self.deliveries.set(self.deliveries.get() + 1);
        self.turn.borrow_mut().record(age);
        if self.newest.get().is_none_or(|newest| newest < mark.number) {
            self.newest.set(Some(mark.number));
            self.first.borrow_mut().record(age);
        }
    }
}
