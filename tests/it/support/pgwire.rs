//! Stands between the store and its database, and does what networks and clusters do: breaks, refuses, delays.
//!
//! Understands as much of the protocol as it takes to see whole statements: a request is all that the client sends up to a
//! Sync, or a simple query; an answer is all that the server says up to ReadyForQuery. What was sent is kept, so that every
//! statement can be looked at.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What befalls a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It is refused with 40001, and nothing of it has happened; a COMMIT is rolled back.
    Restart,
    /// The connection breaks before the server gets it.
    CutBefore,
    /// The connection breaks after the server has done it, before its answer arrives.
    CutAfter,
    /// It takes that much longer.
    Delay(Duration),
    /// It is done at once, and its answer takes that much longer.
    Late(Duration),
}

/// Decides about each statement that is run: its text, and how many of them have been.
pub type Fate = Box<dyn FnMut(&str, usize) -> Option<Mishap> + Send>;

/// A way to a database on which things go wrong.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Counts up whenever all connections are to break.
    broken: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    fate: Option<Fate>,
    heard: Vec<String>,
    mishaps: usize,
    conflicts: usize,
    is_away: bool,
}

impl Proxy {
    /// A way to the server at `target`, on which nothing goes wrong yet.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { state: Mutex::default(), broken: watch::Sender::new(0) });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if serving.state.lock().unwrap().is_away {
                    continue;
                }
                let (shared, mut broken) = (serving.clone(), serving.broken.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = serve(client, target, &shared) => {}
                        _ = broken.changed() => {}
                    }
                });
            }
        });
        Self { address, shared }
    }

    /// The URL that leads through here to the same database.
    pub fn url(&self, direct: &str) -> String {
        let (server, database) = direct.rsplit_once('/').unwrap();
        let user = server.rsplit_once('@').unwrap().0;
        format!("{user}@{}/{database}", self.address)
    }

    /// From now on this decides.
    pub fn let_fate(&self, fate: impl FnMut(&str, usize) -> Option<Mishap> + Send + 'static) {
        self.shared.state.lock().unwrap().fate = Some(Box::new(fate));
    }

    /// The next commit, once.
    pub fn at_commit(&self, mishap: Mishap) {
        let mut is_done = false;
        self.let_fate(move |sql, _| {
            let hits = !is_done && is_commit(sql);
            is_done |= hits;
            hits.then_some(mishap)
        });
    }

    /// Nothing goes wrong any longer.
    pub fn calm(&self) {
        self.shared.state.lock().unwrap().fate = None;
    }

    /// The database is away: all connections break, and no new one comes about.
    pub fn go_away(&self) {
        self.shared.state.lock().unwrap().is_away = true;
        self.shared.broken.send_modify(|count| *count += 1);
    }

    /// The database is back.
    pub fn come_back(&self) {
        self.shared.state.lock().unwrap().is_away = false;
    }

    /// All statements so far.
    pub fn heard(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().heard.clone()
    }

    /// How often the server itself has refused a statement with 40001.
    pub fn conflicts(&self) -> usize {
        self.shared.state.lock().unwrap().conflicts
    }

    /// How much has gone wrong.
    pub fn mishaps(&self) -> usize {
        self.shared.state.lock().unwrap().mishaps
    }
}

impl Shared {
    /// Notes what the server has refused by itself.
    fn note(&self, answered: &[u8]) {
        let is_conflict = answered.windows(6).any(|bytes| bytes == b"C40001");
        self.state.lock().unwrap().conflicts += usize::from(is_conflict);
    }

    fn decide(&self, sql: &str) -> Option<Mishap> {
        let mut state = self.state.lock().unwrap();
        state.heard.push(sql.to_owned());
        let count = state.heard.len();
        let mishap = state.fate.as_mut()?(sql, count);
        state.mishaps += usize::from(mishap.is_some());
        mishap
    }
}

/// Other statements have the word too: `read committed`.
pub fn is_commit(sql: &str) -> bool {
    sql.trim().eq_ignore_ascii_case("commit")
}

/// One connection, until either side ends it. Errors end it too: they are what is to be tested.
async fn serve(client: TcpStream, target: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.into_split(), server.into_split());
    // The first message has no type.
    let length = from_client.read_u32().await?;
    let mut startup = vec![0; length as usize - 4];
    from_client.read_exact(&mut startup).await?;
    to_server.write_u32(length).await?;
    to_server.write_all(&startup).await?;
    to_client.write_all(&answer(&mut from_server).await?).await?;

    let mut prepared = HashMap::new();
    loop {
        let request = Request::read(&mut from_client, &mut prepared).await?;
        let mishap = request.sql.as_deref().and_then(|sql| shared.decide(sql));
        if handle(request, mishap, shared, &mut to_server, &mut from_server, &mut to_client).await?.is_none() {
            return Ok(());
        }
    }
}

/// Sends one request on and its answer back, or what befalls it. Nothing where the connection ends with it.
async fn handle(
    request: Request,
    mishap: Option<Mishap>,
    shared: &Shared,
    to_server: &mut OwnedWriteHalf,
    from_server: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
) -> std::io::Result<Option<()>> {
    match mishap {
        Some(Mishap::CutBefore) => return Ok(None),
        Some(Mishap::Restart) => {
            let is_commit = request.sql.as_deref().is_some_and(is_commit);
            if is_commit {
                to_server.write_all(&frame(b'Q', b"rollback\0")).await?;
                answer(from_server).await?;
            }
            to_client.write_all(&refusal(if is_commit { b'I' } else { b'E' })).await?;
            return Ok(Some(()));
        }
        Some(Mishap::Delay(duration)) => tokio::time::sleep(duration).await,
        Some(Mishap::CutAfter | Mishap::Late(_)) | None => {}
    }
    to_server.write_all(&request.bytes).await?;
    if request.is_end {
        return Ok(None);
    }
    let answered = answer(from_server).await?;
    shared.note(&answered);
    match mishap {
        Some(Mishap::CutAfter) => return Ok(None),
        Some(Mishap::Late(duration)) => tokio::time::sleep(duration).await,
        _ => {}
    }
    to_client.write_all(&answered).await?;
    Ok(Some(()))
}

/// All that belongs to one round.
struct Request {
    bytes: Vec<u8>,
    /// What is run, where something is.
    sql: Option<String>,
    is_end: bool,
}

impl Request {
    async fn read(from: &mut OwnedReadHalf, prepared: &mut HashMap<String, String>) -> std::io::Result<Self> {
        let mut request = Self { bytes: Vec::new(), sql: None, is_end: false };
        loop {
            let (kind, body) = message(from).await?;
            request.bytes.extend(frame(kind, &body));
            let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
            match kind {
                b'Q' => request.sql = texts.next(),
                b'P' => drop(prepared.insert(texts.next().unwrap(), texts.next().unwrap())),
                // The portal's name comes first.
                b'B' => request.sql = prepared.get(&texts.nth(1).unwrap()).cloned(),
                b'X' => request.is_end = true,
                _ => {}
            }
            if matches!(kind, b'Q' | b'S' | b'X') {
                return Ok(request);
            }
        }
    }
}

async fn message(from: &mut OwnedReadHalf) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let mut body = vec![0; from.read_u32().await? as usize - 4];
    from.read_exact(&mut body).await?;
    Ok((kind, body))
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

/// All that the server says until it is ready for more. During authentication it asks nothing: it trusts.
async fn answer(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut said = Vec::new();
    loop {
        let (kind, body) = message(from).await?;
        said.extend(frame(kind, &body));
        if kind == b'Z' {
            return Ok(said);
        }
    }
}

/// What CockroachDB says to a transaction that it rolls back in favour of another.
fn refusal(status: u8) -> Vec<u8> {
    let fields = "SERROR\0C40001\0Mrestart transaction: TransactionRetryWithProtoRefreshError: TransactionRetryError: retry txn\0\0";
    [frame(b'E', fields.as_bytes()), frame(b'Z', &[status])].concat()
}
