//! The delivery check, run against a server that is killed, stopped and woken at random: what it finds is a failure.
//!
//! The same seed does the same to the server again, in the same order and after the same pauses. `just soak` runs it for as
//! long as somebody likes.

use std::{path::Path, time::Duration};

use persona_community::check::{
    crowd::{Crowd, Plan},
    reader::Manners,
    report::Report,
    verify::Rules,
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::{
    app::App,
    fleet::Fleet,
    installation::{Fault, Installation},
    redis::Redis,
};

/// What every process can suffer.
const PROCESS: [Fault; 4] = [Fault::Kill, Fault::Kill, Fault::Stop, Fault::Freeze(Duration::from_secs(2))];

/// The lease of workers that are processes of their own.
const LEASE: Duration = Duration::from_secs(2);
/// What happens to them: each loses what it ran, and learns of it when it goes on.
const OF_WORKERS: [Fault; 3] = [Fault::Outlast(LEASE), Fault::Outlast(LEASE), Fault::Deposed];

fn plan(installation: &Installation, seed: u64) -> Plan {
    Plan {
        servers: installation.urls(),
        seed,
        rooms: 2,
        people: 4,
        readers: 3,
        visitors: 1,
        thinks: Duration::from_millis(250),
        manners: Manners { cut_after: Some(Duration::from_secs(1)), silence: Duration::from_secs(4) },
        patience: Duration::from_mins(1),
        rules: Rules::default(),
    }
}

/// A server under these settings. Pings come often, so that a stopped server is given up soon.
fn server(settings: &[(&str, &str)]) -> App {
    let own = [("PERSONA_PING_MS", "500"), ("PERSONA_OFFLINE_PACE_MS", "5"), ("PERSONA_LEASE_SECONDS", "5")];
    App::with(&[&own, settings].concat())
}

/// One process, with its log in its memory.
fn alone() -> Installation {
    Installation { servers: vec![server(&[])], workers: Vec::new(), redis: None, way: None, database: None }
}

/// One process, with its log in this Redis.
fn with_redis(redis: Redis) -> Installation {
    Installation { servers: vec![server(&[("REDIS_URL", &redis.url())])], workers: Vec::new(), redis: Some(redis), way: None, database: None }
}

/// So many services and workers, on one database and one Redis, and the folder of their pictures.
fn apart(services: usize, workers: usize) -> (Installation, TempDir) {
    let fleet = Fleet::new();
    let lease = LEASE.as_secs().to_string();
    // Slow enough that replies run when something happens.
    let settings = [("PERSONA_PING_MS", "500"), ("PERSONA_OFFLINE_PACE_MS", "15"), ("PERSONA_LEASE_SECONDS", &lease)];
    let servers = (0..services).map(|_| fleet.service(&settings).start()).collect();
    let workers = (0..workers).map(|_| fleet.worker(&settings).start()).collect();
    let Fleet { way, redis, database, pictures } = fleet;
    (Installation { servers, workers, redis: Some(redis), way: Some(way), database: Some(database) }, pictures)
}

/// What Redis can suffer without losing anything, each for so long at most.
fn of_redis(longest: Duration) -> Vec<Fault> {
    vec![Fault::RedisAway(longest), Fault::RedisFrozen(longest), Fault::RedisFull, Fault::SubscribersCut, Fault::ConnectionsCut]
}

/// One round: a crowd, faults for so long, and nothing may be wrong.
async fn round(mut installation: Installation, seed: u64, faults: &[Fault], lasts: Duration) -> Installation {
    let mut random = SmallRng::seed_from_u64(seed);
    let crowd = Crowd::gather(plan(&installation, seed)).await.unwrap();
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        sleep(Duration::from_millis(random.random_range(300..2_500))).await;
        installation.suffer(faults, &crowd.recorder, &mut random).await;
    }
    let ended = crowd.end().await;
    let report = Report(&ended).to_string();
    println!("{report}");
    if !ended.violations.is_empty() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("delivery-check-{seed}.jsonl"));
        let trace: Vec<String> = ended.recorder.trace().iter().map(ToString::to_string).collect();
        std::fs::write(&path, trace.join("\n")).unwrap();
        panic!("the whole trace is in {}\n{report}", path.display());
    }
    installation
}

#[tokio::test]
async fn one_process_keeps_the_contract_though_it_is_killed_stopped_and_woken_seed_1() {
    round(alone(), 1, &PROCESS, Duration::from_secs(8)).await;
}

#[tokio::test]
async fn one_process_keeps_the_contract_though_it_is_killed_stopped_and_woken_seed_2() {
    round(alone(), 2, &PROCESS, Duration::from_secs(8)).await;
}

#[tokio::test]
async fn with_redis_a_killed_process_leaves_no_gap_at_all_whatever_becomes_of_redis_meanwhile_seed_3() {
    let faults = [&PROCESS[..], &of_redis(Duration::from_secs(3))].concat();
    round(with_redis(Redis::durable()), 3, &faults, Duration::from_secs(10)).await;
}

#[tokio::test]
async fn where_redis_loses_its_data_every_view_is_told_so_and_nothing_else_is_lost_seed_4() {
    let faults = [Fault::RedisForgets, Fault::Kill, Fault::RedisFull, Fault::SubscribersCut];
    round(with_redis(Redis::durable()), 4, &faults, Duration::from_secs(8)).await;
}

#[tokio::test]
async fn two_services_and_two_workers_keep_the_contract_whatever_dies_seed_6() {
    let (installation, _pictures) = apart(2, 2);
    let faults = [&PROCESS[..], &of_redis(Duration::from_secs(3)), &OF_WORKERS, &[Fault::DatabaseAway(Duration::from_secs(3))]].concat();
    round(installation, 6, &faults, Duration::from_secs(12)).await;
}

#[tokio::test]
async fn a_worker_that_wakes_after_its_lease_or_does_not_know_that_it_lost_it_spoils_nothing_seed_7() {
    let (installation, _pictures) = apart(2, 2);
    round(installation, 7, &OF_WORKERS, Duration::from_secs(12)).await;
}

#[tokio::test]
#[ignore = "as long as PERSONA_SOAK_MINUTES says: just soak"]
#[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the product")]
async fn soak() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_mins(number("PERSONA_SOAK_MINUTES", 30));
    let first = number("PERSONA_SOAK_SEED", 1);
    // Longer than the lease, now and then, and up to half a minute without Redis.
    let process = [Fault::Kill, Fault::Stop, Fault::Freeze(Duration::from_secs(10))];
    let all = [&process[..], &of_redis(Duration::from_secs(30))].concat();
    let forgetful = [&process[..], &[Fault::RedisForgets, Fault::RedisFull]].concat();
    for seed in first.. {
        if Instant::now() >= end {
            break;
        }
        let lasts = Duration::from_secs(45);
        match seed % 4 {
            3 => {
                let (installation, _pictures) = apart(3, 3);
                let faults = [&all[..], &OF_WORKERS, &[Fault::DatabaseAway(Duration::from_secs(30))]].concat();
                round(installation, seed, &faults, lasts).await
            }
            0 => round(alone(), seed, &process, lasts).await,
            1 => round(with_redis(Redis::durable()), seed, &all, lasts).await,
            _ => round(with_redis(Redis::durable()), seed, &forgetful, lasts).await,
        };
    }
}

#[tokio::test]
async fn the_command_finds_nothing_wrong_with_a_server_that_is_left_alone_and_says_what_it_did() {
    let app = server(&[]);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_persona"));
    command.args(["check-delivery", "--server", &app.url, "--minutes", "0.05", "--seed", "7", "--people", "3", "--readers", "2"]);
    let ended = command.env_clear().output().await.unwrap();
    let (said, told) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "{said}\n{told}");
    assert!(said.contains("seed 7") && said.contains("nothing is wrong"), "{said}");
    assert!(!said.contains(" 0 messages") && !said.contains(" 0 events told"), "{said}");
}

#[tokio::test]
async fn the_command_fails_where_nobody_serves() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_persona"));
    command.args(["check-delivery", "--server", "http://127.0.0.1:1", "--minutes", "0.01"]);
    let ended = command.env_clear().output().await.unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && told.contains("can't be reached"), "{told}");
}
