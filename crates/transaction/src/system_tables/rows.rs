//! The rows of the system tables, as types.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use contract::{BlobDigest, IndexId, NodeId, Timestamp};
use value::{
    ComponentId, DocumentId, FieldPath, FunctionPath, IndexName, InternalId, Object, TableName, TableNumber,
    Value, object,
};

use super::SystemTable;
use crate::{
    catalog::{IndexState, TableState},
    search_fields::IndexKind,
};

/// A row of a system table: fields of a document, without `_id` and `_creationTime`.
pub trait SystemRow: Sized {
    /// The table that its rows are in.
    const TABLE: SystemTable;

    /// The row that a document holds. Fails with a sentence on what is not as it must be.
    fn from_fields(fields: &Object) -> Result<Self, String>;

    /// The fields of its document; the inverse of [`SystemRow::from_fields`].
    fn to_fields(&self) -> Object;
}

/// A row that is stored, with its document's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<R> {
    /// Of the document.
    pub id: DocumentId,
    /// What it says.
    pub row: R,
}

/// A table of the application. Its data and indexes are named by ids that are never used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRow {
    /// Whose table it is.
    pub component: ComponentId,
    /// Under which functions know it.
    pub name: TableName,
    /// Which its documents' ids carry.
    pub number: TableNumber,
    /// Whether it is in use.
    pub state: TableState,
    /// The true identity of the table.
    pub tablet: InternalId,
    /// The primary index, which holds the documents.
    pub by_id: IndexId,
    /// The index that every table has besides.
    pub by_creation_time: IndexId,
}

/// An index that a schema declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// That of its table.
    pub component: ComponentId,
    /// The tablet that it is over.
    pub table: InternalId,
    /// Names its keys in the store. Never given again.
    pub id: IndexId,
    /// Under which queries know it.
    pub name: IndexName,
    /// As declared: without the `_creationTime` and `_id` that end every key. Of a text or vector index the one field that it is over.
    pub fields: Vec<FieldPath>,
    /// What kind of index it is.
    pub kind: IndexKind,
    /// How complete it is.
    pub state: IndexState,
    /// Declared as staged: maintained, but not to be queried.
    pub staged: bool,
}

/// How far a schema is on its way to being enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaState {
    /// Pushed; the documents are being checked.
    Pending,
    /// Every document fits; waits for the push to finish.
    Validated,
    /// Enforced. At most one of each component.
    Active,
    /// A document does not fit. The row goes with the next push.
    Failed,
}

/// Why a schema failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFailure {
    /// For people.
    pub message: String,
    /// The table whose document did not fit.
    pub table: Option<String>,
}

/// A version of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaRow {
    /// Whose schema it is.
    pub component: ComponentId,
    /// How far it is.
    pub state: SchemaState,
    /// As the schema module exports it.
    pub schema: Arc<str>,
    /// Set if and only if it failed.
    pub error: Option<SchemaFailure>,
}

/// Where a module's functions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModuleEnvironment {
    /// In the sandbox.
    Isolate,
    /// In Node.js (`"use node"`).
    Node,
}

/// A module of the pushed code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleRow {
    /// Whose code it is in.
    pub component: ComponentId,
    /// As pushed, with extension: `messages.js`, `_deps/TKJ7AP77.js`.
    pub path: String,
    /// Where its functions run.
    pub environment: ModuleEnvironment,
    /// Its text, in the blob store.
    pub source: BlobDigest,
    /// Its source map, in the blob store.
    pub source_map: Option<BlobDigest>,
    /// The SHA-256 of the source followed by the source map, if there is one; what a push compares to see whether a
    /// module changed.
    pub hash: [u8; 32],
    /// What evaluating it showed, as JSON; `None` for shared chunks.
    pub analysis: Option<Arc<str>>,
    /// The paths of the modules that it imports itself.
    pub imports: Vec<String>,
}

/// An environment variable, as functions see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentVariableRow {
    /// Whose variable it is.
    pub component: ComponentId,
    /// Its name.
    pub name: String,
    /// Its value. Not to be logged.
    pub value: String,
}

/// What the pushed code of a component needs besides its modules. At most one row each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdfConfigRow {
    /// Whose code it is.
    pub component: ComponentId,
    /// The version of the `convex` package that pushed.
    pub server_version: String,
    /// What seeds randomness while modules are imported.
    pub import_seed: u64,
    /// What the clock shows while modules are imported; milliseconds since the Unix epoch.
    pub import_time_ms: u64,
    /// The functions folder, as the command line tool names it.
    pub functions_directory: String,
    /// Of the app: changes with anything that the images of its code and of its components' are made of; hexadecimal.
    pub code_hash: String,
    /// What its modules for Node.js need.
    pub node: NodeConfig,
    /// Of the app: below which path of the site its router answers requests, with a slash at both ends; `None` for all of it.
    pub http_prefix: Option<String>,
}

/// What the modules for Node.js of pushed code need. Rows that say nothing of it need nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// The version that the app asks for, `22` or `24`; `None` takes any.
    pub version: Option<String>,
    /// The packages that they import, as `name@version`.
    pub packages: Vec<String>,
    /// Everything that these stand for; `None` without packages.
    pub lock: Option<BlobDigest>,
}

/// The authentication providers of the pushed code. At most one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRow {
    /// The `providers` of `auth.config.js`, as JSON.
    pub providers: Arc<str>,
}

/// What a client's mutation answered, so that it is not run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequestRow {
    /// Lower-case UUID.
    pub session: String,
    /// The number of the request within its session.
    pub request: u32,
    /// Convex JSON.
    pub result: Arc<str>,
    /// What it printed, as clients print it.
    pub log_lines: Vec<String>,
    /// The path of its component, as the client named it.
    pub component: String,
    /// The function that ran, as `messages:send`.
    pub function: String,
}

/// How far a scheduled job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Waits for its time, or for its turn.
    Pending,
    /// Runs.
    InProgress,
    /// Has run.
    Success,
    /// Has run and thrown, or could not be run.
    Failed {
        /// What it threw.
        error: String,
    },
    /// Was cancelled before it had run.
    Canceled,
}

/// A scheduled job: a document of `_scheduled_functions`. Its fields are what the application sees; that the job of a
/// component says whose it is must be left out for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledJobRow {
    /// Whose job it is: the component that has scheduled it.
    pub component: ComponentId,
    /// What runs.
    pub function: FunctionPath,
    /// With what.
    pub arguments: Object,
    /// When it was to run; milliseconds since the Unix epoch.
    pub scheduled_time_ms: f64,
    /// When it came to its end; milliseconds since the Unix epoch.
    pub completed_time_ms: Option<f64>,
    /// How far it is.
    pub state: JobState,
}

/// What kind of thing is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueKind {
    /// A scheduled job, once.
    Job,
    /// A cron job, again and again.
    Cron,
}

/// A process that runs functions: a node, and which of its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Under which number it runs. Several processes may have one number, at the same time too.
    pub node: NodeId,
    /// Drawn anew at each start.
    pub boot: [u8; 16],
}

/// That a process is there which has claimed something of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// Which.
    pub holder: Holder,
    /// What the log had published when it was renewed last. Later each time, and compared with nothing but itself.
    pub renewed: Timestamp,
}

/// When something is to run next. A change of the row always changes its time: whoever follows the index tells by its keys what
/// comes and what goes.
#[derive(Clone, Debug, PartialEq)]
pub struct DueRow {
    /// What it is.
    pub kind: DueKind,
    /// The component whose function runs.
    pub component: ComponentId,
    /// The component whose job it is: that of the function that has scheduled it. Stored where it is another one.
    pub owner: ComponentId,
    /// Not before this moment; milliseconds since the Unix epoch. Infinite while somebody holds it.
    pub due_ms: f64,
    /// How often it could not be run so far, for no fault of its own.
    pub failures: u32,
    /// Who has claimed it and runs it outside of transactions: nobody else ever will.
    pub holder: Option<Holder>,
}

/// A file: a document of `_storage`. Its fields are what the application sees; that the file of a component says whose it is
/// must be left out for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// Whose file it is.
    pub component: ComponentId,
    /// Of its bytes.
    pub sha256: [u8; 32],
    /// How many there are.
    pub size_bytes: u64,
    /// The media type; `None` if nobody gave one.
    pub content_type: Option<String>,
}

/// What an object is to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileState {
    /// It is being uploaded, or was when something ended.
    Arriving,
    /// It holds the bytes of this file: a document of `_storage`.
    Kept {
        /// The internal id of the document.
        file: InternalId,
    },
    /// It holds a part of what is uploaded to be imported, or an export.
    Part {
        /// The internal id of the import or export.
        of: InternalId,
        /// Which part; 1 is the first.
        number: u32,
    },
    /// It holds the bytes of a file that an import brings, which is not there before the import's last commit.
    Imported {
        /// The internal id of the import.
        of: InternalId,
        /// Which file of it.
        number: u32,
    },
    /// No file has it any more, or ever will.
    Discarded,
}

/// An object that holds, held or will hold the bytes of a file. Its name is the internal id of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileObjectRow {
    /// Whose object it is.
    pub component: ComponentId,
    /// By which the file's URL names it.
    pub uuid: String,
    /// What it is now.
    pub state: FileState,
    /// Since when; milliseconds since the Unix epoch. What is discarded because it never arrived keeps the time at which it began.
    pub since_ms: u64,
}

impl SystemRow for TableRow {
    const TABLE: SystemTable = SystemTable::Tables;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        Ok(TableRow {
            component: fields.parse("component")?,
            name: fields.parse("name")?,
            number: fields.table_number("number")?,
            state: TableState::from_name(fields.text("state")?).ok_or("`state` is not known")?,
            tablet: fields.parse("tablet")?,
            by_id: fields.index_id("byId")?,
            by_creation_time: fields.index_id("byCreationTime")?,
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "component" => self.component.to_string(),
            "name" => self.name.as_str(),
            "number" => f64::from(self.number.get()),
            "state" => self.state.name(),
            "tablet" => self.tablet.to_string(),
            "byId" => hex::encode(self.by_id.0),
            "byCreationTime" => hex::encode(self.by_creation_time.0),
        }
    }
}

impl SystemRow for IndexRow {
    const TABLE: SystemTable = SystemTable::Indexes;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let paths = fields.texts("fields")?;
        Ok(IndexRow {
            component: fields.parse("component")?,
            table: fields.parse("table")?,
            id: fields.index_id("id")?,
            name: fields.parse("name")?,
            fields: paths
                .iter()
                .map(|path| path.parse().map_err(|error| format!("`fields`: {error}")))
                .collect::<Result<_, String>>()?,
            kind: IndexKind::from_fields(fields.0)?,
            state: IndexState::from_name(fields.text("state")?).ok_or("`state` is not known")?,
            staged: fields.boolean("staged")?,
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "component" => self.component.to_string(),
            "table" => self.table.to_string(),
            "id" => hex::encode(self.id.0),
            "name" => self.name.as_str(),
            "fields" => texts(self.fields.iter().map(FieldPath::to_string)),
            "kind" => self.kind.to_value(),
            "state" => self.state.name(),
            "staged" => self.staged,
        }
    }
}

impl SchemaState {
    /// As rows spell it.
    pub const fn name(self) -> &'static str {
        match self {
            SchemaState::Pending => "pending",
            SchemaState::Validated => "validated",
            SchemaState::Active => "active",
            SchemaState::Failed => "failed",
        }
    }

    fn from_name(name: &str) -> Option<SchemaState> {
        use SchemaState::*;
        [Pending, Validated, Active, Failed].into_iter().find(|state| state.name() == name)
    }
}

impl SystemRow for SchemaRow {
    const TABLE: SystemTable = SystemTable::Schemas;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let error = match fields.optional_text("error")? {
            Some(message) => Some(SchemaFailure {
                message: message.to_owned(),
                table: fields.optional_text("errorTable")?.map(str::to_owned),
            }),
            None => None,
        };
        Ok(SchemaRow {
            component: fields.parse("component")?,
            state: SchemaState::from_name(fields.text("state")?).ok_or("`state` is not known")?,
            schema: fields.text("schema")?.into(),
            error,
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "component" => self.component.to_string(),
            "state" => self.state.name(),
            "schema" => &*self.schema,
        };
        if let Some(error) = &self.error {
            fields.insert("error", error.message.as_str());
            if let Some(table) = &error.table {
                fields.insert("errorTable", table.as_str());
            }
        }
        fields
    }
}

impl ModuleEnvironment {
    /// As pushes name it.
    pub const fn name(self) -> &'static str {
        match self {
            ModuleEnvironment::Isolate => "isolate",
            ModuleEnvironment::Node => "node",
        }
    }

    /// The inverse of [`ModuleEnvironment::name`].
    pub fn from_name(name: &str) -> Option<ModuleEnvironment> {
        [ModuleEnvironment::Isolate, ModuleEnvironment::Node].into_iter().find(|known| known.name() == name)
    }
}

impl SystemRow for ModuleRow {
    const TABLE: SystemTable = SystemTable::Modules;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        Ok(ModuleRow {
            component: fields.parse("component")?,
            path: fields.text("path")?.to_owned(),
            environment: ModuleEnvironment::from_name(fields.text("environment")?)
                .ok_or("`environment` is not known")?,
            source: BlobDigest(fields.digest("source")?),
            source_map: match fields.optional_text("sourceMap")? {
                Some(_) => Some(BlobDigest(fields.digest("sourceMap")?)),
                None => None,
            },
            hash: fields.digest("hash")?,
            analysis: fields.optional_text("analysis")?.map(Arc::from),
            imports: fields.texts("imports")?,
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "component" => self.component.to_string(),
            "path" => self.path.as_str(),
            "environment" => self.environment.name(),
            "source" => hex::encode(self.source.0),
            "hash" => hex::encode(self.hash),
            "imports" => texts(self.imports.iter().cloned()),
        };
        if let Some(source_map) = &self.source_map {
            fields.insert("sourceMap", hex::encode(source_map.0));
        }
        if let Some(analysis) = &self.analysis {
            fields.insert("analysis", &**analysis);
        }
        fields
    }
}

impl SystemRow for EnvironmentVariableRow {
    const TABLE: SystemTable = SystemTable::EnvironmentVariables;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        Ok(EnvironmentVariableRow {
            component: fields.parse("component")?,
            name: fields.text("name")?.to_owned(),
            value: fields.text("value")?.to_owned(),
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "component" => self.component.to_string(),
            "name" => self.name.as_str(),
            "value" => self.value.as_str(),
        }
    }
}

impl SystemRow for UdfConfigRow {
    const TABLE: SystemTable = SystemTable::UdfConfig;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        Ok(UdfConfigRow {
            component: fields.parse("component")?,
            server_version: fields.text("serverVersion")?.to_owned(),
            // The same 64 bits, as JSON can hold them.
            import_seed: fields.integer("importSeed")?.cast_unsigned(),
            import_time_ms: fields.milliseconds("importTimeMs")?,
            functions_directory: fields.text("functionsDirectory")?.to_owned(),
            code_hash: fields.text("codeHash")?.to_owned(),
            node: NodeConfig {
                version: fields.optional_text("nodeVersion")?.map(str::to_owned),
                packages: if fields.0.contains("nodePackages") {
                    fields.texts("nodePackages")?
                } else {
                    Vec::new()
                },
                lock: match fields.optional_text("nodeLock")? {
                    Some(_) => Some(BlobDigest(fields.digest("nodeLock")?)),
                    None => None,
                },
            },
            http_prefix: fields.optional_text("httpPrefix")?.map(str::to_owned),
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "component" => self.component.to_string(),
            "serverVersion" => self.server_version.as_str(),
            "importSeed" => self.import_seed.cast_signed(),
            "importTimeMs" => self.import_time_ms as f64,
            "functionsDirectory" => self.functions_directory.as_str(),
            "codeHash" => self.code_hash.as_str(),
        };
        if let Some(version) = &self.node.version {
            fields.insert("nodeVersion", version.as_str());
        }
        if !self.node.packages.is_empty() {
            fields.insert("nodePackages", texts(self.node.packages.iter().cloned()));
        }
        if let Some(lock) = &self.node.lock {
            fields.insert("nodeLock", hex::encode(lock.0));
        }
        if let Some(prefix) = &self.http_prefix {
            fields.insert("httpPrefix", prefix.as_str());
        }
        fields
    }
}

impl SystemRow for AuthRow {
    const TABLE: SystemTable = SystemTable::Auth;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        Ok(AuthRow { providers: Fields(fields).text("providers")?.into() })
    }

    fn to_fields(&self) -> Object {
        object! { "providers" => &*self.providers }
    }
}

impl SystemRow for SessionRequestRow {
    const TABLE: SystemTable = SystemTable::SessionRequests;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        Ok(SessionRequestRow {
            session: fields.text("session")?.to_owned(),
            request: fields.u32("request")?,
            result: fields.text("result")?.into(),
            log_lines: fields.texts("logLines")?,
            component: fields.text("component")?.to_owned(),
            function: fields.text("function")?.to_owned(),
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "session" => self.session.as_str(),
            "request" => f64::from(self.request),
            "result" => &*self.result,
            "logLines" => texts(self.log_lines.iter().cloned()),
            "component" => self.component.as_str(),
            "function" => self.function.as_str(),
        }
    }
}

impl JobState {
    /// As applications see it.
    pub const fn name(&self) -> &'static str {
        match self {
            JobState::Pending => "pending",
            JobState::InProgress => "inProgress",
            JobState::Success => "success",
            JobState::Failed { .. } => "failed",
            JobState::Canceled => "canceled",
        }
    }

    fn to_object(&self) -> Object {
        let mut state = object! { "kind" => self.name() };
        if let JobState::Failed { error } = self {
            state.insert("error", error.as_str());
        }
        state
    }

    fn from_object(state: &Object) -> Result<JobState, String> {
        let fields = Fields(state);
        Ok(match fields.text("kind")? {
            "pending" => JobState::Pending,
            "inProgress" => JobState::InProgress,
            "success" => JobState::Success,
            "failed" => JobState::Failed { error: fields.text("error")?.to_owned() },
            "canceled" => JobState::Canceled,
            other => return Err(format!("the kind `{other}` is not known")),
        })
    }
}

impl SystemRow for ScheduledJobRow {
    const TABLE: SystemTable = SystemTable::ScheduledJobs;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let component = match fields.optional_text("component")? {
            Some(_) => fields.parse("component")?,
            None => ComponentId::ROOT,
        };
        let [Value::Object(arguments)] = fields.value("args")?.as_array().unwrap_or_default() else {
            return Err("`args` is not an array of one object".to_owned());
        };
        let state = match fields.value("state")? {
            Value::Object(state) => {
                JobState::from_object(state).map_err(|error| format!("`state`: {error}"))?
            }
            _ => return Err("`state` is not an object".to_owned()),
        };
        let completed = fields.0.contains("completedTime");
        Ok(ScheduledJobRow {
            component,
            function: fields.parse("name")?,
            arguments: arguments.clone(),
            scheduled_time_ms: fields.number("scheduledTime")?,
            completed_time_ms: if completed { Some(fields.number("completedTime")?) } else { None },
            state,
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "name" => self.function.with_extension(),
            "args" => vec![Value::Object(self.arguments.clone())],
            "scheduledTime" => self.scheduled_time_ms,
            "state" => Value::Object(self.state.to_object()),
        };
        if let Some(completed) = self.completed_time_ms {
            fields.insert("completedTime", completed);
        }
        if !self.component.is_root() {
            fields.insert("component", self.component.to_string());
        }
        fields
    }
}

impl DueKind {
    const fn name(self) -> &'static str {
        match self {
            DueKind::Job => "job",
            DueKind::Cron => "cron",
        }
    }

    fn from_name(name: &str) -> Option<DueKind> {
        [DueKind::Job, DueKind::Cron].into_iter().find(|kind| kind.name() == name)
    }
}

impl SystemRow for DueRow {
    const TABLE: SystemTable = SystemTable::DueRuns;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let component = fields.parse("component")?;
        Ok(DueRow {
            kind: DueKind::from_name(fields.text("kind")?).ok_or("`kind` is not known")?,
            component,
            owner: match fields.optional_text("owner")? {
                Some(_) => fields.parse("owner")?,
                None => component,
            },
            due_ms: fields.number("due")?,
            failures: fields.u32("failures")?,
            holder: match fields.optional_text("holder")? {
                Some(_) => Some(fields.parse("holder")?),
                None => None,
            },
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "kind" => self.kind.name(),
            "component" => self.component.to_string(),
            "due" => self.due_ms,
            "failures" => f64::from(self.failures),
        };
        if self.owner != self.component {
            fields.insert("owner", self.owner.to_string());
        }
        if let Some(holder) = self.holder {
            fields.insert("holder", holder.to_string());
        }
        fields
    }
}

impl SystemRow for LeaseRow {
    const TABLE: SystemTable = SystemTable::ClaimLeases;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let renewed = u64::try_from(fields.integer("renewed")?).ok().and_then(Timestamp::new);
        Ok(LeaseRow {
            holder: fields.parse("holder")?,
            renewed: renewed.ok_or("`renewed` is no moment of the log")?,
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "holder" => self.holder.to_string(),
            "renewed" => Value::Int64(self.renewed.as_nanoseconds() as i64),
        }
    }
}

/// `node/boot`.
impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.node, hex::encode(self.boot))
    }
}

impl FromStr for Holder {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Holder, &'static str> {
        let parsed = || {
            let (node, boot) = text.split_once('/')?;
            let boot = hex::decode(boot).ok()?.try_into().ok()?;
            Some(Holder { node: NodeId(node.parse().ok()?), boot })
        };
        parsed().ok_or("it is no node and no start of it")
    }
}

impl SystemRow for FileRow {
    const TABLE: SystemTable = SystemTable::FileStorage;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let component = match fields.optional_text("component")? {
            Some(_) => fields.parse("component")?,
            None => ComponentId::ROOT,
        };
        let sha256 = BASE64.decode(fields.text("sha256")?).ok().and_then(|digest| digest.try_into().ok());
        Ok(FileRow {
            component,
            sha256: sha256.ok_or("`sha256` is not 32 bytes in base 64")?,
            size_bytes: fields.exact_u64("size")?,
            content_type: fields.optional_text("contentType")?.map(str::to_owned),
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "sha256" => BASE64.encode(self.sha256),
            "size" => self.size_bytes as f64,
        };
        if let Some(content_type) = &self.content_type {
            fields.insert("contentType", content_type.as_str());
        }
        if !self.component.is_root() {
            fields.insert("component", self.component.to_string());
        }
        fields
    }
}

impl FileState {
    pub(crate) const ARRIVING: &str = "arriving";
    pub(crate) const DISCARDED: &str = "discarded";
    const KEPT: &str = "kept";
    const PART: &str = "part";
    const IMPORTED: &str = "imported";
}

impl SystemRow for FileObjectRow {
    const TABLE: SystemTable = SystemTable::FileObjects;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let state = match fields.text("state")? {
            FileState::ARRIVING => FileState::Arriving,
            FileState::KEPT => FileState::Kept { file: fields.parse("file")? },
            FileState::PART => FileState::Part { of: fields.parse("file")?, number: fields.u32("number")? },
            FileState::IMPORTED => {
                FileState::Imported { of: fields.parse("file")?, number: fields.u32("number")? }
            }
            FileState::DISCARDED => FileState::Discarded,
            _ => return Err("`state` is not known".to_owned()),
        };
        Ok(FileObjectRow {
            component: fields.parse("component")?,
            uuid: fields.text("uuid")?.to_owned(),
            state,
            since_ms: fields.milliseconds("since")?,
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "component" => self.component.to_string(),
            "uuid" => self.uuid.as_str(),
            "since" => self.since_ms as f64,
        };
        fields.insert(
            "state",
            match self.state {
                FileState::Arriving => FileState::ARRIVING,
                FileState::Kept { .. } => FileState::KEPT,
                FileState::Part { .. } => FileState::PART,
                FileState::Imported { .. } => FileState::IMPORTED,
                FileState::Discarded => FileState::DISCARDED,
            },
        );
        match self.state {
            FileState::Kept { file } => {
                fields.insert("file", file.to_string());
            }
            FileState::Part { of, number } | FileState::Imported { of, number } => {
                fields.insert("file", of.to_string());
                fields.insert("number", f64::from(number));
            }
            FileState::Arriving | FileState::Discarded => {}
        }
        fields
    }
}

pub(super) fn texts(texts: impl Iterator<Item = String>) -> Vec<Value> {
    texts.map(Value::String).collect()
}

/// Fields of a row, read with errors that name the field.
pub(super) struct Fields<'o>(pub(super) &'o Object);

impl<'o> Fields<'o> {
    pub(super) fn value(&self, name: &str) -> Result<&'o Value, String> {
        self.0.get(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'o str, String> {
        self.value(name)?.as_str().ok_or_else(|| format!("`{name}` is not a string"))
    }

    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&'o str>, String> {
        if self.0.contains(name) { self.text(name).map(Some) } else { Ok(None) }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let wrong = || format!("`{name}` is not an array of strings");
        let members = self.value(name)?.as_array().ok_or_else(wrong)?;
        members.iter().map(|member| member.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    pub(super) fn boolean(&self, name: &str) -> Result<bool, String> {
        self.value(name)?.as_bool().ok_or_else(|| format!("`{name}` is not a boolean"))
    }

    pub(super) fn number(&self, name: &str) -> Result<f64, String> {
        self.value(name)?.as_f64().ok_or_else(|| format!("`{name}` is not a number"))
    }

    pub(super) fn integer(&self, name: &str) -> Result<i64, String> {
        self.value(name)?.as_i64().ok_or_else(|| format!("`{name}` is not an integer"))
    }

    /// A number that a double holds exactly.
    pub(super) fn exact_u64(&self, name: &str) -> Result<u64, String> {
        let number = self.number(name)?;
        let integer = number as u64;
        if integer as f64 == number && integer < 1 << 53 {
            Ok(integer)
        } else {
            Err(format!("`{name}` is not a whole number"))
        }
    }

    pub(super) fn milliseconds(&self, name: &str) -> Result<u64, String> {
        self.exact_u64(name).map_err(|_| format!("`{name}` is not a time in milliseconds"))
    }

    pub(super) fn u32(&self, name: &str) -> Result<u32, String> {
        let number = self.number(name)?;
        let integer = number as u32;
        if f64::from(integer) == number {
            Ok(integer)
        } else {
            Err(format!("`{name}` is not a whole number of 32 bits"))
        }
    }

    pub(super) fn table_number(&self, name: &str) -> Result<TableNumber, String> {
        TableNumber::new(self.u32(name)?).ok_or_else(|| format!("`{name}` is not the number of a table"))
    }

    pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<T, String> {
        self.text(name)?.parse().map_err(|error| format!("`{name}`: {error}"))
    }

    pub(super) fn index_id(&self, name: &str) -> Result<IndexId, String> {
        self.parse::<InternalId>(name).map(|id| IndexId(*id.as_bytes()))
    }

    pub(super) fn digest(&self, name: &str) -> Result<[u8; 32], String> {
        let mut digest = [0; 32];
        hex::decode_to_slice(self.text(name)?, &mut digest).map_err(|error| format!("`{name}`: {error}"))?;
        Ok(digest)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::system_tables) fn comes_back<R: SystemRow + PartialEq + std::fmt::Debug>(row: R) {
        let fields = row.to_fields();
        assert_eq!(R::from_fields(&fields).unwrap(), row);
        for name in fields.names().map(str::to_owned).collect::<Vec<_>>() {
            let mut broken = fields.clone();
            broken.insert(name.as_str(), Value::Null);
            let error = R::from_fields(&broken).unwrap_err();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn rows_come_back_and_broken_fields_are_named() {
        let component = ComponentId::from(InternalId::from_bytes([4; 16]));
        comes_back(TableRow {
            component,
            name: "messages".parse().unwrap(),
            number: TableNumber::FIRST_USER,
            state: TableState::Hidden,
            tablet: InternalId::from_bytes([1; 16]),
            by_id: IndexId([2; 16]),
            by_creation_time: IndexId([3; 16]),
        });
        comes_back(IndexRow {
            component,
            table: InternalId::from_bytes([1; 16]),
            id: IndexId([255; 16]),
            name: "by_author".parse().unwrap(),
            fields: vec!["author.name".parse().unwrap(), "kind".parse().unwrap()],
            kind: IndexKind::Ordered,
            state: IndexState::Backfilling,
            staged: true,
        });
        for kind in [
            IndexKind::Text { filter_fields: vec!["author.name".parse().unwrap()] },
            IndexKind::Vector { dimensions: 4_096, filter_fields: Vec::new() },
        ] {
            comes_back(IndexRow {
                component,
                table: InternalId::from_bytes([1; 16]),
                id: IndexId([254; 16]),
                name: "search".parse().unwrap(),
                fields: vec!["body".parse().unwrap()],
                kind,
                state: IndexState::Enabled,
                staged: false,
            });
        }
        comes_back(SchemaRow {
            component,
            state: SchemaState::Failed,
            schema: "{}".into(),
            error: Some(SchemaFailure { message: "no".into(), table: Some("messages".into()) }),
        });
        comes_back(ModuleRow {
            component,
            path: "messages.js".into(),
            environment: ModuleEnvironment::Isolate,
            source: BlobDigest([9; 32]),
            source_map: Some(BlobDigest([8; 32])),
            hash: [7; 32],
            analysis: Some("{}".into()),
            imports: vec!["_deps/A.js".into()],
        });
        comes_back(EnvironmentVariableRow { component, name: "A".into(), value: "é".into() });
        let config = UdfConfigRow {
            component: ComponentId::ROOT,
            server_version: "1.48.0".into(),
            import_seed: u64::MAX,
            import_time_ms: 1_700_000_000_000,
            functions_directory: "convex/".into(),
            code_hash: "00".into(),
            node: NodeConfig::default(),
            http_prefix: None,
        };
        let node = NodeConfig {
            version: Some("24".into()),
            packages: vec!["@a/b@1.0.0".into()],
            lock: Some(BlobDigest([6; 32])),
        };
        comes_back(UdfConfigRow { node, ..config.clone() });
        comes_back(config);
        comes_back(AuthRow { providers: "[]".into() });
        comes_back(SessionRequestRow {
            session: "s".into(),
            request: u32::MAX,
            result: "null".into(),
            log_lines: vec!["[LOG] a".into()],
            component: "a/b".into(),
            function: "messages:send".into(),
        });
        let job = ScheduledJobRow {
            component,
            function: "messages:send".parse().unwrap(),
            arguments: object! { "body" => "hi", "count" => 7_i64 },
            scheduled_time_ms: 1_795_157_486_269.25,
            completed_time_ms: Some(1_795_157_486_270.0),
            state: JobState::Failed { error: "Uncaught Error: no".into() },
        };
        comes_back(job.clone());
        for state in [JobState::Pending, JobState::InProgress, JobState::Success, JobState::Canceled] {
            comes_back(ScheduledJobRow { state, completed_time_ms: None, ..job.clone() });
        }
        comes_back(FileRow {
            component,
            sha256: [5; 32],
            size_bytes: 1 << 40,
            content_type: Some("image/png".into()),
        });
        for state in [
            FileState::Arriving,
            FileState::Kept { file: InternalId::from_bytes([6; 16]) },
            FileState::Part { of: InternalId::from_bytes([6; 16]), number: 1 },
            FileState::Imported { of: InternalId::from_bytes([6; 16]), number: u32::MAX },
            FileState::Discarded,
        ] {
            comes_back(FileObjectRow { component, uuid: "u".into(), state, since_ms: 1_700_000_000_000 });
        }
        for kind in [DueKind::Job, DueKind::Cron] {
            for owner in [component, ComponentId::ROOT] {
                comes_back(DueRow { kind, component, owner, due_ms: -1.5, failures: u32::MAX, holder: None });
            }
        }
        let holder = Holder { node: NodeId(u64::MAX), boot: [255; 16] };
        comes_back(LeaseRow { holder, renewed: Timestamp::MAX });
        let holder = Some(holder);
        let (kind, owner) = (DueKind::Job, component);
        comes_back(DueRow { kind, component, owner, due_ms: f64::INFINITY, failures: 0, holder });
    }

    #[test]
    fn the_job_of_an_app_has_the_fields_that_applications_know_and_no_others() {
        let job = ScheduledJobRow {
            component: ComponentId::ROOT,
            function: "messages:destruct".parse().unwrap(),
            arguments: object! { "id" => "x" },
            scheduled_time_ms: 1.0,
            completed_time_ms: None,
            state: JobState::Pending,
        };
        let json = r#"{"args":[{"id":"x"}],"name":"messages.js:destruct","scheduledTime":1,"state":{"kind":"pending"}}"#;
        assert_eq!(job.to_fields().to_json(), json);
        assert_eq!(ScheduledJobRow::from_fields(&job.to_fields()).unwrap(), job);
    }

    #[test]
    fn the_file_of_an_app_has_the_fields_that_applications_know_and_no_others() {
        let file =
            FileRow { component: ComponentId::ROOT, sha256: [0; 32], size_bytes: 7, content_type: None };
        let json = r#"{"sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","size":7}"#;
        assert_eq!(file.to_fields().to_json(), json);
        assert_eq!(FileRow::from_fields(&file.to_fields()).unwrap(), file);
    }
}
