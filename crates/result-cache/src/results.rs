//! The results that hold now.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
    time::Instant,
};

use contract::{CommitNotice, Interval, ReadSet, Timestamp};
use lru::LruCache;
use recent_writes::Window;

use crate::IntervalIndex;

/// What a run answered.
#[derive(Clone, Debug)]
pub struct CachedResult<V> {
    pub value: V,
    /// What the value depends on.
    pub read_set: Arc<ReadSet>,
    /// The moment of the run, from which on the value holds.
    pub from: Timestamp,
    /// Roughly what the value takes in memory; the read set is counted by [`Results`].
    pub value_bytes: usize,
    /// Nobody finds the result from then on: it depends on more than the database, the clock for instance. Who has
    /// listened before goes on to.
    pub findable_until: Option<Instant>,
}

/// Names a result for as long as it is kept; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(u64);

/// The results that hold at the newest known moment of one deployment, found by key `K`, each with its listeners `L`.
///
/// A result with listeners stays until a commit touches it. One without is kept for the next who asks, least recently
/// used first out, within a bound in bytes.
#[derive(Debug)]
pub struct Results<K, V, L> {
    entries: HashMap<EntryId, Entry<K, V, L>>,
    /// The newest entry of each key. Older ones may live on for their listeners.
    by_key: HashMap<K, EntryId>,
    readers: IntervalIndex<EntryId>,
    recent: Window<()>,
    published: Timestamp,
    /// Entries without listeners, by use.
    idle: LruCache<EntryId, ()>,
    bytes: usize,
    idle_bytes: usize,
    idle_bytes_max: usize,
    recent_bytes_max: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Entry<K, V, L> {
    keys: Vec<K>,
    result: CachedResult<V>,
    bytes: usize,
    listeners: BTreeSet<L>,
}

impl<K: Eq + Hash + Clone, V, L: Ord + Copy> Results<K, V, L> {
    /// Follows the commit stream above `from`. Entries without listeners may take `idle_bytes_max`, the commits that
    /// are remembered for runs under way `recent_bytes_max`.
    pub fn new(from: Timestamp, idle_bytes_max: usize, recent_bytes_max: usize) -> Self {
        Results {
            entries: HashMap::new(),
            by_key: HashMap::new(),
            readers: IntervalIndex::new(),
            recent: Window::new(from),
            published: from,
            idle: LruCache::unbounded(),
            bytes: 0,
            idle_bytes: 0,
            idle_bytes_max,
            recent_bytes_max,
            next_id: 0,
        }
    }

    /// The newest moment that is known: every entry holds from its run up to this.
    pub fn published(&self) -> Timestamp {
        self.published
    }

    /// The number of results that are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Roughly what the results take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next commit of the stream, drops the results it touches, and answers who listened to them.
    pub fn apply(&mut self, commit: &Arc<CommitNotice>) -> BTreeSet<L> {
        if commit.timestamp <= self.published {
            // Out of order: what the stream says can't be relied on, so neither can anything derived from it.
            return self.restart(self.published);
        }
        let mut touched = BTreeSet::new();
        for written in &commit.keys {
            self.readers.find(written.index, &written.key, &mut touched);
        }
        self.published = commit.timestamp;
        self.recent.add((), commit.clone());
        self.recent.trim(Timestamp::ZERO, commit.timestamp, self.recent_bytes_max);
        let mut listeners = BTreeSet::new();
        for id in touched {
            listeners.extend(self.drop_entry(id));
        }
        self.check();
        listeners
    }

    /// Learns that there is no further commit up to `published`.
    pub fn advance(&mut self, published: Timestamp) {
        self.published = self.published.max(published);
    }

    /// Begins anew behind a gap in the stream, with the commits above `from`. Nothing can be shown to hold any more:
    /// everything is dropped. Answers who listened.
    pub fn restart(&mut self, from: Timestamp) -> BTreeSet<L> {
        let listeners = self.entries.drain().flat_map(|(_, entry)| entry.listeners).collect();
        self.by_key.clear();
        self.readers = IntervalIndex::new();
        self.recent = Window::new(from);
        self.published = from;
        self.idle.clear();
        self.bytes = 0;
        self.idle_bytes = 0;
        self.check();
        listeners
    }

    /// Keeps a result, if it is certain to hold up to now. It is found by each of `keys`; without keys it is there for
    /// its listeners alone.
    pub fn insert(
        &mut self,
        keys: Vec<K>,
        result: CachedResult<V>,
        listeners: BTreeSet<L>,
    ) -> Option<EntryId> {
        let holds = result.from <= self.published
            && result.from >= self.recent.floor()
            && self.recent.find((), result.from, &result.read_set).is_none()
            && !(keys.is_empty() && listeners.is_empty());
        if !holds {
            return None;
        }
        let id = EntryId(self.next_id);
        self.next_id += 1;
        for key in &keys {
            if let Some(older) = self.by_key.insert(key.clone(), id) {
                self.forget_key(older, key);
            }
        }
        let bytes = size_of::<Entry<K, V, L>>() + result.value_bytes + read_set_bytes(&result.read_set);
        self.readers.insert(id, &result.read_set);
        self.bytes += bytes;
        let idle = listeners.is_empty();
        self.entries.insert(id, Entry { keys, result, bytes, listeners });
        if idle {
            self.keep_idle(id, bytes);
        }
        self.check();
        // It may be the one that had to go.
        self.entries.contains_key(&id).then_some(id)
    }

    /// The result of a key that holds now and may be used by anyone.
    pub fn find(&mut self, key: &K, now: Instant) -> Option<EntryId> {
        let id = *self.by_key.get(key)?;
        let entry = &self.entries[&id];
        if entry.result.findable_until.is_some_and(|end| end <= now) {
            self.by_key.remove(key);
            self.forget_key(id, &key.clone());
            return None;
        }
        self.idle.promote(&id);
        Some(id)
    }

    pub fn get(&self, id: EntryId) -> Option<&CachedResult<V>> {
        self.entries.get(&id).map(|entry| &entry.result)
    }

    /// Makes `listener` one of those whom [`Results::apply`] tells of the end of this result.
    ///
    /// # Panics
    ///
    /// If the result is not kept any more.
    pub fn attach(&mut self, id: EntryId, listener: L) {
        let entry = self.entries.get_mut(&id).expect("nobody listens to what is not kept");
        entry.listeners.insert(listener);
        if self.idle.pop(&id).is_some() {
            self.idle_bytes -= entry.bytes;
        }
    }

    pub fn detach(&mut self, id: EntryId, listener: L) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !entry.listeners.remove(&listener) || !entry.listeners.is_empty() {
            return;
        }
        if entry.keys.is_empty() {
            self.drop_entry(id);
        } else {
            let bytes = entry.bytes;
            self.keep_idle(id, bytes);
        }
    }

    /// What entries without listeners may take from now on.
    pub fn set_idle_bytes_max(&mut self, bytes: usize) {
        self.idle_bytes_max = bytes;
        self.drop_surplus();
    }

    fn keep_idle(&mut self, id: EntryId, bytes: usize) {
        self.idle.put(id, ());
        self.idle_bytes += bytes;
        self.drop_surplus();
    }

    fn drop_surplus(&mut self) {
        while self.idle_bytes > self.idle_bytes_max {
            let Some((oldest, ())) = self.idle.peek_lru() else { break };
            self.drop_entry(*oldest);
        }
    }

    /// A key leads to this entry no longer. Without keys and listeners nobody can reach it.
    fn forget_key(&mut self, id: EntryId, key: &K) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.keys.retain(|known| known != key);
        if entry.keys.is_empty() && entry.listeners.is_empty() {
            self.drop_entry(id);
        }
    }

    /// What must hold after each change, as far as looking at it costs nothing.
    fn check(&self) {
        assert!(self.by_key.is_empty() || !self.entries.is_empty(), "a key leads to a result that is kept");
        assert!(self.idle.len() <= self.entries.len(), "what waits for a listener is kept");
        assert!(self.idle_bytes <= self.bytes, "what waits for a listener is counted");
        assert!(self.idle_bytes <= self.idle_bytes_max, "what waits for a listener is within its bound");
        assert_eq!(self.entries.is_empty(), self.bytes == 0, "what is kept, and only that, is counted");
        assert!(self.recent.newest() <= self.published, "no commit is known that is not published");
    }

    fn drop_entry(&mut self, id: EntryId) -> BTreeSet<L> {
        let Some(entry) = self.entries.remove(&id) else { return BTreeSet::new() };
        for key in &entry.keys {
            if self.by_key.get(key) == Some(&id) {
                self.by_key.remove(key);
            }
        }
        self.readers.remove(id, &entry.result.read_set);
        self.bytes -= entry.bytes;
        if self.idle.pop(&id).is_some() {
            self.idle_bytes -= entry.bytes;
        }
        entry.listeners
    }
}

fn read_set_bytes(read_set: &ReadSet) -> usize {
    let keys: usize = read_set
        .iter()
        .map(|(_, interval)| interval.start.len() + interval.end.as_ref().map_or(0, |end| end.len()))
        .sum();
    let searches: usize = read_set.searches().map(|(_, condition)| condition.bytes()).sum();
    // Twice: the read set itself and its nodes in the index.
    2 * (keys + searches + read_set.len() * size_of::<Interval>())
}
