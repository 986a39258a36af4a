//! A store in memory, for as long as a test.

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;
use contract::{DeploymentId, IndexId, Timestamp};

use crate::{
    apply::{ApplyError, Changes, Family, Store, Visit},
    keys::{self, Incarnation, Stored},
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryStore {
    pairs: BTreeMap<(Family, Vec<u8>), Vec<u8>>,
}

#[derive(Default)]
pub struct MemoryChanges(Vec<Change>);

enum Change {
    Put(Family, Vec<u8>, Vec<u8>),
    Delete(Family, Vec<u8>),
    DeleteRange(Family, Vec<u8>, Vec<u8>),
}

impl MemoryStore {
    pub fn write(&mut self, changes: MemoryChanges) {
        for change in changes.0 {
            match change {
                Change::Put(family, key, value) => {
                    self.pairs.insert((family, key), value);
                }
                Change::Delete(family, key) => {
                    self.pairs.remove(&(family, key));
                }
                Change::DeleteRange(family, from, to) => {
                    self.pairs.retain(|(of, key), _| *of != family || *key < from || *key >= to);
                }
            }
        }
    }

    /// The document at a key as of a timestamp, and the commit that wrote it.
    pub fn read(
        &self,
        incarnation: Incarnation,
        deployment: DeploymentId,
        index: IndexId,
        key: &[u8],
        at: Timestamp,
    ) -> Option<(Timestamp, Option<Bytes>)> {
        let prefix = keys::index_prefix(incarnation, deployment, index);
        let from = (Family::Data, keys::version(&prefix, key, at));
        let ((_, stored), value) = self.pairs.range(from..).next()?;
        let (key_prefix, timestamp) = keys::split_version(stored).ok()?;
        if key_prefix != keys::key_prefix(&prefix, key) {
            return None;
        }
        let document = match Stored::decode(value).ok()? {
            Stored::Document(document) => Some(Bytes::copy_from_slice(document)),
            Stored::Gone | Stored::Reference { .. } => None,
        };
        Some((timestamp, document))
    }
}

impl Store for MemoryStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ApplyError> {
        Ok(self.pairs.get(&(family, key.to_vec())).map(|value| Bytes::copy_from_slice(value)))
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ApplyError> {
        let begin = Bound::Included((family, from.to_vec()));
        for ((of, key), value) in self.pairs.range((begin, Bound::Unbounded)) {
            if *of != family || to.is_some_and(|to| &key[..] >= to) || visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Changes for MemoryChanges {
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
