//! The queue's rules, one by one; the rest is held by the tests of the whole.

use std::time::Duration;

use diesel::{Connection as _, SqliteConnection};

use super::{claim::claim, conclude::conclude, enqueue::enqueue, worker};
use crate::{
    id::{JobId, WorkerId},
    job::{NewJob, Work},
    store::{Conclusion, Then},
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
