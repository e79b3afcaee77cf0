//! A socket that speaks HTTP/1.1 as a test writes it, byte by byte: for what no library would send.

use std::{fmt::Write as _, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{DEADLINE, answer::Answer, app::App, person::Person};

/// What carries the bytes.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// A connection.
pub struct Raw(BufReader<Box<dyn Transport>>);

impl Raw {
    /// A plain one.
    pub async fn connect(app: &App) -> Self {
        let socket = TcpStream::connect(app.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(socket)
    }

    /// One over this transport.
    pub fn over(transport: impl Transport + 'static) -> Self {
        Self(BufReader::new(Box::new(transport)))
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// Sends bytes to a server that may have hung up.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let sent = async {
            self.0.write_all(bytes.as_ref()).await?;
            self.0.flush().await
        };
        timeout(DEADLINE, sent).await.expect("the server takes no more")
    }

    /// Sends no more.
    pub async fn finish(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// The next answer with its body.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let read = async {
            if answer.header("transfer-encoding") == "chunked" {
                while let Some(chunk) = self.read_chunk().await {
                    answer.body.extend(chunk);
                }
            } else if let Ok(length) = usize::from_str(answer.header("content-length")) {
                answer.body.resize(length, 0);
                self.0.read_exact(&mut answer.body).await.unwrap();
            }
        };
        timeout(DEADLINE, read).await.expect("the answer has no end");
        answer
    }

    /// The head of the next answer; its body, if any, is still to be read.
    pub async fn head(&mut self) -> Answer {
        let read = async {
            let status = self.line().await;
            let status = status.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{status:?}"));
            let mut answer = Answer { status: status[..3].parse().unwrap(), headers: HeaderMap::new(), body: Vec::new() };
            loop {
                let line = self.line().await;
                let Some((name, value)) = line.split_once(':') else { break answer };
                answer.headers.append(HeaderName::from_str(name).unwrap(), HeaderValue::from_str(value.trim()).unwrap());
            }
        };
        timeout(DEADLINE, read).await.expect("no answer came")
    }

    /// The next piece of a chunked body; nothing at its end.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        timeout(DEADLINE, self.read_chunk()).await.expect("no chunk came")
    }

    async fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line().await, 16).unwrap();
        let mut chunk = vec![0; length + 2];
        self.0.read_exact(&mut chunk).await.unwrap();
        chunk.truncate(length);
        Some(chunk).filter(|chunk| !chunk.is_empty())
    }

    /// What comes until the server closes the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        timeout(DEADLINE, self.0.read_to_end(&mut rest)).await.expect("the connection stays open").unwrap();
        rest
    }

    /// Waits until the server has closed the connection, in whatever way.
    pub async fn gone(&mut self) {
        let mut unread = Vec::new();
        // A reset is an end as well.
        let _ = timeout(DEADLINE, self.0.read_to_end(&mut unread)).await.expect("the connection stays open");
    }

    /// All that comes until this text has come.
    pub async fn until(&mut self, text: &str) -> String {
        let mut said = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&said).contains(text) {
                assert_ne!(self.0.read_buf(&mut said).await.unwrap(), 0, "the connection was closed");
            }
        };
        timeout(DEADLINE, read).await.expect("it didn't come");
        String::from_utf8(said).unwrap()
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        assert!(line.ends_with("\r\n"), "the connection was closed after {line:?}");
        line.trim_end().to_owned()
    }
}

/// The text of a request in a person's name, with JSON as its body where there is one.
pub fn request(method: &str, path: &str, person: &Person, body: Option<&str>) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: persona\r\nAuthorization: Bearer {}\r\n", person.token);
    if let Some(body) = body {
        let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body.unwrap_or_default()
}
