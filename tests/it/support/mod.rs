//! What the tests share: a running server, people who use it, and streams that are read to a deadline.

pub mod admin;
pub mod answer;
pub mod app;
pub mod browser;
pub mod cable;
pub mod calls;
pub mod disk;
pub mod fleet;
pub mod http2;
pub mod installation;
pub mod liar;
pub mod log;
pub mod person;
pub mod pgwire;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod queue;
pub mod raw;
pub mod redis;
pub mod sqlite;
pub mod sse;
pub mod tls;
pub mod token;
pub mod unfenced;
pub mod unreliable;

use std::time::Duration;

/// How long a test waits for what must come. Generous, as machines may be slow; nothing waits for it to pass.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `check` gives something, asking again and again until the deadline.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let asked = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
