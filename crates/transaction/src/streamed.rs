//! Records that another system streams in: found by its primary key, in an index that no schema declares and no function may query.

use std::sync::Arc;

use contract::{IndexId, Interval, Order};
use value::{DocumentId, FieldPath, Object, TableName, key};

use crate::{
    Error, Index, IndexKind, IndexRow, IndexState, Result, Stored, Table, Transaction, document_id,
    scan::Scan,
};

/// The name of the index. Schemas can't declare one that begins with an underscore.
pub const PRIMARY_KEY_INDEX: &str = "_by_primary_key";

impl Table {
    /// The index by which streamed records are found, in whatever state.
    pub fn primary_key_index(&self) -> Option<&Arc<Index>> {
        self.index(PRIMARY_KEY_INDEX)
    }
}

impl Transaction {
    /// Has a table of the running function's component, which is made if it is not there, have an index over the fields of a primary key.
    /// It holds every document at once if there is none; else it must be filled, and is [`IndexState::Backfilling`]. It is staged: it is
    /// kept, and functions can't query it.
    pub async fn add_primary_key_index(&mut self, name: &TableName, fields: Vec<FieldPath>) -> Result<()> {
        let table = match self.table(name) {
            Some(table) => table,
            None => self.create_table(name.clone()).await?,
        };
        if let Some(index) = table.primary_key_index() {
            if index.fields == fields {
                return Ok(());
            }
            let of_table = [table.tablet.to_string().into()];
            for Stored { id, row } in self.rows::<IndexRow>("by_table_and_name", &of_table).await? {
                if row.id == index.id {
                    self.delete_row::<IndexRow>(id).await?;
                }
            }
        }
        let is_empty = self.is_empty(&table).await?;
        let row = IndexRow {
            component: table.component,
            table: table.tablet,
            id: self.new_index_id(),
            name: PRIMARY_KEY_INDEX.parse()?,
            fields,
            kind: IndexKind::Ordered,
            state: if is_empty { IndexState::Backfilled } else { IndexState::Backfilling },
            staged: true,
        };
        self.insert_row(&row).await?;
        Ok(())
    }

    /// Notes that an index which must be filled holds every document by now.
    pub async fn set_index_filled(&mut self, index: IndexId) -> Result<()> {
        for Stored { id, row } in self.rows::<IndexRow>("by_creation_time", &[]).await? {
            if row.id == index && row.state == IndexState::Backfilling {
                self.replace_row(id, &IndexRow { state: IndexState::Backfilled, ..row }).await?;
            }
        }
        Ok(())
    }

    /// The first document that has the same values in the fields of an index, which must hold every document, as another one.
    pub async fn first_like(
        &mut self,
        table: &Arc<Table>,
        index: &Index,
        like: &Object,
    ) -> Result<Option<DocumentId>> {
        let prefix = key::encode_fields(like, &index.fields);
        let end = key::prefix_end(&prefix);
        let interval = Interval { start: prefix.into(), end: Some(end.into()) };
        let mut scan = Scan::new(table, index.id, interval, Order::Ascending, 1, 1);
        let found = scan.next(self).await?;
        if let Some((index, interval)) = scan.consumed() {
            self.record_interval(index, interval);
        }
        let Some((_, document)) = found else { return Ok(None) };
        let id = document_id(&document.to_object()?)?;
        id.map(Some)
            .ok_or_else(|| Error::stored(format!("a document of the table `{}` has no id", table.name)))
    }
}
