//! The newest commits, and the newest write of each index key in them.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
    sync::Arc,
};

use bytes::Bytes;
use contract::{CommitNotice, IndexId, Interval, ReadSet, Timestamp};

/// Keys in a chunk before it is split; the cost of checking a range is one step per chunk in it.
const CHUNK_KEYS_MAX: usize = 128;
/// What one key costs beside its bytes: its entries in the chunk and in the list of commits.
const KEY_OVERHEAD_BYTES: usize = 128;
const COMMIT_OVERHEAD_BYTES: usize = 96;

/// The newest write timestamp of each index key that was written above the floor. `D` is whose keys they are: the
/// deployment, where a window holds several, or nothing.
///
/// A check costs about as much as the smaller of two things: the keys written since its moment, each looked up in the
/// read set, and the intervals of the read set, each looked up among the keys.
#[derive(Debug)]
pub struct Window<D> {
    indexes: HashMap<(D, IndexId), IndexWindow>,
    commits: VecDeque<WindowCommit<D>>,
    /// Everything written above it is known.
    floor: Timestamp,
    bytes: usize,
    /// Keys of all commits ever added, for comparing the cost of two ways to check.
    keys_added: u64,
}

#[derive(Debug)]
struct WindowCommit<D> {
    deployment: D,
    notice: Arc<CommitNotice>,
    /// [`Window::keys_added`] before this commit.
    keys_before: u64,
}

/// A write that stands in the way of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictingWrite {
    pub index: IndexId,
    pub key: Bytes,
    pub timestamp: Timestamp,
}

impl<D: Copy + Eq + Hash> Window<D> {
    /// Knows the commits above `floor`, once they are added.
    pub fn new(floor: Timestamp) -> Window<D> {
        Window { indexes: HashMap::new(), commits: VecDeque::new(), floor, bytes: 0, keys_added: 0 }
    }

    /// Everything written above it is known; nothing is known of what is at it or below.
    pub fn floor(&self) -> Timestamp {
        self.floor
    }

    /// Roughly what it takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The timestamp of the newest commit in it; the floor if there is none.
    pub fn newest(&self) -> Timestamp {
        self.commits.back().map_or(self.floor, |commit| commit.notice.timestamp)
    }

    /// The commit at this timestamp, if it is in it.
    pub fn notice_at(&self, timestamp: Timestamp) -> Option<&Arc<CommitNotice>> {
        let last = self.first_newer(timestamp).checked_sub(1)?;
        Some(&self.commits[last].notice).filter(|notice| notice.timestamp == timestamp)
    }

    /// Adds a commit.
    ///
    /// # Panics
    ///
    /// If it is not newer than all that were added before.
    pub fn add(&mut self, deployment: D, notice: Arc<CommitNotice>) {
        assert!(notice.timestamp > self.newest(), "commits enter the window in their order");
        for touched in &notice.keys {
            self.indexes
                .entry((deployment, touched.index))
                .or_default()
                .set(touched.key.clone(), notice.timestamp);
        }
        self.bytes += commit_bytes(&notice);
        let keys_before = self.keys_added;
        self.keys_added += notice.keys.len() as u64;
        self.commits.push_back(WindowCommit { deployment, notice, keys_before });
    }

    /// Forgets commits until `bytes_max` is kept, and all that are not newer than `keep_above`; the floor rises with
    /// them. What is above `published` always stays.
    pub fn trim(&mut self, keep_above: Timestamp, published: Timestamp, bytes_max: usize) {
        while let Some(oldest) = self.commits.front() {
            let timestamp = oldest.notice.timestamp;
            if timestamp > published || (timestamp > keep_above && self.bytes <= bytes_max) {
                break;
            }
            let commit = self.commits.pop_front().expect("it was just seen");
            self.bytes -= commit_bytes(&commit.notice);
            assert!(self.floor < timestamp, "the floor only rises");
            self.floor = timestamp;
            for touched in &commit.notice.keys {
                let index = (commit.deployment, touched.index);
                let Some(window) = self.indexes.get_mut(&index) else { continue };
                window.forget(&touched.key, timestamp);
                if window.is_empty() {
                    self.indexes.remove(&index);
                }
            }
        }
        if self.commits.is_empty() {
            assert!(self.bytes == 0 && self.indexes.is_empty(), "no commits, no keys");
        }
    }

    /// Forgets the commits above `last`, which will never be: as if they had not been added.
    pub fn drop_above(&mut self, last: Timestamp) {
        let kept = self.commits.partition_point(|commit| commit.notice.timestamp <= last);
        if kept == self.commits.len() {
            return;
        }
        // Rare, so simply done: the index is built anew from what stays.
        let commits: Vec<WindowCommit<D>> = self.commits.drain(..).take(kept).collect();
        *self = Window::new(self.floor);
        for commit in commits {
            self.add(commit.deployment, commit.notice);
        }
        assert!(self.newest() <= last.max(self.floor), "what will never be is forgotten");
    }

    /// Where the commits newer than `after` begin. Mostly that is near the end; a search through all of them would look into
    /// memory that nobody has touched for long.
    fn first_newer(&self, after: Timestamp) -> usize {
        let is_newer = |at: usize| self.commits[at].notice.timestamp > after;
        let count = self.commits.len();
        let mut step = 1;
        while step <= count && is_newer(count - step) {
            step *= 2;
        }
        let (mut low, mut high) = (count.saturating_sub(step), count - step / 2);
        while low < high {
            let middle = low.midpoint(high);
            if is_newer(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// A write newer than `after` to something that `read_set` holds.
    ///
    /// # Panics
    ///
    /// If `after` is below the floor.
    pub fn find(&self, deployment: D, after: Timestamp, read_set: &ReadSet) -> Option<ConflictingWrite> {
        assert!(after >= self.floor, "below the floor the window can't tell");
        let first = self.first_newer(after);
        let newer = self.commits.range(first..);
        let oldest_newer = self.commits.get(first)?;
        // Few writes since: look each up in the read set. Many: look the intervals up among the keys.
        let keys_newer = self.keys_added - oldest_newer.keys_before;
        if keys_newer <= 4 * read_set.len() as u64 {
            return newer.filter(|commit| commit.deployment == deployment).find_map(|commit| {
                let touched = commit
                    .notice
                    .keys
                    .iter()
                    .find(|touched| read_set.contains(touched.index, &touched.key))?;
                Some(ConflictingWrite {
                    index: touched.index,
                    key: touched.key.clone(),
                    timestamp: commit.notice.timestamp,
                })
            });
        }
        let in_interval = read_set.iter().find_map(|(index, interval)| {
            let (key, timestamp) = self.indexes.get(&(deployment, index))?.find(after, interval)?;
            Some(ConflictingWrite { index, key, timestamp })
        });
        // What searches read is in no order: every key of their index since then is looked at.
        let mut searches = read_set.searches();
        in_interval.or_else(|| {
            searches.find_map(|(index, _)| {
                let (key, timestamp) = self
                    .indexes
                    .get(&(deployment, index))?
                    .find_where(after, |key| read_set.contains(index, key))?;
                Some(ConflictingWrite { index, key, timestamp })
            })
        })
    }
}

fn commit_bytes(notice: &CommitNotice) -> usize {
    let keys: usize = notice.keys.iter().map(|touched| touched.key.len() + KEY_OVERHEAD_BYTES).sum();
    COMMIT_OVERHEAD_BYTES + keys
}

/// A key with its first bytes at hand: comparing it seldom has to look where the others are, which is what a search
/// among a million keys would spend its time on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct WindowKey {
    /// The first 16 bytes, filled up with zeros, as two numbers.
    head: [u64; 2],
    key: Bytes,
}

impl WindowKey {
    fn new(key: Bytes) -> WindowKey {
        let mut bytes = [0; 16];
        let length = key.len().min(bytes.len());
        bytes[..length].copy_from_slice(&key[..length]);
        let number = u128::from_be_bytes(bytes);
        WindowKey { head: [(number >> 64) as u64, number as u64], key }
    }
}

impl Ord for WindowKey {
    fn cmp(&self, other: &WindowKey) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for WindowKey {
    fn partial_cmp(&self, other: &WindowKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The keys of one index in order, in chunks which know an upper bound of their timestamps.
#[derive(Debug, Default)]
struct IndexWindow {
    /// By the lowest key that may be in the chunk; the first chunk's is the empty key.
    chunks: BTreeMap<WindowKey, Chunk>,
    /// Not below any timestamp in the index.
    newest: Timestamp,
}

#[derive(Debug, Default)]
struct Chunk {
    keys: Vec<(WindowKey, Timestamp)>,
    newest: Timestamp,
}

impl IndexWindow {
    fn is_empty(&self) -> bool {
        self.chunks.values().all(|chunk| chunk.keys.is_empty())
    }

    fn set(&mut self, key: Bytes, timestamp: Timestamp) {
        let key = WindowKey::new(key);
        self.newest = self.newest.max(timestamp);
        if self.chunks.is_empty() {
            self.chunks.insert(WindowKey::default(), Chunk::default());
        }
        let (_, chunk) =
            self.chunks.range_mut(..=&key).next_back().expect("the first chunk begins at the empty key");
        chunk.newest = chunk.newest.max(timestamp);
        match chunk.keys.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => {
                assert!(chunk.keys[at].1 <= timestamp, "a key's newest write is kept");
                chunk.keys[at].1 = timestamp;
            }
            Err(at) => chunk.keys.insert(at, (key, timestamp)),
        }
        if chunk.keys.len() > CHUNK_KEYS_MAX {
            let upper = chunk.keys.split_off(CHUNK_KEYS_MAX / 2);
            let newest = upper.iter().map(|(_, timestamp)| *timestamp).max().unwrap_or_default();
            self.chunks.insert(upper[0].0.clone(), Chunk { keys: upper, newest });
        }
    }

    /// Removes the key unless it was written again after `timestamp`.
    fn forget(&mut self, key: &Bytes, timestamp: Timestamp) {
        let key = WindowKey::new(key.clone());
        let Some((lowest, chunk)) = self.chunks.range_mut(..=&key).next_back() else { return };
        if let Ok(at) = chunk.keys.binary_search_by(|(known, _)| known.cmp(&key))
            && chunk.keys[at].1 <= timestamp
        {
            chunk.keys.remove(at);
        }
        if chunk.keys.is_empty() && !lowest.key.is_empty() {
            let lowest = lowest.clone();
            self.chunks.remove(&lowest);
        }
    }

    fn find(&self, after: Timestamp, interval: &Interval) -> Option<(Bytes, Timestamp)> {
        if self.newest <= after || interval.is_empty() {
            return None;
        }
        let start = WindowKey::new(interval.start.clone());
        let end = interval.end.clone().map(WindowKey::new);
        let is_before_end = |key: &WindowKey| end.as_ref().is_none_or(|end| key < end);
        let first = self.chunks.range(..=&start).next_back().map_or(&start, |(lowest, _)| lowest);
        self.chunks
            .range(first..)
            .take_while(|(lowest, _)| is_before_end(lowest))
            .filter(|(_, chunk)| chunk.newest > after)
            .find_map(|(_, chunk)| {
                let from = chunk.keys.partition_point(|(key, _)| *key < start);
                chunk.keys[from..]
                    .iter()
                    .take_while(|(key, _)| is_before_end(key))
                    .find(|(_, timestamp)| *timestamp > after)
                    .map(|(key, timestamp)| (key.key.clone(), *timestamp))
            })
    }

    fn find_where(&self, after: Timestamp, is_read: impl Fn(&[u8]) -> bool) -> Option<(Bytes, Timestamp)> {
        let newer = self.chunks.values().filter(|chunk| chunk.newest > after).flat_map(|chunk| &chunk.keys);
        newer
            .filter(|(_, timestamp)| *timestamp > after)
            .find(|(key, _)| is_read(&key.key))
            .map(|(key, timestamp)| (key.key.clone(), *timestamp))
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, TextCondition, TextFilter, TextKey, TouchedKey};
    use proptest::prelude::*;

    use super::*;

    const DEPLOYMENT: DeploymentId = DeploymentId(1);
    const INDEX: IndexId = IndexId([1; 16]);

    fn timestamp(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).unwrap()
    }

    /// Keys in the order of the numbers, which differ early, late or only in their length.
    fn key(number: u16) -> Bytes {
        let (head, rest) = (number / 8, number % 8);
        let mut key = head.to_be_bytes().to_vec();
        match rest {
            0 => {}
            // Zeros, as few or as many as the filled head has, then behind it.
            1..=4 => key.extend(vec![0; [1, 14, 15, 40][usize::from(rest - 1)]]),
            _ => key.extend([vec![0; 20], vec![rest as u8]].concat()),
        }
        key.into()
    }

    #[test]
    fn keys_have_the_order_of_their_bytes() {
        let keys: Vec<WindowKey> = (0..400).map(|number| WindowKey::new(key(number))).collect();
        assert!(keys.is_sorted_by(|one, other| one < other));
        assert!(keys.is_sorted_by(|one, other| one.key < other.key));
    }

    fn notice(at: u64, keys: &[u16]) -> Arc<CommitNotice> {
        let keys = keys.iter().map(|number| TouchedKey { index: INDEX, key: key(*number) }).collect();
        Arc::new(CommitNotice { timestamp: timestamp(at), keys })
    }

    proptest! {
        /// Against the plain list of all writes.
        #[test]
        fn it_finds_a_conflict_if_and_only_if_there_is_one(
            commits in prop::collection::vec(prop::collection::vec(0u16..400, 0..40), 1..60),
            trims in prop::collection::vec(0usize..60, 0..3),
            dropped in prop::option::of(0usize..60),
            checks in prop::collection::vec((0u64..62, prop::collection::vec((0u16..400, 0u16..50), 1..40)), 1..20),
        ) {
            let mut window = Window::new(Timestamp::ZERO);
            for (at, keys) in commits.iter().enumerate() {
                window.add(DEPLOYMENT, notice(at as u64 + 1, keys));
                if trims.contains(&at) {
                    window.trim(timestamp(at as u64 / 2), Timestamp::MAX, usize::MAX);
                }
            }
            let kept = dropped.unwrap_or(60).max(window.floor().as_nanoseconds() as usize);
            window.drop_above(timestamp(kept as u64));
            let commits = &commits[..kept.min(commits.len())];
            for at in 1..=61 {
                let known = window.notice_at(timestamp(at)).map(|notice| notice.timestamp);
                let is_known = timestamp(at) > window.floor() && at <= commits.len() as u64;
                prop_assert_eq!(known, is_known.then_some(timestamp(at)));
            }
            for (after, ranges) in checks {
                let after = timestamp(after).max(window.floor());
                let mut read_set = ReadSet::new();
                for (start, length) in ranges {
                    read_set.add(INDEX, Interval { start: key(start), end: Some(key(start + length)) });
                }
                let expected = commits.iter().enumerate().any(|(at, keys)| {
                    at as u64 + 1 > after.as_nanoseconds() && keys.iter().any(|number| read_set.contains(INDEX, &key(*number)))
                });
                let found = window.find(DEPLOYMENT, after, &read_set);
                prop_assert_eq!(found.is_some(), expected);
                if let Some(found) = found {
                    prop_assert!(found.timestamp > after && read_set.contains(found.index, &found.key));
                }
                prop_assert!(window.find(DeploymentId(2), after, &read_set).is_none(), "deployments are apart");
            }
        }
    }

    #[test]
    fn a_search_is_in_the_way_of_what_it_would_find_however_much_was_written() {
        let text_key = |term: &str, filter: u8| TextKey::encode(&[[filter; 16]], [term]);
        let mut window = Window::new(Timestamp::ZERO);
        for at in 1..=300 {
            let keys = vec![TouchedKey { index: INDEX, key: text_key(&format!("t{at}"), (at % 2) as u8) }];
            window.add(DEPLOYMENT, Arc::new(CommitNotice { timestamp: timestamp(at), keys }));
        }
        let found = |after: u64, prefix: &str, filter: u8| {
            let mut read_set = ReadSet::new();
            let filters = vec![TextFilter { field: 0, value: [filter; 16] }];
            read_set
                .add_search(INDEX, TextCondition { terms: Vec::new(), prefix: prefix.to_owned(), filters });
            let found = window.find(DEPLOYMENT, timestamp(after), &read_set);
            found.map(|write| write.timestamp.as_nanoseconds())
        };
        // By the few writes since, and by all that are known.
        for after in [298, 0] {
            assert_eq!(found(after, "t300", 0), Some(300));
            assert_eq!(found(after, "t300", 1), None, "another value is filtered by");
            assert_eq!(found(after, "u", 0), None);
        }
        assert_eq!(found(0, "t17", 1), Some(17));
        assert_eq!(found(179, "t17", 1), None, "that was before");
    }

    #[test]
    fn trimming_to_nothing_frees_everything() {
        let mut window = Window::new(Timestamp::ZERO);
        for at in 1..200 {
            window.add(DEPLOYMENT, notice(at, &[at as u16, 7, 9]));
        }
        window.trim(Timestamp::ZERO, timestamp(150), 0);
        assert_eq!(window.floor(), timestamp(150), "what is on its way stays");
        window.trim(Timestamp::ZERO, timestamp(199), 0);
        assert_eq!((window.bytes(), window.floor(), window.indexes.len()), (0, timestamp(199), 0));
    }

    #[test]
    fn pressure_raises_the_floor() {
        let mut window = Window::new(Timestamp::ZERO);
        for at in 1..=100 {
            window.add(DEPLOYMENT, notice(at, &[at as u16]));
            window.trim(Timestamp::ZERO, Timestamp::MAX, 2_000);
            assert!(window.bytes() <= 2_000);
        }
        assert!(window.floor() > timestamp(50));
    }
}
