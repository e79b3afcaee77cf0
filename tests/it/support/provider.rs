//! A provider that answers what a test wants, byte for byte, over a real socket.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
};

/// How one request is answered.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    pieces: Vec<Vec<u8>>,
    /// Whether the connection stays open after the last piece, without an end.
    hangs: bool,
    /// What is waited between two pieces, where they are not to come as fast as they can.
    pause: Option<Duration>,
}

/// The status of an answer that has not even a head.
const NO_HEAD: u16 = 0;

impl Answer {
    /// This status with a JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, "application/json", body.to_string())
    }

    /// This status with a body of this type.
    pub fn bytes(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type".into(), kind.into())], pieces: vec![body.into()], hangs: false, pause: None }
    }

    /// Hangs up on the request without a word.
    pub fn hang_up() -> Self {
        Self { pieces: Vec::new(), ..Self::bytes(NO_HEAD, "", "") }
    }

    /// Takes the request, and says nothing.
    pub fn silence() -> Self {
        Self::hang_up().then_silence()
    }

    /// A stream of these pieces; the connection closes after them.
    pub fn stream<T: AsRef<[u8]>>(pieces: impl IntoIterator<Item = T>) -> Self {
        let pieces = pieces.into_iter().map(|piece| piece.as_ref().to_vec()).collect();
        Self { pieces, ..Self::bytes(200, "text/event-stream", "") }
    }

    /// An OpenAI stream of these words, to its proper end.
    pub fn words(words: &[&str]) -> Self {
        Self::stream([opening(words), chunk(&json!({}), Some("stop")), usage(9, words.len()), "data: [DONE]\n\n".into()])
    }

    /// The same bytes, one at a time.
    pub fn byte_by_byte(self) -> Self {
        Self { pieces: self.pieces.concat().into_iter().map(|byte| vec![byte]).collect(), ..self }
    }

    /// The same, each piece so much after the one before.
    pub fn slowly(self, pause: Duration) -> Self {
        Self { pause: Some(pause), ..self }
    }

    /// The same, compressed as a whole.
    pub fn gzipped(self) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, &self.pieces.concat()).unwrap();
        Self { pieces: vec![encoder.finish().unwrap()], ..self }.header("content-encoding", "gzip")
    }

    /// The same, broken off where more was promised.
    pub fn broken_off(self) -> Self {
        self.header("content-length", "1000000")
    }

    /// The same, and then silence on an open connection.
    pub fn then_silence(self) -> Self {
        Self { hangs: true, ..self }
    }

    /// The same with a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// The chunks of these words.
pub fn opening(words: &[&str]) -> String {
    words.iter().map(|word| chunk(&json!({"content": word}), None)).collect()
}

/// One chunk of an OpenAI stream.
pub fn chunk(delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    format!("data: {}\n\n", json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": [choice]}))
}

/// The last chunk, which counts.
pub fn usage(input: usize, output: usize) -> String {
    let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    format!("data: {}\n\n", json!({"id": "c1", "model": "m-1", "choices": [], "usage": usage}))
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub head: String,
    pub body: Value,
}

/// A provider.
pub struct FakeProvider {
    pub address: SocketAddr,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    hung_up: Mutex<mpsc::UnboundedReceiver<()>>,
    cut: Arc<Notify>,
    busy: watch::Receiver<Busy>,
}

/// How many requests a provider has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Busy {
    pub now: usize,
    pub most: usize,
}

/// A request, for as long as it is one of those that a provider has.
struct Counted(Arc<watch::Sender<Busy>>);

impl Counted {
    fn begin(counter: Arc<watch::Sender<Busy>>) -> Self {
        counter.send_modify(|busy| *busy = Busy { now: busy.now + 1, most: busy.most.max(busy.now + 1) });
        Self(counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|busy| busy.now -= 1);
    }
}

impl FakeProvider {
    /// One that gives these answers in turn, and the last one again and again.
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (hang_up, hung_up) = mpsc::unbounded_channel();
        let cut = Arc::new(Notify::new());
        let (counter, busy) = watch::channel(Busy::default());
        let (next, seen, cutting, counter) = (answers.clone(), asked.clone(), cut.clone(), Arc::new(counter));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let counted = Counted::begin(counter.clone());
                tokio::spawn(serve(socket, next.clone(), seen.clone(), hang_up.clone(), cutting.clone(), counted));
            }
        });
        Self { address, answers, asked, hung_up: Mutex::new(hung_up), cut, busy }
    }

    /// How many requests it has, and had at once.
    pub fn busy(&self) -> Busy {
        *self.busy.borrow()
    }

    /// Waits until it has been asked so often.
    pub async fn asked_times(&self, count: usize) {
        super::eventually("the provider is asked", async || (self.asked().len() >= count).then_some(())).await;
    }

    /// Its address, as a setting.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Answers the next request so, before those that were given.
    pub fn answer_next(&self, answer: Answer) {
        self.answers.lock().unwrap().push_front(answer);
    }

    /// Breaks off an answer that has fallen silent.
    pub fn cut(&self) {
        self.cut.notify_one();
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until somebody hangs up while an answer is under way.
    #[allow(clippy::await_holding_lock, reason = "one test waits, and nobody else asks")]
    pub async fn hung_up(&self, within: Duration) {
        let mut hung_up = self.hung_up.lock().unwrap();
        tokio::time::timeout(within, hung_up.recv()).await.expect("nobody hung up").unwrap();
    }
}

async fn serve(
    mut socket: TcpStream,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    hang_up: mpsc::UnboundedSender<()>,
    cut: Arc<Notify>,
    counted: Counted,
) {
    let Some(request) = read_request(&mut socket).await else { return };
    asked.lock().unwrap().push(request);
    let answer = {
        let mut answers = answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers.front().unwrap().clone() }
    };
    let headers: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {} Whatever\r\n{headers}connection: close\r\n\r\n", answer.status);
    let head = Some(head.into_bytes()).filter(|_| answer.status != NO_HEAD);
    socket.set_nodelay(true).unwrap();
    let mut counted = Some(counted);
    let mut pieces = head.into_iter().chain(answer.pieces).peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() && !answer.hangs {
            // Whoever has read the end may ask again before this task goes on.
            counted = None;
        }
        if socket.write_all(&piece).await.is_err() {
            let _ = hang_up.send(());
            return;
        }
        match answer.pause {
            Some(pause) => tokio::time::sleep(pause).await,
            // Often enough that a reader on the same thread has taken this piece before the next one is sent.
            None => yield_often().await,
        }
    }
    if answer.hangs {
        let mut rest = [0; 64];
        let gone = async { while matches!(socket.read(&mut rest).await, Ok(length) if length > 0) {} };
        tokio::select! {
            () = gone => drop(hang_up.send(())),
            () = cut.notified() => {}
        }
    }
    drop(counted);
}

async fn yield_often() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// Reads one request; nothing where there is none.
pub async fn read_request(socket: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = socket.read(&mut piece).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let wanted = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if body.len() >= wanted {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            return Some(Asked { path, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::Null) });
        }
    }
}
