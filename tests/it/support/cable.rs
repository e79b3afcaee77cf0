//! A cable between the program and a server that it stands on: it can be cut, go dead, and be mended.

use std::net::Ipv4Addr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime,
    sync::watch,
};

/// What becomes of what is sent through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections break, and new ones are refused.
    Cut,
    /// Nothing comes through, and nobody is told.
    Dead,
}

/// The cable. Gone, with all its connections, when it is dropped.
pub struct Cable {
    /// The end of it that the program is given, on this machine.
    pub port: u16,
    state: watch::Sender<State>,
}

impl Cable {
    /// A cable to this port.
    pub fn to(port: u16) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let near = listener.local_addr().unwrap().port();
        let state = watch::Sender::new(State::Whole);
        let states = state.subscribe();
        // On a thread of its own: a test that waits for a process to start lets nothing else happen meanwhile.
        std::thread::spawn(move || runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(lie(listener, port, states)));
        Self { port: near, state }
    }

    /// Breaks all connections, and refuses new ones.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets nothing through any more, without a word.
    pub fn go_dead(&self) {
        self.state.send_replace(State::Dead);
    }

    /// Takes new connections. What was sent before is lost.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

/// Takes connections for as long as somebody holds the cable.
async fn lie(listener: std::net::TcpListener, port: u16, states: watch::Receiver<State>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut until_dropped = states.clone();
    let take = async {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(carry(socket, port, states.clone()));
        }
    };
    tokio::select! {
        () = take => {}
        _ = until_dropped.wait_for(|_| false) => {}
    }
}

/// One connection, until it ends or the cable is another one.
async fn carry(mut near: TcpStream, port: u16, mut states: watch::Receiver<State>) {
    let state = *states.borrow_and_update();
    if state == State::Whole {
        let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
        tokio::select! {
            // Either end has closed it.
            _ = copy_bidirectional(&mut near, &mut far) => return,
            _ = states.changed() => {}
        }
        // Both ends stay until they lose patience.
        let _ = states.wait_for(|state| *state != State::Dead).await;
    } else if state == State::Dead {
        let _ = states.wait_for(|state| *state != State::Dead).await;
    }
}
