//! A test that is killed leaves no server behind.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
};

use crate::support::{app::App, eventually, redis::Redis};

/// Tells the test below that it is the one to be killed.
const TO_BE_KILLED: &str = "PERSONA_TEST_TO_BE_KILLED";

#[tokio::test]
async fn a_test_that_is_killed_takes_its_servers_with_it() {
    if std::env::var_os(TO_BE_KILLED).is_some() {
        return start_servers_and_wait();
    }
    let name = "orphans::a_test_that_is_killed_takes_its_servers_with_it";
    let mut test = Command::new(std::env::current_exe().unwrap());
    let mut test = test.args(["--exact", name, "--nocapture"]).env(TO_BE_KILLED, "").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
    let servers: Vec<String> = lines.by_ref().filter_map(|line| Some(line.split_once("server ")?.1.to_owned())).take(2).collect();
    assert!(servers.len() == 2 && servers.iter().all(|server| lives(server)), "{servers:?}");
    test.kill().unwrap();
    test.wait().unwrap();
    eventually("the servers are gone", async || (!servers.iter().any(|server| lives(server))).then_some(())).await;
}

/// One that was started again by a thread that is no more, and one that can't be asked to end.
fn start_servers_and_wait() {
    let app = App::start();
    let app = thread::spawn(|| app.restart()).join().unwrap();
    let redis = Redis::start();
    redis.signal("STOP");
    println!("\nserver {}\nserver {}", app.pid(), redis.pid());
    loop {
        thread::park();
    }
}

fn lives(pid: &str) -> bool {
    // What has ended and is not yet waited for is a zombie.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
