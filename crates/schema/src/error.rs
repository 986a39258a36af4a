use value::{FieldPath, IndexName, TableName, ValueError};

/// Why a schema or a validator is refused. All of them are mistakes in the application's code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("the schema is not valid at `{path}`: {reason}")]
    InvalidSchema { path: String, reason: String },
    #[error("the validator is not valid at `{path}`: {reason}")]
    InvalidValidator { path: String, reason: String },
    #[error("the table name `{table}` occurs twice")]
    TableNotUnique { table: TableName },
    #[error("the table name `{table}` begins with an underscore, as only the system's tables do")]
    ReservedTableName { table: TableName },
    #[error("the schema has {count} tables, more than the {count_max} that are allowed")]
    TooManyTables { count: usize, count_max: usize },
    #[error(
        "documents of table `{table}` must be objects: use `v.object`, a union of objects, `v.record` or `v.any`"
    )]
    InvalidTopLevelType { table: TableName },
    #[error(
        "table `{table}` declares the field `{field}`, but names that begin with an underscore are the system's"
    )]
    ReservedField { table: TableName, field: String },
    #[error("table `{table}` has two indexes named `{index}`")]
    IndexNameNotUnique { table: TableName, index: IndexName },
    #[error("the indexes `{first}` and `{second}` of table `{table}` have the same fields")]
    IndexFieldsNotUnique { table: TableName, first: IndexName, second: IndexName },
    #[error("the index name `{index}` of table `{table}` is reserved")]
    ReservedIndexName { table: TableName, index: IndexName },
    #[error("the index `{index}` of table `{table}` has no fields")]
    EmptyIndex { table: TableName, index: IndexName },
    #[error(
        "the index `{index}` of table `{table}` has {count} fields, more than the {count_max} that are allowed"
    )]
    IndexTooManyFields { table: TableName, index: IndexName, count: usize, count_max: usize },
    #[error("table `{table}` has {count} {kind} indexes, more than the {count_max} that are allowed")]
    TooManyIndexes { table: TableName, kind: &'static str, count: usize, count_max: usize },
    #[error("the index `{index}` of table `{table}` lists the field `{field}` twice")]
    IndexFieldNotUnique { table: TableName, index: IndexName, field: FieldPath },
    #[error("the index `{index}` of table `{table}` lists `_id`; use `db.get`, or the index `by_id`")]
    IndexFieldsContainId { table: TableName, index: IndexName },
    #[error(
        "the index `{index}` of table `{table}` lists `_creationTime`, which every index ends with by itself"
    )]
    IndexFieldsContainCreationTime { table: TableName, index: IndexName },
    #[error(
        "the index `{index}` of table `{table}` lists `{field}`; names that begin with an underscore are the system's"
    )]
    IndexFieldReserved { table: TableName, index: IndexName, field: FieldPath },
    #[error(
        "the index `{index}` of table `{table}` lists `{field}`, which no document of the table can have"
    )]
    IndexFieldNotInTable { table: TableName, index: IndexName, field: FieldPath },
    #[error(
        "the vector index `{index}` of table `{table}` has {dimensions} dimensions; {dimensions_min} to {dimensions_max} \
         are allowed"
    )]
    InvalidVectorDimensions {
        table: TableName,
        index: IndexName,
        dimensions: usize,
        dimensions_min: usize,
        dimensions_max: usize,
    },
    #[error("{0}")]
    Name(#[from] ValueError),
}

impl SchemaError {
    /// The stable code, which clients may compare.
    pub fn code(&self) -> &'static str {
        match self {
            SchemaError::InvalidSchema { .. } => "InvalidSchema",
            SchemaError::InvalidValidator { .. } => "InvalidValidator",
            SchemaError::TableNotUnique { .. } => "TableNotUnique",
            SchemaError::ReservedTableName { .. } => "ReservedTableName",
            SchemaError::TooManyTables { .. } => "TooManyTables",
            SchemaError::InvalidTopLevelType { .. } => "InvalidTopLevelTypeInSchemaError",
            SchemaError::ReservedField { .. } => "ReservedFieldName",
            SchemaError::IndexNameNotUnique { .. } | SchemaError::IndexFieldsNotUnique { .. } => {
                "IndexNotUnique"
            }
            SchemaError::ReservedIndexName { .. } => "ReservedIndexName",
            SchemaError::EmptyIndex { .. } => "EmptyIndex",
            SchemaError::IndexTooManyFields { .. } => "IndexTooManyFields",
            SchemaError::TooManyIndexes { .. } => "TooManyIndexes",
            SchemaError::IndexFieldNotUnique { .. } => "IndexFieldNotUnique",
            SchemaError::IndexFieldsContainId { .. } => "IndexFieldsContainId",
            SchemaError::IndexFieldsContainCreationTime { .. } => "IndexFieldsContainCreationTime",
            SchemaError::IndexFieldReserved { .. } => "IndexFieldReserved",
            SchemaError::IndexFieldNotInTable { .. } => "SchemaDefinitionError",
            SchemaError::InvalidVectorDimensions { .. } => "InvalidVectorDimensions",
            SchemaError::Name(error) => error.code(),
        }
    }
}
