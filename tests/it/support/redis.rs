//! Redis servers of a test's own: one, or a cluster of three, on free ports.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    time::Instant,
};

use redis::{FromRedisValue, Value};
use tempfile::TempDir;

use super::{DEADLINE, process};

/// A server. Killed, with all it kept, when it is dropped, and with the test.
pub struct Redis {
    child: Child,
    pub port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Redis {
    /// A server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// A server that has all it was told after a restart.
    pub fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// A server with these settings.
    pub fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let port = free_port();
        let child = spawn(port, &folder, &arguments);
        let redis = Self { child, port, folder, arguments };
        redis.wait();
        redis
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it answers to a command.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap()
    }

    fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection)
    }

    /// Starts it again at the same port, with what it has on disk.
    pub fn restart(&mut self) {
        self.kill();
        self.come_back();
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after it has ended, at the same port, with what it has on disk.
    pub fn come_back(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.arguments);
        self.wait();
    }

    /// Loses, after it has ended, all it has on disk.
    pub fn lose_everything(&mut self) {
        self.folder = tempfile::tempdir().unwrap();
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Refuses, from now on, whatever needs memory; or takes it again.
    pub fn be_full(&self, is_full: bool) {
        self.ask::<Value>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        self.ask::<Value>(&["CONFIG", "SET", "maxmemory", if is_full { "1" } else { "0" }]);
    }

    fn wait(&self) {
        let begun = Instant::now();
        while self.try_ask::<String>(&["PING"]).is_err() {
            assert!(begun.elapsed() < DEADLINE, "Redis does not start");
            std::thread::yield_now();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, folder: &TempDir, arguments: &[String]) -> Child {
    let mut command = process::bound("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder.path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    process::spawn(command)
}

/// A port that was free just now, below those that the system gives out by itself.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Three servers that form a cluster, each with a third of the slots.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts it, and waits until it is whole.
    pub fn start() -> Self {
        let nodes: Vec<(Redis, u16)> = (0..3).map(|_| Self::node()).collect();
        for (index, (node, _)) in nodes.iter().enumerate() {
            let (first, last) = (index * 16_384 / 3, (index + 1) * 16_384 / 3 - 1);
            node.ask::<Value>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            let (first_node, bus) = &nodes[0];
            node.ask::<Value>(&["CLUSTER", "MEET", "127.0.0.1", &first_node.port.to_string(), &bus.to_string()]);
        }
        let cluster = Self { nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        cluster.wait();
        cluster
    }

    /// Waits until it is whole.
    pub fn wait(&self) {
        let begun = Instant::now();
        while !self.nodes.iter().all(|node| node.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")) {
            assert!(begun.elapsed() < DEADLINE, "the cluster does not form");
            std::thread::yield_now();
        }
    }

    fn node() -> (Redis, u16) {
        let bus = free_port();
        let bus_text = bus.to_string();
        let settings = ["--cluster-enabled", "yes", "--cluster-port", &bus_text, "--cluster-node-timeout", "2000", "--save", ""];
        (Redis::with(&settings), bus)
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.nodes.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }
}
