//! The server that is measured: the real program, with its limits off, on a data folder that goes with it; or what it is
//! measured against.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Common,
    load::{Load, client::Client},
    process::{Cpu, Process, cpu_of, resident_kib_of},
};

/// A running server. Gone, with all it kept, when it is dropped, unless somebody else has started it.
pub struct Server {
    /// The processes that do its work.
    ids: Vec<u32>,
    /// Where it listens.
    pub address: SocketAddr,
    _process: Option<Process>,
    // After the process, as fields are dropped in order.
    _folder: Option<Folder>,
}

/// How long something took, in microseconds: on average, and the bounds of the buckets that half of all and 99 in a hundred don't exceed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Took {
    #[serde(rename = "mean_us")]
    pub mean: u64,
    #[serde(rename = "p50_us")]
    pub p50: u64,
    #[serde(rename = "p99_us")]
    pub p99: u64,
}

struct Folder(PathBuf);

/// What came of a stage of the load, and what it has cost.
pub struct Spent<T> {
    pub done: T,
    pub cpu: Cpu,
    pub load_cpu: Cpu,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub async fn start(common: &Common, settings: &[(&str, &str)]) -> Result<Self> {
        Self::with(common, &[], settings).await
    }

    /// Starts one that encrypts.
    pub async fn secure(common: &Common) -> Result<Self> {
        Self::with(common, &["--dev-tls"], &[]).await
    }

    async fn with(common: &Common, flags: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let folder = Folder::make(&common.folder)?;
        let data = folder.0.to_str().context("the folder's name is not UTF-8")?;
        let threads = common.http_threads.to_string();
        let fixed = [
            ("PERSONA_LISTEN", "127.0.0.1:0"),
            ("PERSONA_DATA_DIR", data),
            ("PERSONA_HTTP_THREADS", &threads),
            ("PERSONA_MAX_STREAMS_PER_USER", "0"),
            ("PERSONA_MAX_STREAMS_PER_ADDRESS", "0"),
            ("RUST_LOG", "warn"),
        ];
        Self::of(Process::start(flags, &[&fixed, settings].concat())?, Some(folder)).await
    }

    /// Starts a bare loop of `send()` instead, with as many threads.
    pub async fn bare(common: &Common) -> Result<Self> {
        Self::of(Process::start(&["bench", "bare", &common.http_threads.to_string()], &[])?, None).await
    }

    /// Starts such a loop that makes each message durable before.
    pub async fn durable_bare(common: &Common) -> Result<Self> {
        let folder = Folder::make(&common.folder)?;
        let journal = folder.0.join("journal");
        let journal = journal.to_str().context("the folder's name is not UTF-8")?;
        Self::of(Process::start(&["bench", "bare", &common.http_threads.to_string(), journal], &[])?, Some(folder)).await
    }

    /// One that runs already, in these processes.
    pub fn running(address: SocketAddr, ids: Vec<u32>) -> Self {
        Self { ids, address, _process: None, _folder: None }
    }

    async fn of(mut process: Process, folder: Option<Folder>) -> Result<Self> {
        let line = process.line().await.context("the server does not start")?;
        let address = line.strip_prefix("listening on http").and_then(|url| url.trim_start_matches(['s', ':', '/']).parse().ok());
        let address = address.with_context(|| format!("the server says {line:?} where its address should be"))?;
        Ok(Self { ids: vec![process.id()], address, _process: Some(process), _folder: folder })
    }

    /// What it has used so far.
    pub fn cpu(&self) -> Result<Cpu> {
        self.ids.iter().map(|id| cpu_of(*id)).sum()
    }

    /// Has the load do its next stage, and says what came of it and what that has cost.
    pub async fn spend<T: DeserializeOwned>(&self, load: &mut Load) -> Result<Spent<T>> {
        let before = (self.cpu()?, load.cpu()?);
        let done = load.stage().await?;
        Ok(Spent { done, cpu: self.cpu()? - before.0, load_cpu: load.cpu()? - before.1 })
    }

    /// The memory it holds, in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        self.ids.iter().map(|id| resident_kib_of(*id)).sum()
    }

    /// One of the figures that the server tells about itself.
    pub async fn gauge(&self, name: &str) -> Result<u64> {
        let text = self.metrics().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.with_context(|| format!("the server does not tell {name}"))
    }

    /// How long something has taken since the server began, by one of its histograms.
    pub async fn took(&self, name: &str) -> Result<Took> {
        Took::read(&self.metrics().await?, name).with_context(|| format!("the server does not tell {name}"))
    }

    async fn metrics(&self) -> Result<String> {
        let mut client = Client::connect(self.address).await?;
        let status = client.ask(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n").await?;
        ensure!(status == 200, "the server tells no figures: {status}");
        Ok(client.answer())
    }
}

impl Took {
    fn read(text: &str, name: &str) -> Option<Self> {
        let (mut buckets, mut sum) = (Vec::new(), None);
        for line in text.lines().filter_map(|line| line.strip_prefix(name)) {
            if let Some((bound, count)) = line.strip_prefix("_bucket{le=\"").and_then(|bucket| bucket.split_once("\"} ")) {
                // Rust reads "+Inf" as it is meant.
                buckets.push((bound.parse::<f64>().ok()?, count.parse::<f64>().ok()?));
            } else if let Some(seconds) = line.strip_prefix("_sum ") {
                sum = seconds.parse::<f64>().ok();
            }
        }
        let micros = |seconds: f64| (seconds * 1e6).round() as u64;
        let (_, count) = *buckets.last()?;
        let within = |share: f64| buckets.iter().find(|(_, within)| *within >= count * share).map(|(bound, _)| micros(*bound));
        Some(Self { mean: micros(sum? / count.max(1.0)), p50: within(0.5)?, p99: within(0.99)? })
    }
}

impl Folder {
    fn make(within: &Path) -> Result<Self> {
        let path = within.join(format!("persona-bench-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_something_took_is_read_off_its_buckets() {
        let text = "# TYPE a_seconds histogram\na_seconds_bucket{le=\"0.001\"} 1\na_seconds_bucket{le=\"0.25\"} 2\n\
            a_seconds_bucket{le=\"+Inf\"} 2\na_seconds_sum 0.1\na_seconds_count 2\nb_seconds_sum 7\n";
        assert_eq!(Took::read(text, "a_seconds"), Some(Took { mean: 50_000, p50: 1_000, p99: 250_000 }));
        assert_eq!(Took::read(text, "b_seconds"), None);
    }
}
