//! What a pushed schema changes in the indexes.

use std::{collections::BTreeMap, sync::Arc};

use contract::{DeclaredIndex, IndexChangeKind, IndexDifference};
use schema::DatabaseSchema;
use transaction::{Catalog, Index, IndexState, Table};
use value::{CREATION_TIME_FIELD, FieldPath, IndexName, TableName};

/// What becomes of one index.
#[derive(Clone, Debug)]
pub struct IndexChange {
    pub table: TableName,
    pub name: IndexName,
    pub fields: Vec<FieldPath>,
    pub staged: bool,
    pub kind: IndexChangeKind,
    /// The index that is there, for every kind but `Added` to begin with; for `Added` one that an earlier push which
    /// never finished has left, as far as it is the same.
    pub existing: Option<Arc<Index>>,
}

/// What a schema asks for, compared with what there is.
#[derive(Clone, Debug, Default)]
pub struct SchemaChange {
    pub indexes: Vec<IndexChange>,
    /// Left by pushes that never finished, and of no use to this one.
    pub abandoned: Vec<(TableName, Arc<Index>)>,
}

impl SchemaChange {
    /// `wanted` is `None` for an app without a schema: it wants no indexes.
    pub fn between(catalog: &Catalog, wanted: Option<&DatabaseSchema>) -> SchemaChange {
        let mut change = SchemaChange::default();
        let mut wanted_indexes = BTreeMap::new();
        for table in wanted.into_iter().flat_map(|schema| schema.tables.values()) {
            let enabled = table.indexes.iter().map(|(name, index)| (name, index, false));
            let staged = table.staged_indexes.iter().map(|(name, index)| (name, index, true));
            for (name, index, staged) in enabled.chain(staged) {
                wanted_indexes.insert((table.name.clone(), name.clone()), (index.fields.clone(), staged));
            }
        }
        for table in catalog.tables() {
            for index in declared_indexes(table) {
                let key = (table.name.clone(), index.name.clone());
                let is_served =
                    index.state == IndexState::Enabled || index.staged && is_in_active(catalog, table, index);
                let matching =
                    wanted_indexes.get(&key).filter(|(fields, _)| *fields == index.fields).cloned();
                let kind = match &matching {
                    Some(_) if !is_served => IndexChangeKind::Added,
                    Some((_, staged)) if *staged == index.staged => IndexChangeKind::Identical,
                    Some((_, true)) => IndexChangeKind::Disabled,
                    Some((_, false)) => IndexChangeKind::Enabled,
                    None if is_served => IndexChangeKind::Dropped,
                    None => {
                        change.abandoned.push((table.name.clone(), index.clone()));
                        continue;
                    }
                };
                if kind != IndexChangeKind::Dropped {
                    wanted_indexes.remove(&key);
                }
                change.indexes.push(IndexChange {
                    table: table.name.clone(),
                    name: index.name.clone(),
                    fields: index.fields.clone(),
                    staged: matching.map_or(index.staged, |(_, staged)| staged),
                    kind,
                    existing: Some(index.clone()),
                });
            }
        }
        for ((table, name), (fields, staged)) in wanted_indexes {
            let kind = IndexChangeKind::Added;
            change.indexes.push(IndexChange { table, name, fields, staged, kind, existing: None });
        }
        change
    }

    /// The difference as the contract states it.
    pub fn difference(&self) -> IndexDifference {
        let of_kind = |kind| {
            let indexes = self.indexes.iter().filter(|index| index.kind == kind);
            indexes.map(IndexChange::declared).collect()
        };
        IndexDifference {
            added: of_kind(IndexChangeKind::Added),
            removed: of_kind(IndexChangeKind::Dropped),
            enabled: of_kind(IndexChangeKind::Enabled),
            disabled: of_kind(IndexChangeKind::Disabled),
        }
    }
}

/// A staged index is never enabled; whether it is served shows in the active schema.
fn is_in_active(catalog: &Catalog, table: &Table, index: &Index) -> bool {
    catalog
        .active_schema()
        .and_then(|stored| stored.schema().ok())
        .and_then(|schema| schema.tables.get(&table.name).cloned())
        .is_some_and(|table| {
            table.staged_indexes.get(&index.name).is_some_and(|known| known.fields == index.fields)
        })
}

/// The indexes that schemas declare: all but the built-in ones.
pub fn declared_indexes(table: &Table) -> impl Iterator<Item = &Arc<Index>> {
    table.indexes.iter().filter(|index| index.name.as_str() != IndexName::BY_CREATION_TIME)
}

impl IndexChange {
    pub fn declared(&self) -> DeclaredIndex {
        let fields = self.fields.iter().map(FieldPath::to_string);
        DeclaredIndex {
            table: self.table.to_string(),
            name: self.name.to_string(),
            fields: fields.chain([CREATION_TIME_FIELD.to_owned()]).collect(),
            staged: self.staged,
        }
    }
}
