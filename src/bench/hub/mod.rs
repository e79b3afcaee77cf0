//! `persona bench hub`: what it costs to tell a message to many streams, and how long it takes.
//!
//! A bare loop of `send()` is given the same load, so that every figure has its floor. The latency of a message has its way to the
//! disk in it, so there is a second floor that takes this way too. All run side by side and are talked to in turns: what a
//! machine does meanwhile that it shares with others, all of them suffer alike.

mod subject;

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use clap::{
    Args,
    builder::{RangedU64ValueParser, TypedValueParser as _},
};
use serde::Serialize;

use self::subject::{Figures, Ratios, Subject};
use super::{
    Common,
    load::{dialect::Dialect, streams::Plan, tally::Delivered},
    report,
    server::Server,
};

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Event streams
    #[arg(long, default_value = "1000", value_parser = at_least_one(), value_name = "COUNT")]
    streams: usize,
    /// Users whose streams they are; each has one, where nothing is said
    #[arg(long, value_parser = at_least_one(), value_name = "COUNT")]
    users: Option<usize>,
    /// Rooms that the streams are spread over
    #[arg(long, default_value = "1", value_parser = at_least_one(), value_name = "COUNT")]
    rooms: usize,
    /// Rooms of one stream, no more than there are
    #[arg(long, default_value = "1", value_parser = RangedU64ValueParser::<u64>::new().range(1..=64).map(|count| count as usize), value_name = "COUNT")]
    rooms_each: usize,
    /// Messages a second, in all rooms together
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "COUNT")]
    rate: u32,
    /// So many of them are sent at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024), value_name = "COUNT")]
    burst: u32,
    /// How long messages are sent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), value_name = "SECONDS")]
    seconds: u32,
    /// In so many turns, each of all servers that are measured
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "COUNT")]
    turns: u32,
    /// How long a message is
    #[arg(long, default_value_t = 200, value_name = "BYTES")]
    bytes: usize,
    /// How often all streams are cut and come back at once
    #[arg(long, default_value = "1", value_parser = at_least_one(), value_name = "COUNT")]
    comebacks: usize,
    /// Measure no floor
    #[arg(long)]
    no_floor: bool,
    /// Measure another server beside it, which runs there
    #[arg(long, requires = "processes", value_name = "ADDRESS")]
    server: Option<SocketAddr>,
    /// Its processes, by their ids
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    processes: Vec<u32>,
    /// How it is spoken to
    #[arg(long, value_enum, default_value = "persona")]
    dialect: Dialect,
    #[command(flatten)]
    common: Common,
}

pub(super) fn at_least_one() -> impl clap::builder::TypedValueParser<Value = usize> {
    RangedU64ValueParser::<u64>::new().range(1..=1_000_000).map(|count| count as usize)
}

#[derive(Debug, Serialize)]
struct Outcome {
    benchmark: &'static str,
    streams: usize,
    users: usize,
    rooms: usize,
    rooms_each: usize,
    rate: u32,
    burst: u32,
    turns: u32,
    content_bytes: usize,
    http_threads: usize,
    #[serde(flatten)]
    figures: Figures,
    floor: Option<Figures>,
    to_floor: Option<Ratios>,
    /// The floor that makes each message durable before it is told.
    durable_floor: Option<Figures>,
    to_durable_floor: Option<Ratios>,
    /// The other server.
    peer: Option<Figures>,
    to_peer: Option<Ratios>,
}

/// Measures the hub.
pub async fn run(options: Options) -> Result<()> {
    let Options { streams, users, rooms, rooms_each, rate, burst, seconds, turns, bytes, comebacks, no_floor, server, processes, dialect, common } =
        options;
    ensure!(rooms_each <= rooms, "a stream can't have more rooms than there are");
    let users = users.unwrap_or(streams).min(streams);
    let plan = |server: &Server, dialect: Dialect| {
        let (server, comebacks) = (server.address, if dialect == Dialect::Persona { comebacks } else { 1 });
        Plan { server, beside: None, dialect, streams, users, rooms, rooms_each, rate, burst, seconds, turns, bytes, comebacks }
    };
    let own = Some((Server::start(&common, &[]).await?, Dialect::Persona));
    let peer = server.map(|address| (Server::running(address, processes), dialect));
    let (mut floor, mut durable_floor) = (None, None);
    if !no_floor && rooms_each == 1 {
        floor = Some((Server::bare(&common).await?, Dialect::Bare));
        durable_floor = Some((Server::durable_bare(&common).await?, Dialect::Bare));
    }
    let [figures, peer, floor, durable_floor] = in_turns([own, peer, floor, durable_floor], plan).await?;
    let figures = figures.context("nothing was measured")?;
    let outcome = Outcome {
        benchmark: "hub",
        streams,
        users,
        rooms,
        rooms_each,
        rate,
        burst,
        turns,
        content_bytes: bytes,
        http_threads: common.http_threads,
        to_floor: floor.as_ref().map(|floor| figures.to(floor)),
        floor,
        to_durable_floor: durable_floor.as_ref().map(|floor| figures.to(floor)),
        durable_floor,
        to_peer: peer.as_ref().map(|peer| figures.to(peer)),
        peer,
        figures,
    };
    report::print(common.json, &outcome, &outcome.rows())?;
    for Figures { delivered: Delivered { missed, duplicates, .. }, .. } in
        outcome.floor.iter().chain(&outcome.durable_floor).chain([&outcome.figures])
    {
        ensure!(missed + duplicates == 0, "the figures are void: {missed} deliveries were missed and {duplicates} came twice");
    }
    Ok(())
}

/// Gives all the same load, one turn each after the other.
async fn in_turns<const COUNT: usize>(
    servers: [Option<(Server, Dialect)>; COUNT],
    plan: impl Fn(&Server, Dialect) -> Plan,
) -> Result<[Option<Figures>; COUNT]> {
    let (mut subjects, mut turns) = ([const { None::<Subject> }; COUNT], 0);
    for (subject, (server, dialect)) in subjects.iter_mut().zip(servers).filter_map(|(subject, server)| Some((subject, server?))) {
        let plan = plan(&server, dialect);
        turns = plan.turns();
        *subject = Some(Subject::open(server, plan).await?);
    }
    for _ in 0..turns {
        for subject in subjects.iter_mut().flatten() {
            subject.turn().await?;
        }
    }
    let mut figures = [const { None }; COUNT];
    for (figures, subject) in figures.iter_mut().zip(subjects).filter_map(|(figures, subject)| Some((figures, subject?))) {
        *figures = Some(subject.finish().await?);
    }
    Ok(figures)
}

impl Outcome {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = self.figures.rows();
        let others = [
            ("a bare send() loop", &self.floor, &self.to_floor),
            ("one with a flush", &self.durable_floor, &self.to_durable_floor),
            ("the other server", &self.peer, &self.to_peer),
        ];
        for (name, other, ratios) in others {
            let (Some(other), Some(ratios)) = (other, ratios) else { continue };
            rows.extend([("", String::new()), (name, String::new())]);
            rows.extend(other.rows());
            rows.extend(ratios.rows());
        }
        rows
    }
}
