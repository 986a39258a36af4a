//! Counts by names that nobody knows beforehand.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use crate::Counter;

/// The name of what has no counter of its own.
pub const OTHER: &str = "other";

/// Longer names are counted as [`OTHER`].
const NAME_BYTES_MAX: usize = 128;

/// Counts by names that come from outside, of which there may be any number: the first so many have a counter of their own,
/// all others share one.
#[derive(Debug)]
pub struct Named {
    names_max: usize,
    own: RwLock<BTreeMap<String, Counter>>,
    other: Counter,
}

impl Named {
    /// At most `names_max` names are told apart.
    pub fn new(names_max: usize) -> Named {
        Named { names_max, own: RwLock::default(), other: Counter::default() }
    }

    /// Counts one under a name.
    pub fn increment(&self, name: &str) {
        if let Some(counter) = self.own.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return counter.increment();
        }
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        if !own.contains_key(name)
            && (own.len() >= self.names_max || name.len() > NAME_BYTES_MAX || name == OTHER)
        {
            return self.other.increment();
        }
        own.entry(name.to_owned()).or_default().increment();
    }

    /// The counts by their names, [`OTHER`] at the end: one more than names are told apart, at the most.
    pub fn snapshot(&self) -> Vec<(String, u64)> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<_> = own.iter().map(|(name, counter)| (name.clone(), counter.get())).collect();
        counts.push((OTHER.to_owned(), self.other.get()));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_names_are_told_apart_and_all_others_are_one() {
        let counts = Named::new(2);
        for name in ["users", "carts", "users", "a", "b", OTHER, "carts"] {
            counts.increment(name);
        }
        let expected = [("carts", 2), ("users", 2), (OTHER, 3)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counts.snapshot(), expected);
    }

    #[test]
    fn however_many_names_come_there_are_no_more_counters() {
        let counts = Named::new(20);
        for number in 0..10_000 {
            counts.increment(&format!("table{number}"));
        }
        counts.increment(&"long".repeat(100));
        let snapshot = counts.snapshot();
        assert_eq!(snapshot.len(), 21);
        assert_eq!(snapshot.iter().map(|(_, count)| count).sum::<u64>(), 10_001);
    }
}
