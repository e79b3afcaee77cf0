//! The floor: a server that is nothing but a loop of `send()`, as cheap as telling one event to one socket can be.
//!
//! Takes the requests that the load sends to the real server, and gives frames of the same size. With a journal it makes each
//! message durable first, as the real server does, by one write and one flush: what remains between the two is the telling.
//! Refuses all else: no cursors, no limits, no way to be gone, and no care for a reader who does not read.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};

use super::load::{client::find, dialect};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n\
    e\r\nevent: ready\n\n\r\n";
/// So many streams come until those whose readers are gone are looked for: open files are few.
const SWEEP_EVERY: usize = 1024;
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

/// What a thread that sends is told.
enum Told {
    Join(String, TcpStream),
    Publish(String, Arc<[u8]>),
}

/// Serves, with so many threads that send, until it is killed.
pub fn run(threads: usize, journal: Option<&Path>) -> Result<()> {
    crate::server::raise_descriptor_limit();
    let journal = journal.map(|path| File::options().create(true).append(true).open(path)).transpose()?.map(Arc::new);
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(8192)?;
    let listener = TcpListener::from(listener);
    let senders: Vec<Sender<Told>> = (0..threads)
        .map(|_| {
            let (sender, told) = channel();
            thread::spawn(move || send_all(&told));
            sender
        })
        .collect();
    println!("listening on http://{}", listener.local_addr()?);
    for (index, socket) in listener.incoming().enumerate() {
        let (socket, senders) = (socket?, senders.clone());
        socket.set_nodelay(true)?;
        let mut first = [0; 2048];
        let read = (&socket).read(&mut first)?;
        if first.starts_with(b"GET ") {
            join(socket, &first[..read], &senders[index % threads])?;
        } else {
            let (first, journal) = (first[..read].to_vec(), journal.clone());
            thread::spawn(move || take_messages(socket, first, journal.as_deref(), &senders));
        }
    }
    Ok(())
}

fn join(mut socket: TcpStream, request: &[u8], sender: &Sender<Told>) -> Result<()> {
    let room: String = find(request, b"channel=", b' ').context("no channel")?;
    socket.write_all(HEAD)?;
    Ok(sender.send(Told::Join(room, socket))?)
}

fn take_messages(mut socket: TcpStream, mut request: Vec<u8>, journal: Option<&File>, senders: &[Sender<Told>]) -> Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        while !request.ends_with(b"}") {
            let read = socket.read(&mut buffer)?;
            if read == 0 {
                bail!("gone");
            }
            request.extend_from_slice(&buffer[..read]);
        }
        let text = |name: &str| find::<String>(&request, name.as_bytes(), b'"').context("no message");
        let (room, content) = (text(r#""channel":""#)?, text(r#""content":""#)?);
        let frame = format!("id: AQHInf6SLaUXVAIAAAAAAAAAAG1YM35wzgAA\ndata: {}\n\n", dialect::event(&room, &content));
        let chunk: Arc<[u8]> = format!("{:06x}\r\n{frame}\r\n", frame.len()).into_bytes().into();
        if let Some(mut journal) = journal {
            journal.write_all(&chunk)?;
            journal.sync_data()?;
        }
        for sender in senders {
            sender.send(Told::Publish(room.clone(), chunk.clone()))?;
        }
        socket.write_all(ACCEPTED)?;
        request.clear();
    }
}

fn send_all(told: &Receiver<Told>) {
    let mut rooms: HashMap<String, Vec<TcpStream>> = HashMap::new();
    let mut joined = 0;
    for told in told {
        match told {
            Told::Join(room, socket) => {
                rooms.entry(room).or_default().push(socket);
                joined += 1;
                if joined % SWEEP_EVERY == 0 {
                    for sockets in rooms.values_mut() {
                        sockets.retain(has_reader);
                    }
                }
            }
            Told::Publish(room, chunk) => {
                for socket in rooms.get(&room).into_iter().flatten() {
                    // Who does not take it has lost it: the run is void then.
                    let _ = send(socket, &chunk, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
                }
            }
        }
    }
}

fn has_reader(socket: &TcpStream) -> bool {
    recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) == Err(Errno::AGAIN)
}
