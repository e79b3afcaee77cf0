//! Finds numbers by names that stand with what they number.
//!
//! A table of numbers alone, five bytes each: one that held the names too would need a multiple of that for each of a hundred
//! thousand rooms. Refuses to hold names: whoever asks says what a number's name is.

use std::hash::{BuildHasher as _, Hash, RandomState};

use hashbrown::HashTable;

/// Numbers, each of which has a name of its own.
#[derive(Debug, Default)]
pub struct Index {
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    /// The number whose name this is, where it is there.
    pub fn find<'a, N: Hash + Eq + 'a>(&self, name: &N, name_of: impl Fn(u32) -> &'a N) -> Option<u32> {
        self.numbers.find(self.hasher.hash_one(name), |number| name_of(*number) == name).copied()
    }

    /// All numbers whose name this is, where several may have one name.
    pub fn find_all<'a, N: Hash + Eq + 'a>(&self, name: &N, name_of: impl Fn(u32) -> &'a N) -> impl Iterator<Item = u32> {
        self.numbers.iter_hash(self.hasher.hash_one(name)).copied().filter(move |number| name_of(*number) == name)
    }

    /// Takes a number in that is not there; nor its name, where it is to be found by [`Self::find`].
    pub fn insert<'a, N: Hash + 'a>(&mut self, number: u32, name_of: impl Fn(u32) -> &'a N) {
        let Self { numbers, hasher } = self;
        let hash = |number: &u32| hasher.hash_one(name_of(*number));
        numbers.insert_unique(hash(&number), number, hash);
    }

    /// Forgets a number, whose name is still this.
    pub fn remove<N: Hash>(&mut self, number: u32, name: &N) {
        if let Ok(found) = self.numbers.find_entry(self.hasher.hash_one(name), |other| *other == number) {
            found.remove();
            if self.numbers.is_empty() {
                self.numbers = HashTable::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_map_finds(steps in prop::collection::vec((any::<bool>(), 0_u32..40), 0..300)) {
            let names: Vec<String> = (0..40).map(|number| format!("name {number}")).collect();
            let name_of = |number: u32| &names[number as usize];
            let (mut index, mut map) = (Index::default(), HashMap::new());
            for (is_there, number) in steps {
                if is_there && map.insert(name_of(number), number).is_none() {
                    index.insert(number, name_of);
                } else if !is_there && map.remove(name_of(number)).is_some() {
                    index.remove(number, name_of(number));
                }
                for name in &names {
                    prop_assert_eq!(index.find(name, name_of), map.get(name).copied());
                }
            }
        }
    }
}
