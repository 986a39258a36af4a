//! What a deployment and its components consist of besides documents, as of one moment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, LazyLock, OnceLock},
};

use bytes::Bytes;
use contract::{IndexId, Timestamp};
use schema::DatabaseSchema;
use schema::SchemaLimits;
use value::{
    CREATION_TIME_FIELD, ComponentId, DocumentId, FieldPath, ID_FIELD, IndexName, InternalId, Object,
    TableName, TableNumber, key,
};

use crate::{
    Error, Result,
    search_fields::{IndexKind, text_key},
    system_tables::{
        AuthRow, ComponentRow, EnvironmentVariableRow, IndexRow, ModuleRow, SchemaRow, SchemaState, Stored,
        SystemRow, SystemTable, TableRow, UdfConfigRow,
    },
};

/// A table and its indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Whose table it is; the root's for the system's own tables, which are the deployment's.
    pub component: ComponentId,
    /// Under which functions know it.
    pub name: TableName,
    /// Which its documents' ids carry.
    pub number: TableNumber,
    /// Whether it is in use.
    pub state: TableState,
    /// The true identity of the table; names and numbers can be given again.
    pub tablet: InternalId,
    /// The primary index, which holds the documents.
    pub by_id: Arc<Index>,
    /// All other indexes, in whatever state: `by_creation_time` first.
    pub indexes: Vec<Arc<Index>>,
}

/// What a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableState {
    /// In use under its name.
    Active,
    /// Being filled by an import.
    Hidden,
    /// Dropped; its documents are being removed.
    Deleting,
}

/// An index of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Names its keys in the store.
    pub id: IndexId,
    /// Under which queries know it.
    pub name: IndexName,
    /// As declared; empty for `by_id` and `by_creation_time`. Of a text or vector index the one field that it is over.
    pub fields: Vec<FieldPath>,
    /// What kind of index it is.
    pub kind: IndexKind,
    /// How complete it is.
    pub state: IndexState,
    /// Maintained, but not to be queried until it is declared without.
    pub staged: bool,
    /// What keys are made of: the declared fields, `_creationTime`, `_id`.
    key_fields: Vec<FieldPath>,
}

/// How complete an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexState {
    /// New writes are in it, older documents not all.
    Backfilling,
    /// Complete, and not yet part of the active schema.
    Backfilled,
    /// Can be queried.
    Enabled,
}

impl TableState {
    /// As rows spell it.
    pub const fn name(self) -> &'static str {
        match self {
            TableState::Active => "active",
            TableState::Hidden => "hidden",
            TableState::Deleting => "deleting",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<TableState> {
        [TableState::Active, TableState::Hidden, TableState::Deleting]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

impl IndexState {
    /// As rows spell it.
    pub const fn name(self) -> &'static str {
        match self {
            IndexState::Backfilling => "backfilling",
            IndexState::Backfilled => "backfilled",
            IndexState::Enabled => "enabled",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<IndexState> {
        use IndexState::*;
        [Backfilling, Backfilled, Enabled].into_iter().find(|state| state.name() == name)
    }
}

impl Table {
    /// A table with its two built-in indexes.
    pub(crate) fn new(
        component: ComponentId,
        name: TableName,
        number: TableNumber,
        state: TableState,
        tablet: InternalId,
        by_id: IndexId,
        by_creation_time: IndexId,
    ) -> Table {
        let built_in = |id, name: &str| {
            let name = name.parse().expect("the names of built-in indexes are legal");
            Arc::new(Index::new(id, name, Vec::new(), IndexState::Enabled, false))
        };
        Table {
            component,
            name,
            number,
            state,
            tablet,
            by_id: built_in(by_id, IndexName::BY_ID),
            indexes: vec![built_in(by_creation_time, IndexName::BY_CREATION_TIME)],
        }
    }

    /// The index of this name, in whatever state. While a push changes one there are two: until it is finished, that which serves.
    pub fn index(&self, name: &str) -> Option<&Arc<Index>> {
        if name == IndexName::BY_ID {
            return Some(&self.by_id);
        }
        let named = || self.indexes.iter().filter(|index| index.name.as_str() == name);
        named().find(|index| index.state == IndexState::Enabled).or_else(|| named().next())
    }

    /// Whether it is one of the system's own.
    pub fn is_system(&self) -> bool {
        self.number < TableNumber::FIRST_USER
    }

    /// The key of a document of this table in the primary index.
    pub(crate) fn primary_key(&self, id: InternalId) -> Vec<u8> {
        key::encode(&[Some(&DocumentId::new(self.number, id).into())])
    }
}

impl Index {
    /// An index of documents in an order.
    pub(crate) fn new(
        id: IndexId,
        name: IndexName,
        fields: Vec<FieldPath>,
        state: IndexState,
        staged: bool,
    ) -> Index {
        Index::of_kind(IndexKind::Ordered, id, name, fields, state, staged)
    }

    fn of_kind(
        kind: IndexKind,
        id: IndexId,
        name: IndexName,
        fields: Vec<FieldPath>,
        state: IndexState,
        staged: bool,
    ) -> Index {
        let built_in = |field: &str| field.parse().expect("the names of system fields are legal");
        let mut key_fields = fields.clone();
        if name.as_str() != IndexName::BY_ID {
            key_fields.push(built_in(CREATION_TIME_FIELD));
        }
        key_fields.push(built_in(ID_FIELD));
        Index { id, name, fields, kind, state, staged, key_fields }
    }

    /// What its keys are made of, and what a query may bound in this order: the declared fields, `_creationTime` (not in
    /// `by_id`), `_id`. Of no meaning for text and vector indexes.
    pub fn key_fields(&self) -> &[FieldPath] {
        &self.key_fields
    }

    /// The document's key in it, if it has one.
    pub(crate) fn key_of(&self, document: &Object) -> Option<Bytes> {
        match &self.kind {
            IndexKind::Ordered => Some(key::encode_fields(document, &self.key_fields).into()),
            IndexKind::Text { filter_fields } => text_key(document, &self.fields, filter_fields),
            // Nobody reads them in a transaction.
            IndexKind::Vector { .. } => None,
        }
    }
}

/// A stored schema was held to the limits when it was pushed; they may have been lowered since.
const ANY_SCHEMA: SchemaLimits = SchemaLimits {
    tables_max: usize::MAX,
    table_indexes_max: usize::MAX,
    table_search_indexes_max: usize::MAX,
    table_vector_indexes_max: usize::MAX,
    index_fields_max: usize::MAX,
    index_filter_fields_max: usize::MAX,
    vector_dimensions_min: 0,
    vector_dimensions_max: usize::MAX,
    validator_nesting_max: usize::MAX,
    validator_nodes_max: usize::MAX,
};

/// A stored schema, and what it says once it was asked.
pub struct StoredSchema {
    /// Of the row.
    pub id: DocumentId,
    /// As it is stored.
    pub row: SchemaRow,
    parsed: OnceLock<Result<Arc<DatabaseSchema>>>,
}

impl StoredSchema {
    fn new(stored: Stored<SchemaRow>) -> StoredSchema {
        StoredSchema { id: stored.id, row: stored.row, parsed: OnceLock::new() }
    }

    /// Parsed when it is first asked for.
    pub fn schema(&self) -> Result<Arc<DatabaseSchema>> {
        self.parsed
            .get_or_init(|| match DatabaseSchema::from_json(&self.row.schema, &ANY_SCHEMA) {
                Ok(schema) => Ok(Arc::new(schema)),
                Err(error) => Err(Error::stored(format!("schema {}: {error}", self.id))),
            })
            .clone()
    }
}

impl fmt::Debug for StoredSchema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StoredSchema")
            .field("id", &self.id)
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

/// What a deployment consists of, as of one moment: its components, and what is of none of them.
///
/// A catalog is immutable and shared by all transactions to which the same metadata applies.
#[derive(Clone, Debug, Default)]
pub struct DeploymentCatalog {
    version: Timestamp,
    components: BTreeMap<ComponentId, Arc<Catalog>>,
    /// Which components there are, mounted or not.
    pub(crate) instances: BTreeMap<ComponentId, Arc<Stored<ComponentRow>>>,
    auth: Option<Stored<AuthRow>>,
    /// The changes of documents are noted.
    keeps_changes: bool,
    is_paused: bool,
}

/// Tables, indexes, schemas, modules, environment and configuration of one component.
///
/// What a transaction uses of it must be in its read set: ask the [`crate::Transaction`], which records that; what is
/// read here is not recorded.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    by_tablet: HashMap<InternalId, Arc<Table>>,
    /// Active tables of the application.
    by_name: HashMap<TableName, InternalId>,
    /// The same. Tables that are being filled or removed may have the number of one in use.
    by_number: BTreeMap<TableNumber, InternalId>,
    schemas: Vec<Arc<StoredSchema>>,
    modules: BTreeMap<String, Arc<Stored<ModuleRow>>>,
    environment_variables: BTreeMap<String, Stored<EnvironmentVariableRow>>,
    udf_config: Option<Stored<UdfConfigRow>>,
}

/// What a component has of which no row was written.
static EMPTY: LazyLock<Arc<Catalog>> = LazyLock::new(Arc::default);

impl DeploymentCatalog {
    /// The catalog of a deployment without any metadata.
    pub(crate) fn empty(version: Timestamp) -> DeploymentCatalog {
        DeploymentCatalog { version, ..DeploymentCatalog::default() }
    }

    /// The commit that changed it last; [`Timestamp::ZERO`] if there was none.
    pub fn version(&self) -> Timestamp {
        self.version
    }

    /// The catalog of one component.
    pub fn of(&self, component: ComponentId) -> &Arc<Catalog> {
        self.components.get(&component).unwrap_or(&EMPTY)
    }

    /// The catalogs of all components that have any metadata.
    pub fn components(&self) -> impl Iterator<Item = &Arc<Catalog>> {
        self.components.values()
    }

    /// The configuration of the deployment's auth providers.
    pub fn auth(&self) -> Option<&Stored<AuthRow>> {
        self.auth.as_ref()
    }

    /// Whether the changes of documents are noted, for those who follow them.
    pub fn keeps_changes(&self) -> bool {
        self.keeps_changes
    }

    /// Whether the deployment is paused: it runs no functions.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Follows a change of a row of a metadata table: `old` and `new` are the document's fields before and after.
    /// Loading a catalog is the same: every row is new. Tables must come before their indexes.
    pub(crate) fn apply(
        &mut self,
        table: SystemTable,
        id: DocumentId,
        old: Option<&Object>,
        new: Option<&Object>,
    ) -> Result<()> {
        if table == SystemTable::Auth {
            self.auth = row(id, new)?;
            return Ok(());
        }
        if table == SystemTable::ChangeHistory {
            self.keeps_changes = new.is_some();
            return Ok(());
        }
        if table == SystemTable::BackendState {
            self.is_paused = new.is_some();
            return Ok(());
        }
        if table == SystemTable::Components {
            let component = ComponentId::from(id.internal_id);
            match row(id, new)? {
                Some(stored) => drop(self.instances.insert(component, Arc::new(stored))),
                None => drop(self.instances.remove(&component)),
            }
            return Ok(());
        }
        let Some(component) = component_of(table, id, new.or(old))? else { return Ok(()) };
        if old.is_some() && component_of(table, id, old)? != Some(component) {
            return Err(Error::stored(format!("row {id} of {} went to another component", table.name())));
        }
        let catalog = self.components.entry(component).or_default();
        Arc::make_mut(catalog).apply(table, id, old, new)
    }
}

/// The component that a row belongs to.
fn component_of(table: SystemTable, id: DocumentId, fields: Option<&Object>) -> Result<Option<ComponentId>> {
    let Some(fields) = fields else { return Ok(None) };
    let text = fields.get(COMPONENT_FIELD).and_then(value::Value::as_str);
    let component = text.and_then(|text| text.parse().ok());
    component
        .map(Some)
        .ok_or_else(|| Error::stored(format!("row {id} of {}: `component` is not known", table.name())))
}

/// Every row of a metadata table names its component here, but those of auth providers and of components themselves.
pub(crate) const COMPONENT_FIELD: &str = "component";

impl Catalog {
    /// The active table of this name. Names that begin with an underscore are the system's: its own ones, and the two
    /// under which applications see some of them.
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        if name.starts_with('_') {
            return SystemTable::by_name(name).map(SystemTable::table);
        }
        self.by_name.get(name).map(|tablet| &self.by_tablet[tablet])
    }

    /// The active table with this number.
    pub fn table_by_number(&self, number: TableNumber) -> Option<&Arc<Table>> {
        if let Some(table) = SystemTable::by_number(number) {
            return Some(table.table());
        }
        Some(&self.by_tablet[self.by_number.get(&number)?])
    }

    /// The table with this identity, in whatever state.
    pub fn table_by_tablet(&self, tablet: &InternalId) -> Option<&Arc<Table>> {
        self.by_tablet.get(tablet)
    }

    /// The application's active tables, by number.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_number.values().map(|tablet| &self.by_tablet[tablet])
    }

    /// The application's tables in whatever state, in no order.
    pub fn all_tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_tablet.values()
    }

    /// The smallest number that no table has, in whatever state: ids of one that is being removed may still be about.
    pub(crate) fn free_table_number(&self) -> Option<TableNumber> {
        let taken: BTreeSet<TableNumber> = self.by_tablet.values().map(|table| table.number).collect();
        let mut free = TableNumber::FIRST_USER.get();
        for number in taken {
            if number.get() == free {
                free += 1;
            }
        }
        TableNumber::new(free)
    }

    /// The schema that is enforced.
    pub fn active_schema(&self) -> Option<&Arc<StoredSchema>> {
        self.schemas_in(&[SchemaState::Active]).next()
    }

    /// The schema that a push has brought and not yet finished.
    pub fn coming_schema(&self) -> Option<&Arc<StoredSchema>> {
        self.schemas_in(&[SchemaState::Pending, SchemaState::Validated]).next()
    }

    fn schemas_in(&self, states: &'static [SchemaState]) -> impl Iterator<Item = &Arc<StoredSchema>> {
        self.schemas.iter().filter(|schema| states.contains(&schema.row.state))
    }

    /// By path with extension.
    pub fn module(&self, path: &str) -> Option<&Arc<Stored<ModuleRow>>> {
        self.modules.get(path)
    }

    /// By path, in its order.
    pub fn modules(&self) -> impl Iterator<Item = &Arc<Stored<ModuleRow>>> {
        self.modules.values()
    }

    /// By name, in its order.
    pub fn environment_variables(&self) -> impl Iterator<Item = &Stored<EnvironmentVariableRow>> {
        self.environment_variables.values()
    }

    /// The variable of this name.
    pub fn environment_variable(&self, name: &str) -> Option<&Stored<EnvironmentVariableRow>> {
        self.environment_variables.get(name)
    }

    /// What the pushed code needs besides its modules; `None` before the first push.
    pub fn udf_config(&self) -> Option<&Stored<UdfConfigRow>> {
        self.udf_config.as_ref()
    }

    fn apply(
        &mut self,
        table: SystemTable,
        id: DocumentId,
        old: Option<&Object>,
        new: Option<&Object>,
    ) -> Result<()> {
        match table {
            SystemTable::Tables => self.apply_table(row(id, old)?, row(id, new)?),
            SystemTable::Indexes => return self.apply_index(row(id, old)?, row(id, new)?),
            SystemTable::Schemas => {
                self.schemas.retain(|schema| schema.id != id);
                if let Some(stored) = row::<SchemaRow>(id, new)?
                    && stored.row.state != SchemaState::Failed
                {
                    self.schemas.push(Arc::new(StoredSchema::new(stored)));
                }
            }
            SystemTable::Modules => {
                let (old, new) = (row::<ModuleRow>(id, old)?, row::<ModuleRow>(id, new)?);
                if let Some(old) = old {
                    self.modules.remove(&old.row.path);
                }
                if let Some(new) = new {
                    self.modules.insert(new.row.path.clone(), Arc::new(new));
                }
            }
            SystemTable::EnvironmentVariables => {
                let (old, new) =
                    (row::<EnvironmentVariableRow>(id, old)?, row::<EnvironmentVariableRow>(id, new)?);
                if let Some(old) = old {
                    self.environment_variables.remove(&old.row.name);
                }
                if let Some(new) = new {
                    self.environment_variables.insert(new.row.name.clone(), new);
                }
            }
            SystemTable::UdfConfig => self.udf_config = row(id, new)?,
            SystemTable::Auth
            | SystemTable::Components
            | SystemTable::Metadata
            | SystemTable::Exports
            | SystemTable::SnapshotImports
            | SystemTable::ImportTables
            | SystemTable::SessionRequests
            | SystemTable::ScheduledJobs
            | SystemTable::DueRuns
            | SystemTable::CronJobs
            | SystemTable::CronJobLogs
            | SystemTable::CronNextRun
            | SystemTable::FileStorage
            | SystemTable::FileObjects
            | SystemTable::Directory
            | SystemTable::Deployments
            | SystemTable::DeployKeys
            | SystemTable::ClaimLeases
            | SystemTable::ChangeHistory
            | SystemTable::HistoryStates
            | SystemTable::DataSyncs
            | SystemTable::LogStreams
            | SystemTable::AuditLog
            | SystemTable::BackendState => {}
        }
        Ok(())
    }

    fn apply_table(&mut self, old: Option<Stored<TableRow>>, new: Option<Stored<TableRow>>) {
        let mut indexes = None;
        if let Some(Stored { row: old, .. }) = old {
            if self.by_number.get(&old.number) == Some(&old.tablet) {
                self.by_number.remove(&old.number);
            }
            if self.by_name.get(&old.name) == Some(&old.tablet) {
                self.by_name.remove(&old.name);
            }
            indexes = self.by_tablet.remove(&old.tablet).map(|table| table.indexes.clone());
        }
        if let Some(Stored { row: new, .. }) = new {
            let mut table = Table::new(
                new.component,
                new.name,
                new.number,
                new.state,
                new.tablet,
                new.by_id,
                new.by_creation_time,
            );
            if let Some(indexes) = indexes {
                table.indexes = indexes;
            }
            if table.state == TableState::Active {
                self.by_number.insert(table.number, table.tablet);
                self.by_name.insert(table.name.clone(), table.tablet);
            }
            self.by_tablet.insert(table.tablet, Arc::new(table));
        }
    }

    fn apply_index(&mut self, old: Option<Stored<IndexRow>>, new: Option<Stored<IndexRow>>) -> Result<()> {
        if let Some(Stored { row: old, .. }) = old
            && let Some(table) = self.by_tablet.get_mut(&old.table)
        {
            Arc::make_mut(table).indexes.retain(|index| index.id != old.id);
        }
        if let Some(Stored { id, row: new }) = new {
            let Some(table) = self.by_tablet.get_mut(&new.table) else {
                return Err(Error::stored(format!("index {id} is over a table that is not there")));
            };
            let index = Index::of_kind(new.kind, new.id, new.name, new.fields, new.state, new.staged);
            Arc::make_mut(table).indexes.push(Arc::new(index));
        }
        Ok(())
    }
}

fn row<R: SystemRow>(id: DocumentId, fields: Option<&Object>) -> Result<Option<Stored<R>>> {
    let Some(fields) = fields else { return Ok(None) };
    let row = R::from_fields(fields)
        .map_err(|error| Error::stored(format!("row {id} of {}: {error}", R::TABLE.name())))?;
    Ok(Some(Stored { id, row }))
}
