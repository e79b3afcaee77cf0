//! The program itself, started on a port and a data folder of its own.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    DEADLINE,
    answer::Answer,
    postgres::Database,
    process::{BOUND, spawn},
};

/// A server, made with settings.
pub struct Builder {
    settings: Vec<(String, String)>,
    flags: Vec<String>,
    /// The command that starts the program, where it is not started directly.
    through: Vec<String>,
    folder: Arc<TempDir>,
    database: Option<Arc<Database>>,
}

/// A running server. Killed when it is dropped, and with the test.
pub struct App {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// `http://…` or `https://…`.
    pub url: String,
    log: Arc<Mutex<String>>,
    folder: Arc<TempDir>,
    settings: Vec<(String, String)>,
    flags: Vec<String>,
    through: Vec<String>,
    database: Option<Arc<Database>>,
}

/// What servers stand on that a test gives no database: `PERSONA_TEST_ENGINE`, which is sqlite, postgres or serializable.
#[expect(clippy::disallowed_methods, reason = "it is the tests' own setting, and none of the program's")]
fn isolation() -> Option<&'static str> {
    match std::env::var("PERSONA_TEST_ENGINE").as_deref() {
        Err(_) | Ok("sqlite") => None,
        Ok("postgres") => Some("read-committed"),
        Ok("serializable") => Some("serializable"),
        Ok(other) => panic!("PERSONA_TEST_ENGINE: {other}?"),
    }
}

impl App {
    /// A server with quick manners and nothing else set.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with these settings, on an empty data folder.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        Self::builder(settings).start()
    }

    /// What it says of whether it can serve.
    pub async fn readiness(&self) -> Answer {
        Answer::to(reqwest::Client::new().get(format!("{}/readyz", self.url))).await
    }

    /// A server that is not started yet.
    pub fn builder(settings: &[(&str, &str)]) -> Builder {
        // The tests' own clients need one too; where it is installed already, it is this one.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let defaults = [
            ("PERSONA_LISTEN", "127.0.0.1:0"),
            ("PERSONA_OFFLINE_PACE_MS", "1"),
            ("PERSONA_PRESENCE_GRACE_MS", "300"),
            ("PERSONA_STOP_SECONDS", "2"),
            ("RUST_LOG", "info"),
        ];
        let isolation = isolation().filter(|_| settings.iter().all(|(name, _)| *name != "DATABASE_URL"));
        let database = isolation.map(|_| Arc::new(Database::new()));
        // A lease is what a killed server's jobs wait for, where its database outlives it.
        let shared = database.iter().flat_map(|database| {
            [
                ("DATABASE_URL", database.url.as_str()),
                ("PERSONA_DATABASE_ISOLATION", isolation.unwrap_or_default()),
                ("PERSONA_LEASE_SECONDS", "2"),
                ("PERSONA_SECRET", "a-secret-of-the-tests-that-everybody-may-know"),
            ]
        });
        let all = defaults.into_iter().chain(shared).chain(settings.iter().copied());
        let settings = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Builder { settings, flags: Vec::new(), through: Vec::new(), folder: Arc::new(tempfile::tempdir().unwrap()), database }
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged and printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it as a crash would: at once, without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal, such as `TERM` or `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended by itself, and says whether it was content.
    pub fn wait(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(begun.elapsed() < DEADLINE, "the server doesn't end; it says:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// The command that asks something of this server, with its settings.
    pub fn command(&self) -> Command {
        self.builder_at_its_address().command()
    }

    fn builder_at_its_address(&self) -> Builder {
        let listen = ("PERSONA_LISTEN".to_owned(), self.address.to_string());
        let settings = self.settings.iter().cloned().chain([listen]).collect();
        Builder { settings, flags: self.flags.clone(), through: self.through.clone(), folder: self.folder.clone(), database: self.database.clone() }
    }

    /// Starts it again on the same data, at the same address, after it has ended.
    pub fn restart(mut self) -> Self {
        if self.child.try_wait().unwrap().is_none() {
            self.kill();
        }
        self.builder_at_its_address().start()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server said ---\n{}", self.log());
        }
    }
}

impl Builder {
    /// With a flag of the command line.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Started by this command, which must become the program: `nsenter … persona`.
    pub fn through(mut self, command: Vec<String>) -> Self {
        self.through = command;
        self
    }

    /// Where its data will be.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Keeps its data for as long as this is held.
    pub fn folder(&self) -> Arc<TempDir> {
        self.folder.clone()
    }

    /// The command that starts it, with no settings but its own.
    pub fn command(&self) -> Command {
        let mut words = self.through.iter().map(String::as_str).chain(BOUND).chain([env!("CARGO_BIN_EXE_persona")]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(&self.flags).env_clear().env("PERSONA_DATA_DIR", self.data()).envs(self.settings.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }

    /// What it says where it does not come up, which must be so.
    pub fn refusal(&self) -> String {
        let ended = self.command().output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        said
    }

    /// Starts it, and waits until it accepts connections.
    pub fn start(self) -> App {
        match self.try_start() {
            Ok(app) => app,
            Err(said) => panic!("the server did not start:\n{said}"),
        }
    }

    /// Starts it; where it does not come up, what it said.
    pub fn try_start(self) -> Result<App, String> {
        let mut child = spawn(self.command());
        let log = Arc::new(Mutex::new(String::new()));
        let (listening, url) = std::sync::mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        let heard = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    let _ = listening.send(url.to_owned());
                }
                heard.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let stderr = child.stderr.take().unwrap();
        let heard = log.clone();
        let said = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                heard.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let Ok(url) = url.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            let _ = child.wait();
            let _ = said.join();
            return Err(log.lock().unwrap().clone());
        };
        let address = url.split("://").nth(1).unwrap().parse().unwrap();
        let Self { settings, flags, through, folder, database } = self;
        Ok(App { child, address, url, log, folder, settings, flags, through, database })
    }
}

/// How much memory a process has resident, in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A moment that a test can count on having passed only by waiting for it: for what must NOT happen.
pub async fn meanwhile(duration: Duration) {
    tokio::time::sleep(duration).await;
}
