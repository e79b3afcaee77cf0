//! Readers who are gone without a word are noticed, and leave their rooms.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::Client;

use crate::support::{
    app::App,
    person::{GENERAL, Person},
    sse::Stream,
};

/// Far less than the time to the first ping: whatever is noticed within it was not found by writing.
const SOON: Duration = Duration::from_secs(6);

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

/// A stream on a bare socket, read up to its first event.
fn raw_stream(app: &App, person: &Person) -> TcpStream {
    let mut socket = TcpStream::connect(app.address).unwrap();
    let head = format!("GET /api/events?channel={GENERAL}&access_token={} HTTP/1.1\r\nHost: {}\r\n\r\n", person.token, app.address);
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

#[tokio::test]
async fn a_client_that_closes_its_connection_leaves_at_once() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let mut watcher = ada.listen(&[GENERAL]).await;
    let socket = raw_stream(&app, &ben);
    joins(&mut watcher, "Ben").await;
    drop(socket);
    leaves(&mut watcher, "Ben", SOON).await;
}

#[tokio::test]
async fn a_client_that_resets_its_connection_leaves_at_once() {
    let app = App::start();
    let (ada, ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    let mut watcher = ada.listen(&[GENERAL]).await;
    let socket = raw_stream(&app, &ben);
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

#[tokio::test]
async fn no_descriptor_and_no_stream_is_left_of_those_who_are_gone() {
    let app = App::start();
    let ada = Person::new(&app, "Ada").await;
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", app.pid())).unwrap().count();
    let mut watcher = ada.listen(&[GENERAL]).await;
    let before = descriptors();
    for _ in 0..5 {
        let ben = Person::new(&app, "Ben").await;
        let sockets: Vec<_> = (0..40).map(|_| raw_stream(&app, &ben)).collect();
        drop(sockets);
        leaves(&mut watcher, "Ben", SOON).await;
    }
    crate::support::eventually("all descriptors are closed", || async { (descriptors() <= before + 2).then_some(()) }).await;
    let metrics = ada.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\npersona_streams 1\n"), "{metrics}");
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

    fn stream(&self, app: &App, person: &Person) -> Child {
        let url = format!("http://{}:{}/api/events?channel={GENERAL}&access_token={}", self.gateway, app.address.port(), person.token);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "curl", "-sN", &url]).stdout(Stdio::null());
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
async fn a_half_open_connection_is_found_within_thirty_seconds() {
    let app = App::with(&[("PERSONA_LISTEN", "0.0.0.0:0")]);
    let local = format!("http://127.0.0.1:{}", app.address.port());
    let (mut ada, mut ben) = (Person::new(&app, "Ada").await, Person::new(&app, "Ben").await);
    ada.url.clone_from(&local);
    ben.url = local;
    let mut watcher = ada.listen(&[GENERAL]).await;
    let host = OtherHost::new();
    let mut curl = host.stream(&app, &ben);
    joins(&mut watcher, "Ben").await;
    host.pull_the_cable();
    let left =
        tokio::time::timeout(Duration::from_secs(31), async { while watcher.next_of_patiently("presence").await.data["status"] != "leave" {} });
    let found = left.await;
    curl.kill().unwrap();
    curl.wait().unwrap();
    drop(host);
    found.expect("the half-open connection was not found");
}
