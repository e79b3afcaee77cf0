//! The load of `bench hub`: many streams that read, and a few people who talk.
//!
//! Messages are sent when they are due, whether or not earlier ones have been answered (open loop), so that a server that
//! stalls shows as latency and not as a lower rate. In the end all are cut and come back at once, as often as is asked for, and
//! then leave for good.
//! Refuses to reconnect on its own account: a stream that ends makes the run void.

use std::{
    cell::RefCell,
    future::poll_fn,
    net::SocketAddr,
    ops::Range,
    pin::Pin,
    rc::Rc,
    task::{self, Poll, ready},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::sleep_until,
};

use super::{
    Done,
    client::{self, Client, room},
    dialect::Dialect,
    sse::{Line, Stream},
    stage,
    tally::{Delivered, Seen, Tally},
};

/// So many streams are opened at once.
const OPENING: usize = 128;
/// So many people talk, and more where a burst has more messages: enough for none to wait for their last message's answer.
const SPEAKERS: usize = 16;

/// What is to be done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Plan {
    pub server: SocketAddr,
    /// Another instance, at which every second stream reads.
    pub beside: Option<SocketAddr>,
    pub dialect: Dialect,
    pub streams: usize,
    /// Whose they are.
    pub users: usize,
    pub rooms: usize,
    /// Rooms of one stream.
    pub rooms_each: usize,
    /// Messages a second, in all rooms together.
    pub rate: u32,
    /// So many of them at a time.
    pub burst: u32,
    pub seconds: u32,
    /// In so many turns is it talked; in between, others have theirs.
    pub turns: u32,
    /// Of a message's content.
    pub bytes: usize,
    /// How often all streams are cut and come back.
    pub comebacks: usize,
}

/// What came of opening the streams, for the first time or again.
#[derive(Debug, Serialize, Deserialize)]
pub struct Opened {
    /// From the first connection to the last `ready`.
    pub ready_seconds: f64,
}

/// Each ends with its place among them and its newest id, once it is cut.
type Readers = JoinSet<Result<(usize, String)>>;

/// Somebody who talks, connected once they have something to say, and their token.
type Speaker = (Option<Client>, String);

/// What all readers share.
struct Shared {
    tally: Tally,
    opening: Semaphore,
    /// A client asks as soon as its connection stands, whose turn would come late where all connected first.
    connecting: Semaphore,
    cut: Notify,
    tokens: Vec<String>,
    /// Where they read to: none of them holds it while it waits.
    buffer: RefCell<Vec<u8>>,
}

/// One stream and what has come through it.
struct Reader {
    socket: TcpStream,
    stream: Stream,
    seen: Seen,
    is_ready: bool,
}

/// Does the plan; streams are read on tasks of the current thread.
pub async fn run(plan: Plan) -> Result<()> {
    let speakers = SPEAKERS.max(plan.burst as usize);
    let mut tokens = vec![String::new(); plan.users + speakers];
    stage(async {
        if plan.dialect.has_sessions() {
            tokens = client::sign_in(plan.server, tokens.len()).await?;
        }
        make_rooms(plan).await?;
        Ok(Done {})
    })
    .await?;
    let speakers = tokens.split_off(plan.users);
    let (tally, buffer) = (Tally::new(), RefCell::new(vec![0; 64 * 1024]));
    let shared = Rc::new(Shared { tally, opening: Semaphore::new(OPENING), connecting: Semaphore::new(OPENING), cut: Notify::new(), tokens, buffer });
    let mut readers = Readers::new();
    let nobody_knows = vec![String::new(); plan.streams];
    stage(open(plan, &shared, nobody_knows, &mut readers)).await?;
    let mut speakers: Vec<Speaker> = speakers.into_iter().map(|token| (None, token)).collect();
    for turn in 0..plan.turns() {
        tokio::select! {
            error = first_error(&mut readers) => return Err(error),
            done = stage(talk(plan, &shared.tally, &mut speakers, turn)) => done?,
        }
    }
    shared.opening.add_permits(plan.streams);
    for comeback in 1..=plan.comebacks {
        let ids = cut(&shared, &mut readers).await?;
        stage(open(plan, &shared, ids, &mut readers)).await.with_context(|| format!("when all came back for the {comeback}. time"))?;
    }
    stage(async {
        cut(&shared, &mut readers).await?;
        Ok(Done {})
    })
    .await
}

async fn make_rooms(plan: Plan) -> Result<()> {
    let mut client = Client::connect(plan.server).await?;
    for request in (0..plan.rooms).filter_map(|index| plan.dialect.make_room(&room(index, plan.rooms))) {
        let status = client.ask(request.as_bytes()).await?;
        ensure!((200..300).contains(&status), "a room is answered with {status}: {}", client.answer());
    }
    Ok(())
}

/// Opens all streams, where each has been before.
async fn open(plan: Plan, shared: &Rc<Shared>, ids: Vec<String>, readers: &mut Readers) -> Result<Opened> {
    let began = Instant::now();
    for (index, id) in ids.into_iter().enumerate() {
        readers.spawn_local(read(plan, shared.clone(), index, id));
    }
    tokio::select! {
        error = first_error(readers) => return Err(error),
        () = shared.tally.all_ready(plan.streams) => {}
    }
    Ok(Opened { ready_seconds: began.elapsed().as_secs_f64() })
}

/// Cuts all streams, and gives their ids.
async fn cut(shared: &Shared, readers: &mut Readers) -> Result<Vec<String>> {
    shared.cut.notify_waiters();
    let mut ids = vec![String::new(); readers.len()];
    while let Some(ended) = readers.join_next().await {
        let (index, id) = ended??;
        ids[index] = id;
    }
    shared.tally.all_gone();
    Ok(ids)
}

/// Why the first stream that ended did so; none should.
async fn first_error(readers: &mut Readers) -> anyhow::Error {
    match readers.join_next().await {
        Some(Ok(Err(error))) => error,
        _ => anyhow!("the streams are gone"),
    }
}

async fn read(plan: Plan, shared: Rc<Shared>, index: usize, last_id: String) -> Result<(usize, String)> {
    let cut = shared.cut.notified();
    let place = shared.opening.acquire().await?;
    let connecting = shared.connecting.acquire().await?;
    let mut reader = Reader::open(plan, index, &shared.tokens[index % plan.users], &last_id).await?;
    drop(connecting);
    while !reader.is_ready {
        poll_fn(|cx| reader.poll(cx, plan, &shared)).await?;
    }
    drop(place);
    let read_on = async {
        loop {
            poll_fn(|cx| reader.poll(cx, plan, &shared)).await?;
        }
    };
    tokio::select! {
        error = read_on => error,
        () = cut => Ok((index, reader.stream.last_id)),
    }
}

async fn talk(plan: Plan, tally: &Tally, speakers: &mut [Speaker], turn: u32) -> Result<Delivered> {
    let (burst, numbers, count) = (u64::from(plan.burst), plan.numbers(turn), speakers.len());
    tally.expect(plan, numbers.clone());
    let began = Instant::now();
    let speak = async |(index, (client, token)): (usize, &mut Speaker)| {
        for number in numbers.clone().skip(index).step_by(count) {
            let due = number / burst * burst - numbers.start;
            sleep_until((began + Duration::from_secs_f64(due as f64 / f64::from(plan.rate))).into()).await;
            let client = match client {
                Some(client) => client,
                None => client.insert(Client::connect(plan.server).await?),
            };
            let room = room((number % plan.rooms as u64) as usize, plan.rooms);
            let status = client.ask(&plan.dialect.message(token, &room, &tally.mark(number).content(plan.bytes))).await?;
            ensure!((200..300).contains(&status), "a message is answered with {status}: {}", client.answer());
        }
        anyhow::Ok(())
    };
    try_join_all(speakers.iter_mut().enumerate().map(speak)).await?;
    Ok(tally.settle(began).await)
}

impl Plan {
    /// As many as are wanted, where there are messages for them.
    pub fn turns(&self) -> u32 {
        self.turns.clamp(1, self.bursts().max(1) as u32)
    }

    fn bursts(&self) -> u64 {
        (u64::from(self.rate) * u64::from(self.seconds)).div_ceil(self.burst.into())
    }

    /// The messages of a turn, all bursts whole.
    fn numbers(&self, turn: u32) -> Range<u64> {
        let before = |turn: u32| self.bursts() * u64::from(turn) / u64::from(self.turns()) * u64::from(self.burst);
        before(turn)..before(turn + 1).min(u64::from(self.rate) * u64::from(self.seconds))
    }
}

impl Reader {
    async fn open(plan: Plan, index: usize, token: &str, last_id: &str) -> Result<Self> {
        let server = plan.beside.filter(|_| index % 2 == 1).unwrap_or(plan.server);
        let mut socket = client::connect(server).await?;
        let request = plan.dialect.stream(token, index, plan.rooms, plan.rooms_each, last_id);
        socket.write_all(request.as_bytes()).await?;
        Ok(Self { socket, stream: Stream::new(plan.dialect), seen: Seen::default(), is_ready: false })
    }

    /// Reads once, and counts what has come.
    fn poll(&mut self, cx: &mut task::Context<'_>, plan: Plan, shared: &Shared) -> Poll<Result<()>> {
        let Self { socket, stream, seen, is_ready } = self;
        let mut buffer = shared.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(socket).poll_read(cx, &mut read))?;
        let now = Instant::now();
        if read.filled().is_empty() {
            return Poll::Ready(Err(anyhow!("the server has closed a stream")));
        }
        // Of one room, only every so many messages come.
        let every = if plan.rooms_each == 1 { plan.rooms as u64 } else { 1 };
        Poll::Ready(stream.feed(read.filled(), |line| match line {
            Line::Message(mark) => shared.tally.deliver(mark, now, seen.insert(mark.number / every)),
            Line::Ready if *is_ready => {}
            Line::Ready => {
                *is_ready = true;
                shared.tally.stream_ready();
            }
        }))
    }
}
