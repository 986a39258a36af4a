//! Which entries have read an interval that holds a key.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
};

use contract::{IndexId, Interval, ReadSet};

use crate::search_index::SearchIndex;

/// Maps the intervals and the searches of many read sets to the entries they belong to.
///
/// Finding the entries of a key takes time in proportion to the logarithm of the number of intervals plus the number
/// of intervals found, however much the intervals overlap. Equal intervals are kept once, so that thousands of
/// entries which all read the same row cost one node.
#[derive(Debug)]
pub struct IntervalIndex<Id> {
    trees: HashMap<IndexId, Tree<Id>>,
    searches: HashMap<IndexId, SearchIndex<Id>>,
    priorities: Priorities,
}

impl<Id: Ord + Copy> Default for IntervalIndex<Id> {
    fn default() -> Self {
        IntervalIndex::new()
    }
}

impl<Id: Ord + Copy> IntervalIndex<Id> {
    pub fn new() -> Self {
        IntervalIndex { trees: HashMap::new(), searches: HashMap::new(), priorities: Priorities::new() }
    }

    pub fn insert(&mut self, id: Id, read_set: &ReadSet) {
        for (index, intervals) in read_set.indexes() {
            let tree = self.trees.entry(index).or_insert_with(Tree::new);
            for interval in intervals {
                let priority = self.priorities.next();
                tree.insert(interval, id, priority);
            }
        }
        for (index, condition) in read_set.searches() {
            self.searches.entry(index).or_default().insert(condition, id);
        }
    }

    /// Undoes [`IntervalIndex::insert`] with the same arguments.
    ///
    /// # Panics
    ///
    /// If it was not done before.
    pub fn remove(&mut self, id: Id, read_set: &ReadSet) {
        for (index, intervals) in read_set.indexes() {
            let tree = self.trees.get_mut(&index).expect("what is removed was inserted");
            for interval in intervals {
                tree.remove(interval, id);
            }
            if tree.root.is_none() {
                self.trees.remove(&index);
            }
        }
        for (index, condition) in read_set.searches() {
            let searches = self.searches.get_mut(&index).expect("what is removed was inserted");
            searches.remove(condition, id);
            if searches.is_empty() {
                self.searches.remove(&index);
            }
        }
    }

    /// Adds to `found` each entry that has read `key` of `index`.
    pub fn find(&self, index: IndexId, key: &[u8], found: &mut BTreeSet<Id>) {
        if let Some(tree) = self.trees.get(&index) {
            tree.find(tree.root, key, found);
        }
        if let Some(searches) = self.searches.get(&index) {
            searches.find(key, found);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.trees.is_empty() && self.searches.is_empty()
    }
}

type Link = Option<usize>;

/// A treap: ordered by interval as a search tree, by priority as a heap, which keeps it shallow. Each node knows the
/// largest end below it, so that a search skips what ends before its key.
#[derive(Debug)]
struct Tree<Id> {
    nodes: Vec<Node<Id>>,
    free: Vec<usize>,
    root: Link,
}

#[derive(Debug)]
struct Node<Id> {
    interval: Interval,
    ids: BTreeSet<Id>,
    priority: u64,
    left: Link,
    right: Link,
    /// The node in this subtree whose interval ends last.
    ends_last: usize,
}

impl<Id: Ord + Copy> Tree<Id> {
    fn new() -> Self {
        Tree { nodes: Vec::new(), free: Vec::new(), root: None }
    }

    fn insert(&mut self, interval: &Interval, id: Id, priority: u64) {
        if let Some(known) = self.position(interval) {
            self.nodes[known].ids.insert(id);
            return;
        }
        let new = self.allocate(interval, id, priority);
        let (before, after) = self.split(self.root, interval);
        let with_new = self.join(before, Some(new));
        self.root = self.join(with_new, after);
    }

    fn remove(&mut self, interval: &Interval, id: Id) {
        let known = self.position(interval).expect("what is removed was inserted");
        let was_there = self.nodes[known].ids.remove(&id);
        assert!(was_there, "an entry is removed once from each interval that it has read");
        if self.nodes[known].ids.is_empty() {
            self.root = self.unlink(self.root, interval);
            self.free.push(known);
        }
    }

    fn find(&self, link: Link, key: &[u8], found: &mut BTreeSet<Id>) {
        let mut link = link;
        while let Some(at) = link {
            let node = &self.nodes[at];
            if !ends_after(&self.nodes[node.ends_last].interval, key) {
                return;
            }
            self.find(node.left, key, found);
            if *node.interval.start > *key {
                return;
            }
            if ends_after(&node.interval, key) {
                found.extend(&node.ids);
            }
            link = node.right;
        }
    }

    fn position(&self, interval: &Interval) -> Link {
        let mut link = self.root;
        while let Some(at) = link {
            let node = &self.nodes[at];
            link = match by_start_then_end(interval, &node.interval) {
                Ordering::Equal => return Some(at),
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
            };
        }
        None
    }

    fn allocate(&mut self, interval: &Interval, id: Id, priority: u64) -> usize {
        let at = self.free.pop().unwrap_or(self.nodes.len());
        let node = Node {
            interval: interval.clone(),
            ids: BTreeSet::from([id]),
            priority,
            left: None,
            right: None,
            ends_last: at,
        };
        if at == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[at] = node;
        }
        at
    }

    /// What sorts before `interval`, and the rest.
    fn split(&mut self, link: Link, interval: &Interval) -> (Link, Link) {
        let Some(at) = link else { return (None, None) };
        if by_start_then_end(&self.nodes[at].interval, interval) == Ordering::Less {
            let (before, after) = self.split(self.nodes[at].right, interval);
            self.nodes[at].right = before;
            self.refresh(at);
            (Some(at), after)
        } else {
            let (before, after) = self.split(self.nodes[at].left, interval);
            self.nodes[at].left = after;
            self.refresh(at);
            (before, Some(at))
        }
    }

    /// One tree of two, where everything in `before` sorts before everything in `after`.
    fn join(&mut self, before: Link, after: Link) -> Link {
        let (Some(one), Some(two)) = (before, after) else { return before.or(after) };
        if self.nodes[one].priority >= self.nodes[two].priority {
            let joined = self.join(self.nodes[one].right, after);
            self.nodes[one].right = joined;
            self.refresh(one);
            Some(one)
        } else {
            let joined = self.join(before, self.nodes[two].left);
            self.nodes[two].left = joined;
            self.refresh(two);
            Some(two)
        }
    }

    /// Takes the node with exactly this interval out of the tree; answers the new root.
    fn unlink(&mut self, link: Link, interval: &Interval) -> Link {
        let at = link?;
        match by_start_then_end(interval, &self.nodes[at].interval) {
            Ordering::Equal => return self.join(self.nodes[at].left, self.nodes[at].right),
            Ordering::Less => self.nodes[at].left = self.unlink(self.nodes[at].left, interval),
            Ordering::Greater => self.nodes[at].right = self.unlink(self.nodes[at].right, interval),
        }
        self.refresh(at);
        Some(at)
    }

    fn refresh(&mut self, at: usize) {
        let mut last = at;
        for child in [self.nodes[at].left, self.nodes[at].right].into_iter().flatten() {
            let candidate = self.nodes[child].ends_last;
            if by_end(&self.nodes[candidate].interval, &self.nodes[last].interval) == Ordering::Greater {
                last = candidate;
            }
            assert!(
                self.nodes[at].priority >= self.nodes[child].priority,
                "no node is above one of a higher priority, or the tree would grow deep"
            );
        }
        self.nodes[at].ends_last = last;
    }
}

fn ends_after(interval: &Interval, key: &[u8]) -> bool {
    interval.end.as_ref().is_none_or(|end| **end > *key)
}

/// An interval without an end ends last.
fn by_end(one: &Interval, two: &Interval) -> Ordering {
    match (&one.end, &two.end) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(two)) => one.cmp(two),
    }
}

fn by_start_then_end(one: &Interval, two: &Interval) -> Ordering {
    one.start.cmp(&two.start).then_with(|| by_end(one, two))
}

/// Priorities shape the tree and nothing else: no answer depends on them. They are seeded per process, so that nobody
/// outside can choose keys which make it deep.
#[derive(Debug)]
struct Priorities(u64);

impl Priorities {
    fn new() -> Self {
        Priorities(RandomState::new().hash_one(0) | 1)
    }

    /// Xorshift: a full period over all values but zero.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const INDEXES: [IndexId; 2] = [IndexId([1; 16]), IndexId([2; 16])];

    fn key() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(0u8..4, 0..4).prop_map(Bytes::from)
    }

    fn read_set() -> impl Strategy<Value = ReadSet> {
        prop::collection::vec((0usize..2, key(), prop::option::of(key())), 0..5).prop_map(|intervals| {
            let mut set = ReadSet::new();
            for (index, start, end) in intervals {
                set.add(INDEXES[index], Interval { start, end });
            }
            set
        })
    }

    proptest! {
        #[test]
        fn a_key_finds_exactly_the_entries_that_read_it(
            steps in prop::collection::vec((0u32..24, prop::option::weighted(0.6, read_set())), 0..80),
            keys in prop::collection::vec((0usize..2, key()), 1..8),
        ) {
            let mut index = IntervalIndex::new();
            let mut model: BTreeMap<u32, ReadSet> = BTreeMap::new();
            for (id, step) in steps {
                if let Some(old) = model.remove(&id) {
                    index.remove(id, &old);
                }
                if let Some(set) = step {
                    index.insert(id, &set);
                    model.insert(id, set);
                }
                for (at, key) in &keys {
                    let mut found = BTreeSet::new();
                    index.find(INDEXES[*at], key, &mut found);
                    let expected: BTreeSet<u32> =
                        model.iter().filter(|(_, set)| set.contains(INDEXES[*at], key)).map(|(id, _)| *id).collect();
                    prop_assert_eq!(found, expected);
                }
            }
            for (id, set) in model {
                index.remove(id, &set);
            }
            prop_assert!(index.is_empty());
        }
    }

    /// Ten thousand entries with nested, overlapping and equal intervals: the work of a search must follow what it
    /// finds. Counted in nodes visited would need a hook; depth is what bounds it, so depth is checked.
    #[test]
    fn the_tree_stays_shallow_also_for_keys_in_order() {
        let mut index = IntervalIndex::new();
        for id in 0..10_000u32 {
            let mut set = ReadSet::new();
            set.add(INDEXES[0], Interval { start: Bytes::copy_from_slice(&id.to_be_bytes()), end: None });
            index.insert(id, &set);
        }
        fn depth(tree: &Tree<u32>, link: Link) -> usize {
            link.map_or(0, |at| 1 + depth(tree, tree.nodes[at].left).max(depth(tree, tree.nodes[at].right)))
        }
        let tree = &index.trees[&INDEXES[0]];
        // Expected 2 ln(10,000) ≈ 18 for a typical node; 64 is beyond reach by chance.
        assert!(depth(tree, tree.root) < 64, "depth {}", depth(tree, tree.root));
        let mut found = BTreeSet::new();
        index.find(INDEXES[0], &2u32.to_be_bytes(), &mut found);
        assert_eq!(found, BTreeSet::from([0, 1, 2]));
    }
}
