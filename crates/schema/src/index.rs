//! Indexes as a schema declares them, and the rules for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::SchemaLimits;
use serde_json::{Value as Json, json};
use value::{CREATION_TIME_FIELD, FieldPath, ID_FIELD, IndexName, TableName};

use crate::{
    SchemaError, TableSchema, Validator,
    json::{Fault, Node},
};

/// An index over fields of a table's documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDefinition {
    /// The declared fields; at least one. The creation time and the id, which every key ends with, are not among them.
    pub fields: Vec<FieldPath>,
}

impl IndexDefinition {
    /// All fields of the index's keys: those declared, the creation time and the id.
    pub fn key_fields(&self) -> Vec<FieldPath> {
        let system = [CREATION_TIME_FIELD, ID_FIELD]
            .map(|field| field.parse().expect("system fields are field paths"));
        self.fields.iter().cloned().chain(system).collect()
    }
}

/// An index for text search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchIndexDefinition {
    pub search_field: FieldPath,
    pub filter_fields: BTreeSet<FieldPath>,
}

/// An index for vector search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorIndexDefinition {
    pub vector_field: FieldPath,
    pub dimensions: usize,
    pub filter_fields: BTreeSet<FieldPath>,
}

/// What the kinds of indexes have in common.
pub(crate) trait Definition: Sized {
    fn parse(node: &Node<'_>) -> Result<Self, Fault>;
    fn to_serde_json(&self, name: &IndexName) -> Json;
}

impl Definition for IndexDefinition {
    fn parse(node: &Node<'_>) -> Result<Self, Fault> {
        let fields = node.field("fields")?;
        let fields = fields.members()?.map(|field| field.text()).collect::<Result<_, _>>()?;
        Ok(Self { fields })
    }

    fn to_serde_json(&self, name: &IndexName) -> Json {
        json!({"indexDescriptor": name, "fields": self.fields})
    }
}

impl Definition for SearchIndexDefinition {
    fn parse(node: &Node<'_>) -> Result<Self, Fault> {
        Ok(Self { search_field: node.field("searchField")?.text()?, filter_fields: filter_fields(node)? })
    }

    fn to_serde_json(&self, name: &IndexName) -> Json {
        json!({"indexDescriptor": name, "searchField": self.search_field, "filterFields": self.filter_fields})
    }
}

impl Definition for VectorIndexDefinition {
    fn parse(node: &Node<'_>) -> Result<Self, Fault> {
        let dimensions = node.field("dimensions")?;
        // Numbers may be written with a fraction of 0.
        let whole = dimensions
            .json
            .as_f64()
            .filter(|number| number.trunc() == *number && (0.0..1e9).contains(number));
        Ok(Self {
            vector_field: node.field("vectorField")?.text()?,
            dimensions: whole.ok_or_else(|| dimensions.fault("a whole number is expected"))? as usize,
            filter_fields: filter_fields(node)?,
        })
    }

    fn to_serde_json(&self, name: &IndexName) -> Json {
        json!({
            "indexDescriptor": name,
            "vectorField": self.vector_field,
            "dimensions": self.dimensions,
            "filterFields": self.filter_fields,
        })
    }
}

fn filter_fields(node: &Node<'_>) -> Result<BTreeSet<FieldPath>, Fault> {
    match node.optional("filterFields")? {
        Some(fields) => fields.members()?.map(|field| field.text()).collect(),
        None => Ok(BTreeSet::new()),
    }
}

/// Checks all rules for a table's indexes that need no data.
pub(crate) fn check_indexes(table: &TableSchema, limits: &SchemaLimits) -> Result<(), SchemaError> {
    let search = table.search_indexes.len() + table.staged_search_indexes.len();
    let vector = table.vector_indexes.len() + table.staged_vector_indexes.len();
    let all = table.indexes.len() + table.staged_indexes.len() + search + vector;
    for (kind, count, count_max) in [
        ("text search", search, limits.table_search_indexes_max),
        ("vector", vector, limits.table_vector_indexes_max),
        ("declared", all, limits.table_indexes_max),
    ] {
        if count > count_max {
            return Err(SchemaError::TooManyIndexes { table: table.name.clone(), kind, count, count_max });
        }
    }

    check_names(table)?;
    let rules = Rules { table: &table.name, document_type: &table.document_type };
    let mut by_fields: BTreeMap<&[FieldPath], &IndexName> = BTreeMap::new();
    for (index, definition) in table.indexes.iter().chain(&table.staged_indexes) {
        rules.index(index, &definition.fields, limits.index_fields_max)?;
        if let Some(first) = by_fields.insert(&definition.fields, index) {
            let (table, first, second) = (table.name.clone(), first.clone(), index.clone());
            return Err(SchemaError::IndexFieldsNotUnique { table, first, second });
        }
    }
    for (index, definition) in table.search_indexes.iter().chain(&table.staged_search_indexes) {
        rules.field(index, &definition.search_field)?;
        rules.filter_fields(index, &definition.filter_fields, limits)?;
    }
    for (index, definition) in table.vector_indexes.iter().chain(&table.staged_vector_indexes) {
        rules.field(index, &definition.vector_field)?;
        rules.filter_fields(index, &definition.filter_fields, limits)?;
        let (dimensions_min, dimensions_max) = (limits.vector_dimensions_min, limits.vector_dimensions_max);
        let dimensions = definition.dimensions;
        if !(dimensions_min..=dimensions_max).contains(&dimensions) {
            let (table, index) = (table.name.clone(), index.clone());
            return Err(SchemaError::InvalidVectorDimensions {
                table,
                index,
                dimensions,
                dimensions_min,
                dimensions_max,
            });
        }
    }
    Ok(())
}

/// Names are unique in the table across all kinds of indexes, and none is reserved.
fn check_names(table: &TableSchema) -> Result<(), SchemaError> {
    let names = table
        .indexes
        .keys()
        .chain(table.staged_indexes.keys())
        .chain(table.search_indexes.keys())
        .chain(table.staged_search_indexes.keys())
        .chain(table.vector_indexes.keys())
        .chain(table.staged_vector_indexes.keys());
    let mut seen = BTreeSet::new();
    for index in names {
        if index.is_reserved() {
            return Err(SchemaError::ReservedIndexName { table: table.name.clone(), index: index.clone() });
        }
        if !seen.insert(index) {
            return Err(SchemaError::IndexNameNotUnique { table: table.name.clone(), index: index.clone() });
        }
    }
    Ok(())
}

struct Rules<'s> {
    table: &'s TableName,
    document_type: &'s Validator,
}

impl Rules<'_> {
    fn index(&self, index: &IndexName, fields: &[FieldPath], count_max: usize) -> Result<(), SchemaError> {
        let (table, index) = (self.table.clone(), index.clone());
        if fields.is_empty() {
            return Err(SchemaError::EmptyIndex { table, index });
        }
        if fields.len() > count_max {
            return Err(SchemaError::IndexTooManyFields { table, index, count: fields.len(), count_max });
        }
        let mut seen = BTreeSet::new();
        for field in fields {
            if !seen.insert(field) {
                return Err(SchemaError::IndexFieldNotUnique { table, index, field: field.clone() });
            }
            self.field(&index, field)?;
        }
        Ok(())
    }

    fn filter_fields(
        &self,
        index: &IndexName,
        fields: &BTreeSet<FieldPath>,
        limits: &SchemaLimits,
    ) -> Result<(), SchemaError> {
        let count_max = limits.index_filter_fields_max;
        if fields.len() > count_max {
            let (table, index) = (self.table.clone(), index.clone());
            return Err(SchemaError::IndexTooManyFields { table, index, count: fields.len(), count_max });
        }
        fields.iter().try_for_each(|field| self.field(index, field))
    }

    fn field(&self, index: &IndexName, field: &FieldPath) -> Result<(), SchemaError> {
        let (table, index) = (self.table.clone(), index.clone());
        if field.is_field(ID_FIELD) {
            return Err(SchemaError::IndexFieldsContainId { table, index });
        }
        if field.is_field(CREATION_TIME_FIELD) {
            return Err(SchemaError::IndexFieldsContainCreationTime { table, index });
        }
        if field.first().as_str().starts_with('_') {
            return Err(SchemaError::IndexFieldReserved { table, index, field: field.clone() });
        }
        if !self.document_type.can_have(field.names()) {
            return Err(SchemaError::IndexFieldNotInTable { table, index, field: field.clone() });
        }
        Ok(())
    }
}
