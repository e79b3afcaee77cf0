//! Readers who are gone without a word are noticed, and leave their rooms.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::json;

use crate::support::{
    app::App,
    person::{GENERAL, Person, Way, on_each_way},
    sse::Stream,
    token,
};

on_each_way! {
    a_client_that_closes_its_connection_leaves_at_once,
    a_client_that_resets_its_connection_leaves_at_once,
    no_descriptor_and_no_stream_is_left_of_those_who_are_gone,
}

/// Far less than the time to the first ping: whatever is noticed within it was not found by writing.
const SOON: Duration = Duration::from_secs(1);

async fn leaves(watcher: &mut Stream, name: &str, within: Duration) {
    let begun = Instant::now();
    loop {
        let event = tokio::time::timeout(within, watcher.next_of("presence")).await.expect("nobody is told to have left").data;
        if event["status"] == "leave" && event["userName"] == name {
            assert!(begun.elapsed() < within);
            return;
        }
    }
}

async fn joins(watcher: &mut Stream, name: &str) {
    while watcher.next_of("presence").await.data["userName"] != name {}
}

/// How many streams the server says it has.
async fn streams(app: &App) -> String {
    let client = Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let scheme = app.url.split(':').next().unwrap();
    let url = format!("{scheme}://127.0.0.1:{}/metrics", app.address.port());
    let metrics = client.get(url).send().await.unwrap().text().await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix("persona_streams ")).unwrap().to_owned()
}

/// A stream on a bare socket, read up to its first event.
fn raw_stream(app: &App, person: &Person, way: Way) -> TcpStream {
    let mut socket = TcpStream::connect(app.address).unwrap();
    let (token, address, header) = (&person.token, app.address, way.header());
    let head = format!("GET /api/events?channel={GENERAL}&access_token={token} HTTP/1.1\r\nHost: {address}\r\n{header}\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("stream_ready") {
        let mut piece = [0; 1024];
        let length = socket.read(&mut piece).unwrap();
        assert!(length > 0);
        read.extend_from_slice(&piece[..length]);
    }
    socket
}

async fn a_client_that_closes_its_connection_leaves_at_once(way: Way) {
    let app = App::start();
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let mut watcher = ada.listen(&[GENERAL]).await;
    let socket = raw_stream(&app, &ben, way);
    joins(&mut watcher, "Ben").await;
    drop(socket);
    leaves(&mut watcher, "Ben", SOON).await;
}

async fn a_client_that_resets_its_connection_leaves_at_once(way: Way) {
    let app = App::start();
    let (ada, ben) = (Person::on(&app, "Ada", way).await, Person::on(&app, "Ben", way).await);
    let mut watcher = ada.listen(&[GENERAL]).await;
    let socket = raw_stream(&app, &ben, way);
    joins(&mut watcher, "Ben").await;
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    leaves(&mut watcher, "Ben", SOON).await;
}

#[tokio::test]
async fn a_client_that_drops_one_of_its_http2_streams_leaves_at_once_and_keeps_the_others() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let ben = Person::with_client(&app, "Ben", client).await;
    let mut watcher = ada.listen(&[GENERAL, "channel:team"]).await;
    let (general, mut team) = (ben.listen(&[GENERAL]).await, ben.listen(&["channel:team"]).await);
    joins(&mut watcher, "Ben").await;
    drop(general);
    leaves(&mut watcher, "Ben", SOON).await;
    ben.say("channel:team", "still here").await;
    assert_eq!(team.next_logged().await.data["result"]["content"], "still here");
}

#[tokio::test]
async fn a_client_that_closes_its_http2_connection_leaves_at_once() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let mut watcher = ada.listen(&[GENERAL]).await;
    let ben = Person::with_client(&app, "Ben", Client::builder().http2_prior_knowledge().build().unwrap()).await;
    let stream = ben.listen(&[GENERAL]).await;
    joins(&mut watcher, "Ben").await;
    drop((stream, ben));
    leaves(&mut watcher, "Ben", SOON).await;
}

async fn no_descriptor_and_no_stream_is_left_of_those_who_are_gone(way: Way) {
    let app = App::start();
    let ada = Person::on(&app, "Ada", way).await;
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", app.pid())).unwrap().count();
    let mut watcher = ada.listen(&[GENERAL]).await;
    let before = descriptors();
    for _ in 0..5 {
        let ben = Person::on(&app, "Ben", way).await;
        let sockets: Vec<_> = (0..40).map(|_| raw_stream(&app, &ben, way)).collect();
        drop(sockets);
        leaves(&mut watcher, "Ben", SOON).await;
    }
    crate::support::eventually("all descriptors are closed", || async { (descriptors() <= before + 2).then_some(()) }).await;
    crate::support::eventually("all streams are gone", async || (streams(&app).await == "1").then_some(())).await;
}

/// A host of its own on this machine, whose cable can be pulled.
struct OtherHost {
    name: String,
    /// Where this machine is found from there.
    gateway: String,
}

impl OtherHost {
    fn new() -> Self {
        let id = std::process::id() % 60_000;
        let (name, here, there) = (format!("persona{id}"), format!("pa{id}"), format!("pb{id}"));
        let (a, b) = (id / 250, id % 250);
        let host = Self { name: name.clone(), gateway: format!("10.{}.{b}.1", 2 + a % 250) };
        let peer = format!("10.{}.{b}.2", 2 + a % 250);
        for command in [
            format!("ip netns add {name}"),
            format!("ip link add {here} type veth peer name {there} netns {name}"),
            format!("ip addr add {}/30 dev {here}", host.gateway),
            format!("ip link set {here} up"),
            format!("ip -n {name} addr add {peer}/30 dev {there}"),
            format!("ip -n {name} link set {there} up"),
        ] {
            run(&command);
        }
        host
    }

    /// A client there, which speaks the protocol that the option says.
    fn stream(&self, app: &App, token: &str, protocol: &str) -> Child {
        let (scheme, port) = (app.url.split(':').next().unwrap(), app.address.port());
        let url = format!("{scheme}://{}:{port}/api/events?channel={GENERAL}&access_token={token}", self.gateway);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "curl", "-ksN", protocol, &url]).stdout(Stdio::null());
        command.spawn().unwrap()
    }

    fn pull_the_cable(&self) {
        let id = self.name.trim_start_matches("persona");
        run(&format!("ip -n {} link set pb{id} down", self.name));
    }
}

impl Drop for OtherHost {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.name));
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "`{command}` failed; this test makes a network namespace, which needs root and iproute2");
}

#[tokio::test]
async fn half_open_connections_are_found_within_thirty_seconds_whatever_they_speak() {
    let settings = [("PERSONA_LISTEN", "0.0.0.0:0"), ("PERSONA_SECRET", token::SECRET)];
    let (plain, secure) = (App::with(&settings), App::builder(&settings).flag("--dev-tls").start());
    let host = OtherHost::new();
    let token = token::of(&json!({"sub": "ada", "name": "Ada", "exp": token::in_seconds(600)}));
    let clients = [
        (&plain, "--http1.1"),
        // A header that leaves it to the HTTP layer.
        (&plain, "-HHTTP2-Settings: AAMAAABk"),
        (&plain, "--http2-prior-knowledge"),
        (&secure, "--http1.1"),
        (&secure, "--http2"),
    ];
    let mut curls = clients.map(|(app, protocol)| host.stream(app, &token, protocol));
    for (app, all) in [(&plain, "3"), (&secure, "2")] {
        crate::support::eventually("all listen", async || (streams(app).await == all).then_some(())).await;
    }
    host.pull_the_cable();
    let found = tokio::time::timeout(Duration::from_secs(31), async {
        for app in [&plain, &secure] {
            while streams(app).await != "0" {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let found = found.await;
    for curl in &mut curls {
        curl.kill().unwrap();
        curl.wait().unwrap();
    }
    drop(host);
    found.expect("a half-open connection was not found");
}
