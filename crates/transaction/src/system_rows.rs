//! Rows of system tables, for the parts of the system. What functions may do is not asked here.

use value::{DocumentId, ID_FIELD, Value};

use crate::{
    Document, Error, Result, Transaction,
    system_tables::{Stored, SystemRow},
};

impl Transaction {
    /// All rows whose key in `index` begins with these values, in its order; they, and that there are no others, are in
    /// the read set. `index` is one of the table's, `by_id` included.
    pub async fn rows<R: SystemRow>(&mut self, index: &str, prefix: &[Value]) -> Result<Vec<Stored<R>>> {
        let documents = self.system_documents(R::TABLE, index, prefix).await?;
        documents.iter().map(stored_row).collect()
    }

    /// Inserts a row; its id comes back. Tables, indexes, schemas and modules are in this transaction's catalog at once.
    pub async fn insert_row<R: SystemRow>(&mut self, row: &R) -> Result<DocumentId> {
        self.insert_into(R::TABLE.table(), row.to_fields()).await
    }

    /// Replaces a row that must be there (`NonexistentDocument`). One that stays as it was is not written.
    pub async fn replace_row<R: SystemRow>(&mut self, id: DocumentId, row: &R) -> Result<()> {
        self.replace_system(R::TABLE, id, row.to_fields()).await
    }

    /// Deletes a row that must be there (`NonexistentDocument`).
    pub async fn delete_row<R: SystemRow>(&mut self, id: DocumentId) -> Result<()> {
        self.delete_system(R::TABLE, id).await
    }
}

fn stored_row<R: SystemRow>(document: &Document) -> Result<Stored<R>> {
    let fields = document.to_object()?;
    let of = || format!("a row of {}", R::TABLE.name());
    let id = fields.get(ID_FIELD).and_then(Value::as_str).and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| Error::stored(format!("{} without an id", of())))?;
    let row = R::from_fields(&fields).map_err(|error| Error::stored(format!("{}: {error}", of())))?;
    Ok(Stored { id, row })
}
