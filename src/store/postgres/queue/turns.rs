//! Turns: the places in line that are given to jobs which become available.
//!
//! Nobody starts behind the turn that is being served, and each waiting job of a user stands one turn after the other.

use std::collections::{BTreeSet, HashMap};

use diesel::{
    result::Error,
    sql_types::{Array, BigInt, SmallInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::shard_of;
use crate::store::postgres::{literal::statement, pipeline::both};

/// Where available jobs stand in line: those of a kind and priority, of the users of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Lane {
    pub shard: i16,
    pub kind: String,
    pub priority: i16,
}

/// A user's jobs in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Line {
    pub user: String,
    pub kind: String,
    pub priority: i16,
}

impl Line {
    fn lane(&self) -> Lane {
        Lane { shard: shard_of(&self.user), kind: self.kind.clone(), priority: self.priority }
    }
}

/// The next turn of each line.
pub(super) struct Turns(HashMap<Line, i64>);

impl Turns {
    /// Reads what the next turns of these lines are. Makes the lanes that aren't there.
    pub(super) async fn read(connection: &AsyncPgConnection, lines: BTreeSet<Line>) -> Result<Self, Error> {
        let (low, last) = both(low(connection, &lines), last(connection, &lines)).await?;
        let next = |line: Line| {
            let (low, after) = (low.get(&line.lane()).copied(), last.get(&line).map(|last| last + 1));
            let turn = low.unwrap_or(0).max(after.unwrap_or(0));
            (line, turn)
        };
        Ok(Self(lines.into_iter().map(next).collect()))
    }

    /// Gives out the next turn of a line.
    pub(super) fn take(&mut self, line: Line) -> i64 {
        let next = self.0.entry(line).or_insert(0);
        *next += 1;
        *next - 1
    }
}

const LOW: &str = "select l.shard, l.kind, l.priority, l.low from unnest($1, $2, $3) as asked (shard, kind, priority)
    join queue_lane l on l.shard = asked.shard and l.kind = asked.kind and l.priority = asked.priority";

async fn low(mut connection: &AsyncPgConnection, lines: &BTreeSet<Line>) -> Result<HashMap<Lane, i64>, Error> {
    let lanes: BTreeSet<Lane> = lines.iter().map(Line::lane).collect();
    let (shards, kinds, priorities) = columns(&lanes);
    let asked = statement::<(SmallInt, Text, SmallInt, BigInt)>(LOW).bind::<Array<SmallInt>, _>(shards).bind::<Array<Text>, _>(kinds);
    let rows: Vec<(i16, String, i16, i64)> = asked.bind::<Array<SmallInt>, _>(priorities).load(&mut connection).await?;
    let low: HashMap<Lane, i64> = rows.into_iter().map(|(shard, kind, priority, low)| (Lane { shard, kind, priority }, low)).collect();
    let missing: BTreeSet<Lane> = lanes.into_iter().filter(|lane| !low.contains_key(lane)).collect();
    if !missing.is_empty() {
        add(connection, &missing).await?;
    }
    Ok(low)
}

/// Makes those of these lanes that aren't there.
pub(super) async fn make(connection: &AsyncPgConnection, lanes: &[Lane]) -> Result<(), Error> {
    add(connection, &lanes.iter().cloned().collect()).await
}

const ADD_SHARDS: &str = "insert into queue_shard (shard) select * from unnest($1) on conflict (shard) do nothing";
const ADD_LANES: &str =
    "insert into queue_lane (shard, kind, priority) select * from unnest($1, $2, $3) on conflict (shard, kind, priority) do nothing";

async fn add(mut connection: &AsyncPgConnection, lanes: &BTreeSet<Lane>) -> Result<(), Error> {
    let (shards, kinds, priorities) = columns(lanes);
    let distinct: Vec<i16> = shards.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    statement::<()>(ADD_SHARDS).bind::<Array<SmallInt>, _>(distinct).execute(&mut connection).await?;
    let add = statement::<()>(ADD_LANES).bind::<Array<SmallInt>, _>(shards).bind::<Array<Text>, _>(kinds);
    add.bind::<Array<SmallInt>, _>(priorities).execute(&mut connection).await.map(drop)
}

fn columns(lanes: &BTreeSet<Lane>) -> (Vec<i16>, Vec<&str>, Vec<i16>) {
    let shards = lanes.iter().map(|lane| lane.shard).collect();
    let kinds = lanes.iter().map(|lane| lane.kind.as_str()).collect();
    (shards, kinds, lanes.iter().map(|lane| lane.priority).collect())
}

const LAST: &str = "select asked.user_id, asked.kind, asked.priority, j.turn from unnest($1, $2, $3) as asked (user_id, kind, priority)
    cross join lateral (select job.turn from job where job.user_id = asked.user_id and job.state = 0 and job.kind = asked.kind
        and job.priority = asked.priority order by job.turn desc limit 1) j";

async fn last(mut connection: &AsyncPgConnection, lines: &BTreeSet<Line>) -> Result<HashMap<Line, i64>, Error> {
    let users: Vec<&str> = lines.iter().map(|line| line.user.as_str()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line.kind.as_str()).collect();
    let priorities: Vec<i16> = lines.iter().map(|line| line.priority).collect();
    let asked = statement::<(Text, Text, SmallInt, BigInt)>(LAST).bind::<Array<Text>, _>(users).bind::<Array<Text>, _>(kinds);
    let rows: Vec<(String, String, i16, i64)> = asked.bind::<Array<SmallInt>, _>(priorities).load(&mut connection).await?;
    Ok(rows.into_iter().map(|(user, kind, priority, turn)| (Line { user, kind, priority }, turn)).collect())
}

const MOVE: &str = "update queue_lane set low = moved.low from unnest($1, $2, $3, $4) as moved (shard, kind, priority, low)
    where queue_lane.shard = moved.shard and queue_lane.kind = moved.kind and queue_lane.priority = moved.priority";
const LOWER: &str = "update queue_lane set low = moved.low from unnest($1, $2, $3, $4) as moved (shard, kind, priority, low)
    where queue_lane.shard = moved.shard and queue_lane.kind = moved.kind and queue_lane.priority = moved.priority and queue_lane.low > moved.low";

/// The turns that are being served.
pub(super) async fn serve(connection: &AsyncPgConnection, lanes: &[(Lane, i64)]) -> Result<(), Error> {
    set(connection, MOVE, lanes).await
}

/// Jobs with these turns have come back: whoever looks has to see them.
pub(super) async fn reach_back(connection: &AsyncPgConnection, lanes: &[(Lane, i64)]) -> Result<(), Error> {
    set(connection, LOWER, lanes).await
}

async fn set(mut connection: &AsyncPgConnection, sql: &'static str, lanes: &[(Lane, i64)]) -> Result<(), Error> {
    if lanes.is_empty() {
        return Ok(());
    }
    let set = statement::<()>(sql)
        .bind::<Array<SmallInt>, _>(lanes.iter().map(|(lane, _)| lane.shard).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(lanes.iter().map(|(lane, _)| lane.kind.as_str()).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(lanes.iter().map(|(lane, _)| lane.priority).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(lanes.iter().map(|(_, low)| *low).collect::<Vec<_>>());
    set.execute(&mut connection).await.map(drop)
}
