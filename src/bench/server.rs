//! The server that is measured: the real program, with its limits off, on a data folder that goes with it.

use std::{
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{Common, load::client::Client, process::Process};

/// A running server. Gone, with all it kept, when it is dropped.
pub struct Server {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    // After the process, as fields are dropped in order.
    _folder: Folder,
}

struct Folder(PathBuf);

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub async fn start(common: &Common, settings: &[(&str, &str)]) -> Result<Self> {
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
        let mut process = Process::start(&[], &[&fixed, settings].concat())?;
        let line = process.line().await.context("the server does not start")?;
        let address = line.strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let address = address.with_context(|| format!("the server says {line:?} where its address should be"))?;
        Ok(Self { process, address, _folder: folder })
    }

    /// One of the figures that the server tells about itself.
    pub async fn gauge(&self, name: &str) -> Result<u64> {
        let mut client = Client::connect(self.address, 0).await?;
        let status = client.ask(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n").await?;
        ensure!(status == 200, "the server tells no figures: {status}");
        let text = client.answer();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.with_context(|| format!("the server does not tell {name}"))
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
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
