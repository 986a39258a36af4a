//! The contract of the deploy service: pushes of code.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{DeploymentRef, ModuleSource, NodePackage, Result};

/// Takes pushed code from its bundles to the one commit that serves it.
///
/// ```text
///   start_push        bundles → evaluated and stored; a pending schema, new indexes begin to fill
///   wait_for_schema   documents are checked and indexes filled, while the old code serves and writes go on
///   finish_push       one commit: modules, schema, indexes, configuration. Before it runs old code, after it new
/// ```
///
/// A push that is abandoned or refused changes nothing that is served. A newer push takes the place of an older one that
/// has not finished; the older one then fails with `RaceDetected`, as does one whose code, schema or environment variables
/// were changed by somebody else meanwhile. What is not served by this version is refused whole, with the file and the
/// export named. No instance needs to remember a push: what `finish_push` needs is in [`StartedPush::prepared`].
#[async_trait]
pub trait Deploy: Send + Sync + 'static {
    /// The code that is deployed.
    async fn deployed_code(&self, deployment: DeploymentRef) -> Result<DeployedCode>;

    /// Who may say who the deployed app's users are: a JSON array of providers, as the last finished push had them. MUST see
    /// every push that was finished before the call.
    async fn auth_providers(&self, deployment: DeploymentRef) -> Result<Arc<str>>;

    /// The environment variables by their names.
    async fn environment_variables(&self, deployment: DeploymentRef) -> Result<BTreeMap<String, String>>;

    /// Changes environment variables. MUST be atomic, with all that follows from it: the deployed `auth.config` is evaluated
    /// with the new ones first, and a change that it can't take is refused whole.
    async fn update_environment_variables(
        &self,
        deployment: DeploymentRef,
        changes: Vec<VariableChange>,
    ) -> Result<()>;

    /// What a push would change in the indexes. Its only effect is stored blobs.
    async fn evaluate_push(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaDifference>;

    /// What a push would do to the tables and indexes, and how large they are. Its only effect is stored blobs.
    async fn evaluate_schema(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaEvaluation>;

    /// Evaluates the code and begins to prepare what the new schema needs. Changes nothing that is served; sent again, it
    /// does no harm.
    async fn start_push(&self, deployment: DeploymentRef, push: Push) -> Result<StartedPush>;

    /// How far the preparation is: at once when it has ended, else after `wait`. `schemas` are those of [`ComponentSchema`], by
    /// their components' paths.
    async fn wait_for_schema(
        &self,
        deployment: DeploymentRef,
        schemas: BTreeMap<String, SchemaId>,
        wait: Duration,
    ) -> Result<SchemaProgress>;

    /// Serves the pushed code from one commit on. MUST be atomic: no call sees a part of it. Finishing the same push again
    /// changes nothing.
    async fn finish_push(&self, deployment: DeploymentRef, finish: FinishPush) -> Result<PushDifference>;

    /// Deletes what is left of the component at a path, which no push mounts any more: its tables, its files, its jobs, and that it
    /// was ever there. MUST be atomic as to tables and files. Components that were mounted within it stay.
    async fn delete_component(&self, deployment: DeploymentRef, path: &str) -> Result<()>;
}

/// What becomes of an environment variable.
#[derive(Clone, PartialEq, Eq)]
pub struct VariableChange {
    /// Its name.
    pub name: String,
    /// Its new value; `None` removes it, if it is there.
    pub value: Option<String>,
}

/// Values are secrets.
impl fmt::Debug for VariableChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.value.is_some() { "set" } else { "remove" };
        write!(formatter, "{what} {}", self.name)
    }
}

/// Names a pushed schema between the requests of its push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaId(pub String);

/// The code that is deployed, as far as the command line tool compares it with what it has.
#[derive(Clone, Debug)]
pub struct DeployedCode {
    /// Where the functions are in the project, as the last push said; `None` before the first one.
    pub functions_folder: Option<String>,
    /// The version of the client library that the last push was made with.
    pub server_version: Option<String>,
    /// The modules that serve, chunks included.
    pub modules: Vec<ModuleHash>,
    /// The version of Node.js that the last push has asked for, if any.
    pub node_version: Option<String>,
    /// Packages that the modules for Node.js import.
    pub node_packages: Vec<NodePackage>,
}

/// Names a module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleHash {
    /// With extension: `messages.js`.
    pub path: String,
    /// `isolate` or `node`.
    pub environment: String,
    /// SHA-256 over the source and then the source map, in lower-case hexadecimal.
    pub sha256: String,
}

/// Everything that one push brings.
#[derive(Clone, Debug)]
pub struct Push {
    /// Write nothing at all, neither blobs nor rows.
    pub dry_run: bool,
    /// Code is generated for a component alone; the deployed app is not concerned.
    pub for_codegen: bool,
    /// Where the functions are in the project.
    pub functions_folder: String,
    /// The version of the client library that the code was bundled with.
    pub server_version: String,
    /// `convex.config.js`.
    pub app_definition: Option<PushedModule>,
    /// `schema.js`.
    pub schema: Option<PushedModule>,
    /// Modules whose text comes with the push.
    pub changed_modules: Vec<PushedModule>,
    /// Modules whose text is the deployed one.
    pub unchanged_modules: Vec<ModuleHash>,
    /// The definitions of components that the app mounts, and those that these mount, each once.
    pub components: Vec<PushedComponent>,
    /// The version of Node.js that the app asks for, `22` or `24`; any will do if it is not said.
    pub node_version: Option<String>,
    /// Packages that the app's Node.js actions import.
    pub node_packages: Vec<NodePackage>,
}

/// The definition of a component.
#[derive(Clone, Debug)]
pub struct PushedComponent {
    /// Names it in this push: the path of its folder, not of an instance.
    pub path: String,
    /// Its `convex.config.js`.
    pub definition: PushedModule,
    /// The paths of the definitions that this one imports.
    pub dependencies: Vec<String>,
    /// Its `schema.js`.
    pub schema: Option<PushedModule>,
    /// All its modules.
    pub modules: Vec<PushedModule>,
    /// The version of the client library that it was bundled with.
    pub server_version: String,
}

/// A module whose text comes with the push.
#[derive(Clone, Debug)]
pub struct PushedModule {
    /// Its path, its text and its source map.
    pub module: ModuleSource,
    /// `isolate` or `node`.
    pub environment: String,
}

/// What the evaluation of a push has shown, and how it goes on.
#[derive(Clone, Debug)]
pub struct StartedPush {
    /// For [`FinishPush::prepared`]: JSON that means something to the deploy service alone.
    pub prepared: Arc<str>,
    /// By the path of the definition; that of the app is empty.
    pub definitions: BTreeMap<String, StartedDefinition>,
    /// The instances of the components, each with the path of its definition, by their own paths. The app itself is left out.
    pub instances: BTreeMap<String, String>,
    /// The auth providers: a JSON array.
    pub auth_providers: Arc<str>,
    /// Names what was installed for the modules for Node.js; `None` if they import no package.
    pub node_packages_id: Option<String>,
    /// What the push will change in the schema and its indexes.
    pub difference: SchemaDifference,
}

/// What the evaluation of a definition has shown.
#[derive(Clone, Debug)]
pub struct StartedDefinition {
    /// The `export()` of `convex.config.js`.
    pub definition: Option<Arc<str>>,
    /// Per module path (chunks left out), as [`crate::Evaluation::modules`].
    pub modules: BTreeMap<String, Arc<str>>,
    /// The schema's JSON; `None` without one.
    pub schema: Option<Arc<str>>,
    /// The version of the client library, as it was pushed.
    pub server_version: String,
}

/// What a push changes in the schemas, by the paths of the components.
#[derive(Clone, Debug)]
pub struct SchemaDifference {
    /// Those of all components that will be mounted, the app's among them.
    pub components: BTreeMap<String, ComponentSchema>,
}

/// What a push changes in the schema of a component.
#[derive(Clone, Debug)]
pub struct ComponentSchema {
    /// The schema to wait for; `None` without one, and where nothing was written.
    pub schema: Option<SchemaId>,
    /// The indexes that it adds, removes, enables and disables.
    pub indexes: IndexDifference,
}

/// An index that a schema declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredIndex {
    /// The table that it is over.
    pub table: String,
    /// Its name, unique within the table.
    pub name: String,
    /// All fields of its key but `_id`: those that are declared, then `_creationTime`. Of an index for searches the one field that it is
    /// over.
    pub fields: Vec<String>,
    /// What kind of index it is.
    pub kind: DeclaredIndexKind,
    /// Filled and kept up to date, but not to be queried yet.
    pub staged: bool,
}

/// What kind of index a schema declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeclaredIndexKind {
    /// Documents in the order of their fields.
    #[default]
    Database,
    /// For text search.
    Text {
        /// By which searches may filter.
        filter_fields: Vec<String>,
    },
    /// For vector search.
    Vector {
        /// How many numbers a vector has.
        dimensions: u32,
        /// By which searches may filter.
        filter_fields: Vec<String>,
    },
}

/// The indexes that a push changes, by what becomes of them.
#[derive(Clone, Debug, Default)]
pub struct IndexDifference {
    /// Are not there yet, or have other fields now.
    pub added: Vec<DeclaredIndex>,
    /// Are no longer declared, or had other fields.
    pub removed: Vec<DeclaredIndex>,
    /// Were staged, and are to be queried from now on.
    pub enabled: Vec<DeclaredIndex>,
    /// Are kept, but no longer to be queried.
    pub disabled: Vec<DeclaredIndex>,
}

/// What a push would do to the tables and indexes.
#[derive(Clone, Debug)]
pub struct SchemaEvaluation {
    /// By the paths of the components.
    pub components: BTreeMap<String, ComponentSchemaEvaluation>,
    /// The paths of the definitions of which nothing is deployed.
    pub new_definitions: Vec<String>,
}

/// What a push would do to the tables and indexes of a component.
#[derive(Clone, Debug)]
pub struct ComponentSchemaEvaluation {
    /// The path of its definition; empty for the app itself.
    pub definition: String,
    /// Documents are held against the schema.
    pub schema_validation: bool,
    /// Every table of the pushed schema.
    pub tables: Vec<TableEvaluation>,
    /// Every index of the pushed schema or the deployed one.
    pub indexes: Vec<IndexEvaluation>,
}

/// What a push would do to one table.
#[derive(Clone, Debug)]
pub struct TableEvaluation {
    /// Its name.
    pub table: String,
    /// Whether its documents have to be read.
    pub check: TableCheck,
    /// Counted up to a limit.
    pub documents: u64,
    /// Bytes of the documents that were counted.
    pub bytes: u64,
}

/// Whether a table's documents have to be read to know that they fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableCheck {
    /// The schema does not ask for it.
    NotValidated,
    /// The deployed schema already proves that they fit.
    Proved,
    /// Each document is read.
    Walked,
}

/// What a push would do to one index.
#[derive(Clone, Debug)]
pub struct IndexEvaluation {
    /// As it will be declared; for a dropped one, as it was.
    pub index: DeclaredIndex,
    /// What becomes of it.
    pub change: IndexChangeKind,
    /// Documents that are there already have to be put into it.
    pub needs_backfill: bool,
    /// Documents of its table, counted up to a limit.
    pub documents: u64,
}

/// What becomes of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexChangeKind {
    /// Is new.
    Added,
    /// Stays as it is.
    Identical,
    /// Was staged, and is to be queried from now on.
    Enabled,
    /// Is kept, but no longer to be queried.
    Disabled,
    /// Is removed.
    Dropped,
}

/// How far the preparation of a pushed schema is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaProgress {
    /// It is under way.
    Preparing {
        /// All documents were held against the schema.
        documents_checked: bool,
        /// Of the new indexes, those that hold every document.
        indexes_filled: usize,
        /// The new indexes.
        indexes_total: usize,
    },
    /// The push can be finished.
    Complete,
    /// A document does not fit. The push can't be finished.
    Failed {
        /// The path of the document's component; empty for the app itself.
        component: String,
        /// A sentence on the document and what does not fit.
        message: String,
        /// The document's table.
        table: Option<String>,
    },
    /// Another push has taken its place.
    Overwritten,
}

/// Ends a push.
#[derive(Clone, Debug)]
pub struct FinishPush {
    /// Write nothing, and don't ask for what a start in earnest would have prepared.
    pub dry_run: bool,
    /// [`StartedPush::prepared`], unchanged but for its order and white space.
    pub prepared: Arc<str>,
    /// Those of [`ComponentSchema`], by the paths of the components.
    pub schemas: BTreeMap<String, SchemaId>,
}

/// What a finished push has changed.
#[derive(Clone, Debug)]
pub struct PushDifference {
    /// The auth providers that were changed.
    pub auth_providers: AuthDifference,
    /// By the paths of the components: the app itself, and those others in which anything has changed.
    pub components: BTreeMap<String, ComponentDifference>,
}

/// What a push has made of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentChange {
    /// It was not there before.
    Created,
    /// It is another one now, or the same.
    Modified,
    /// Nothing mounts it any more. Its data is kept.
    Unmounted,
    /// It was unmounted, and is mounted again.
    Remounted,
}

/// What a finished push has changed in a component.
#[derive(Clone, Debug)]
pub struct ComponentDifference {
    /// What has become of it.
    pub change: ComponentChange,
    /// Paths of modules that were not there before.
    pub modules_added: Vec<String>,
    /// Paths of modules that are there no more.
    pub modules_removed: Vec<String>,
    /// Of the client library, where it has changed: the version before (empty for the first push) and the new one.
    pub server_version: Option<(String, String)>,
    /// The indexes that were changed.
    pub indexes: IndexDifference,
    /// Where it has changed.
    pub schema: Option<SchemaTexts>,
    /// The cron jobs that were changed.
    pub crons: CronDifference,
}

/// The cron jobs that a push changes, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CronDifference {
    /// Were not there before.
    pub added: Vec<String>,
    /// Run something else, or at other times.
    pub updated: Vec<String>,
    /// Are there no more.
    pub deleted: Vec<String>,
}

/// The auth providers that a push changes, each as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthDifference {
    /// Were not there before.
    pub added: Vec<String>,
    /// Are there no more.
    pub removed: Vec<String>,
}

/// The JSON of the schema before a push and of the new one; `None` where there was or is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaTexts {
    /// The schema that was deployed.
    pub before: Option<Arc<str>>,
    /// The schema that is deployed now.
    pub now: Option<Arc<str>>,
}
