//! Fills a new index for documents that are older than it.
//!
//! From the entry that creates an index on, every write maintains it; backfill puts the entries of what was there before,
//! each at its document's own timestamp, so that whoever reads at any later moment finds them. A write that came in between
//! has put its own newer entries, and backfill, which sees that write, puts the same again.

use std::ops::ControlFlow;

use bytes::Bytes;
use contract::{BackfillProgress, Timestamp};
use value::{FieldPath, Object, key::encode_fields};

use crate::{
    apply::{ApplyError, Changes, Family, Store},
    entry::Backfill,
    keys::{self, Incarnation, Stored, StoredError},
};

/// Puts the entries of up to `documents_max` documents, as they are at `now`, the store's last timestamp.
pub fn apply(
    incarnation: Incarnation,
    now: Timestamp,
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
    let from = keys::bound(&primary, step.from.as_deref().unwrap_or_default());
    let mut progress = BackfillProgress { documents: 0, next: None };
    let mut last_key: Vec<u8> = Vec::new();
    store.scan(Family::Data, &from, keys::behind(&primary).as_deref(), &mut |stored, value| {
        let (key_prefix, timestamp) = keys::split_version(stored)?;
        if timestamp > now || key_prefix == last_key {
            return Ok(ControlFlow::Continue(()));
        }
        last_key = key_prefix.to_vec();
        let Stored::Document(document) = Stored::decode(value)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let key = keys::unescape(key_prefix)?;
        if progress.documents == u64::from(step.documents_max) {
            progress.next = Some(key);
            return Ok(ControlFlow::Break(()));
        }
        let entry = entry_key(document, &fields)?;
        let reference = Stored::Reference { primary: step.primary, key: &key };
        changes.put(Family::Data, &keys::version(&index, &entry, timestamp), &reference.encode());
        progress.documents += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(progress)
}

fn entry_key(document: &[u8], fields: &[FieldPath]) -> Result<Bytes, ApplyError> {
    let damaged = StoredError::Damaged("a document is not one");
    let Ok((json, _)) = contract::document::decode(document) else { return Err(damaged.into()) };
    let Ok(object) = Object::from_json(json) else { return Err(damaged.into()) };
    Ok(encode_fields(&object, fields).into())
}
