//! Rows of system tables, for the parts of the system. What functions may do is not asked here.

use contract::{Interval, Order};
use value::{ComponentId, DocumentId, ID_FIELD, IndexName, Object, Value, key};

use crate::{
    Document, Error, Result, Transaction,
    scan::Scan,
    system_tables::{COMPONENT_INDEX, Stored, SystemRow, SystemTable},
};

impl Transaction {
    /// All rows whose key in `index` begins with these values, in its order; they, and that there are no others, are in
    /// the read set. `index` is one of the table's, `by_id` included.
    pub async fn rows<R: SystemRow>(&mut self, index: &str, prefix: &[Value]) -> Result<Vec<Stored<R>>> {
        let documents = self.system_documents(R::TABLE, index, prefix).await?;
        documents.iter().map(stored_row).collect()
    }

    /// The first rows of an interval of an index, `rows_max` at most; what was seen of it is in the read set.
    pub(crate) async fn rows_in<R: SystemRow>(
        &mut self,
        index: &str,
        interval: Interval,
        rows_max: usize,
    ) -> Result<Vec<Stored<R>>> {
        let index = R::TABLE.index(index).id;
        let mut scan = Scan::new(R::TABLE.table(), index, interval, Order::Ascending, rows_max, rows_max);
        let mut rows = Vec::new();
        while rows.len() < rows_max {
            let Some((_, document)) = scan.next(self).await? else { break };
            rows.push(stored_row(&document)?);
        }
        if let Some((index, interval)) = scan.consumed() {
            self.record_interval(index, interval);
        }
        Ok(rows)
    }

    /// The first rows of a component, by their creation, of a table that applications see: `rows_max` at most.
    pub(crate) async fn first_rows_of<R: SystemRow>(
        &mut self,
        component: ComponentId,
        rows_max: usize,
    ) -> Result<Vec<Stored<R>>> {
        let start = key::encode(&[component_in_rows(component).as_ref()]);
        let interval = Interval { end: Some(key::prefix_end(&start).into()), start: start.into() };
        self.rows_in(COMPONENT_INDEX, interval, rows_max).await
    }

    /// As [`Transaction::rows`], but whole documents, as tools show them.
    pub async fn row_documents<R: SystemRow>(
        &mut self,
        index: &str,
        prefix: &[Value],
    ) -> Result<Vec<Object>> {
        let documents = self.system_documents(R::TABLE, index, prefix).await?;
        documents.iter().map(Document::to_object).collect()
    }

    /// As [`Transaction::row_documents`], but one that can't be read is no reason to be without the others.
    pub async fn each_row_document<R: SystemRow>(
        &mut self,
        index: &str,
        prefix: &[Value],
    ) -> Result<Vec<Result<Object>>> {
        let documents = self.system_documents(R::TABLE, index, prefix).await?;
        Ok(documents.iter().map(Document::to_object).collect())
    }

    /// Inserts a row; its id comes back. Tables, indexes, schemas and modules are in this transaction's catalog at once.
    pub async fn insert_row<R: SystemRow>(&mut self, row: &R) -> Result<DocumentId> {
        self.insert_into(R::TABLE.table(), row.to_fields()).await
    }

    /// The row with this id, if there is one; that is in the read set.
    pub async fn row<R: SystemRow>(&mut self, id: DocumentId) -> Result<Option<R>> {
        let Some(document) = self.system_document(R::TABLE, id).await? else { return Ok(None) };
        Ok(Some(stored_row(&document)?.row))
    }

    /// Inserts a row that has the internal id of another table's document. There must be none such.
    pub async fn insert_row_beside<R: SystemRow>(&mut self, beside: DocumentId, row: &R) -> Result<()> {
        self.insert_system_at(R::TABLE, beside.internal_id, row.to_fields()).await
    }

    /// Replaces a row that must be there (`NonexistentDocument`). One that stays as it was is not written.
    pub async fn replace_row<R: SystemRow>(&mut self, id: DocumentId, row: &R) -> Result<()> {
        self.replace_system(R::TABLE, id, row.to_fields()).await
    }

    /// Deletes a row that must be there (`NonexistentDocument`).
    pub async fn delete_row<R: SystemRow>(&mut self, id: DocumentId) -> Result<()> {
        self.delete_system(R::TABLE, id).await
    }

    /// Deletes the oldest rows of a table, of those that were made before `before_ms` (milliseconds since the Unix
    /// epoch): at most `rows_max`, and about the bytes of one large document. Returns whether there may be more.
    pub async fn delete_rows_made_before(
        &mut self,
        table: SystemTable,
        before_ms: f64,
        rows_max: usize,
    ) -> Result<bool> {
        let end = key::encode(&[Some(&Value::Float64(before_ms))]);
        let interval = Interval { end: Some(end.into()), ..Interval::all() };
        self.delete_rows_in(table, IndexName::BY_CREATION_TIME, interval, rows_max).await
    }

    /// Deletes the first rows of an interval of an index: at most `rows_max`, and about the bytes of one large document.
    /// Returns whether there may be more.
    pub(crate) async fn delete_rows_in(
        &mut self,
        table: SystemTable,
        index: &str,
        interval: Interval,
        rows_max: usize,
    ) -> Result<bool> {
        let index = table.index(index).id;
        let mut scan = Scan::new(table.table(), index, interval, Order::Ascending, rows_max, rows_max);
        let (mut rows, mut bytes) = (0, 0);
        while rows < rows_max && bytes < self.limits.value.document_bytes_max {
            let Some((_, document)) = scan.next(self).await? else { return Ok(false) };
            rows += 1;
            bytes += document.size_bytes();
            self.delete_system(table, id_of(&document.to_object()?, table)?).await?;
        }
        Ok(true)
    }
}

/// How rows of tables that applications see say whose they are: those of the app itself say nothing.
pub(crate) fn component_in_rows(component: ComponentId) -> Option<Value> {
    (!component.is_root()).then(|| Value::from(component.to_string()))
}

/// The id in the fields of a stored row.
pub(crate) fn id_of(fields: &Object, table: SystemTable) -> Result<DocumentId> {
    let id = fields.get(ID_FIELD).and_then(Value::as_str).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::stored(format!("a row of {} without an id", table.name())))
}

pub(crate) fn stored_row<R: SystemRow>(document: &Document) -> Result<Stored<R>> {
    let fields = document.to_object()?;
    let id = id_of(&fields, R::TABLE)?;
    let row = R::from_fields(&fields)
        .map_err(|error| Error::stored(format!("a row of {}: {error}", R::TABLE.name())))?;
    Ok(Stored { id, row })
}
