//! Out of the queue: a worker's next jobs.

use std::{collections::HashMap, time::Duration};

use diesel::{
    RunQueryDsl, SqliteConnection,
    result::Error,
    sql_types::{BigInt, Binary, Bool, Integer, Text},
};

use super::{ClaimedRow, enqueue::promote, limited, limits, listed, worker};
use crate::{
    id::{JobId, WorkerId},
    job::Claimed,
    store::{
        Batch,
        sqlite::{
            id_bytes,
            literal::{Bind, Statement},
            now,
        },
        turns::{Candidate, choose},
    },
};

/// How far it looks beyond those whose users already run as much as they may.
const FAR: usize = 10_000;

pub(super) fn claim(connection: &mut SqliteConnection, worker: WorkerId, room: usize, lease: Duration) -> Result<Batch, Error> {
    let now = now();
    promote(connection, now)?;
    let (chosen, more) = chosen(connection, room)?;
    if chosen.is_empty() {
        return Ok(Batch { more, ..Batch::default() });
    }
    if !worker::register(connection, worker, lease)? {
        return Ok(Batch { lost: true, ..Batch::default() });
    }
    let ids = listed(&chosen)?;
    let binds = [Bind::Bytes(worker.as_bytes()), Bind::Number(now), Bind::Text(&ids)];
    let rows: Vec<ClaimedRow> = Statement::<Returned>::new(BEGIN, binds).load(connection)?;
    let mut jobs: Vec<Claimed> = rows.into_iter().map(ClaimedRow::read).collect::<Result<_, _>>()?;
    let order: HashMap<JobId, usize> = chosen.into_iter().enumerate().map(|(place, id)| (id, place)).collect();
    jobs.sort_unstable_by_key(|job| order.get(&job.fence.job).copied());
    Ok(Batch { jobs, more, renewed: true, lost: false })
}

/// The jobs to begin, and whether others wait besides.
fn chosen(connection: &mut SqliteConnection, room: usize) -> Result<(Vec<JobId>, bool), Error> {
    let kinds: Vec<String> = Statement::<Text>::new(KINDS, []).load(connection)?;
    if kinds.is_empty() {
        return Ok((Vec::new(), false));
    }
    let allowance = limits::allowance(connection)?;
    let mut depth = room + 1;
    loop {
        let mut candidates = Vec::new();
        let mut full = false;
        for kind in &kinds {
            if allowance.kinds.get(kind).is_none_or(|left| *left > 0) {
                let rows = lane(connection, kind, depth)?;
                full |= rows.len() == depth;
                candidates.extend(rows);
            }
        }
        let choice = choose(&candidates, room, &allowance);
        if choice.jobs.len() < room && choice.passed_over > 0 && full && depth < FAR {
            depth = FAR;
            continue;
        }
        let more = choice.jobs.len() == room && candidates.len() > room;
        return Ok((choice.jobs, more));
    }
}

/// The first waiting jobs of a kind.
fn lane(connection: &mut SqliteConnection, kind: &str, depth: usize) -> Result<Vec<Candidate>, Error> {
    type Row = (Binary, Text, Integer, BigInt);
    let binds = [Bind::Text(kind), Bind::Number(limited(depth))];
    let rows: Vec<(Vec<u8>, String, i32, i64)> = Statement::<Row>::new(LANE, binds).load(connection)?;
    let read = |(id, user, priority, turn): (Vec<u8>, String, i32, i64)| {
        Ok(Candidate { id: JobId::from_bytes(id_bytes(&id)?), kind: kind.to_owned(), user, priority: priority as i16, turn })
    };
    rows.into_iter().map(read).collect()
}

/// The kinds of which something is available: one step of the index each.
const KINDS: &str = "with recursive waiting(kind) as (
        select * from (select kind from job where state = 0 order by kind limit 1)
        union all
        select (select kind from job where state = 0 and kind > waiting.kind order by kind limit 1) from waiting where waiting.kind is not null)
    select kind from waiting where kind is not null";

/// The sum keeps SQLite from planning the statement anew for each limit.
const LANE: &str = "select id, user_id, priority, turn from job where state = 0 and kind = ? order by priority, turn, id limit ? + 0";

/// What `ClaimedRow` reads.
type Returned = (Binary, Text, Integer, Integer, Integer, Bool, BigInt, Text);

const BEGIN: &str = "update job set state = 3, attempt = attempt + 1, tries = tries + 1, worker = ?, started_at = ?, error = null
    where id in (select unhex(given.value) from json_each(?) as given)
    returning id, user_id, attempt, failures, crashes, cancel_asked, coalesce(waits_since, run_at), work";
