//! What a transaction has written so far, over the committed state that it began with.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use contract::{IndexId, IndexUpdate, Order, Write, is_announced_only};
use value::{COMMIT_TIMESTAMP_JSON, Object, key};

use crate::{Document, IndexKind, catalog::Table, changes::ChangedDocument};

/// Names a document: its table's primary index and its key there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DocumentKey {
    pub primary: IndexId,
    pub key: Bytes,
}

/// The pending writes: per document its committed and its newest state, and per index what lies at which key.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    documents: BTreeMap<DocumentKey, PendingDocument>,
    /// In each index of a written table, the primary key of the pending document at each of its keys.
    overlays: HashMap<IndexId, BTreeMap<Bytes, Bytes>>,
    /// What each write replaced, oldest first.
    undo: Vec<(DocumentKey, Option<PendingDocument>)>,
}

#[derive(Debug)]
pub(crate) struct PendingDocument {
    table: Arc<Table>,
    /// Whether the document is there in the committed state.
    committed: bool,
    /// Its keys there, in every index but the primary.
    committed_keys: Vec<(IndexId, Bytes)>,
    /// `None` if it is deleted.
    pub document: Option<Document>,
    keys: Vec<(IndexId, Bytes)>,
}

/// A point to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UndoMark(usize);

impl Pending {
    pub(crate) fn get(&self, key: &DocumentKey) -> Option<&PendingDocument> {
        self.documents.get(key)
    }

    /// Whether anything of this table is pending.
    pub(crate) fn touches(&self, primary: IndexId) -> bool {
        self.overlays.contains_key(&primary)
    }

    /// Records a write. `before` is the document as the transaction saw it until now, `None` for an insert; `after` is
    /// `None` for a delete.
    pub(crate) fn write(
        &mut self,
        table: &Arc<Table>,
        key: DocumentKey,
        before: Option<&Object>,
        after: Option<(Document, &Object)>,
    ) {
        let previous = self.take(&key);
        let (committed, committed_keys) = match (&previous, before) {
            (Some(previous), _) => (previous.committed, previous.committed_keys.clone()),
            (None, Some(before)) => (true, keys_of(table, before)),
            (None, None) => (false, Vec::new()),
        };
        let (document, keys) = match after {
            Some((document, object)) => (Some(document), keys_of(table, object)),
            None => (None, Vec::new()),
        };
        let next = PendingDocument { table: Arc::clone(table), committed, committed_keys, document, keys };
        self.put(key.clone(), next);
        self.undo.push((key, previous));
    }

    /// Takes a new definition of a table into account: its pending documents get their keys in new indexes and lose
    /// those in dropped ones. Not undone by [`Pending::roll_back`] by itself: it must be told again.
    pub(crate) fn table_changed(&mut self, table: &Arc<Table>) {
        let of_table = |key: &&DocumentKey| key.primary == table.by_id.id;
        let keys: Vec<DocumentKey> = self.documents.keys().filter(of_table).cloned().collect();
        for key in keys {
            let Some(mut pending) = self.take(&key) else { continue };
            // A document is parsed again here, which only happens when a push and writes share a transaction.
            let object = pending.document.as_ref().and_then(|document| document.to_object().ok());
            pending.table = Arc::clone(table);
            pending.keys = object.map(|object| keys_of(table, &object)).unwrap_or_default();
            self.put(key, pending);
        }
    }

    fn take(&mut self, key: &DocumentKey) -> Option<PendingDocument> {
        let pending = self.documents.remove(key)?;
        if pending.document.is_some() {
            self.overlay(key.primary).remove(&key.key);
            for (index, index_key) in ordered(&pending.keys) {
                self.overlay(*index).remove(index_key);
            }
        }
        Some(pending)
    }

    fn put(&mut self, key: DocumentKey, pending: PendingDocument) {
        // The table counts as touched from now on, also if the write deletes.
        let primary = self.overlay(key.primary);
        if pending.document.is_some() {
            let mut before = primary.insert(key.key.clone(), key.key.clone());
            for (index, index_key) in ordered(&pending.keys) {
                before = before.or(self.overlay(*index).insert(index_key.clone(), key.key.clone()));
            }
            assert!(before.is_none(), "a key of an index belongs to one document");
        }
        let before = self.documents.insert(key, pending);
        assert!(before.is_none(), "a document has one pending state");
    }

    fn overlay(&mut self, index: IndexId) -> &mut BTreeMap<Bytes, Bytes> {
        self.overlays.entry(index).or_default()
    }

    /// The first pending document of `index` within the bounds, in `order`.
    pub(crate) fn next_in(
        &self,
        primary: IndexId,
        index: IndexId,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        order: Order,
    ) -> Option<(&Bytes, &Document)> {
        let mut range = self.overlays.get(&index)?.range::<[u8], _>(bounds);
        let (index_key, key) = match order {
            Order::Ascending => range.next()?,
            Order::Descending => range.next_back()?,
        };
        let key = DocumentKey { primary, key: key.clone() };
        let document = self.documents.get(&key).and_then(|pending| pending.document.as_ref());
        Some((index_key, document.expect("an overlay holds only documents that are there")))
    }

    /// The pending documents of a table: their keys, whether they are there in the committed state, and what they are now.
    pub(crate) fn of_table(
        &self,
        primary: IndexId,
    ) -> impl Iterator<Item = (&Bytes, bool, Option<&Document>)> {
        let first = DocumentKey { primary, key: Bytes::new() };
        self.documents
            .range(first..)
            .take_while(move |(key, _)| key.primary == primary)
            .map(|(key, pending)| (&key.key, pending.committed, pending.document.as_ref()))
    }

    /// The definitions of the tables of all pending documents, as they were when they were written.
    pub(crate) fn tables(&self) -> Vec<Arc<Table>> {
        let mut tables: Vec<Arc<Table>> = Vec::new();
        for pending in self.documents.values() {
            if !tables.iter().any(|table| Arc::ptr_eq(table, &pending.table)) {
                tables.push(Arc::clone(&pending.table));
            }
        }
        tables
    }

    pub(crate) fn mark(&self) -> UndoMark {
        UndoMark(self.undo.len())
    }

    /// Undoes every write after the mark, newest first.
    pub(crate) fn roll_back(&mut self, mark: UndoMark) {
        assert!(mark.0 <= self.undo.len(), "what was undone can't be gone back to");
        while self.undo.len() > mark.0 {
            let (key, previous) = self.undo.pop().expect("longer than the mark");
            self.take(&key);
            if let Some(previous) = previous {
                self.put(key, previous);
            }
        }
    }

    /// The documents of applications that are to be committed, and whether each is deleted. Those that were inserted and deleted
    /// again are left out.
    pub(crate) fn changes(&self) -> impl Iterator<Item = ChangedDocument> + '_ {
        let changed = |pending: &PendingDocument| pending.committed || pending.document.is_some();
        let of_applications = self.documents.iter().filter(|(_, pending)| !pending.table.is_system());
        of_applications.filter(move |(_, pending)| changed(pending)).map(|(key, pending)| ChangedDocument {
            primary: key.primary,
            key: key.key.clone(),
            deleted: pending.document.is_none(),
        })
    }

    /// What is to be committed. Documents that were inserted and deleted again are left out.
    pub(crate) fn into_writes(self) -> Vec<Write> {
        let changed = |pending: &PendingDocument| pending.committed || pending.document.is_some();
        let writes = self.documents.into_iter().filter(|(_, pending)| changed(pending));
        writes
            .map(|(key, pending)| {
                let key_in = |keys: &[(IndexId, Bytes)], index: IndexId| {
                    keys.iter().find(|(known, _)| *known == index).map(|(_, key)| key.clone())
                };
                let mut index_updates = Vec::with_capacity(pending.table.indexes.len());
                for index in &pending.table.indexes {
                    let old = key_in(&pending.committed_keys, index.id);
                    let new = key_in(&pending.keys, index.id);
                    if old.is_some() || new.is_some() {
                        index_updates.push(IndexUpdate { index: index.id, old, new });
                    }
                }
                let document = pending.document.map(|document| match document.waits_for_commit() {
                    true => unstamped(&document, &pending.table, &index_updates),
                    false => document.stored().clone(),
                });
                Write { primary: key.primary, key: key.key, document, index_updates }
            })
            .collect()
    }
}

/// A document as the log takes it that puts the timestamp of the commit into it and its keys.
fn unstamped(document: &Document, table: &Table, updates: &[IndexUpdate]) -> Bytes {
    // A document that is pending was made from an object.
    let object = document.to_object().unwrap_or_default();
    let mut in_keys = Vec::new();
    for (position, update) in updates.iter().enumerate() {
        // What is only announced has no places for it.
        let index =
            table.indexes.iter().find(|index| index.id == update.index && index.kind == IndexKind::Ordered);
        let places = index.map(|index| key::commit_timestamps(&object, index.key_fields()));
        in_keys.extend(places.into_iter().flatten().map(|place| (position as u32, place as u32)));
    }
    let size = u32::try_from(document.size_bytes()).unwrap_or(u32::MAX);
    contract::document::encode_unstamped(document.json(), COMMIT_TIMESTAMP_JSON, size, &in_keys)
}

/// The keys of a document of `table` in every index but the primary, as far as it is in them.
fn keys_of(table: &Table, document: &Object) -> Vec<(IndexId, Bytes)> {
    table.indexes.iter().filter_map(|index| Some((index.id, index.key_of(document)?))).collect()
}

/// The keys that are in an order, each of one document.
fn ordered(keys: &[(IndexId, Bytes)]) -> impl Iterator<Item = &(IndexId, Bytes)> {
    keys.iter().filter(|(_, key)| !is_announced_only(key))
}
