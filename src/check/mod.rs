//! `persona check-delivery`: holds running servers to the delivery contract, as their clients see it.
//!
//! ```text
//! crowd ──▶ people, readers ──HTTP──▶ servers          what was acknowledged, what was told
//!   │            │
//!   │            ▼
//!   │        recorder: a trace ──▶ verify (pure) ──▶ violations ──▶ shortest trace of each
//!   └── faults, by whoever has servers to break: the tests
//! ```
//! A crowd of clients says things, asks for work, changes its mind, reads, is cut and comes back on another server. What each
//! was acknowledged and told becomes a trace, which is held against the contract afterwards: order, holes, repetitions, one
//! terminal event a job, what is acknowledged is in history, every view is what the log is, a reset only where something can
//! have been lost. Refuses to look inside the servers, and to use rooms that anybody else uses.

pub mod account;
pub mod crowd;
mod history;
mod people;
pub mod reader;
pub mod recorder;
pub mod report;
mod stream;
pub mod trace;
pub mod verify;

use std::{io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use self::{
    crowd::{Crowd, Plan},
    reader::Manners,
    report::Report,
    verify::Rules,
};

/// What every message of a run begins with.
pub const MARK: &str = "delivery check ";

/// What is checked, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// A server to check; several of one installation, each with its own --server
    #[arg(long = "server", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    servers: Vec<String>,
    /// How long
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Makes the crowd do the same again; without one, it is drawn
    #[arg(long)]
    seed: Option<u64>,
    /// Rooms of the crowd's own
    #[arg(long, default_value_t = 3)]
    rooms: usize,
    /// People who say things and ask for work
    #[arg(long, default_value_t = 8)]
    people: usize,
    /// People who only read
    #[arg(long, default_value_t = 8)]
    readers: usize,
    /// The longest pause between two requests of a person, in milliseconds
    #[arg(long, default_value_t = 400, value_name = "MS")]
    pause_ms: u64,
    /// Somebody restarts the event log meanwhile: resets are no fault
    #[arg(long)]
    resets: bool,
    /// Where the whole trace is written, as lines of JSON
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl Options {
    /// Checks, and says what is wrong.
    ///
    /// # Errors
    /// Where something is wrong, or it can't be checked.
    pub fn run(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.check())
    }

    async fn check(self) -> Result<()> {
        let seed = self.seed.unwrap_or_else(|| rand::random::<u32>().into());
        let lasts = Duration::try_from_secs_f64(self.minutes * 60.0).context("--minutes is wrong")?;
        println!("seed {seed}; {} s on {}", lasts.as_secs(), self.servers.join(", "));
        let plan = Plan {
            servers: self.servers,
            seed,
            rooms: self.rooms.max(1),
            people: self.people.max(1),
            readers: self.readers,
            visitors: 2,
            thinks: Duration::from_millis(self.pause_ms),
            manners: Manners { cut_after: Some(Duration::from_secs(3)), silence: Duration::from_secs(20) },
            patience: Duration::from_mins(1),
            rules: Rules { may_trim: false, may_lose: self.resets },
        };
        let crowd = Crowd::gather(plan).await?;
        tokio::time::sleep(lasts).await;
        let ended = crowd.end().await;
        if let Some(path) = self.trace {
            let mut file = std::fs::File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
            for record in ended.recorder.trace() {
                writeln!(file, "{record}")?;
            }
        }
        print!("{}", Report(&ended));
        ensure!(ended.violations.is_empty(), "the delivery contract is broken; --seed {seed} makes the crowd do the same again");
        Ok(())
    }
}
