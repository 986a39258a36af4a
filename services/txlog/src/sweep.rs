//! Removes what was deleted, once nobody can read it any more.
//!
//! A deletion leaves a marker in every index of its document, for the readers of older moments: without anything further
//! it would stay for ever, and whoever reads the first rows of an index would pass all that were ever there. So apply
//! notes which keys each commit deletes, and what is noted below the horizon is removed here: the marker and every
//! version that is older. A reader at or above the horizon sees nothing at such a key before and after; one below is
//! refused. Each replica sweeps by itself, when it likes.
//!
//! Compaction can't do it: a marker hides older versions that may lie in a file which the compaction does not read.

use std::{collections::BTreeMap, ops::ControlFlow};

use contract::Timestamp;

use crate::{
    apply::{ApplyError, Changes, Family, Store},
    keys::{self, Deletions, Incarnation},
    planted,
};

/// Versions of a key that are removed one by one; more are removed as a range, which is dearer for those who read near it.
const VERSIONS_REMOVED_SINGLY_MAX: usize = 16;

/// What one round has done.
#[derive(Debug, PartialEq)]
pub struct Swept {
    /// Deleted keys whose traces are gone.
    pub keys: usize,
    /// Where the next round begins; `None` if there is nothing left below the horizon.
    pub next: Option<Timestamp>,
}

/// Removes the traces of the deletions from `from` on and up to `horizon`: of as many commits as have `keys_max` of them,
/// and of at least one.
///
/// `horizon` must be applied, and the changes must come into the store after whatever moved it there.
pub fn sweep(
    store: &impl Store,
    changes: &mut impl Changes,
    incarnation: Incarnation,
    (from, horizon): (Timestamp, Timestamp),
    keys_max: usize,
) -> Result<Swept, ApplyError> {
    assert!(from <= horizon || from.as_nanoseconds() == horizon.as_nanoseconds() + 1);
    let horizon = match planted::is(planted::Bug::SweepPassesHorizon) {
        true => Timestamp::MAX,
        false => horizon,
    };
    let begin = keys::deletions(incarnation, from);
    let Some(behind_horizon) = keys::behind(&keys::deletions(incarnation, horizon)) else {
        return Ok(Swept { keys: 0, next: None });
    };
    // The newest deletion of each key: all that is older goes with it.
    let mut deleted: BTreeMap<Vec<u8>, Timestamp> = BTreeMap::new();
    let mut noted = 0;
    let mut next = None;
    store.scan(Family::Deletions, &begin, Some(&behind_horizon), &mut |stored, value| {
        let timestamp = keys::deletions_timestamp(stored)?;
        if noted >= keys_max {
            next = Some(timestamp);
            return Ok(ControlFlow::Break(()));
        }
        for key in Deletions::decode(value)? {
            deleted.insert(key.to_vec(), timestamp);
            noted += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if noted == 0 {
        return Ok(Swept { keys: 0, next: None });
    }
    remove_versions(store, changes, &deleted)?;
    let end = next.map_or(behind_horizon, |next| keys::deletions(incarnation, next));
    changes.delete_range(Family::Deletions, &begin, &end);
    Ok(Swept { keys: deleted.len(), next })
}

/// Removes each key's versions from the given one on, to the oldest.
fn remove_versions(
    store: &impl Store,
    changes: &mut impl Changes,
    deleted: &BTreeMap<Vec<u8>, Timestamp>,
) -> Result<(), ApplyError> {
    let range = |key: &[u8], newest: Timestamp| {
        let mut from = key.to_vec();
        keys::push_timestamp(&mut from, newest);
        let to = match planted::is(planted::Bug::SweepLeavesOldVersions) {
            true => [&from[..], &[0]].concat(),
            false => keys::behind(key).expect("a key's prefix ends with a byte that has a successor"),
        };
        (from, to)
    };
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut ranges = deleted.iter().map(|(key, newest)| range(key, *newest));
    let mut remove = |found: &mut Vec<Vec<u8>>| {
        if found.len() <= VERSIONS_REMOVED_SINGLY_MAX {
            found.iter().for_each(|version| changes.delete(Family::Data, version));
        } else if let Some(first) = found.first() {
            let key = keys::without_timestamp(first);
            let to = keys::behind(key).expect("a key's prefix ends with a byte that has a successor");
            changes.delete_range(Family::Data, first, &to);
        }
        found.clear();
    };
    store.scan_each(Family::Data, &mut ranges, &mut |stored, _| {
        let (key, _) = keys::split_version(stored)?;
        if found.first().is_some_and(|first| keys::without_timestamp(first) != key) {
            remove(&mut found);
        }
        if found.len() <= VERSIONS_REMOVED_SINGLY_MAX {
            found.push(stored.to_vec());
        }
        Ok(ControlFlow::Continue(()))
    })?;
    remove(&mut found);
    Ok(())
}
