//! The queue's rules, one by one; the rest is held by the tests of the whole.

use std::time::Duration;

use diesel::{Connection as _, ExpressionMethods as _, QueryDsl as _, RunQueryDsl as _, SqliteConnection};

use super::{claim::claim, conclude::conclude, enqueue::enqueue, worker};
use crate::{
    id::{JobId, WorkerId},
    job::{AGING, NewJob, Priority, Work},
    store::{
        Conclusion, Then,
        sqlite::{millis, now, schema::job},
    },
};

const LEASE: Duration = Duration::from_secs(30);

fn empty() -> SqliteConnection {
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    crate::store::sqlite::migrate(&mut connection).unwrap();
    connection
}

fn add(connection: &mut SqliteConnection, user: &str) -> JobId {
    let new = NewJob::new(user.parse().unwrap(), Work::Noop {});
    assert!(enqueue(connection, &new).unwrap());
    new.id
}

fn claimed(connection: &mut SqliteConnection, worker: WorkerId, room: usize) -> Vec<(JobId, u32)> {
    claim(connection, worker, room, LEASE).unwrap().jobs.into_iter().map(|job| (job.fence.job, job.fence.attempt)).collect()
}

#[test]
fn users_take_turns_and_each_ones_jobs_keep_their_order() {
    let (mut connection, worker) = (empty(), WorkerId::new());
    let ada: Vec<JobId> = (0..3).map(|_| add(&mut connection, "ada")).collect();
    let ben: Vec<JobId> = (0..2).map(|_| add(&mut connection, "ben")).collect();
    assert_eq!(claimed(&mut connection, worker, 4), [(ada[0], 1), (ben[0], 1), (ada[1], 1), (ben[1], 1)]);
    // Whoever comes now stands in the turn that is being served.
    let eve = add(&mut connection, "eve");
    assert_eq!(claimed(&mut connection, worker, 4), [(ada[2], 1), (eve, 1)]);
    assert_eq!(claimed(&mut connection, worker, 4), []);
}

#[test]
fn a_job_that_failed_is_claimed_again_when_it_is_due_and_not_before() {
    let (mut connection, worker) = (empty(), WorkerId::new());
    let (soon, later) = (add(&mut connection, "ada"), add(&mut connection, "ben"));
    for (job, attempt) in claimed(&mut connection, worker, 2) {
        let pause = if job == soon { Duration::ZERO } else { LEASE };
        let fence = crate::job::Fence { job, attempt };
        let failed = Conclusion::new(fence, Then::Retry { pause, error: "it failed".into(), crash: false });
        assert_eq!(conclude(&mut connection, worker, &[failed]).unwrap(), [true]);
    }
    assert_eq!(claimed(&mut connection, worker, 2), [(soon, 2)]);
    let due = worker::next_look(&mut connection, worker).unwrap().unwrap();
    assert!(due > LEASE / 2 && due <= LEASE, "{later} is due in {due:?}");
}

#[test]
fn who_waits_long_moves_up_however_many_better_ones_come() {
    let (mut connection, worker) = (empty(), WorkerId::new());
    let low = NewJob { priority: Priority::Lowest, ..NewJob::new("ada".parse().unwrap(), Work::Noop {}) };
    assert!(enqueue(&mut connection, &low).unwrap());
    let mut waited = Vec::new();
    for round in 0.. {
        // More come than are claimed, all of a better priority.
        for _ in 0..3 {
            add(&mut connection, "ben");
        }
        if claimed(&mut connection, worker, 2).iter().any(|(job, _)| *job == low.id) {
            break;
        }
        assert!(round < 4, "it starves: {waited:?}");
        let since = job::run_at.eq(now() - millis(AGING));
        waited.push(diesel::update(job::table.find(low.id.as_bytes().as_slice())).set(since).execute(&mut connection).unwrap());
    }
    assert_eq!(waited.len(), 2, "one level for each time");
}
