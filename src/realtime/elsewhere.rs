//! Who is in a room at other processes, as far as this one has heard.
//!
//! Each process's people are a crowd with a version. What continues its version is taken; what does not is a reason to ask
//! for everybody. A process that is not spoken of any more is believed for a moment longer: it may be about to say so anew.
//! Pure: time comes in as an argument.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::{
    event::Person,
    id::UserId,
    log::elsewhere::{Changes, Crowd, Instance},
};

/// How long a process is believed that is not spoken of.
const BELIEVED: Duration = Duration::from_secs(4);

/// The crowds of other processes.
#[derive(Debug, Default)]
pub struct Elsewhere {
    crowds: HashMap<Instance, Known>,
}

#[derive(Debug, Default)]
struct Known {
    version: u64,
    users: HashSet<UserId>,
    missing_since: Option<Instant>,
}

/// Who is at one more process, and who at one less; once for each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shift {
    pub more: Vec<Person>,
    pub less: Vec<UserId>,
}

impl Elsewhere {
    /// Takes everybody, as the log has them.
    pub fn take(&mut self, crowds: Vec<Crowd>, now: Instant) -> Shift {
        let mut shift = Shift::default();
        let named: Vec<(Instance, u64)> = crowds.iter().map(|crowd| (crowd.at, crowd.version)).collect();
        for Crowd { at, version, people } in crowds {
            let known = self.crowds.entry(at).or_default();
            // What was asked for may come after what was said since.
            if version < known.version {
                continue;
            }
            let users: HashSet<UserId> = people.iter().map(|person| person.user_id.clone()).collect();
            shift.less.extend(known.users.difference(&users).cloned());
            shift.more.extend(people.into_iter().filter(|person| !known.users.contains(&person.user_id)));
            *known = Known { version, users, missing_since: None };
        }
        self.miss(&named, now);
        shift
    }

    /// Takes who has come to a process and who has gone. Nothing where something that was said before is not known.
    pub fn change(&mut self, at: Instance, version: u64, changes: Changes) -> Option<Shift> {
        let known = self.crowds.get_mut(&at)?;
        known.missing_since = None;
        if version <= known.version {
            return Some(Shift::default());
        }
        if version > known.version + 1 {
            return None;
        }
        known.version = version;
        let Changes { joined, left } = changes;
        let less = left.into_iter().filter(|user| known.users.remove(user)).collect();
        let more = joined.into_iter().filter(|person| known.users.insert(person.user_id.clone())).collect();
        Some(Shift { more, less })
    }

    /// The log has these versions. Says whether something is not known.
    pub fn compare(&mut self, versions: &[(Instance, u64)], now: Instant) -> bool {
        self.miss(versions, now);
        versions.iter().any(|(at, version)| self.crowds.get(at).is_none_or(|known| known.version < *version))
    }

    fn miss(&mut self, named: &[(Instance, u64)], now: Instant) {
        for (at, known) in &mut self.crowds {
            if named.iter().any(|(named, _)| named == at) {
                known.missing_since = None;
            } else {
                known.missing_since.get_or_insert(now);
            }
        }
    }

    /// Those of processes that have been missing for too long.
    pub fn gone(&mut self, now: Instant) -> Vec<UserId> {
        let is_gone = |known: &Known| known.missing_since.is_some_and(|since| now.duration_since(since) >= BELIEVED);
        self.crowds.extract_if(|_, known| is_gone(known)).flat_map(|(_, known)| known.users).collect()
    }

    /// When [`Self::gone`] is worth asking again.
    #[must_use]
    pub fn next_gone(&self) -> Option<Instant> {
        self.crowds.values().filter_map(|known| known.missing_since).min().map(|since| since + BELIEVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> Person {
        Person { user_id: name.parse().unwrap(), user_name: name.into() }
    }

    fn crowd(at: Instance, version: u64, names: &[&str]) -> Crowd {
        Crowd { at, version, people: names.iter().map(|name| person(name)).collect() }
    }

    fn changes(joined: &[&str], left: &[&str]) -> Changes {
        Changes { joined: joined.iter().map(|name| person(name)).collect(), left: left.iter().map(|name| name.parse().unwrap()).collect() }
    }

    fn shift(more: &[&str], less: &[&str]) -> Shift {
        Shift { more: more.iter().map(|name| person(name)).collect(), less: less.iter().map(|name| name.parse().unwrap()).collect() }
    }

    #[test]
    fn what_continues_a_version_is_taken_and_what_does_not_is_asked_for() {
        let (mut elsewhere, at, now) = (Elsewhere::default(), Instance::new(), Instant::now());
        assert_eq!(elsewhere.change(at, 5, changes(&["ada"], &[])), None);
        assert_eq!(elsewhere.take(vec![crowd(at, 5, &["ada"])], now), shift(&["ada"], &[]));
        assert_eq!(elsewhere.change(at, 6, changes(&["bob"], &["ada"])), Some(shift(&["bob"], &["ada"])));
        assert_eq!(elsewhere.change(at, 6, changes(&["bob"], &["ada"])), Some(shift(&[], &[])));
        assert_eq!(elsewhere.change(at, 8, changes(&["eve"], &[])), None);
        assert!(elsewhere.compare(&[(at, 8)], now) && !elsewhere.compare(&[(at, 6)], now));
        // An answer that is older than what was said since changes nothing.
        assert_eq!(elsewhere.take(vec![crowd(at, 5, &["ada"])], now), shift(&[], &[]));
        assert_eq!(elsewhere.take(vec![crowd(at, 8, &["eve"])], now), shift(&["eve"], &["bob"]));
    }

    #[test]
    fn a_process_that_is_silent_for_long_is_gone_and_one_that_speaks_again_is_not() {
        let (mut elsewhere, one, two, now) = (Elsewhere::default(), Instance::new(), Instance::new(), Instant::now());
        elsewhere.take(vec![crowd(one, 1, &["ada"]), crowd(two, 1, &["bob"])], now);
        assert!(!elsewhere.compare(&[], now));
        assert_eq!(elsewhere.gone(now + BELIEVED / 2), []);
        elsewhere.change(two, 2, changes(&[], &[]));
        assert_eq!(elsewhere.next_gone(), Some(now + BELIEVED));
        assert_eq!(elsewhere.gone(now + BELIEVED), ["ada".parse().unwrap()]);
        assert_eq!(elsewhere.next_gone(), None);
    }
}
