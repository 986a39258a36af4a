//! What a pushed schema changes in the indexes.

use std::{collections::BTreeMap, sync::Arc};

use contract::{DeclaredIndex, IndexChangeKind, IndexDifference};
use schema::DatabaseSchema;
use transaction::{Catalog, Index, IndexKind, IndexState, Table};
use value::{CREATION_TIME_FIELD, FieldPath, IndexName, TableName};

use crate::search;

/// What becomes of one index.
#[derive(Clone, Debug)]
pub struct IndexChange {
    pub table: TableName,
    pub name: IndexName,
    pub fields: Vec<FieldPath>,
    pub index_kind: IndexKind,
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
            for (name, fields, index_kind, staged) in search::declared(table) {
                wanted_indexes.insert((table.name.clone(), name), (fields, index_kind, staged));
            }
        }
        for table in catalog.tables() {
            for index in declared_indexes(table) {
                let key = (table.name.clone(), index.name.clone());
                let is_served =
                    index.state == IndexState::Enabled || index.staged && is_in_active(catalog, table, index);
                let matching =
                    wanted_indexes.get(&key).filter(|wanted| search::is_same(index, wanted)).cloned();
                let kind = match &matching {
                    Some(_) if !is_served => IndexChangeKind::Added,
                    Some((_, _, staged)) if *staged == index.staged => IndexChangeKind::Identical,
                    Some((_, _, true)) => IndexChangeKind::Disabled,
                    Some((_, _, false)) => IndexChangeKind::Enabled,
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
                    index_kind: index.kind.clone(),
                    staged: matching.map_or(index.staged, |(_, _, staged)| staged),
                    kind,
                    existing: Some(index.clone()),
                });
            }
        }
        for ((table, name), (fields, index_kind, staged)) in wanted_indexes {
            let kind = IndexChangeKind::Added;
            change.indexes.push(IndexChange {
                table,
                name,
                fields,
                index_kind,
                staged,
                kind,
                existing: None,
            });
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
            search::declared(&table).any(|(name, fields, kind, staged)| {
                name == index.name && search::is_same(index, &(fields, kind, staged)) && staged
            })
        })
}

/// The indexes that schemas declare: all but those that every table has, and the system's own.
pub fn declared_indexes(table: &Table) -> impl Iterator<Item = &Arc<Index>> {
    table.indexes.iter().filter(|index| !index.name.is_reserved())
}

impl IndexChange {
    pub fn declared(&self) -> DeclaredIndex {
        let mut fields: Vec<String> = self.fields.iter().map(FieldPath::to_string).collect();
        if self.index_kind == IndexKind::Ordered {
            fields.push(CREATION_TIME_FIELD.to_owned());
        }
        DeclaredIndex {
            table: self.table.to_string(),
            name: self.name.to_string(),
            fields,
            kind: search::declared_kind(&self.index_kind),
            staged: self.staged,
        }
    }
}
