//! Fills a new index for documents that are older than it.
//!
//! From the entry that creates an index on, every write maintains it; backfill puts the entries of what was there before,
//! each at its document's own timestamp, so that whoever reads at any later moment finds them. A write that came in between
//! has put its own newer entries, and backfill, which sees that write, puts the same again.

use std::ops::ControlFlow;

use bytes::Bytes;
use contract::{BackfillProgress, DeploymentId, IndexId, Timestamp};
use value::{FieldPath, Object, key::encode_fields};

use crate::{
    apply::{ApplyError, Changes, Family, Store},
    entry::Backfill,
    keys::{self, Incarnation, Stored, StoredError},
    planted,
};

/// Versions of a key that are passed one by one before the next key is sought.
const VERSIONS_PASSED_MAX: usize = 8;

/// Where a step ends that begins at `from`: it passes `keys_max` keys, also those that are only traces of what was
/// deleted. `None`: it is the last.
pub fn end_of_step(
    store: &impl Store,
    (incarnation, deployment, primary): (Incarnation, DeploymentId, IndexId),
    from: Option<&[u8]>,
    keys_max: usize,
) -> Result<Option<Bytes>, ApplyError> {
    let primary = keys::index_prefix(incarnation, deployment, primary);
    let mut keys_passed = 0;
    let mut end = None;
    each_key(store, &primary, from, None, &mut |key, _, _| {
        if keys_passed == keys_max {
            end = Some(keys::unescape(key)?);
            return Ok(ControlFlow::Break(()));
        }
        keys_passed += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(end)
}

/// Puts the entries of the step's documents, as they are now, when all that is in the store is published.
pub fn apply(
    incarnation: Incarnation,
    store: &impl Store,
    changes: &mut impl Changes,
    step: &Backfill,
) -> Result<BackfillProgress, ApplyError> {
    let fields = step
        .fields
        .iter()
        .map(|field| field.parse::<FieldPath>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ApplyError::Log(format!("a backfill names a field that can't be: {error}")))?;
    let primary = keys::index_prefix(incarnation, step.deployment, step.primary);
    let index = keys::index_prefix(incarnation, step.deployment, step.index);
    let mut documents = 0;
    each_key(store, &primary, step.from.as_deref(), step.to.as_deref(), &mut |key, timestamp, value| {
        if let Stored::Document(document) = Stored::decode(value)? {
            let entry = entry_key(document, &fields)?;
            let reference = Stored::Reference { primary: step.primary, key: &keys::unescape(key)? };
            changes.put(Family::Data, &keys::version(&index, &entry, timestamp), &reference.encode());
            documents += 1;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(BackfillProgress { documents, next: step.to.clone() })
}

/// Sees a key, as all its versions begin, with its newest version, and says whether to go on.
type EachKey<'v> = dyn FnMut(&[u8], Timestamp, &[u8]) -> Result<ControlFlow<()>, ApplyError> + 'v;

/// Visits the keys of an index. Of one with many versions not all are passed.
fn each_key(
    store: &impl Store,
    index: &[u8],
    from: Option<&[u8]>,
    to: Option<&[u8]>,
    visit: &mut EachKey<'_>,
) -> Result<(), ApplyError> {
    let end = match to {
        Some(to) => Some(keys::bound(index, to)),
        None => keys::behind(index),
    };
    let mut next = Some(keys::bound(index, from.unwrap_or_default()));
    while let Some(begin) = next.take() {
        let mut key: Vec<u8> = Vec::new();
        let mut passed = 0;
        store.scan(Family::Data, &begin, end.as_deref(), &mut |stored, value| {
            let (key_prefix, timestamp) = keys::split_version(stored)?;
            if key_prefix != key {
                key = key_prefix.to_vec();
                passed = 0;
                return visit(key_prefix, timestamp, value);
            }
            passed += 1;
            if passed < VERSIONS_PASSED_MAX || planted::is(planted::Bug::BackfillPassesAllVersions) {
                return Ok(ControlFlow::Continue(()));
            }
            next = keys::behind(&key);
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(())
}

fn entry_key(document: &[u8], fields: &[FieldPath]) -> Result<Bytes, ApplyError> {
    let damaged = StoredError::Damaged("a document is not one");
    let Ok((json, _)) = contract::document::decode(document) else { return Err(damaged.into()) };
    let Ok(object) = Object::from_json(json) else { return Err(damaged.into()) };
    Ok(encode_fields(&object, fields).into())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        apply::{Visit, Writable},
        model_tests::memory_store::{MemoryChanges, MemoryStore},
        planted::{Bug, plant},
    };

    const PLACE: (Incarnation, DeploymentId, IndexId) = (Incarnation(1), DeploymentId(1), IndexId([1; 16]));
    const INDEX: IndexId = IndexId([2; 16]);

    /// A store that counts the rows which are visited.
    struct Counted {
        store: MemoryStore,
        rows: Cell<usize>,
    }

    impl Store for Counted {
        fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ApplyError> {
            self.store.get(family, key)
        }

        fn scan(
            &self,
            family: Family,
            from: &[u8],
            to: Option<&[u8]>,
            visit: &mut Visit<'_>,
        ) -> Result<(), ApplyError> {
            self.store.scan(family, from, to, &mut |key, value| {
                self.rows.set(self.rows.get() + 1);
                visit(key, value)
            })
        }
    }

    #[test]
    fn a_backfill_that_passes_all_versions_is_found() {
        let step = a_step_is_bounded_by_the_rows_it_visits_and_all_steps_cover_everything_once;
        let found = std::panic::catch_unwind(|| plant(Bug::BackfillPassesAllVersions, step));
        assert!(found.is_err(), "nobody noticed");
    }

    #[test]
    fn a_step_is_bounded_by_the_rows_it_visits_and_all_steps_cover_everything_once() {
        const KEYS: u64 = 300;
        const KEYS_MAX: usize = 16;
        let prefix = keys::index_prefix(PLACE.0, PLACE.1, PLACE.2);
        let document = |number: u64| contract::document::encode(&format!("{{\"n\":{number}}}"), 2);
        let mut changes = MemoryChanges::default();
        for number in 0..KEYS {
            // A third is deleted; every tenth has a thousand versions.
            let versions = if number % 10 == 0 { 1_000 } else { 1 + number % 3 };
            for version in 1..=versions {
                let key = keys::version(&prefix, &number.to_be_bytes(), Timestamp::new(version).unwrap());
                let gone = number % 3 == 0 && version == versions;
                let document = document(number);
                let value = if gone { Stored::Gone } else { Stored::Document(&document) };
                changes.put(Family::Data, &key, &value.encode());
            }
        }
        let store = Counted { store: MemoryStore::default(), rows: Cell::new(0) };
        store.store.write(changes).unwrap();
        let visited_max = (KEYS_MAX + 1) * (VERSIONS_PASSED_MAX + 1);
        let (mut from, mut steps, mut documents) = (None, 0, 0);
        let mut filled = MemoryChanges::default();
        loop {
            store.rows.set(0);
            let to = end_of_step(&store, PLACE, from.as_deref(), KEYS_MAX).unwrap();
            assert!(store.rows.get() <= visited_max, "{} rows to find the end", store.rows.get());
            store.rows.set(0);
            let (deployment, primary, index) = (PLACE.1, PLACE.2, INDEX);
            let fields = vec!["n".into()];
            let step = Backfill { deployment, primary, index, fields, from, to };
            let progress = apply(PLACE.0, &store, &mut filled, &step).unwrap();
            assert!(store.rows.get() <= visited_max, "{} rows in apply", store.rows.get());
            documents += progress.documents;
            steps += 1;
            from = progress.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!((documents, steps), (KEYS - KEYS / 3, KEYS.div_ceil(KEYS_MAX as u64)));
        let entries = MemoryStore::default();
        entries.write(filled).unwrap();
        let mut count = 0;
        entries
            .scan(Family::Data, &[], None, &mut |_, _| {
                count += 1;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        assert_eq!(count, documents, "each document has its one entry");
    }
}
