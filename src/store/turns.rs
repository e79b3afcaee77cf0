//! Whose turn it is: which of the waiting jobs begin, within all limits.
//!
//! Users take turns. Each waiting job of a user stands one turn behind the one before, and whoever comes new stands in the
//! turn that is being served; so the jobs of lowest turn are one of each user, and who has many waiting delays nobody by more
//! than one round. Kinds take turns in the same way, and a better priority comes first. Pure: keys are chosen here, before any
//! row is touched; refuses to know how they are read.

use std::collections::HashMap;

use crate::id::JobId;

/// A waiting job, as far as its turn goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub id: JobId,
    pub kind: String,
    pub user: String,
    pub priority: i16,
    pub turn: i64,
}

/// How many more may run.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// By kind, where that is limited: how many more.
    pub kinds: HashMap<String, i64>,
    /// The most a user may run, where that is limited.
    pub each_user: Option<i64>,
    /// How many jobs each user runs; needed only where that is limited.
    pub running: HashMap<String, i64>,
}

/// What was chosen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// In the order in which they should begin.
    pub jobs: Vec<JobId>,
    /// How many candidates were passed over because their user runs enough.
    pub passed_over: usize,
}

/// Chooses up to `room` of the candidates.
pub(super) fn choose(candidates: &[Candidate], room: usize, allowance: &Allowance) -> Choice {
    let mut first: HashMap<(&str, i16), i64> = HashMap::new();
    for Candidate { kind, priority, turn, .. } in candidates {
        first.entry((kind, *priority)).and_modify(|first| *first = *turn.min(first)).or_insert(*turn);
    }
    // Turns of different kinds say nothing about each other; how far each is behind its first does.
    let mut order: Vec<_> = candidates.iter().map(|job| (job.priority, job.turn - first[&(job.kind.as_str(), job.priority)], job.id, job)).collect();
    order.sort_unstable_by_key(|(priority, behind, id, _)| (*priority, *behind, *id));

    let mut kinds: HashMap<&str, i64> = allowance.kinds.iter().map(|(kind, left)| (kind.as_str(), *left)).collect();
    let mut users: HashMap<&str, i64> = HashMap::new();
    let mut choice = Choice::default();
    for (_, _, id, job) in order {
        if choice.jobs.len() == room {
            break;
        }
        let kind = kinds.get_mut(job.kind.as_str());
        if kind.as_ref().is_some_and(|left| **left <= 0) {
            continue;
        }
        if let Some(most) = allowance.each_user {
            let runs = users.entry(&job.user).or_insert_with(|| allowance.running.get(&job.user).copied().unwrap_or(0));
            if *runs >= most {
                choice.passed_over += 1;
                continue;
            }
            *runs += 1;
        }
        if let Some(left) = kind {
            *left -= 1;
        }
        choice.jobs.push(id);
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(kind: &str, user: &str, priority: i16, turn: i64) -> Candidate {
        Candidate { id: JobId::new(), kind: kind.into(), user: user.into(), priority, turn }
    }

    fn chosen<'a>(candidates: &'a [Candidate], room: usize, allowance: &Allowance) -> Vec<(&'a str, &'a str)> {
        let find = |id: &JobId| candidates.iter().find(|job| job.id == *id).unwrap();
        choose(candidates, room, allowance).jobs.iter().map(find).map(|job| (job.kind.as_str(), job.user.as_str())).collect()
    }

    #[test]
    fn users_and_kinds_take_turns_and_a_better_priority_comes_first() {
        let jobs = [job("a", "ada", 0, 7), job("a", "ada", 0, 8), job("a", "ben", 0, 8), job("b", "eve", 0, 1000), job("a", "fay", 1, 0)];
        assert_eq!(chosen(&jobs, 9, &Allowance::default()), [("a", "ada"), ("b", "eve"), ("a", "ada"), ("a", "ben"), ("a", "fay")]);
        assert_eq!(chosen(&jobs, 1, &Allowance::default()), [("a", "ada")]);
    }

    #[test]
    fn nobody_runs_more_than_a_limit_lets() {
        let jobs: Vec<Candidate> =
            (0..6).map(|turn| job(if turn % 2 == 0 { "a" } else { "b" }, if turn < 4 { "ada" } else { "ben" }, 0, turn)).collect();
        let of_kind = Allowance { kinds: [("a".to_owned(), 1), ("b".to_owned(), -1)].into(), ..Allowance::default() };
        assert_eq!(chosen(&jobs, 9, &of_kind), [("a", "ada")]);
        let of_user = Allowance { each_user: Some(2), running: [("ada".to_owned(), 1)].into(), ..Allowance::default() };
        assert_eq!(chosen(&jobs, 9, &of_user), [("a", "ada"), ("a", "ben"), ("b", "ben")]);
        assert_eq!(choose(&jobs, 9, &of_user).passed_over, 3);
    }
}
