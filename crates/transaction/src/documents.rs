//! What functions do with single documents.

use std::sync::Arc;

use contract::{IndexId, Interval, Order};
use value::ValueLimits;
use value::{
    CREATION_TIME_FIELD, DocumentId, ID_FIELD, InternalId, Object, Patch, TableName, TableNumber, Value,
    ValueError, check_document,
};

use crate::{
    Document, Error, Result, Table, Transaction,
    catalog::TableState,
    fact::Fact,
    pending::DocumentKey,
    range::prefix_interval,
    scan::Scan,
    system_tables::{SystemTable, TableRow},
};

/// One document to get.
#[derive(Clone, Copy, Debug)]
pub struct GetRequest<'r> {
    /// As the function gave it.
    pub id: &'r str,
    /// The table that the id must be of, where the function named one.
    pub table: Option<&'r str>,
    /// Whether the function asked for a document of the system (`db.system`).
    pub is_system: bool,
}

/// A document that an operation is about: its table, and its key there.
pub(crate) struct Target {
    table: Arc<Table>,
    id: DocumentId,
    pub(crate) key: DocumentKey,
}

impl Target {
    pub(crate) fn new(table: Arc<Table>, id: DocumentId) -> Target {
        let key = DocumentKey { primary: table.by_id.id, key: table.primary_key(id.internal_id).into() };
        Target { table, id, key }
    }
}

impl Transaction {
    /// The document with this id; `None` if there is none.
    pub async fn get(&mut self, request: GetRequest<'_>) -> Result<Option<Document>> {
        let mut results = self.get_many(&[request]).await;
        results.pop().expect("one result for one request")
    }

    /// Several documents by one read of the log. Each has its own result, in the order of the requests.
    pub async fn get_many(&mut self, requests: &[GetRequest<'_>]) -> Vec<Result<Option<Document>>> {
        let targets: Vec<Result<Option<Target>>> =
            requests.iter().map(|request| self.target_of_get(request)).collect();
        let unknown: Vec<DocumentKey> = targets
            .iter()
            .filter_map(|target| Some(&target.as_ref().ok()?.as_ref()?.key))
            .filter(|key| self.pending.get(key).is_none())
            .cloned()
            .collect();
        let mut committed = match self.committed(&unknown).await {
            Ok(committed) => committed.into_iter(),
            Err(error) => return requests.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut visible = |transaction: &mut Transaction, target: Target| {
            let document = match transaction.pending.get(&target.key) {
                Some(pending) => pending.document.clone(),
                None => committed.next().expect("one was read for each that is not pending"),
            };
            transaction.count_read(&target.table, document.as_ref())?;
            match document {
                // The system keeps those of all components in one table.
                Some(document) if target.table.is_system() => document.shown_to(transaction.component()),
                document => Ok(document),
            }
        };
        targets
            .into_iter()
            .map(|target| match target? {
                Some(target) => visible(self, target),
                None => Ok(None),
            })
            .collect()
    }

    fn target_of_get(&mut self, request: &GetRequest<'_>) -> Result<Option<Target>> {
        let target = self.target_of_id(request)?;
        if let Some(target) = &target {
            self.count_range(target.key.primary, &Interval::point(&target.key.key))?;
        }
        Ok(target)
    }

    fn target_of_id(&mut self, request: &GetRequest<'_>) -> Result<Option<Target>> {
        let id = parse_id(request.id)?;
        self.check_table_of(id, request.table)?;
        match (SystemTable::by_number(id.table), request.is_system) {
            (None, true) => {
                Err(system_table_error("`db.system.get` was given the id of a user table: use `db.get`"))
            }
            (Some(table), false) if table.visible_name().is_some() => {
                Err(system_table_error("`db.get` was given the id of a system table: use `db.system.get`"))
            }
            (Some(table), true) if table.visible_name().is_some() => {
                Ok(Some(Target::new(Arc::clone(table.table()), id)))
            }
            // To functions the other system tables do not exist.
            (Some(_), _) => Ok(None),
            (None, false) => Ok(self.user_table(id.table)?.map(|table| Target::new(table, id))),
        }
    }

    /// Inserts a document; its id comes back. A table that isn't there is created.
    pub async fn insert(&mut self, table: &str, value: Value) -> Result<DocumentId> {
        let object = into_document(value)?;
        let name: TableName = table.parse()?;
        if name.is_system() {
            return Err(system_table_error(&format!("functions can't write to `{name}`")));
        }
        self.facts.rely_on(Fact::TableName(self.component(), name.clone()));
        let known = self.catalog().table(name.as_str()).cloned();
        // What fails must change nothing, the table included.
        let mark = self.pending.mark();
        let catalog = Arc::clone(&self.catalog);
        let result = async {
            let table = match known {
                Some(table) => table,
                None => self.create_table(name).await?,
            };
            self.insert_into(&table, object).await
        }
        .await;
        if result.is_err() {
            self.pending.roll_back(mark);
            self.catalog = catalog;
        }
        result
    }

    pub(crate) async fn insert_into(&mut self, table: &Arc<Table>, object: Object) -> Result<DocumentId> {
        let id = DocumentId::new(table.number, self.new_internal_id());
        self.insert_at(table, id, object).await?;
        Ok(id)
    }

    /// Inserts a row under an internal id that no document of the table has.
    pub(crate) async fn insert_system_at(
        &mut self,
        table: SystemTable,
        internal_id: InternalId,
        fields: Object,
    ) -> Result<()> {
        self.insert_at(table.table(), DocumentId::new(table.number(), internal_id), fields).await
    }

    async fn insert_at(&mut self, table: &Arc<Table>, id: DocumentId, mut object: Object) -> Result<()> {
        for field in [ID_FIELD, CREATION_TIME_FIELD] {
            if object.contains(field) {
                let message = format!("`{field}` is set by the system: leave it out of documents to insert");
                return Err(Error::user("InvalidDocumentError", message));
            }
        }
        object.insert(ID_FIELD, id);
        object.insert(CREATION_TIME_FIELD, self.new_creation_time());
        self.write(Target::new(Arc::clone(table), id), None, Some(object)).await
    }

    /// Creates an active table of the application, with the smallest number that is free.
    pub async fn create_table(&mut self, name: TableName) -> Result<Arc<Table>> {
        self.facts.rely_on(Fact::TableName(self.component(), name.clone()));
        let tables_max = self.limits.schema.tables_max;
        if self.catalog.components().map(|component| component.tables().count()).sum::<usize>() >= tables_max
        {
            return Err(Error::user(
                "TooManyTables",
                format!("a deployment has at most {tables_max} tables"),
            ));
        }
        let number = self.catalog().free_table_number();
        let number = number.ok_or_else(|| Error::user("TooManyTables", "all table numbers are taken"))?;
        self.facts.rely_on(Fact::TableNumber(self.component(), number));
        let row = TableRow {
            component: self.component(),
            name,
            number,
            state: TableState::Active,
            tablet: self.new_internal_id(),
            by_id: self.new_index_id(),
            by_creation_time: self.new_index_id(),
        };
        self.insert_row(&row).await?;
        let table = self.catalog().table_by_tablet(&row.tablet);
        Ok(Arc::clone(table.expect("the catalog follows what is written")))
    }

    /// A new id for an index; random.
    pub fn new_index_id(&mut self) -> IndexId {
        IndexId(*self.new_internal_id().as_bytes())
    }

    /// Sets and removes top-level fields of a document. One that stays as it was is read, but not written.
    pub async fn patch(&mut self, id: &str, table: Option<&str>, patch: Patch) -> Result<()> {
        let (target, before) = self.target_of_write(id, table).await?;
        let mut after = before.clone();
        patch.apply(&mut after);
        self.change(target, before, after).await
    }

    /// Sets all fields of a document but `_id` and `_creationTime`, which may be given if they are equal.
    pub async fn replace(&mut self, id: &str, table: Option<&str>, value: Value) -> Result<()> {
        let mut after = into_document(value)?;
        let (target, before) = self.target_of_write(id, table).await?;
        for field in [ID_FIELD, CREATION_TIME_FIELD] {
            if let (false, Some(value)) = (after.contains(field), before.get(field)) {
                after.insert(field, value.clone());
            }
        }
        self.change(target, before, after).await
    }

    /// Deletes a document.
    pub async fn delete(&mut self, id: &str, table: Option<&str>) -> Result<()> {
        let (target, before) = self.target_of_write(id, table).await?;
        self.write(target, Some(before), None).await
    }

    async fn change(&mut self, target: Target, before: Object, after: Object) -> Result<()> {
        if after.get(ID_FIELD) != before.get(ID_FIELD) {
            let message = format!("the `_id` of document {} can't be changed", target.id);
            return Err(Error::user("InvalidIdError", message));
        }
        if after.get(CREATION_TIME_FIELD) != before.get(CREATION_TIME_FIELD) {
            let message = format!("the `_creationTime` of document {} can't be changed", target.id);
            return Err(Error::user("InvalidCreationTimeError", message));
        }
        if after == before {
            return Ok(());
        }
        self.write(target, Some(before), Some(after)).await
    }

    /// A document of a user table that must be there, and its fields.
    async fn target_of_write(&mut self, id: &str, table: Option<&str>) -> Result<(Target, Object)> {
        let id = parse_id(id)?;
        self.check_table_of(id, table)?;
        if SystemTable::by_number(id.table).is_some() {
            return Err(system_table_error("functions can't write to system tables"));
        }
        let table = self.user_table(id.table)?.ok_or_else(|| nonexistent(id))?;
        let target = Target::new(table, id);
        self.count_range(target.key.primary, &Interval::point(&target.key.key))?;
        self.target_with_fields(target).await
    }

    async fn target_with_fields(&mut self, target: Target) -> Result<(Target, Object)> {
        let document = self.visible(&target).await?;
        let object = document.ok_or_else(|| nonexistent(target.id))?.to_object()?;
        Ok((target, object))
    }

    /// A document as the transaction sees it now.
    async fn visible(&mut self, target: &Target) -> Result<Option<Document>> {
        let document = match self.pending.get(&target.key) {
            Some(pending) => pending.document.clone(),
            None => self.committed(std::slice::from_ref(&target.key)).await?.pop().flatten(),
        };
        self.count_read(&target.table, document.as_ref())?;
        Ok(document)
    }

    /// The row of a system table that must be there, and its fields.
    async fn system_target(&mut self, table: SystemTable, id: DocumentId) -> Result<(Target, Object)> {
        self.target_with_fields(Target::new(Arc::clone(table.table()), id)).await
    }

    /// The row of a system table with this id, if there is one.
    pub(crate) async fn system_document(
        &mut self,
        table: SystemTable,
        id: DocumentId,
    ) -> Result<Option<Document>> {
        self.visible(&Target::new(Arc::clone(table.table()), id)).await
    }

    pub(crate) async fn replace_system(
        &mut self,
        table: SystemTable,
        id: DocumentId,
        mut fields: Object,
    ) -> Result<()> {
        let (target, before) = self.system_target(table, id).await?;
        for field in [ID_FIELD, CREATION_TIME_FIELD] {
            if let Some(value) = before.get(field) {
                fields.insert(field, value.clone());
            }
        }
        self.change(target, before, fields).await
    }

    pub(crate) async fn delete_system(&mut self, table: SystemTable, id: DocumentId) -> Result<()> {
        let (target, before) = self.system_target(table, id).await?;
        self.write(target, Some(before), None).await
    }

    /// Deletes a document of any table, which was read just now, whatever functions may do with it.
    pub(crate) async fn delete_read(&mut self, table: &Arc<Table>, before: Object) -> Result<()> {
        let id = before.get(ID_FIELD).and_then(Value::as_str).and_then(|id| id.parse::<DocumentId>().ok());
        let id = id.ok_or_else(|| Error::stored(format!("a document of {} without an id", table.name)))?;
        self.write(Target::new(Arc::clone(table), id), Some(before), None).await
    }

    /// Writes a document: `before` is as the transaction sees it now, `None` for an insert, `after` is complete, `None`
    /// for a delete. Everything is checked before anything changes.
    pub(crate) async fn write(
        &mut self,
        target: Target,
        before: Option<Object>,
        after: Option<Object>,
    ) -> Result<()> {
        let Target { table, id, key } = target;
        let system_table = SystemTable::by_number(table.number);
        let document = match &after {
            Some(object) => {
                let limits = match system_table {
                    Some(_) => self.system_row_limits(),
                    None => self.limits.value,
                };
                check_document(object, &limits)?;
                Some(Document::from_object(object))
            }
            None => None,
        };
        let size_bytes = match (&document, &before) {
            (Some(document), _) => document.size_bytes(),
            (None, before) => before.as_ref().map_or(0, Object::size_bytes),
        };
        let usage_before = self.usage;
        let has_room = if system_table.is_some() {
            self.usage.system_documents_written += 1;
            self.usage.system_bytes_written += size_bytes;
            self.check_system_writes()
        } else {
            self.usage.documents_written += 1;
            self.usage.bytes_written += size_bytes;
            self.check_usage()
        };
        if let Err(error) = has_room {
            // It has no effect, so it used nothing.
            self.usage = usage_before;
            return Err(error);
        }
        match system_table {
            None => {
                // The write lists the keys in every index, and must fit the schemas.
                self.facts.rely_on(Fact::Indexes(table.tablet));
                self.facts.rely_on(Fact::Schemas(table.component));
                // Whoever fills a hidden table checks what it writes against the tables that there will be.
                if let Some(object) = &after
                    && table.state != TableState::Hidden
                    && let Err(error) = self.enforce_schemas(&table, id, object).await
                {
                    self.usage = usage_before;
                    return Err(error);
                }
            }
            Some(system_table) if system_table.is_metadata() => {
                Arc::make_mut(&mut self.catalog).apply(system_table, id, before.as_ref(), after.as_ref())?;
            }
            Some(_) => {}
        }
        if let (None, Some(object)) = (system_table, &after) {
            self.usage.largest_document_bytes = self.usage.largest_document_bytes.max(size_bytes);
            self.usage.deepest_document = self.usage.deepest_document.max(object.nesting());
        }
        let after = document.zip(after.as_ref());
        self.pending.write(&table, key, before.as_ref(), after);
        if system_table == Some(SystemTable::Indexes) || system_table == Some(SystemTable::Tables) {
            self.refresh_pending_tables();
        }
        Ok(())
    }

    /// Gives pending documents the definitions that their tables have now.
    pub(crate) fn refresh_pending_tables(&mut self) {
        for table in self.pending.tables() {
            if let Some(newest) = self.catalog.of(table.component).table_by_tablet(&table.tablet)
                && !Arc::ptr_eq(newest, &table)
            {
                self.pending.table_changed(newest);
            }
        }
    }

    fn system_row_limits(&self) -> ValueLimits {
        let mut limits = self.limits.value;
        limits.document_bytes_max = limits.value_bytes_max;
        limits.document_nesting_max = value::VALUE_NESTING_MAX;
        limits
    }

    /// The number of documents of a table; 0 if there is no such table.
    ///
    /// They are counted one by one, and whatever is inserted or deleted later conflicts. Not held to the limits on
    /// documents read.
    pub async fn count(&mut self, table: &str) -> Result<u64> {
        let Some(table) = self.table_to_read(table.parse()?)? else { return Ok(0) };
        let by_id = Arc::clone(&table.by_id);
        self.count_range(by_id.id, &Interval::all())?;
        let scan = Scan::new(&table, by_id.id, Interval::all(), Order::Ascending, usize::MAX, usize::MAX);
        let mut scan = scan.for_function_of(self.component());
        self.record_interval(by_id.id, Interval::all());
        let mut count = 0;
        while scan.next(self).await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// The canonical form of an id if it is one of this table, whether or not the document is there.
    pub fn normalize_id(&mut self, table: &str, text: &str) -> Result<Option<String>> {
        let name: TableName = table.parse()?;
        let number = match name.is_system() {
            true => SystemTable::by_name(table)
                .filter(|table| table.visible_name().is_some())
                .map(SystemTable::number),
            false => {
                self.facts.rely_on(Fact::TableName(self.component(), name));
                self.catalog().table(table).map(|table| table.number)
            }
        };
        let id: Option<DocumentId> = text.parse().ok();
        Ok(id.filter(|id| Some(id.table) == number).map(String::from))
    }

    /// The table that a function may query by this name; `None` if there is none. To functions the system's own tables
    /// do not exist.
    pub(crate) fn table_to_read(&mut self, name: TableName) -> Result<Option<Arc<Table>>> {
        if name.is_system() {
            let table = SystemTable::by_name(name.as_str());
            let visible = table.filter(|table| table.visible_name() == Some(name.as_str()));
            return Ok(visible.map(|table| Arc::clone(table.table())));
        }
        let table = self.catalog().table(name.as_str()).cloned();
        let fact = Fact::TableName(self.component(), name);
        if table.is_none() {
            self.count_missing(&fact)?;
        }
        self.facts.rely_on(fact);
        Ok(table)
    }

    fn user_table(&mut self, number: TableNumber) -> Result<Option<Arc<Table>>> {
        let table = self.catalog().table_by_number(number).cloned();
        let fact = Fact::TableNumber(self.component(), number);
        if table.is_none() {
            self.count_missing(&fact)?;
        }
        self.facts.rely_on(fact);
        Ok(table)
    }

    /// Checks an id against the table that the function named with it.
    fn check_table_of(&mut self, id: DocumentId, named: Option<&str>) -> Result<()> {
        let Some(named) = named else { return Ok(()) };
        let name: TableName = named.parse()?;
        let number = match name.is_system() {
            true => SystemTable::by_name(named).map(SystemTable::number),
            false => {
                self.facts.rely_on(Fact::TableName(self.component(), name));
                self.catalog().table(named).map(|table| table.number)
            }
        };
        if number == Some(id.table) {
            return Ok(());
        }
        Err(Error::user("InvalidTable", format!("the id {id} is not of the table `{named}`")))
    }

    /// Counts a read of one document, or of a place where none is.
    pub(crate) fn count_read(&mut self, table: &Table, document: Option<&Document>) -> Result<()> {
        let Some(document) = document else { return Ok(()) };
        if table.is_system() {
            self.usage.system_documents_read += 1;
            self.usage.system_bytes_read += document.size_bytes();
            return Ok(());
        }
        self.usage.documents_read += 1;
        self.usage.bytes_read += document.size_bytes();
        self.check_usage()
    }

    /// Counts a range that is about to be read. One that the transaction has read before adds nothing: neither work
    /// when it commits nor anything to what it has seen.
    pub(crate) fn count_range(&mut self, index: IndexId, interval: &Interval) -> Result<()> {
        if self.ranges.contains(&(index, interval.clone())) {
            return Ok(());
        }
        let usage_before = self.usage;
        self.usage.database_queries += 1;
        if let Err(error) = self.check_usage() {
            self.usage = usage_before;
            return Err(error);
        }
        self.ranges.insert((index, interval.clone()));
        Ok(())
    }

    /// A table that isn't there is a range as well: of the tables.
    fn count_missing(&mut self, fact: &Fact) -> Result<()> {
        fact.ranges().into_iter().try_for_each(|(index, interval)| self.count_range(index, &interval))
    }

    /// Reads all documents of a system table whose index key begins with these values.
    pub(crate) async fn system_documents(
        &mut self,
        table: SystemTable,
        index: &str,
        prefix: &[Value],
    ) -> Result<Vec<Document>> {
        let index = table.index(index).id;
        let interval = prefix_interval(prefix);
        self.record_interval(index, interval.clone());
        let mut scan = Scan::new(table.table(), index, interval, Order::Ascending, usize::MAX, usize::MAX);
        let mut documents = Vec::new();
        while let Some((_, document)) = scan.next(self).await? {
            self.count_read(table.table(), Some(&document))?;
            documents.push(document);
        }
        Ok(documents)
    }
}

pub(crate) fn parse_id(id: &str) -> Result<DocumentId> {
    id.parse().map_err(|error| {
        let shown: String = id.chars().take(64).collect();
        Error::user("InvalidArgument", format!("{shown:?} is not the id of a document: {error}"))
    })
}

fn into_document(value: Value) -> Result<Object> {
    value.into_object().map_err(|other| ValueError::NotADocument { type_name: other.type_name() }.into())
}

fn nonexistent(id: DocumentId) -> Error {
    Error::user("NonexistentDocument", format!("there is no document with the id {id}"))
}

fn system_table_error(message: &str) -> Error {
    Error::user("SystemTableError", message)
}
