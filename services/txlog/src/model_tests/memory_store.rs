//! A store in memory, for as long as a test.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;
use parking_lot::RwLock;

use super::world::UNIT;
use crate::{
    apply::{ApplyError, Changes, Family, Store, Visit, Writable},
    gaps::{GapLimits, Gaps, KeyList},
    keys,
    walk::{Bounds, Cursor, Walk},
};

/// Few, so that some are forgotten in every run, of few keys, and soon so old that they are joined.
const GAPS: GapLimits =
    GapLimits { gaps_max: 6, keys_min: 1, young_ns: 4 * UNIT, same_ns: 16 * UNIT, old_ns: 48 * UNIT };

pub type Pairs = BTreeMap<(Family, Vec<u8>), Vec<u8>>;

#[derive(Debug)]
pub struct MemoryStore {
    pairs: RwLock<Pairs>,
    gaps: Gaps,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::of(Pairs::new(), GAPS)
    }
}

/// What is remembered of gaps stays behind.
impl Clone for MemoryStore {
    fn clone(&self) -> MemoryStore {
        MemoryStore::of(self.pairs.read().clone(), GAPS)
    }
}

impl MemoryStore {
    /// One that holds these pairs.
    pub fn of(pairs: Pairs, gaps: GapLimits) -> MemoryStore {
        MemoryStore { pairs: RwLock::new(pairs), gaps: Gaps::new(gaps) }
    }

    pub fn count(&self, family: Family) -> usize {
        self.pairs.read().keys().filter(|(of, _)| *of == family).count()
    }

    /// All rows of a family.
    pub fn rows(&self, family: Family) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = self.pairs.read();
        pairs
            .iter()
            .filter(|((of, _), _)| *of == family)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Lets go of rows that nobody can see any more, as a compaction does.
    pub fn compact(&self, gone: &[(Family, Vec<u8>)]) {
        let mut pairs = self.pairs.write();
        for key in gone {
            pairs.remove(key);
        }
    }
}

impl Store for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ApplyError> {
        Ok(self.pairs.read().get(&(family, key.to_vec())).map(|value| Bytes::copy_from_slice(value)))
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ApplyError> {
        let begin = Bound::Included((family, from.to_vec()));
        for ((of, key), value) in self.pairs.read().range((begin, Bound::Unbounded)) {
            if *of != family || to.is_some_and(|to| &key[..] >= to) || visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct MemoryChanges(pub Vec<Change>);

#[derive(Clone, Debug)]
pub enum Change {
    Put(Family, Vec<u8>, Vec<u8>),
    Delete(Family, Vec<u8>),
    DeleteRange(Family, Vec<u8>, Vec<u8>),
}

impl Change {
    pub fn apply(self, pairs: &mut Pairs) {
        match self {
            Change::Put(family, key, value) => {
                pairs.insert((family, key), value);
            }
            Change::Delete(family, key) => {
                pairs.remove(&(family, key));
            }
            Change::DeleteRange(family, from, to) => {
                if from < to {
                    let range = pairs.range((family, from)..(family, to));
                    let keys: Vec<(Family, Vec<u8>)> = range.map(|(key, _)| key.clone()).collect();
                    for key in keys {
                        pairs.remove(&key);
                    }
                }
            }
        }
    }
}

impl Changes for MemoryChanges {
    fn bytes(&self) -> usize {
        self.0.len() * 40
    }

    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.0.push(Change::Put(family, key.to_vec(), value.to_vec()));
    }

    fn delete(&mut self, family: Family, key: &[u8]) {
        self.0.push(Change::Delete(family, key.to_vec()));
    }

    fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        self.0.push(Change::DeleteRange(family, from.to_vec(), to.to_vec()));
    }
}

impl Writable for MemoryStore {
    type Changes<'s> = MemoryChanges;

    fn changes(&self) -> MemoryChanges {
        MemoryChanges::default()
    }

    fn write(&self, changes: MemoryChanges) -> Result<(), ApplyError> {
        let mut filled = KeyList::default();
        for change in &changes.0 {
            if let Change::Put(Family::Data, key, value) = change
                && !keys::is_gone(value)
            {
                filled.push(keys::without_timestamp(key));
            }
        }
        self.gaps.writing(filled, || {
            let mut pairs = self.pairs.write();
            for change in changes.0 {
                change.apply(&mut pairs);
            }
        });
        Ok(())
    }
}

impl Walk for MemoryStore {
    type Cursor<'s> = MemoryCursor<'s>;

    fn cursor(&self, bounds: Bounds) -> MemoryCursor<'_> {
        let (one_key, lower, upper) = match bounds {
            Bounds::OneKey => (true, Vec::new(), None),
            Bounds::Range { lower, upper } => (false, lower, Some(upper)),
        };
        MemoryCursor { store: self, one_key, lower, upper, row: None }
    }

    fn gaps(&self) -> &Gaps {
        &self.gaps
    }
}

pub struct MemoryCursor<'s> {
    store: &'s MemoryStore,
    one_key: bool,
    lower: Vec<u8>,
    upper: Option<Vec<u8>>,
    row: Option<(Vec<u8>, Vec<u8>)>,
}

impl MemoryCursor<'_> {
    fn first(&self, from: Bound<Vec<u8>>) -> Option<(Vec<u8>, Vec<u8>)> {
        let from = from.map(|key| (Family::Data, key));
        let pairs = self.store.pairs.read();
        let ((family, key), value) = pairs.range((from, Bound::Unbounded)).next()?;
        (*family == Family::Data && self.upper.as_ref().is_none_or(|upper| key < upper))
            .then(|| (key.clone(), value.clone()))
    }

    fn last(&self, to: Bound<Vec<u8>>) -> Option<(Vec<u8>, Vec<u8>)> {
        let to = to.map(|key| (Family::Data, key));
        let pairs = self.store.pairs.read();
        let ((family, key), value) = pairs.range((Bound::Unbounded, to)).next_back()?;
        (*family == Family::Data && *key >= self.lower).then(|| (key.clone(), value.clone()))
    }
}

impl Cursor for MemoryCursor<'_> {
    fn seek(&mut self, to: &[u8]) {
        if self.one_key {
            self.lower = keys::without_timestamp(to).to_vec();
            self.upper = keys::behind(&self.lower);
        }
        self.row = self.first(Bound::Included(self.lower.clone().max(to.to_vec())));
    }

    fn seek_for_prev(&mut self, to: &[u8]) {
        self.row = match &self.upper {
            Some(upper) if &upper[..] <= to => self.last(Bound::Excluded(upper.clone())),
            _ => self.last(Bound::Included(to.to_vec())),
        };
    }

    fn next(&mut self) {
        if let Some((key, _)) = self.row.take() {
            self.row = self.first(Bound::Excluded(key));
        }
    }

    fn prev(&mut self) {
        if let Some((key, _)) = self.row.take() {
            self.row = self.last(Bound::Excluded(key));
        }
    }

    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.row.as_ref().map(|(key, value)| (&key[..], &value[..]))
    }

    fn status(&self) -> Result<(), ApplyError> {
        Ok(())
    }

    fn refresh(&mut self) -> Result<(), ApplyError> {
        self.row = None;
        Ok(())
    }
}
