//! What is validated and not yet in the store, so that a run after a conflict can read it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use bytes::Bytes;
use contract::{DeploymentId, IndexId, Interval, Timestamp, Write, is_announced_only};

use crate::planted;

/// The writes above what is applied, by index key. Their documents lie under each of their index keys.
#[derive(Debug, Default, PartialEq)]
pub struct Overlay {
    /// Commits that were added and not removed.
    commits: usize,
    indexes: HashMap<(DeploymentId, IndexId), BTreeMap<Bytes, Vec<OverlayVersion>>>,
}

/// What a commit made of a key: `None` is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayVersion {
    pub timestamp: Timestamp,
    pub document: Option<Bytes>,
}

impl Overlay {
    /// How many commits it holds.
    pub fn commits(&self) -> usize {
        self.commits
    }

    pub fn add(&mut self, deployment: DeploymentId, timestamp: Timestamp, writes: &[Write]) {
        self.commits += 1;
        for (index, key, document) in versions(writes) {
            let versions =
                self.indexes.entry((deployment, index)).or_default().entry(key.clone()).or_default();
            let in_order = versions.last().is_none_or(|last| last.timestamp <= timestamp);
            assert!(in_order, "the last version is the newest");
            versions.push(OverlayVersion { timestamp, document: document.cloned() });
        }
    }

    /// Takes a commit out again: it is in the store, or it will never be.
    pub fn remove(&mut self, deployment: DeploymentId, timestamp: Timestamp, writes: &[Write]) {
        self.commits = self.commits.checked_sub(1).expect("what is removed was added");
        for (index, key, _) in versions(writes) {
            let Some(keys) = self.indexes.get_mut(&(deployment, index)) else { continue };
            if let Some(versions) = keys.get_mut(key) {
                versions.retain(|version| version.timestamp != timestamp);
                if versions.is_empty() {
                    keys.remove(key);
                }
            }
            if keys.is_empty() {
                self.indexes.remove(&(deployment, index));
            }
        }
        assert!(self.commits > 0 || self.indexes.is_empty(), "whoever goes leaves nothing behind");
    }

    /// The newest version of each key of the interval, as of `at`.
    pub fn range(
        &self,
        deployment: DeploymentId,
        index: IndexId,
        interval: &Interval,
        at: Timestamp,
    ) -> BTreeMap<Bytes, OverlayVersion> {
        let Some(keys) = self.indexes.get(&(deployment, index)).filter(|_| !interval.is_empty()) else {
            return BTreeMap::new();
        };
        let end = interval.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        keys.range::<[u8], _>((Bound::Included(&interval.start[..]), end))
            .filter_map(|(key, versions)| Some((key.clone(), newest(versions, at)?.clone())))
            .collect()
    }

    pub fn point(
        &self,
        deployment: DeploymentId,
        index: IndexId,
        key: &[u8],
        at: Timestamp,
    ) -> Option<OverlayVersion> {
        newest(self.indexes.get(&(deployment, index))?.get(key)?, at).cloned()
    }
}

fn newest(versions: &[OverlayVersion], at: Timestamp) -> Option<&OverlayVersion> {
    versions.iter().rev().find(|version| version.timestamp <= at)
}

/// Each key that the writes change, with the document that is there afterwards.
fn versions(writes: &[Write]) -> impl Iterator<Item = (IndexId, &Bytes, Option<&Bytes>)> {
    writes.iter().flat_map(|write| {
        let primary = (write.primary, &write.key, write.document.as_ref());
        let others = write.index_updates.iter().flat_map(|update| {
            let gone = update.old.as_ref().filter(|old| update.new.as_ref() != Some(old));
            let gone = gone.filter(|_| !planted::is(planted::Bug::OverlayKeepsOldKeys));
            let there = update.new.as_ref();
            gone.map(|key| (update.index, key, None))
                .into_iter()
                .chain(there.map(|key| (update.index, key, write.document.as_ref())))
                .filter(|(_, key, _)| !is_announced_only(key))
        });
        std::iter::once(primary).chain(others)
    })
}

#[cfg(test)]
mod tests {
    use contract::IndexUpdate;

    use super::*;

    #[test]
    fn it_shows_each_key_as_of_a_timestamp_until_it_is_removed() {
        let (deployment, primary, by_name) = (DeploymentId(1), IndexId([1; 16]), IndexId([2; 16]));
        let bytes = Bytes::from_static;
        let timestamp = |at| Timestamp::new(at).unwrap();
        let write =
            |document: Option<&'static [u8]>, old: Option<&'static [u8]>, new: Option<&'static [u8]>| Write {
                primary,
                key: bytes(b"id"),
                document: document.map(bytes),
                index_updates: vec![IndexUpdate { index: by_name, old: old.map(bytes), new: new.map(bytes) }],
            };
        let first = [write(Some(b"one"), None, Some(b"a"))];
        let second = [write(Some(b"two"), Some(b"a"), Some(b"b"))];
        let mut overlay = Overlay::default();
        overlay.add(deployment, timestamp(5), &first);
        overlay.add(deployment, timestamp(7), &second);

        let at = |overlay: &Overlay, at| {
            overlay
                .range(deployment, by_name, &Interval::all(), timestamp(at))
                .into_iter()
                .map(|(key, version)| (key, version.document))
                .collect::<Vec<_>>()
        };
        assert_eq!(at(&overlay, 4), vec![]);
        assert_eq!(at(&overlay, 6), vec![(bytes(b"a"), Some(bytes(b"one")))]);
        assert_eq!(at(&overlay, 7), vec![(bytes(b"a"), None), (bytes(b"b"), Some(bytes(b"two")))]);
        let point = overlay.point(deployment, primary, b"id", timestamp(9)).unwrap();
        assert_eq!((point.timestamp, point.document), (timestamp(7), Some(bytes(b"two"))));

        overlay.remove(deployment, timestamp(5), &first);
        assert_eq!(at(&overlay, 6), vec![]);
        overlay.remove(deployment, timestamp(7), &second);
        assert!(overlay.indexes.is_empty());
    }
}
