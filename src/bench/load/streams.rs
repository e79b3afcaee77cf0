//! The load of `bench hub`: many streams that read, and a few people who talk.
//!
//! Messages are sent when they are due, whether or not earlier ones have been answered (open loop), so that a server that
//! stalls shows as latency and not as a lower rate. Refuses to reconnect: a stream that ends makes the run void.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::sleep_until,
};

use super::{
    Done,
    client::{self, Client, room},
    sse::{Line, Stream},
    stage,
    tally::{Delivered, Seen, Tally},
};

/// So many streams are opened at once.
const OPENING: usize = 128;
/// So many people talk: enough for none to wait for their last message's answer.
const SPEAKERS: usize = 16;

/// What is to be done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Plan {
    pub server: SocketAddr,
    pub streams: usize,
    pub rooms: usize,
    /// Messages a second, in all rooms together.
    pub rate: u32,
    pub seconds: u32,
    /// Of a message's content.
    pub bytes: usize,
}

/// What came of opening the streams.
#[derive(Debug, Serialize, Deserialize)]
pub struct Opened {
    /// From the first connection to the last `ready`.
    pub ready_seconds: f64,
}

type Readers = JoinSet<Result<Infallible>>;

/// What all readers share.
struct Shared {
    tally: Tally,
    opening: Semaphore,
    /// Where they read to: none of them holds it while it waits.
    buffer: RefCell<Vec<u8>>,
}

/// One stream and what has come through it.
struct Reader {
    socket: TcpStream,
    stream: Stream,
    seen: Seen,
    rooms: u64,
    is_ready: bool,
}

/// Does the plan; streams are read on tasks of the current thread.
pub async fn run(plan: Plan) -> Result<()> {
    let shared = Rc::new(Shared { tally: Tally::new(plan), opening: Semaphore::new(OPENING), buffer: RefCell::new(vec![0; 64 * 1024]) });
    let (mut readers, mut tokens) = (Readers::new(), Vec::new());
    stage(async {
        tokens = client::sign_in(plan.server, plan.streams + SPEAKERS).await?;
        Ok(Done {})
    })
    .await?;
    let speakers = tokens.split_off(plan.streams);
    stage(open(plan, &shared, tokens, &mut readers)).await?;
    tokio::select! {
        error = first_error(&mut readers) => Err(error),
        done = stage(talk(plan, &shared.tally, &speakers)) => done,
    }
}

async fn open(plan: Plan, shared: &Rc<Shared>, tokens: Vec<String>, readers: &mut Readers) -> Result<Opened> {
    let began = Instant::now();
    for (index, token) in tokens.into_iter().enumerate() {
        readers.spawn_local(read(plan, shared.clone(), index, token));
    }
    tokio::select! {
        error = first_error(readers) => return Err(error),
        () = shared.tally.all_ready(plan.streams) => {}
    }
    Ok(Opened { ready_seconds: began.elapsed().as_secs_f64() })
}

/// Why the first stream that ended did so; none should.
async fn first_error(readers: &mut Readers) -> anyhow::Error {
    match readers.join_next().await {
        Some(Ok(Err(error))) => error,
        _ => anyhow!("the streams are gone"),
    }
}

async fn read(plan: Plan, shared: Rc<Shared>, index: usize, token: String) -> Result<Infallible> {
    let place = shared.opening.acquire().await?;
    let mut reader = Reader::open(plan, index, &token).await?;
    while !reader.is_ready {
        poll_fn(|cx| reader.poll(cx, &shared)).await?;
    }
    drop(place);
    loop {
        poll_fn(|cx| reader.poll(cx, &shared)).await?;
    }
}

async fn talk(plan: Plan, tally: &Tally, tokens: &[String]) -> Result<Delivered> {
    let began = Instant::now();
    let speak = async |(index, token): (usize, &String)| {
        let mut client = Client::connect(plan.server, index).await?;
        for number in (index as u64..u64::from(plan.rate) * u64::from(plan.seconds)).step_by(SPEAKERS) {
            sleep_until((began + Duration::from_secs_f64(number as f64 / f64::from(plan.rate))).into()).await;
            let room = room((number % plan.rooms as u64) as usize, plan.rooms);
            let message = client::chat_message(token, &room, &tally.mark(number).content(plan.bytes), false, None);
            let status = client.ask(&message).await?;
            ensure!(status == 202, "a message is answered with {status}: {}", client.answer());
        }
        anyhow::Ok(())
    };
    try_join_all(tokens.iter().enumerate().map(speak)).await?;
    Ok(tally.settle(began).await)
}

impl Reader {
    async fn open(plan: Plan, index: usize, token: &str) -> Result<Self> {
        let mut socket = client::connect(plan.server, index).await?;
        let room = room(index, plan.rooms);
        let request = format!("GET /api/events?channel={room} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        Ok(Self { socket, stream: Stream::default(), seen: Seen::default(), rooms: plan.rooms as u64, is_ready: false })
    }

    /// Reads once, and counts what has come.
    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<Result<()>> {
        let Self { socket, stream, seen, rooms, is_ready } = self;
        let mut buffer = shared.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(socket).poll_read(cx, &mut read))?;
        let now = Instant::now();
        if read.filled().is_empty() {
            return Poll::Ready(Err(anyhow!("the server has closed a stream")));
        }
        Poll::Ready(stream.feed(read.filled(), |line| match line {
            Line::Message(mark) => shared.tally.deliver(mark, now, seen.insert(mark.number / *rooms)),
            Line::Ready => {
                *is_ready = true;
                shared.tally.stream_ready();
            }
        }))
    }
}
