//! How everything that a deployment has goes.

use std::sync::Arc;

use contract::{Interval, Order, Timestamp};
use value::IndexName;

use crate::{Result, Stored, SystemRow, SystemTable, Table, Transaction, scan::Scan};

impl Transaction {
    /// Deletes documents of the deployment, whatever they are: at most `rows_max`, and about the bytes of one large document.
    /// How many; 0 when nothing is left but the one document that names the catalog.
    pub async fn erase(&mut self, rows_max: usize) -> Result<usize> {
        // First, so that what goes is not noted as a change.
        if self.end_changes().await? {
            return Ok(1);
        }
        let notes = self.forget_changes(Timestamp::MAX, rows_max).await?;
        if notes > 0 {
            return Ok(notes);
        }
        let documents = self.erase_from(self.tables_of_documents(), rows_max).await?;
        if documents > 0 {
            return Ok(documents);
        }
        // What defines tables goes last, by itself: of what is deleted with it the keys in indexes would stay.
        self.erase_from(tables_of_definitions(), rows_max).await
    }

    pub(crate) async fn erase_from(&mut self, tables: Vec<Arc<Table>>, rows_max: usize) -> Result<usize> {
        let (mut rows, mut bytes) = (0, 0);
        for table in tables {
            if rows == rows_max || bytes >= self.limits.value.document_bytes_max {
                break;
            }
            let (index, left) = (table.by_id.id, rows_max - rows);
            let mut scan = Scan::new(&table, index, Interval::all(), Order::Ascending, left, left);
            while rows < rows_max && bytes < self.limits.value.document_bytes_max {
                let Some((_, document)) = scan.next(self).await? else { break };
                rows += 1;
                bytes += document.size_bytes();
                self.delete_read(&table, document.to_object()?).await?;
            }
            if let Some((index, interval)) = scan.consumed() {
                self.record_interval(index, interval);
            }
        }
        Ok(rows)
    }

    /// The first rows of a table, by id.
    pub async fn first_rows<R: SystemRow>(&mut self, rows_max: usize) -> Result<Vec<Stored<R>>> {
        self.rows_in(IndexName::BY_ID, Interval::all(), rows_max).await
    }

    /// The application's tables, and those of the system that define nothing.
    fn tables_of_documents(&self) -> Vec<Arc<Table>> {
        let of_components = self.deployment_catalog().components().flat_map(|catalog| catalog.all_tables());
        let of_system = SystemTable::ALL.into_iter();
        let of_system = of_system.filter(|table| !table.is_metadata() && *table != SystemTable::Metadata);
        of_components.cloned().chain(of_system.map(|table| Arc::clone(table.table()))).collect()
    }
}

/// Indexes before the tables that they are over.
fn tables_of_definitions() -> Vec<Arc<Table>> {
    let mut tables: Vec<SystemTable> =
        SystemTable::ALL.into_iter().filter(|table| table.is_metadata()).collect();
    tables.sort_by_key(|table| match table {
        SystemTable::Tables => 2,
        SystemTable::Indexes => 1,
        _ => 0,
    });
    tables.into_iter().map(|table| Arc::clone(table.table())).collect()
}
