//! Intervals of index keys, and the read set made of them and of the conditions of text searches.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{IndexId, TextCondition, text::may_fit};

/// A half-open interval of index keys: `start` ≤ key < `end`, or up to the end of the index if `end` is `None`.
/// Keys compare as bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// The first key that is in it.
    pub start: Bytes,
    /// The first key that is not in it any more; `None` without an end.
    pub end: Option<Bytes>,
}

impl Interval {
    /// Every key.
    pub fn all() -> Interval {
        Interval { start: Bytes::new(), end: None }
    }

    /// Exactly one key: from it up to its successor, the key with a zero byte behind.
    pub fn point(key: &[u8]) -> Interval {
        let mut end = Vec::with_capacity(key.len() + 1);
        end.extend_from_slice(key);
        end.push(0);
        Interval { start: Bytes::copy_from_slice(key), end: Some(end.into()) }
    }

    /// Whether the key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end.as_ref().is_none_or(|end| key < &end[..])
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Whether some key is in both.
    pub fn overlaps(&self, other: &Interval) -> bool {
        let starts_before =
            |one: &Interval, two: &Interval| two.end.as_ref().is_none_or(|end| one.start < *end);
        !self.is_empty() && !other.is_empty() && starts_before(self, other) && starts_before(other, self)
    }
}

/// What a transaction has read: per index, intervals that are sorted, disjoint and not adjacent; and of text indexes, what was searched
/// for.
///
/// A superset of what was read is always safe; it can only cause a conflict or a run that was not needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    intervals: BTreeMap<IndexId, Vec<Interval>>,
    searches: BTreeMap<IndexId, BTreeSet<TextCondition>>,
}

impl ReadSet {
    /// Of a transaction that has read nothing.
    pub fn new() -> ReadSet {
        ReadSet::default()
    }

    /// Adds an interval, merging it with those it touches.
    pub fn add(&mut self, index: IndexId, interval: Interval) {
        if interval.is_empty() {
            return;
        }
        let intervals = self.intervals.entry(index).or_default();
        // Everything that ends before the new start stays as it is; what touches the new interval is merged into it.
        let first =
            intervals.partition_point(|known| known.end.as_ref().is_some_and(|end| *end < interval.start));
        let mut merged = interval;
        let mut last = first;
        while let Some(known) = intervals.get(last) {
            if merged.end.as_ref().is_some_and(|end| *end < known.start) {
                break;
            }
            if known.start < merged.start {
                merged.start = known.start.clone();
            }
            merged.end = match (merged.end.take(), &known.end) {
                (Some(one), Some(two)) => Some(one.max(two.clone())),
                _ => None,
            };
            last += 1;
        }
        intervals.splice(first..last, [merged]);
    }

    /// Adds a search of a text index.
    pub fn add_search(&mut self, index: IndexId, condition: TextCondition) {
        self.searches.entry(index).or_default().insert(condition);
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &ReadSet) {
        for (index, interval) in other.iter() {
            self.add(index, interval.clone());
        }
        for (index, condition) in other.searches() {
            self.add_search(index, condition.clone());
        }
    }

    /// Whether the key was read.
    pub fn contains(&self, index: IndexId, key: &[u8]) -> bool {
        if let Some(searches) = self.searches.get(&index)
            && searches.iter().any(|condition| may_fit(condition, key))
        {
            return true;
        }
        let Some(intervals) = self.intervals.get(&index) else { return false };
        let after = intervals.partition_point(|interval| *interval.start <= *key);
        after > 0 && intervals[after - 1].contains(key)
    }

    /// All intervals, by index and then by key.
    pub fn iter(&self) -> impl Iterator<Item = (IndexId, &Interval)> {
        self.intervals
            .iter()
            .flat_map(|(index, intervals)| intervals.iter().map(move |interval| (*index, interval)))
    }

    /// Per index its intervals, by key.
    pub fn indexes(&self) -> impl Iterator<Item = (IndexId, &[Interval])> {
        self.intervals.iter().map(|(index, intervals)| (*index, intervals.as_slice()))
    }

    /// All searches of text indexes, by index.
    pub fn searches(&self) -> impl Iterator<Item = (IndexId, &TextCondition)> {
        self.searches
            .iter()
            .flat_map(|(index, searches)| searches.iter().map(move |condition| (*index, condition)))
    }

    /// The number of intervals over all indexes, and of searches.
    pub fn len(&self) -> usize {
        let searches: usize = self.searches.values().map(BTreeSet::len).sum();
        self.intervals.values().map(Vec::len).sum::<usize>() + searches
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty() && self.searches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INDEX: IndexId = IndexId([7; 16]);

    fn interval() -> impl Strategy<Value = Interval> {
        (prop::collection::vec(0u8..4, 0..3), prop::option::of(prop::collection::vec(0u8..4, 0..3)))
            .prop_map(|(start, end)| Interval { start: start.into(), end: end.map(Bytes::from) })
    }

    proptest! {
        #[test]
        fn a_read_set_contains_exactly_what_was_added(
            intervals in prop::collection::vec(interval(), 0..8),
            key in prop::collection::vec(0u8..4, 0..4),
        ) {
            let mut set = ReadSet::new();
            for interval in &intervals {
                set.add(INDEX, interval.clone());
            }
            prop_assert_eq!(set.contains(INDEX, &key), intervals.iter().any(|interval| interval.contains(&key)));
            let kept: Vec<_> = set.iter().map(|(_, interval)| interval.clone()).collect();
            for pair in kept.windows(2) {
                prop_assert!(pair[0].end.as_ref().is_some_and(|end| *end < pair[1].start), "not disjoint: {:?}", kept);
            }
        }

        #[test]
        fn intervals_overlap_if_and_only_if_they_share_a_key(one in interval(), two in interval()) {
            // The only keys at which membership can change are the four bounds.
            let bounds = [Some(one.start.clone()), one.end.clone(), Some(two.start.clone()), two.end.clone()];
            let shared = bounds.iter().flatten().any(|key| one.contains(key) && two.contains(key));
            prop_assert_eq!(one.overlaps(&two), shared);
        }
    }
}
