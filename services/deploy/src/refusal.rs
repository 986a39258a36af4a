//! What this version does not serve yet. A push that needs it is refused whole, with the file and the export named, so
//! that nobody finds out in production.

use contract::{Error, Result};
use schema::DatabaseSchema;

use crate::definitions::place;

/// Refuses index kinds that are not built yet.
pub fn check_schema(definition: &str, schema: &DatabaseSchema) -> Result<()> {
    let place = place(definition, "schema.js");
    for table in schema.tables.values() {
        if let Some(index) = table.search_indexes.keys().chain(table.staged_search_indexes.keys()).next() {
            return Err(Error::bad_request(
                "SearchIndexesNotSupported",
                format!(
                    "{place} (default export) defines the search index `{}.{}`: search indexes are not supported \
                     by this version of Tidemark.",
                    table.name, index
                ),
            ));
        }
        if let Some(index) = table.vector_indexes.keys().chain(table.staged_vector_indexes.keys()).next() {
            return Err(Error::bad_request(
                "VectorIndexesNotSupported",
                format!(
                    "{place} (default export) defines the vector index `{}.{}`: vector indexes are not supported \
                     by this version of Tidemark.",
                    table.name, index
                ),
            ));
        }
    }
    Ok(())
}
