//! Which threads have listeners to one channel, and how many.
//!
//! Of most channels it is one thread, and that stands in 16 bytes: each private channel and each room has these. Refuses to know
//! who listens.

use super::host::HostId;

/// The threads that have listeners, and how many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Listeners {
    /// Nobody listens.
    #[default]
    None,
    /// All are on one thread.
    OneThread(HostId, u32),
    /// They are on several.
    Threads(Box<Vec<(HostId, u32)>>),
}

impl Listeners {
    /// Whether nobody listens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::None
    }

    /// The threads that have listeners.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> {
        let (one, several) = match self {
            Self::None => (None, &[][..]),
            Self::OneThread(host, _) => (Some(*host), &[][..]),
            Self::Threads(threads) => (None, &threads[..]),
        };
        one.into_iter().chain(several.iter().map(|(host, _)| *host))
    }

    /// One listener on `host` more.
    pub fn add(&mut self, host: HostId) {
        match self {
            Self::None => *self = Self::OneThread(host, 1),
            Self::OneThread(known, count) if *known == host => *count += 1,
            Self::OneThread(known, count) => *self = Self::Threads(Box::new(vec![(*known, *count), (host, 1)])),
            Self::Threads(threads) => match threads.iter_mut().find(|(known, _)| *known == host) {
                Some((_, count)) => *count += 1,
                None => threads.push((host, 1)),
            },
        }
    }

    /// One listener on `host` less. Gives whether there was one.
    pub fn remove(&mut self, host: HostId) -> bool {
        match self {
            Self::OneThread(known, 1) if *known == host => *self = Self::None,
            Self::OneThread(known, count) if *known == host => *count -= 1,
            Self::Threads(threads) => {
                let Some(index) = threads.iter().position(|(known, _)| *known == host) else { return false };
                threads[index].1 -= 1;
                if threads[index].1 == 0 {
                    threads.swap_remove(index);
                }
                if let [(host, count)] = threads[..] {
                    *self = Self::OneThread(host, count);
                }
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_what_a_map_counts(steps in prop::collection::vec((any::<bool>(), 0_u16..4), 0..100)) {
            let (mut listeners, mut map) = (Listeners::default(), BTreeMap::<HostId, u32>::new());
            for (is_more, host) in steps {
                if is_more {
                    listeners.add(host);
                    *map.entry(host).or_default() += 1;
                } else {
                    prop_assert_eq!(listeners.remove(host), map.contains_key(&host));
                    map.entry(host).and_modify(|count| *count -= 1);
                    map.retain(|_, count| *count > 0);
                }
                let mut hosts: Vec<HostId> = listeners.hosts().collect();
                hosts.sort_unstable();
                prop_assert_eq!(hosts, map.keys().copied().collect::<Vec<_>>());
                prop_assert_eq!(listeners.is_empty(), map.is_empty());
            }
        }
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Listeners>() <= 16, "{} bytes", size_of::<Listeners>());
    }
}
