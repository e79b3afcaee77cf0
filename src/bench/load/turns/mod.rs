//! The load of `bench redis`: the same messages on several ways in turns, so that whatever else goes on meets all of them alike.
//!
//! A turn is a second of evenly spaced messages on one way; the next begins when all of them have come. Some of a way's viewers
//! are read as soon as there is something, and tell how old it is. The others are read after the turn, many messages at once:
//! what the load spends meanwhile, the server on the same cores can't. All are counted. The load goes first on a core where it may
//! (as root), so that ages tell when a message came, and not when a core was free to look. Refuses to go on where a message is
//! missing or comes twice.

mod viewer;

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use rustix::process::setpriority_process;
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};

use self::viewer::{Timed, Viewer};
use super::{
    Done, Latency,
    client::{self, Client, room},
    histogram::Histogram,
    sse::Mark,
    stage,
};

/// The nicest that Linux is to anybody: setpriority(2).
const FIRST_ON_A_CORE: i32 = -20;
/// So many viewers come at once.
const OPENING: usize = 64;
/// So many people talk in turn: enough for none to wait for the answer to their last message.
const TALKERS: usize = 8;
/// How long the viewers are left alone before anything is said: presence is told by then.
const SETTLED: Duration = Duration::from_secs(2);
/// How often what comes meanwhile is taken in, and what is missing after a turn looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long after its turn a message may come.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub ways: Vec<Way>,
    /// Of each way.
    pub viewers: usize,
    /// One in so many is timed.
    pub timed: usize,
    /// Messages a second.
    pub rate: u32,
    /// Of each way that count; one before them does not.
    pub turns: u32,
    /// Of a message's content.
    pub bytes: usize,
}

/// Where it is said, and where it is heard.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Way {
    pub said: SocketAddr,
    pub heard: SocketAddr,
}

/// How old messages were when they were heard.
#[derive(Debug, Serialize, Deserialize)]
pub struct Heard {
    pub all: Latency,
    pub turns: Vec<Latency>,
    /// Of the first viewer to hear each message: what comes before others are told.
    pub first: Latency,
}

/// A way with those who talk and those who view.
struct Crowd {
    plan: Plan,
    room: String,
    talkers: Vec<(Client, String)>,
    timed: Rc<Timed>,
    /// Of the others.
    drained: Vec<Viewer<std::net::TcpStream>>,
    /// Messages so far.
    said: u64,
    all: Histogram,
    first: Histogram,
    turns: Vec<Latency>,
}

/// Does the plan; timed viewers are read on tasks of the current thread.
pub async fn run(plan: Plan) -> Result<()> {
    // Who may not is measured as well, with more noise.
    let _ = setpriority_process(None, FIRST_ON_A_CORE);
    let (mut crowds, mut readers, since) = (Vec::new(), JoinSet::new(), Instant::now());
    stage(async {
        for (index, way) in plan.ways.iter().enumerate() {
            crowds.push(Crowd::gather(&plan, index, *way, since, &mut readers).await?);
        }
        let settled = Instant::now();
        while settled.elapsed() < SETTLED {
            sleep(LOOK_EVERY).await;
            for crowd in &mut crowds {
                crowd.drain()?;
            }
        }
        Ok(Done {})
    })
    .await?;
    stage(async {
        for turn in 0..=plan.turns {
            // Whoever comes first in a round comes last in another.
            crowds.rotate_left(usize::from(turn > 0));
            for crowd in &mut crowds {
                tokio::select! {
                    Some(ended) = readers.join_next() => return Err(ended?.err().unwrap_or_else(|| anyhow!("a stream has ended"))),
                    done = crowd.turn(turn > 0) => done?,
                }
            }
        }
        crowds.rotate_right(plan.turns as usize % plan.ways.len());
        let heard = |crowd: Crowd| Heard { all: crowd.all.latency(), turns: crowd.turns, first: crowd.first.latency() };
        Ok(crowds.into_iter().map(heard).collect::<Vec<_>>())
    })
    .await
}

impl Crowd {
    /// Has all of the `index`-th way come to a room of their own.
    async fn gather(plan: &Plan, index: usize, way: Way, since: Instant, readers: &mut JoinSet<Result<()>>) -> Result<Self> {
        let ways = plan.ways.len();
        let mut talkers = Vec::new();
        for token in client::sign_in(way.said, TALKERS).await? {
            talkers.push((Client::connect(way.said).await?, token));
        }
        let tokens = client::sign_in(way.heard, plan.viewers).await?;
        // Of all rooms every so-manieth is this way's.
        let viewers = tokens.iter().enumerate().map(|(number, token)| Viewer::open(way.heard, token, number * ways + index, ways));
        let viewers: Vec<_> = stream::iter(viewers).buffered(OPENING).try_collect().await?;
        let timed = Rc::new(Timed::new(since));
        let mut drained = Vec::new();
        for (number, viewer) in viewers.into_iter().enumerate() {
            if number % plan.timed == 0 {
                readers.spawn_local(viewer.read(timed.clone()));
            } else {
                drained.push(viewer.without_runtime()?);
            }
        }
        let (plan, room) = (plan.clone(), room(index, ways));
        Ok(Self { plan, room, talkers, timed, drained, said: 0, all: Histogram::default(), first: Histogram::default(), turns: Vec::new() })
    }

    /// Says a second's messages, evenly spaced, and waits until everybody has heard them.
    async fn turn(&mut self, counts: bool) -> Result<()> {
        let Self { plan, room, talkers, timed, said, .. } = self;
        let began = Instant::now();
        let talk = async |(index, (client, token)): (u32, &mut (Client, String))| {
            for number in (index..plan.rate).step_by(TALKERS) {
                sleep_until((began + Duration::from_secs(1) * number / plan.rate).into()).await;
                let mark = Mark { number: *said + u64::from(number), nanos: timed.since.elapsed().as_nanos() as u64 };
                let status = client.ask(&client::chat_message(token, room, &mark.content(plan.bytes), false, None)).await?;
                ensure!(status == 202, "a message is answered with {status}: {}", client.answer());
            }
            anyhow::Ok(())
        };
        try_join_all((0..).zip(talkers).map(talk)).await?;
        self.said += u64::from(self.plan.rate);
        self.settle().await?;
        let (turn, first) = (self.timed.turn.take(), self.timed.first.take());
        if counts {
            self.all.add(&turn);
            self.first.add(&first);
            self.turns.push(turn.latency());
        }
        Ok(())
    }

    /// Waits until nothing is missing.
    async fn settle(&mut self) -> Result<()> {
        let (ended, timed) = (Instant::now(), (self.plan.viewers - self.drained.len()) as u64 * self.said);
        while self.timed.deliveries.get() < timed {
            ensure!(ended.elapsed() < PATIENCE, "the figures are void: {} deliveries are missing", timed - self.timed.deliveries.get());
            sleep(LOOK_AGAIN).await;
        }
        loop {
            self.drain()?;
            let missing: u64 = self.drained.iter().map(|viewer| self.said - viewer.deliveries).sum();
            if missing == 0 {
                return Ok(());
            }
            ensure!(ended.elapsed() < PATIENCE, "the figures are void: {missing} deliveries are missing");
            sleep(LOOK_AGAIN).await;
        }
    }

    fn drain(&mut self) -> Result<()> {
        self.drained.iter_mut().try_for_each(Viewer::drain)
    }
}
