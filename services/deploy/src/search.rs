//! Indexes for searches: what a schema declares, and waiting until they are filled.

use std::time::Duration;

use contract::{DeclaredIndexKind, DeploymentRef, Result};
use schema::TableSchema;
use transaction::{Index, IndexKind, IndexRow};
use value::{FieldPath, IndexName};

use crate::{Handle, worker::table_of};

/// An index as a schema declares it: its fields, what kind it is, and whether it is staged.
pub(crate) type Declared = (Vec<FieldPath>, IndexKind, bool);

/// All indexes that a schema declares for a table, of every kind.
pub(crate) fn declared(
    table: &TableSchema,
) -> impl Iterator<Item = (IndexName, Vec<FieldPath>, IndexKind, bool)> {
    let fields_of =
        |fields: &std::collections::BTreeSet<FieldPath>| fields.iter().cloned().collect::<Vec<_>>();
    let of_documents = [(&table.indexes, false), (&table.staged_indexes, true)];
    let of_documents = of_documents.into_iter().flat_map(|(indexes, staged)| {
        indexes
            .iter()
            .map(move |(name, index)| (name.clone(), index.fields.clone(), IndexKind::Ordered, staged))
    });
    let of_texts = [(&table.search_indexes, false), (&table.staged_search_indexes, true)];
    let of_texts = of_texts.into_iter().flat_map(move |(indexes, staged)| {
        indexes.iter().map(move |(name, index)| {
            let kind = IndexKind::Text { filter_fields: fields_of(&index.filter_fields) };
            (name.clone(), vec![index.search_field.clone()], kind, staged)
        })
    });
    let of_vectors = [(&table.vector_indexes, false), (&table.staged_vector_indexes, true)];
    let of_vectors = of_vectors.into_iter().flat_map(move |(indexes, staged)| {
        indexes.iter().map(move |(name, index)| {
            let filter_fields = fields_of(&index.filter_fields);
            let kind = IndexKind::Vector { dimensions: index.dimensions, filter_fields };
            (name.clone(), vec![index.vector_field.clone()], kind, staged)
        })
    });
    of_documents.chain(of_texts).chain(of_vectors)
}

/// Whether the index that is there is what a schema declares, staged or not.
pub(crate) fn is_same(index: &Index, (fields, kind, _): &Declared) -> bool {
    index.fields == *fields && index.kind == *kind
}

/// As the contract has it.
pub(crate) fn declared_kind(kind: &IndexKind) -> DeclaredIndexKind {
    let names = |fields: &[FieldPath]| fields.iter().map(FieldPath::to_string).collect();
    match kind {
        IndexKind::Ordered => DeclaredIndexKind::Database,
        IndexKind::Text { filter_fields } => DeclaredIndexKind::Text { filter_fields: names(filter_fields) },
        IndexKind::Vector { dimensions, filter_fields } => DeclaredIndexKind::Vector {
            dimensions: u32::try_from(*dimensions).unwrap_or(u32::MAX),
            filter_fields: names(filter_fields),
        },
    }
}

impl Handle {
    /// Until the search service holds every document in the index. It fills it by itself, as soon as it hears of its row. `false` if it
    /// never will, because the index has gone or goes with its table.
    pub(crate) async fn wait_for_search_index(
        &self,
        deployment: DeploymentRef,
        row: &IndexRow,
    ) -> Result<bool> {
        let pause = Duration::from_millis(self.limits().push.schema_look_ms);
        while !self.dependencies().search.search_index(deployment, row.id).await?.is_complete {
            tokio::time::sleep(pause).await;
            let transaction = self.transactions().snapshot(deployment).await?;
            let table = table_of(&transaction, row);
            if !table.is_some_and(|table| table.indexes.iter().any(|index| index.id == row.id)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
