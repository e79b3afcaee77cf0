//! A provider that streams texts in OpenAI's protocol, as many as are asked for, each at its own even pace.
//!
//! Every token says when it was sent. Lean, since it shares its cores with what it feeds. Refuses to be asked for anything
//! else.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};

use super::{Done, stage};

/// What is to be done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Plan {
    /// Between two tokens of a text.
    pub pace: Duration,
}

/// Where it listens.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listening {
    pub address: SocketAddr,
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const END: &[u8] = b"data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// Does the plan, until its parent wants no more.
pub async fn run(plan: Plan) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    stage(async { Ok(Listening { address }) }).await?;
    let serve = async {
        loop {
            let (socket, _) = listener.accept().await?;
            tokio::spawn(async move {
                // Whoever hangs up wants no more.
                let _ = answer(socket, plan.pace).await;
            });
        }
    };
    tokio::select! {
        failed = serve => failed,
        done = stage(async { Ok(Done {}) }) => done,
    }
}

async fn answer(mut socket: TcpStream, pace: Duration) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut request = Vec::new();
    let asked: Asked = loop {
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(body) = body(&request) {
            break serde_json::from_slice(body)?;
        }
    };
    socket.write_all(HEAD).await?;
    let begun = Instant::now();
    for token in 0..asked.max_tokens {
        sleep_until(begun + pace * token).await;
        socket.write_all(chunk(now_nanos()).as_bytes()).await?;
    }
    socket.write_all(END).await?;
    Ok(())
}

/// What is asked for.
#[derive(Deserialize)]
struct Asked {
    max_tokens: u32,
}

/// The body of a request; nothing while it is not there whole.
fn body(request: &[u8]) -> Option<&[u8]> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(end)) = head.parse(request) else { return None };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    request[end..].get(..str::from_utf8(length.value).ok()?.parse().ok()?)
}

fn chunk(nanos: u64) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{nanos} \"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// The time on the clock that all processes of a machine share.
pub fn now_nanos() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64)
}
