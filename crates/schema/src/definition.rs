use std::collections::BTreeMap;

use crate::limits::SchemaLimits;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Value as Json, json};
use value::{CREATION_TIME_FIELD, ID_FIELD, IndexName, Object, TableName};

use crate::{
    IndexDefinition, SchemaError, SearchIndexDefinition, TableLookup, ValidationFailure, Validator,
    VectorIndexDefinition,
    index::{Definition, check_indexes},
    json::{Fault, Node},
    validator::Parser,
};

/// The schema of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSchema {
    pub tables: BTreeMap<TableName, TableSchema>,
    /// Whether documents must fit their table's type and tables must be declared. Without it only indexes count.
    pub schema_validation: bool,
}

/// What a schema declares of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    pub name: TableName,
    pub indexes: BTreeMap<IndexName, IndexDefinition>,
    /// Filled, but not to be queried yet.
    pub staged_indexes: BTreeMap<IndexName, IndexDefinition>,
    pub search_indexes: BTreeMap<IndexName, SearchIndexDefinition>,
    pub staged_search_indexes: BTreeMap<IndexName, SearchIndexDefinition>,
    pub vector_indexes: BTreeMap<IndexName, VectorIndexDefinition>,
    pub staged_vector_indexes: BTreeMap<IndexName, VectorIndexDefinition>,
    /// Which documents the table holds, their system fields apart.
    pub document_type: Validator,
    /// A type which documents are compared with, but which isn't enforced.
    pub staged_document_type: Option<Validator>,
}

impl DatabaseSchema {
    /// Without tables and without validation: what holds where there is no schema.
    pub fn empty() -> Self {
        Self { tables: BTreeMap::new(), schema_validation: false }
    }

    /// Parses the JSON text that the client library exports, and checks every rule that needs no data.
    pub fn from_json(text: &str, limits: &SchemaLimits) -> Result<Self, SchemaError> {
        let json = serde_json::from_str(text).map_err(|error| SchemaError::InvalidSchema {
            path: ".".to_owned(),
            reason: format!("this is not JSON: {error}"),
        })?;
        Self::from_serde_json(&json, limits)
    }

    /// As [`DatabaseSchema::from_json`], for JSON that was parsed already.
    pub fn from_serde_json(json: &Json, limits: &SchemaLimits) -> Result<Self, SchemaError> {
        let (tables, schema_validation) = parse(json, limits)
            .map_err(|Fault { path, reason }| SchemaError::InvalidSchema { path, reason })?;
        if tables.len() > limits.tables_max {
            return Err(SchemaError::TooManyTables { count: tables.len(), count_max: limits.tables_max });
        }
        let mut schema = Self { tables: BTreeMap::new(), schema_validation };
        for Parsed { table, repeated_index } in tables {
            if let Some(index) = repeated_index {
                return Err(SchemaError::IndexNameNotUnique { table: table.name, index });
            }
            table.check(limits)?;
            let name = table.name.clone();
            if schema.tables.insert(name.clone(), table).is_some() {
                return Err(SchemaError::TableNotUnique { table: name });
            }
        }
        Ok(schema)
    }

    /// The canonical JSON: equal schemas give equal text.
    pub fn to_json(&self) -> String {
        self.to_serde_json().to_string()
    }

    pub fn to_serde_json(&self) -> Json {
        let tables: Vec<Json> = self.tables.values().map(TableSchema::to_serde_json).collect();
        json!({"tables": tables, "schemaValidation": self.schema_validation})
    }
}

impl TableSchema {
    /// A table without indexes.
    pub fn new(name: TableName, document_type: Validator) -> Self {
        Self {
            name,
            indexes: BTreeMap::new(),
            staged_indexes: BTreeMap::new(),
            search_indexes: BTreeMap::new(),
            staged_search_indexes: BTreeMap::new(),
            vector_indexes: BTreeMap::new(),
            staged_vector_indexes: BTreeMap::new(),
            document_type,
            staged_document_type: None,
        }
    }

    /// Whether a document, with or without its system fields, is of the table's type.
    pub fn check_document(
        &self,
        document: &Object,
        tables: &dyn TableLookup,
    ) -> Result<(), ValidationFailure> {
        self.document_type.check_document(document, tables)
    }

    fn check(&self, limits: &SchemaLimits) -> Result<(), SchemaError> {
        if self.name.is_system() {
            return Err(SchemaError::ReservedTableName { table: self.name.clone() });
        }
        for document_type in std::iter::once(&self.document_type).chain(&self.staged_document_type) {
            self.check_document_type(document_type)?;
        }
        check_indexes(self, limits)
    }

    /// A document is an object, and fields with a leading underscore are the system's.
    fn check_document_type(&self, document_type: &Validator) -> Result<(), SchemaError> {
        match document_type {
            Validator::Any | Validator::Record { .. } => Ok(()),
            Validator::Object(fields) => {
                let is_reserved =
                    |name: &str| name.starts_with('_') && name != ID_FIELD && name != CREATION_TIME_FIELD;
                match fields.keys().find(|name| is_reserved(name.as_str())) {
                    Some(field) => {
                        Err(SchemaError::ReservedField { table: self.name.clone(), field: field.to_string() })
                    }
                    None => Ok(()),
                }
            }
            Validator::Union(members) => {
                members.iter().try_for_each(|member| self.check_document_type(member))
            }
            _ => Err(SchemaError::InvalidTopLevelType { table: self.name.clone() }),
        }
    }

    fn to_serde_json(&self) -> Json {
        let mut json = json!({
            "tableName": self.name,
            "indexes": indexes_json(&self.indexes),
            "stagedDbIndexes": indexes_json(&self.staged_indexes),
            "searchIndexes": indexes_json(&self.search_indexes),
            "stagedSearchIndexes": indexes_json(&self.staged_search_indexes),
            "vectorIndexes": indexes_json(&self.vector_indexes),
            "stagedVectorIndexes": indexes_json(&self.staged_vector_indexes),
            "documentType": self.document_type.to_serde_json(),
        });
        if let Some(staged) = &self.staged_document_type {
            json["stagedDocumentType"] = staged.to_serde_json();
        }
        json
    }
}

fn indexes_json<D: Definition>(indexes: &BTreeMap<IndexName, D>) -> Vec<Json> {
    indexes.iter().map(|(name, definition)| definition.to_serde_json(name)).collect()
}

/// A table whose rules are not checked yet.
struct Parsed {
    table: TableSchema,
    /// A name that occurs twice in one list of indexes.
    repeated_index: Option<IndexName>,
}

fn parse(json: &Json, limits: &SchemaLimits) -> Result<(Vec<Parsed>, bool), Fault> {
    let root = Node::root(json);
    let mut parser = Parser::new(limits);
    let tables = root.field("tables")?;
    let tables = tables.members()?.map(|table| parse_table(&table, &mut parser)).collect::<Result<_, _>>()?;
    let schema_validation = root.optional("schemaValidation")?.map_or(Ok(true), |node| node.boolean())?;
    Ok((tables, schema_validation))
}

fn parse_table(node: &Node<'_>, parser: &mut Parser) -> Result<Parsed, Fault> {
    let mut repeated_index = None;
    let table = TableSchema {
        name: node.field("tableName")?.text()?,
        indexes: parse_indexes(node, "indexes", &mut repeated_index)?,
        staged_indexes: parse_indexes(node, "stagedDbIndexes", &mut repeated_index)?,
        search_indexes: parse_indexes(node, "searchIndexes", &mut repeated_index)?,
        staged_search_indexes: parse_indexes(node, "stagedSearchIndexes", &mut repeated_index)?,
        vector_indexes: parse_indexes(node, "vectorIndexes", &mut repeated_index)?,
        staged_vector_indexes: parse_indexes(node, "stagedVectorIndexes", &mut repeated_index)?,
        document_type: parse_type(node, "documentType", parser)?.unwrap_or(Validator::Any),
        staged_document_type: parse_type(node, "stagedDocumentType", parser)?,
    };
    Ok(Parsed { table, repeated_index })
}

/// Older client libraries leave lists out that they don't know.
fn parse_indexes<D: Definition>(
    table: &Node<'_>,
    list: &str,
    repeated: &mut Option<IndexName>,
) -> Result<BTreeMap<IndexName, D>, Fault> {
    let mut indexes = BTreeMap::new();
    let Some(list) = table.optional(list)? else { return Ok(indexes) };
    for index in list.members()? {
        let name: IndexName = index.field("indexDescriptor")?.text()?;
        if indexes.insert(name.clone(), D::parse(&index)?).is_some() {
            *repeated = Some(name);
        }
    }
    Ok(indexes)
}

fn parse_type(table: &Node<'_>, field: &str, parser: &mut Parser) -> Result<Option<Validator>, Fault> {
    match table.optional(field)? {
        Some(node) if node.json.is_null() => Ok(None),
        Some(node) => parser.validator(node, 1).map(Some),
        None => Ok(None),
    }
}

impl Serialize for DatabaseSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_serde_json().serialize(serializer)
    }
}

impl<'t> Deserialize<'t> for DatabaseSchema {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        Self::from_serde_json(&json, &SchemaLimits::DEFAULT).map_err(D::Error::custom)
    }
}
