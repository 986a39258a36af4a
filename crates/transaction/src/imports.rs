//! Data that was something before: documents with ids and times of their own, tables that take the places of others.
//!
//! ```text
//!   create_hidden_table     the table and its indexes are there, for nobody to see
//!   import_documents …      it is filled, some documents at a time
//!   set_table_state         in one transaction: the old tables `Deleting`, the hidden ones `Active`
//!   erase_dropped …         what is `Deleting` goes, some documents at a time
//! ```

use std::{collections::HashSet, sync::Arc};

use contract::{Interval, Order};
use value::{
    CREATION_TIME_FIELD, ComponentId, DocumentId, ID_FIELD, InternalId, Object, TableName, TableNumber, Value,
};

use crate::{
    DeploymentCatalog, Error, FileObjectRow, FileRow, FileState, IndexRow, IndexState, Result, Stored,
    StoredSchema, SystemRow, SystemTable, Table, TableRow, TableState, Transaction, documents::Target,
    fact::Fact, range::prefix_interval, scan::Scan,
};

/// A file that an import brings.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedFile {
    /// The row of the object that has its bytes.
    pub object: DocumentId,
    /// The id of its document; a new one if it has none.
    pub id: Option<DocumentId>,
    /// When it was made; milliseconds since the Unix epoch. Now, if nobody says.
    pub creation_time: Option<f64>,
    /// By which its URL names it; a new one if it has none.
    pub uuid: Option<String>,
    /// What its document says.
    pub row: FileRow,
}

/// The id in the fields of a document; `None` if it has none. Fails with `InvalidIdError` if what stands there is no id.
pub fn document_id(document: &Object) -> Result<Option<DocumentId>> {
    let Some(id) = document.get(ID_FIELD) else { return Ok(None) };
    match id.as_str().and_then(|text| text.parse().ok()) {
        Some(id) => Ok(Some(id)),
        None => {
            let shown: String = id.to_json().chars().take(64).collect();
            Err(Error::user("InvalidIdError", format!("`_id` is {shown}, which is not the id of a document")))
        }
    }
}

impl Transaction {
    /// Creates a table of the running function's component that nobody sees, with the indexes that `like` has in use.
    /// `number` is the smallest that is free if it is not given.
    pub async fn create_hidden_table(
        &mut self,
        name: &TableName,
        number: Option<TableNumber>,
        like: Option<&Table>,
    ) -> Result<Arc<Table>> {
        let component = self.component();
        self.facts.rely_on(Fact::Tables(component));
        let number = number.or_else(|| self.catalog().free_table_number());
        let number = number.ok_or_else(|| Error::user("TooManyTables", "all table numbers are taken"))?;
        let row = TableRow {
            component,
            name: name.clone(),
            number,
            state: TableState::Hidden,
            tablet: self.new_internal_id(),
            by_id: self.new_index_id(),
            by_creation_time: self.new_index_id(),
        };
        self.insert_row(&row).await?;
        for index in like.into_iter().flat_map(Table::declared_in_use) {
            let row = IndexRow {
                component,
                table: row.tablet,
                id: self.new_index_id(),
                name: index.name.clone(),
                fields: index.fields.clone(),
                kind: index.kind.clone(),
                // There is nothing that would have to be put into it.
                state: if index.staged { IndexState::Backfilled } else { IndexState::Enabled },
                staged: index.staged,
            };
            self.insert_row(&row).await?;
        }
        Ok(Arc::clone(
            self.catalog().table_by_tablet(&row.tablet).expect("the catalog follows what is written"),
        ))
    }

    /// Creates a table of the running function's component that is in use and has this number.
    pub async fn create_numbered_table(
        &mut self,
        name: &TableName,
        number: Option<TableNumber>,
    ) -> Result<InternalId> {
        let table = self.create_hidden_table(name, number, None).await?;
        self.set_table_state(&table, TableState::Active).await?;
        Ok(table.tablet)
    }

    /// Puts a table into another state. Of those in use no two may have one name or one number; whoever calls this sees to that.
    pub async fn set_table_state(&mut self, table: &Table, state: TableState) -> Result<()> {
        let key = [Value::from(table.component.to_string()), Value::from(table.name.as_str())];
        let rows = self.rows::<TableRow>("by_component_and_name", &key).await?;
        let row = rows.into_iter().find(|row| row.row.tablet == table.tablet);
        let Stored { id, row } =
            row.ok_or_else(|| Error::stored(format!("the table {} has no row", table.name)))?;
        if [row.state, state].contains(&TableState::Active) {
            self.replaced_tables.insert((table.component, table.name.clone()));
        }
        self.replace_row(id, &TableRow { state, ..row }).await
    }

    /// The schema of the running function's component that is enforced.
    pub fn active_schema(&mut self) -> Option<Arc<StoredSchema>> {
        self.facts.rely_on(Fact::Schemas(self.component()));
        self.catalog().active_schema().cloned()
    }

    /// The schema of the running function's component that a push has brought and not finished.
    pub fn coming_schema(&mut self) -> Option<Arc<StoredSchema>> {
        self.facts.rely_on(Fact::Schemas(self.component()));
        self.catalog().coming_schema().cloned()
    }

    /// Whether a table has no document.
    pub async fn is_empty(&mut self, table: &Arc<Table>) -> Result<bool> {
        Ok(self.documents_up_to(table, 1).await? == 0)
    }

    /// The number of a table's documents that the running function may see, if there are not more than `max`; else `max`.
    pub async fn documents_up_to(&mut self, table: &Arc<Table>, max: usize) -> Result<usize> {
        let scan = Scan::new(table, table.by_id.id, Interval::all(), Order::Ascending, max, max);
        let mut scan = scan.for_function_of(self.component());
        let mut count = 0;
        while count < max && scan.next(self).await?.is_some() {
            count += 1;
        }
        if let Some((index, interval)) = scan.consumed() {
            self.record_interval(index, interval);
        }
        Ok(count)
    }

    /// The first of these ids under which the table has a document.
    pub async fn first_existing(
        &mut self,
        table: &Arc<Table>,
        ids: &[DocumentId],
    ) -> Result<Option<DocumentId>> {
        let keys: Vec<_> = ids.iter().map(|id| Target::new(Arc::clone(table), *id).key).collect();
        let documents = self.committed(&keys).await?;
        Ok(ids.iter().zip(documents).find(|(_, document)| document.is_some()).map(|(id, _)| *id))
    }

    /// Inserts documents into a table, which may be a hidden one. Ids and times that they have are kept. Documents for a hidden
    /// table are not held against the schema.
    ///
    /// Errors: `InvalidIdError`, `InvalidDocumentError` and what else documents can be refused for; `ImportConflict` if a document of
    /// this id is there.
    pub async fn import_documents(&mut self, table: &Arc<Table>, documents: Vec<Object>) -> Result<()> {
        let mut complete = Vec::with_capacity(documents.len());
        let (mut given, mut seen) = (Vec::new(), HashSet::new());
        for mut document in documents {
            let id = match document_id(&document)? {
                Some(id) if id.table != table.number => {
                    let message = format!("the id {id} is not of the table `{}`", table.name);
                    return Err(Error::user("InvalidIdError", message));
                }
                Some(id) => {
                    if !seen.insert(id) {
                        return Err(there_twice(id, &table.name));
                    }
                    given.push(id);
                    id
                }
                None => DocumentId::new(table.number, self.new_internal_id()),
            };
            document.insert(ID_FIELD, id);
            if !document.contains(CREATION_TIME_FIELD) {
                document.insert(CREATION_TIME_FIELD, self.new_creation_time());
            }
            complete.push((id, document));
        }
        if let Some(id) = self.first_existing(table, &given).await? {
            return Err(there_twice(id, &table.name));
        }
        for (id, document) in complete {
            self.write(Target::new(Arc::clone(table), id), None, Some(document)).await?;
        }
        Ok(())
    }

    /// Deletes documents of tables that were dropped, at most `rows_max`, or what is left of one such table. Whether there may be
    /// more.
    pub async fn erase_dropped(&mut self, rows_max: usize) -> Result<bool> {
        let catalogs = self.deployment_catalog().components();
        let dropped = catalogs.flat_map(|catalog| catalog.all_tables());
        let Some(table) =
            dropped.filter(|table| table.state == TableState::Deleting).min_by_key(|table| table.tablet)
        else {
            return Ok(false);
        };
        let table = Arc::clone(table);
        if self.erase_from(vec![Arc::clone(&table)], rows_max).await? > 0 {
            return Ok(true);
        }
        for index in self.rows::<IndexRow>("by_table_and_name", &[table.tablet.to_string().into()]).await? {
            self.delete_row::<IndexRow>(index.id).await?;
        }
        let key = [Value::from(table.component.to_string()), Value::from(table.name.as_str())];
        for row in self.rows::<TableRow>("by_component_and_name", &key).await? {
            if row.row.tablet == table.tablet {
                self.delete_row::<TableRow>(row.id).await?;
            }
        }
        Ok(true)
    }

    /// Notes an object that holds something of an import or export, before its first byte is stored.
    pub async fn note_object_as(&mut self, component: ComponentId, state: FileState) -> Result<DocumentId> {
        let object = self.note_object(component).await?;
        self.set_object_state(object, state).await?;
        Ok(object)
    }

    /// Says of an object what it holds from now on. Nothing if it is forgotten.
    pub async fn set_object_state(&mut self, object: DocumentId, state: FileState) -> Result<()> {
        if let Some(row) = self.row::<FileObjectRow>(object).await? {
            let since_ms = self.now_ms();
            self.replace_row(object, &FileObjectRow { state, since_ms, ..row }).await?;
        }
        Ok(())
    }

    /// Lets go of objects that held something of an import or export, which nobody reads any more: at most `rows_max`. How many
    /// there were.
    pub async fn discard_objects_of(&mut self, owner: InternalId, rows_max: usize) -> Result<usize> {
        let of_owner = prefix_interval(&[owner.to_string().into()]);
        let objects = self.rows_in::<FileObjectRow>("by_file", of_owner, rows_max).await?;
        let count = objects.len();
        for Stored { id, row } in objects {
            // So long ago that no grace is left.
            self.replace_row(id, &FileObjectRow { state: FileState::Discarded, since_ms: 0, ..row }).await?;
        }
        Ok(count)
    }

    /// Deletes files of a component, `files_max` at most. Whether there may be more.
    pub async fn delete_files(&mut self, component: ComponentId, files_max: usize) -> Result<bool> {
        let files = self.first_rows_of::<FileRow>(component, files_max).await?;
        let since_ms = self.now_ms();
        for file in &files {
            self.delete_row::<FileRow>(file.id).await?;
            let objects =
                self.rows::<FileObjectRow>("by_file", &[file.id.internal_id.to_string().into()]).await?;
            for Stored { id, row } in objects {
                // A file that comes may have its place in URLs.
                let uuid = self.new_uuid();
                let row = FileObjectRow { uuid, state: FileState::Discarded, since_ms, ..row };
                self.replace_row(id, &row).await?;
            }
        }
        Ok(files.len() == files_max)
    }

    /// Whether a component has a file.
    pub async fn has_files(&mut self, component: ComponentId) -> Result<bool> {
        Ok(!self.first_rows_of::<FileRow>(component, 1).await?.is_empty())
    }

    /// The number of a component's files, if there are not more than `max`; else `max`.
    pub async fn files_up_to(&mut self, component: ComponentId, max: usize) -> Result<usize> {
        Ok(self.first_rows_of::<FileRow>(component, max).await?.len())
    }

    /// Makes a file of what an import has stored. Errors: `ImportConflict` if there is a file of its id or its place in URLs.
    pub async fn keep_imported_file(&mut self, file: ImportedFile) -> Result<()> {
        let ImportedFile { object, id, creation_time, uuid, row: file } = file;
        let number = SystemTable::FileStorage.number();
        let id = id.unwrap_or_else(|| DocumentId::new(number, self.new_internal_id()));
        if id.table != number {
            return Err(Error::user("InvalidIdError", format!("the id {id} is not of the table `_storage`")));
        }
        let (table, component) = (SystemTable::FileStorage, file.component);
        if self.system_document(table, id).await?.is_some() {
            return Err(there_twice(id, "_storage"));
        }
        let uuid = uuid.unwrap_or_else(|| self.new_uuid());
        if self.file_by_uuid(component, &uuid).await?.is_some() {
            let message = format!("there is another file with the address {uuid}");
            return Err(Error::user("ImportConflict", message));
        }
        let mut fields = file.to_fields();
        fields.insert(ID_FIELD, id);
        let creation_time = creation_time.unwrap_or_else(|| self.new_creation_time());
        fields.insert(CREATION_TIME_FIELD, creation_time);
        self.write(Target::new(Arc::clone(table.table()), id), None, Some(fields)).await?;
        let (state, since_ms) = (FileState::Kept { file: id.internal_id }, self.now_ms());
        self.replace_row(object, &FileObjectRow { component, uuid, state, since_ms }).await
    }
}

impl DeploymentCatalog {
    /// Whether [`Transaction::erase_dropped`] has something to do.
    pub fn has_dropped_tables(&self) -> bool {
        let mut tables = self.components().flat_map(|catalog| catalog.all_tables());
        tables.any(|table| table.state == TableState::Deleting)
    }
}

impl Table {
    /// The indexes that a schema has declared and that hold every document.
    pub fn declared_in_use(&self) -> impl Iterator<Item = &Arc<crate::Index>> {
        self.indexes.iter().filter(|index| {
            let is_complete =
                index.state == IndexState::Enabled || index.staged && index.state == IndexState::Backfilled;
            is_complete && index.name.as_str() != value::IndexName::BY_CREATION_TIME
        })
    }
}

fn there_twice(id: DocumentId, table: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::user("ImportConflict", format!("there are two documents with the id {id} for the table `{table}`"))
}
