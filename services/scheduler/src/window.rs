//! The front of a deployment's queue, as far as it is known: a copy of the index by the time up to a key, kept by the commit stream.
//!
//! ```text
//!     known ────────────────────────────────┐horizon
//!   ●  ●  ○  ●  ○   ○  ○     ○       ○      │ ?   ?  ?  …
//!   running or ended: until the stream says that the entry is gone
//! ```
//!
//! An entry's key changes whenever the entry does. So a key that a commit touches is new if it was not known, and gone if it was; and
//! a copy that began with a read at one moment is exact as long as it is told of every commit after that. What lies behind the
//! horizon is neither known nor told, and is read when the known part is half used up.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use value::key;

/// See the module's documentation. It is plain data: no clock, no log.
#[derive(Debug)]
pub(crate) struct Window {
    entries: BTreeMap<Bytes, Entry>,
    /// The keys of the entries that wait.
    waiting: BTreeSet<Bytes>,
    /// From this key on nothing is known. `None`: everything is known.
    horizon: Option<Bytes>,
    /// How many entries may wait here.
    waiting_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Waiting,
    Running,
    /// Its run is over. It stays until the stream says that it is gone, so that it is not begun again.
    Ended,
}

impl Window {
    /// Knows nothing yet.
    pub(crate) fn new(waiting_max: usize) -> Window {
        Window {
            entries: BTreeMap::new(),
            waiting: BTreeSet::new(),
            horizon: Some(Bytes::new()),
            waiting_max: waiting_max.max(2),
        }
    }

    /// The stream has a gap: only what runs is still known.
    pub(crate) fn forget(&mut self) {
        self.entries.retain(|_, entry| *entry == Entry::Running);
        self.waiting.clear();
        self.horizon = Some(Bytes::new());
        self.check();
    }

    /// A commit has touched a key of the index.
    pub(crate) fn touch(&mut self, key: &Bytes) {
        if self.entries.remove(key).is_some() {
            self.waiting.remove(key);
        } else if self.horizon.as_ref().is_none_or(|horizon| key < horizon) {
            self.wait(key);
        }
        self.check();
    }

    /// An entry of the known part waits from here on. If there are too many now, the last is known no more.
    fn wait(&mut self, key: &Bytes) {
        self.entries.insert(key.clone(), Entry::Waiting);
        self.waiting.insert(key.clone());
        if self.waiting.len() > self.waiting_max {
            let last = self.waiting.pop_last().expect("more than some");
            self.entries.remove(&last);
            self.horizon = Some(last);
        }
    }

    /// What is to be read next: from which key on, and how many entries at most. `None` if enough is known.
    pub(crate) fn wants(&self) -> Option<(Bytes, usize)> {
        let horizon = self.horizon.clone()?;
        let room = self.waiting_max - self.waiting.len();
        (room >= self.waiting_max.div_ceil(2)).then_some((horizon, room))
    }

    /// The keys that were read, in their order, from the horizon on, at the moment up to which the stream was heard. `more`: there are
    /// others behind them.
    pub(crate) fn fill(&mut self, keys: &[Bytes], more: bool) {
        let Some(start) = self.horizon.take() else { return };
        self.horizon = match keys.last() {
            Some(last) if more => Some(key::successor(last).into()),
            _ => None,
        };
        // What runs and was not read went while the stream had a gap.
        let is_read = |key: &Bytes| keys.binary_search(key).is_ok();
        let horizon = self.horizon.clone();
        let is_behind = |key: &Bytes| horizon.as_ref().is_some_and(|horizon| key >= horizon);
        self.entries.retain(|key, _| *key < start || is_behind(key) || is_read(key));
        for key in keys {
            self.entries.entry(key.clone()).or_insert_with(|| {
                self.waiting.insert(key.clone());
                Entry::Waiting
            });
        }
        self.check();
    }

    /// The first entry that waits.
    pub(crate) fn first(&self) -> Option<&Bytes> {
        self.waiting.first()
    }

    /// Whether an entry waits whose key is below `end`.
    pub(crate) fn has_before(&self, end: &[u8]) -> bool {
        self.waiting.first().is_some_and(|first| &first[..] < end)
    }

    /// The first entry that waits, if its key is below `end`. It runs from here on.
    pub(crate) fn begin_before(&mut self, end: &[u8]) -> Option<Bytes> {
        if !self.has_before(end) {
            return None;
        }
        let key = self.waiting.pop_first()?;
        self.entries.insert(key.clone(), Entry::Running);
        self.check();
        Some(key)
    }

    /// The run of an entry is over, so that the entry is gone or soon will be.
    pub(crate) fn end(&mut self, key: &Bytes) {
        if let Some(entry) = self.entries.get_mut(key) {
            *entry = Entry::Ended;
        }
    }

    /// An entry could not be run. It waits again, unless it is gone. Behind the horizon it is read again in its turn.
    pub(crate) fn put_back(&mut self, key: &Bytes) {
        if self.entries.remove(key).is_some() && self.horizon.as_ref().is_none_or(|horizon| key < horizon) {
            self.wait(key);
        }
        self.check();
    }

    fn check(&self) {
        debug_assert_eq!(
            self.waiting.len(),
            self.entries.values().filter(|entry| **entry == Entry::Waiting).count(),
            "who waits is known to wait"
        );
        debug_assert!(self.waiting.len() <= self.waiting_max, "no more wait than may");
        debug_assert!(
            self.horizon.as_ref().is_none_or(|horizon| self.waiting.last().is_none_or(|last| last < horizon)),
            "who waits is before the horizon"
        );
    }
}
