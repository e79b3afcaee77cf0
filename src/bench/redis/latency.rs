//! From the sending of a message to its receipt, with the log in memory and in Redis, in turns.
//!
//! Three servers run at once and all viewers stay: what is compared is a turn on one way with the turn on another right beside it. What
//! Redis adds is told of all turns together, and of the pairs. And the servers say how long the stages before the hub took.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{BYTES, Options};
use crate::bench::{
    load::{
        Done, Load, Plan,
        turns::{self, Heard, Way},
    },
    report,
    server::{Server, Took},
};

/// The names are stable.
#[derive(Debug, Serialize)]
pub struct Compared {
    turns: u32,
    memory: Heard,
    redis: Heard,
    /// Whoever listens does so at another instance.
    redis_elsewhere: Heard,
    /// What Redis adds to the log in memory.
    added: Added,
    added_elsewhere: Added,
    stages_in_memory: Stages,
    stages_in_redis: Stages,
}

/// How much later messages are heard on one way than on another, in microseconds.
#[derive(Debug, Serialize)]
struct Added {
    p50_us: i64,
    p99_us: i64,
    /// Until the first viewer hears a message.
    first_p50_us: i64,
    first_p99_us: i64,
    /// Of each turn with the one beside it.
    p50_us_of_turns: Middle,
    p99_us_of_turns: Middle,
}

/// The median of differences, and between which bounds it is with a probability of 95 %.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Middle {
    low: i64,
    median: i64,
    high: i64,
}

/// What the server that was told the messages says of them.
#[derive(Debug, Serialize)]
struct Stages {
    /// Until a message was durable.
    durable: Took,
    /// And from then until the hub of that server was told.
    told: Took,
}

/// Measures it.
pub async fn compare(options: &Options) -> Result<Compared> {
    let Options { streams, timed, rate, turns, backing, common, .. } = options;
    let (alone, shared) = (backing.without_redis().settings(), backing.settings());
    let memory = Server::start(common, &alone.and(&[])).await?;
    let here = Server::start(common, &shared.and(&[])).await?;
    let elsewhere = Server::start(common, &shared.and(&[])).await?;
    let way = |said: &Server, heard: &Server| Way { said: said.address, heard: heard.address };
    let ways = vec![way(&memory, &memory), way(&here, &here), way(&here, &elsewhere)];
    let plan = turns::Plan { ways, viewers: *streams, timed: *timed, rate: *rate, turns: *turns, bytes: BYTES };
    let mut load = Load::start(&Plan::Turns(plan))?;
    let Done {} = load.stage().await?;
    let heard: Vec<Heard> = load.stage().await?;
    let [in_memory, in_redis, in_redis_elsewhere] = <[Heard; 3]>::try_from(heard).ok().context("a way has gone missing")?;
    Ok(Compared {
        turns: *turns,
        added: Added::by(&in_redis, &in_memory),
        added_elsewhere: Added::by(&in_redis_elsewhere, &in_memory),
        memory: in_memory,
        redis: in_redis,
        redis_elsewhere: in_redis_elsewhere,
        stages_in_memory: Stages::of(&memory).await?,
        stages_in_redis: Stages::of(&here).await?,
    })
}

impl Stages {
    async fn of(server: &Server) -> Result<Self> {
        Ok(Self { durable: server.took("persona_accept_seconds").await?, told: server.took("persona_publish_seconds").await? })
    }

    fn row(&self) -> String {
        let one = |took: &Took| format!("{} / {} / {} µs", took.mean, took.p50, took.p99);
        format!("durable after {}, told to the hub {} later (mean / p50 / p99, at most)", one(&self.durable), one(&self.told))
    }
}

impl Added {
    fn by(with: &Heard, without: &Heard) -> Self {
        let more = |with: u64, without: u64| with.cast_signed() - without.cast_signed();
        let pairs = || with.turns.iter().zip(&without.turns);
        Self {
            p50_us: more(with.all.p50, without.all.p50),
            p99_us: more(with.all.p99, without.all.p99),
            first_p50_us: more(with.first.p50, without.first.p50),
            first_p99_us: more(with.first.p99, without.first.p99),
            p50_us_of_turns: Middle::of(pairs().map(|(with, without)| more(with.p50, without.p50)).collect()),
            p99_us_of_turns: Middle::of(pairs().map(|(with, without)| more(with.p99, without.p99)).collect()),
        }
    }

    fn row(&self) -> String {
        let Self { p50_us, p99_us, first_p50_us, first_p99_us, p50_us_of_turns, p99_us_of_turns } = self;
        let turns = format!("{} / {} µs", p50_us_of_turns.text(), p99_us_of_turns.text());
        format!("{p50_us} / {p99_us} µs; a turn {turns}; until the first has heard it {first_p50_us} / {first_p99_us} µs")
    }
}

impl Middle {
    /// By the ranks of a binomial distribution, which say nothing where there are few.
    fn of(mut differences: Vec<i64>) -> Self {
        differences.sort_unstable();
        let count = differences.len();
        let at = |index: usize| differences.get(index).copied().unwrap_or_default();
        let low = (count as f64 / 2.0 - 0.98 * (count as f64).sqrt()).max(0.0) as usize;
        Self { low: at(low), median: at(count / 2), high: at(count.saturating_sub(1 + low)) }
    }

    fn text(&self) -> String {
        let Self { low, median, high } = self;
        format!("{median} ({low} to {high})")
    }
}

impl Compared {
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let heard = |heard: &Heard| format!("{}; the first after {} / {} µs", report::latency(&heard.all), heard.first.p50, heard.first.p99);
        vec![
            ("turns", format!("{} of a second on each way", self.turns)),
            ("log in memory", heard(&self.memory)),
            ("log in Redis", heard(&self.redis)),
            ("heard elsewhere", heard(&self.redis_elsewhere)),
            ("Redis adds", self.added.row()),
            ("heard elsewhere", self.added_elsewhere.row()),
            ("stages, in memory", self.stages_in_memory.row()),
            ("stages, in Redis", self.stages_in_redis.row()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_differences_has_bounds_that_outliers_dont_move() {
        let middle = Middle::of((0..100).map(|number| if number > 90 { 1_000_000 } else { number }).rev().collect());
        assert_eq!(middle, Middle { low: 40, median: 50, high: 59 });
        assert_eq!(Middle::of(vec![7, -3]), Middle { low: -3, median: 7, high: 7 });
        assert_eq!(Middle::of(Vec::new()), Middle { low: 0, median: 0, high: 0 });
    }
}
