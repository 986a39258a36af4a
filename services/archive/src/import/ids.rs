//! Which ids come twice in an upload.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use value::InternalId;

/// Ids of one table. Those of more than `held_max` are found part by part: the first reading counts, and holds them as long as that is
/// possible; each one that follows holds those of its part.
pub(crate) struct Ids {
    held_max: usize,
    count: usize,
    held: HashSet<InternalId>,
    /// Which part is looked at, and of how many; `None` with the first reading.
    part: Option<(u64, u64)>,
    /// Into which part an id belongs nobody can know beforehand.
    parts: RandomState,
}

impl Ids {
    pub(crate) fn new(held_max: usize) -> Ids {
        Ids { held_max, count: 0, held: HashSet::new(), part: None, parts: RandomState::new() }
    }

    /// Notes an id; whether it is not known to have come before.
    pub(crate) fn is_new(&mut self, id: InternalId) -> bool {
        match self.part {
            None => {
                self.count += 1;
                if self.count > self.held_max {
                    self.held = HashSet::new();
                    return true;
                }
            }
            Some((part, of)) if self.parts.hash_one(id) % of != part => return true,
            Some(_) => {}
        }
        self.held.insert(id)
    }

    /// Begins the next reading; whether there must be one.
    pub(crate) fn next_reading(&mut self) -> bool {
        let (part, of) = match self.part {
            None if self.count <= self.held_max => return false,
            None => (0, self.count.div_ceil(self.held_max) as u64),
            Some((part, of)) => (part + 1, of),
        };
        (self.held, self.part) = (HashSet::new(), Some((part, of)));
        part < of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_found_however_few_are_held() {
        let id = |n: usize| InternalId::from_bytes((n as u128).to_be_bytes());
        for held_max in [1, 2, 7, 99, 100, 101, 1_000] {
            for twice in [None, Some(0), Some(50), Some(99)] {
                let all: Vec<_> = (0..100).chain(twice).map(id).collect();
                let mut ids = Ids::new(held_max);
                let (mut found, mut readings) = (false, 0);
                loop {
                    readings += 1;
                    for id in &all {
                        found |= !ids.is_new(*id);
                    }
                    if !ids.next_reading() {
                        break;
                    }
                }
                assert_eq!(found, twice.is_some(), "{held_max} {twice:?}");
                assert!(readings <= 1 + all.len().div_ceil(held_max), "{readings} with {held_max}");
            }
        }
    }
}
