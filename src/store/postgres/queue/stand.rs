//! Where jobs that are enqueued together stand: in which lines of which lanes, and how far behind the first of them. Pure.
//!
//! Places are counted from one, as in SQL.

use std::collections::{HashMap, hash_map::Entry};

use super::{priority_number, shard_of, turns::Lane};
use crate::job::NewJob;

/// A user's jobs in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Line<'a> {
    pub user: &'a str,
    pub kind: &'a str,
    pub priority: i16,
    pub lane: i32,
}

/// Where one job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub line: i32,
    /// How many of those that are enqueued with it stand before it in its line.
    pub behind: i64,
}

/// Where all of them stand.
#[derive(Debug, Default)]
pub(super) struct Stand<'a> {
    pub lanes: Vec<Lane>,
    pub lines: Vec<Line<'a>>,
    /// Of each job, in their order.
    pub places: Vec<Place>,
}

impl<'a> Stand<'a> {
    pub(super) fn of(jobs: &[&'a NewJob]) -> Self {
        let mut stand = Self::default();
        let (mut lanes, mut lines) = (HashMap::new(), HashMap::new());
        for job in jobs {
            let (user, kind, priority) = (job.user.as_str(), job.work.kind().as_str(), priority_number(job.priority));
            let shard = shard_of(user);
            let lane = *lanes.entry((shard, kind, priority)).or_insert_with(|| {
                stand.lanes.push(Lane { shard, kind: kind.to_owned(), priority });
                place(&stand.lanes)
            });
            let line = Line { user, kind, priority, lane };
            let stands = match lines.entry(line) {
                Entry::Vacant(new) => {
                    stand.lines.push(line);
                    *new.insert(Place { line: place(&stand.lines), behind: 0 })
                }
                Entry::Occupied(mut last) => {
                    last.get_mut().behind += 1;
                    *last.get()
                }
            };
            stand.places.push(stands);
        }
        stand
    }
}

/// The place of the last of them. There are no more than jobs in one statement.
fn place<T>(of: &[T]) -> i32 {
    i32::try_from(of.len()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Priority, Work};

    #[test]
    fn each_job_stands_behind_those_of_its_user_kind_and_priority() {
        let job = |user: &str, priority| NewJob { priority, ..NewJob::new(user.parse().unwrap(), Work::Noop {}) };
        let jobs = [("ada", Priority::Normal), ("ben", Priority::Normal), ("ada", Priority::Normal), ("ada", Priority::Low)];
        let jobs: Vec<NewJob> = jobs.into_iter().map(|(user, priority)| job(user, priority)).collect();
        let stand = Stand::of(&jobs.iter().collect::<Vec<_>>());
        let place = |line, behind| Place { line, behind };
        assert_eq!(stand.places, [place(1, 0), place(2, 0), place(1, 1), place(3, 0)]);
        assert_eq!(stand.lines.iter().map(|line| (line.user, line.priority)).collect::<Vec<_>>(), [("ada", 0), ("ben", 0), ("ada", 1)]);
        for line in &stand.lines {
            let lane = &stand.lanes[line.lane as usize - 1];
            assert_eq!((lane.shard, lane.priority), (shard_of(line.user), line.priority));
        }
    }
}
