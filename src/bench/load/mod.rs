//! The load: a process of its own that does what many clients would, stage by stage, as its parent tells it.
//!
//! A stage begins with a line from the parent and ends with a line of JSON, so that the parent can look at the server in
//! between. Lean, since it shares its cores with what it measures: one thread, and a reader of HTTP that copies next to
//! nothing. Refuses to look at `/proc`: what the server spends is the parent's to say.

pub mod client;
pub mod dialect;
pub mod fake;
pub mod held;
mod histogram;
mod http;
pub mod posts;
mod sse;
pub mod streams;
pub mod tally;
pub mod texts;
pub mod turns;

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::histogram::Latency;
use super::process::{Cpu, Process, resident_kib_of};

/// What a load process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub enum Plan {
    Streams(streams::Plan),
    Posts(posts::Plan),
    Fake(fake::Plan),
    Texts(texts::Plan),
    Held(held::Plan),
    Turns(turns::Plan),
}

/// A stage of which nothing needs telling.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {}

/// The load process, as its parent has it. Killed when it is dropped.
pub struct Load(Process);

impl Load {
    /// Starts the process; it waits for its first stage.
    pub fn start(plan: &Plan) -> Result<Self> {
        Process::start(&["bench", "load", &serde_json::to_string(plan)?], &[]).map(Self)
    }

    /// Has the next stage done, and gives what came of it.
    pub async fn stage<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.0.input().write_all(b"\n").context("the load process is gone")?;
        let line = self.0.line().await?;
        serde_json::from_str(&line).with_context(|| format!("the load process says {line:?}"))
    }

    /// What it has used so far.
    pub fn cpu(&self) -> Result<Cpu> {
        self.0.cpu()
    }

    /// The memory it holds, in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        resident_kib_of(self.0.id())
    }
}

/// Is the load process.
pub async fn run(plan: &str) -> Result<()> {
    crate::server::raise_descriptor_limit();
    match serde_json::from_str(plan).context("the plan can't be read")? {
        Plan::Streams(plan) => tokio::task::LocalSet::new().run_until(streams::run(plan)).await,
        Plan::Posts(plan) => posts::run(plan).await,
        Plan::Fake(plan) => fake::run(plan).await,
        Plan::Texts(plan) => tokio::task::LocalSet::new().run_until(texts::run(plan)).await,
        Plan::Held(plan) => held::run(plan).await,
        Plan::Turns(plan) => tokio::task::LocalSet::new().run_until(turns::run(plan)).await,
    }
}

/// Does `work` once the parent wants it, and tells what came of it.
async fn stage<T: Serialize>(work: impl Future<Output = Result<T>>) -> Result<()> {
    // Apart, as streams must be read meanwhile.
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    ensure!(read > 0, "the parent of this process is gone");
    println!("{}", serde_json::to_string(&work.await?)?);
    Ok(())
}
