//! The contract of the function runners.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    DeploymentRef, HttpAnswer, HttpCall, Identity, IdentityKind, ReadSet, Requester, Result, Timestamp,
};

/// Runs functions in isolates, each against one moment of the database.
///
/// A function that throws is an answer, not an [`crate::Error`]: errors are for calls that could not be run, or whose
/// outcome is not known.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Runs a query.
    async fn query(&self, call: QueryCall) -> Result<QueryOutcome>;

    /// Runs a query that is not deployed: the default export of a module. Its path names the module (`testQuery.js`), which
    /// can import `query` and `internalQuery` from `convex:/_system/repl/wrappers.js`, and nothing else.
    async fn inline_query(&self, call: QueryCall, source: Arc<str>) -> Result<QueryOutcome>;

    /// Runs a mutation until it commits, throws, or gives up on conflicts (`OptimisticConcurrencyControlFailure`).
    ///
    /// The outcome, whatever it is, is returned only when everything it read and wrote is durable. With a session
    /// request that has already committed, nothing runs and the recorded outcome is returned.
    async fn mutation(&self, call: MutationCall) -> Result<MutationOutcome>;

    /// Runs an action to its end, at most once, whether the caller goes on waiting or not. An error after it has begun
    /// (`ActionCancelled`) leaves open what it has done.
    async fn action(&self, call: FunctionCall) -> Result<ActionOutcome>;

    /// Answers an HTTP request by the app's router, at most once. What is returned is the answer's head: its body comes as the
    /// function writes it, and the request's body is read as the function reads it. The function runs to its end, whether
    /// somebody takes the answer or not; who drops the body of the answer is gone, and the function is told so.
    ///
    /// An error after the function has begun (`ActionCancelled`) leaves open what it has done.
    async fn http_action(&self, call: HttpCall) -> Result<HttpAnswer>;

    /// What kind of function a path names, for callers that accept any.
    async fn kind(&self, call: &FunctionCall) -> Result<Option<FunctionKind>>;

    /// Evaluates code that is about to be pushed, and builds its image. Changes nothing that is served.
    async fn evaluate(&self, request: EvaluationRequest) -> Result<Evaluation>;

    /// Evaluates the modules for Node.js of code that is about to be pushed, with the packages that they import. Changes
    /// nothing that is served.
    async fn evaluate_node(&self, request: NodeEvaluationRequest) -> Result<NodeEvaluation>;

    /// The executions after `cursor`, oldest first; waits up to `wait` for the first one. `cursor` 0 answers at
    /// once with what is kept.
    async fn function_log(
        &self,
        deployment: DeploymentRef,
        cursor: u64,
        wait: Duration,
    ) -> Result<FunctionLogPage>;
}

/// The kinds of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// Reads, at one moment.
    Query,
    /// Reads and writes, in one transaction.
    Mutation,
    /// Runs outside of transactions.
    Action,
    /// An action that answers an HTTP request. It has no name to be called by: the app's router leads to it.
    HttpAction,
}

/// A function and what it is called with.
#[derive(Clone, Debug)]
pub struct FunctionCall {
    /// Whose function it is.
    pub deployment: DeploymentRef,
    /// The component's path; empty for the app itself.
    pub component: String,
    /// As the client spelled it: `messages:list`, `messages.js:list`, `messages`.
    pub path: String,
    /// Convex JSON: an array whose one element is the arguments object.
    pub arguments: Arc<str>,
    /// In whose name it runs.
    pub identity: Identity,
    /// Where the call comes from.
    pub caller: Caller,
    /// Who has sent the request that the call is for.
    pub requester: Requester,
    /// Shown in error messages and in the log.
    pub request_id: String,
}

/// Through which door a call came; shown in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A request over HTTP.
    HttpApi,
    /// A session over the WebSocket.
    SyncWorker,
    /// The scheduler, for a function that was scheduled.
    Scheduler,
    /// The scheduler, for a cron job.
    Cron,
    /// An HTTP request that the app's router answers.
    HttpEndpoint,
    /// An action. It may call internal functions, and is told of a failure all that there is to tell.
    Action,
}

/// A query to run once.
#[derive(Clone, Debug)]
pub struct QueryCall {
    /// What to call.
    pub function: FunctionCall,
    /// What it sees.
    pub at: ReadMoment,
    /// What an earlier run of the same query has returned, so that pages keep their ends.
    pub journal: Option<Arc<str>>,
}

/// The moment at which a query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMoment {
    /// Sees every commit that was acknowledged before the call.
    Latest,
    /// Exactly this published moment.
    At(Timestamp),
}

/// What came of a query.
#[derive(Clone, Debug)]
pub struct QueryOutcome {
    /// The moment at which it read.
    pub timestamp: Timestamp,
    /// Convex JSON.
    pub result: std::result::Result<Arc<str>, FunctionError>,
    /// As clients print them: `[LEVEL] text`.
    pub log_lines: Vec<String>,
    /// To be given to the next run of the same query.
    pub journal: Option<Arc<str>>,
    /// What it read, its code and environment included: the result holds until a commit touches this.
    pub read_set: Arc<ReadSet>,
    /// What bounds the use of the result besides the read set.
    pub observed: Observed,
}

/// What a run has looked at besides the database; it bounds for whom and for how long its result can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The clock, or the snapshot's timestamp.
    pub time: bool,
    /// The caller's identity.
    pub identity: bool,
}

/// A function that threw, or that was called wrongly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// For people; holds the request id, the error and its stack.
    pub message: String,
    /// Convex JSON: what a `ConvexError` carries; `None` for every other error.
    pub data: Option<Arc<str>>,
}

/// A mutation to run until it has an outcome.
#[derive(Clone, Debug)]
pub struct MutationCall {
    /// What to call.
    pub function: FunctionCall,
    /// The client's request, where it has a session: it takes effect once.
    pub session: Option<SessionRequest>,
    /// The run must not begin before this moment: the newest that the session has seen.
    pub not_before: Timestamp,
}

/// Names a client's request, so that it takes effect once: as long as its record is kept
/// (`retry.session_record_age_ms`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionRequest {
    /// Lower-case UUID.
    pub session: String,
    /// Counts up within the session.
    pub request: u32,
}

/// What came of a mutation.
#[derive(Clone, Debug)]
pub struct MutationOutcome {
    /// Convex JSON, or what it threw.
    pub result: std::result::Result<Arc<str>, FunctionError>,
    /// The commit; for one that wrote nothing, a moment at which what it read was so. `None` if it threw.
    pub timestamp: Option<Timestamp>,
    /// As clients print them: `[LEVEL] text`.
    pub log_lines: Vec<String>,
}

/// What came of an action.
#[derive(Clone, Debug)]
pub struct ActionOutcome {
    /// Convex JSON, or what it threw.
    pub result: std::result::Result<Arc<str>, FunctionError>,
    /// As clients print them: `[LEVEL] text`.
    pub log_lines: Vec<String>,
}

/// Code to evaluate.
#[derive(Clone, Debug)]
pub struct EvaluationRequest {
    /// For which deployment.
    pub deployment: DeploymentRef,
    /// The path of the component whose code it is; empty for the app itself.
    pub component: String,
    /// Below which path of the site the component answers requests: `/local`; empty for all of it.
    pub site_path: String,
    /// The function modules, chunks (`_deps/…`) and the app's `auth.config.js`.
    pub modules: Vec<ModuleSource>,
    /// `schema.js`, if there is one.
    pub schema: Option<ModuleSource>,
    /// `convex.config.js`, if there is one.
    pub definition: Option<ModuleSource>,
    /// The definitions of components that it may import, by their paths: the name that each has for itself.
    pub definitions: BTreeMap<String, String>,
    /// What `process.env` holds besides what it always holds.
    pub environment_variables: BTreeMap<String, String>,
    /// `None` gives it a new one, as a push does.
    pub import_phase: Option<ImportPhase>,
}

/// What modules can see while they are imported, besides the environment: the same at every evaluation of deployed code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportPhase {
    /// Of all randomness.
    pub seed: u64,
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// A module's text.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// With extension: `messages.js`, `_deps/TKJ7AP77.js`.
    pub path: String,
    /// JavaScript, as it was bundled.
    pub source: Arc<str>,
    /// Leads from its lines to those of the app's own files.
    pub source_map: Option<Arc<str>>,
}

/// What evaluating code has shown. JSON texts have the shapes that the push protocol gives them.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Per module path (chunks left out): `{"functions": […], "httpRoutes": …, "cronSpecs": …, "sourceMapped": …}`.
    pub modules: BTreeMap<String, Arc<str>>,
    /// The schema's `export()`.
    pub schema: Option<Arc<str>>,
    /// The `export()` of `convex.config.js`.
    pub definition: Option<Arc<str>>,
    /// The `providers` of `auth.config.js`.
    pub auth_providers: Option<Arc<str>>,
    /// Part of the deployed code.
    pub import_phase: ImportPhase,
}

/// Code for Node.js to evaluate.
#[derive(Clone, Debug)]
pub struct NodeEvaluationRequest {
    /// For which deployment.
    pub deployment: DeploymentRef,
    /// The modules that begin with `"use node"`, and their chunks (`_deps/node/…`).
    pub modules: Vec<ModuleSource>,
    /// What `process.env` holds.
    pub environment_variables: BTreeMap<String, String>,
    /// As the app asks for it: `22` or `24`. `None` takes the oldest one that there is.
    pub version: Option<String>,
    /// What the modules import.
    pub packages: NodePackages,
}

/// Packages for Node.js.
#[derive(Clone, Debug)]
pub enum NodePackages {
    /// What they need themselves is still to be found out.
    Wanted(Vec<NodePackage>),
    /// [`NodeEvaluation::packages`] of an earlier evaluation; `None` if there were none.
    Locked(Option<Arc<str>>),
}

/// A package of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodePackage {
    /// `sharp`, `@aws-sdk/client-s3`.
    pub name: String,
    /// An exact version.
    pub version: String,
}

/// What evaluating code for Node.js has shown.
#[derive(Clone, Debug)]
pub struct NodeEvaluation {
    /// Per module path (chunks left out), as [`Evaluation::modules`].
    pub modules: BTreeMap<String, Arc<str>>,
    /// Everything that the packages stand for: part of the deployed code. `None` without packages.
    pub packages: Option<Arc<str>>,
    /// Names what was installed.
    pub packages_id: Option<String>,
}

/// A part of the function log.
#[derive(Clone, Debug)]
pub struct FunctionLogPage {
    /// Oldest first.
    pub records: Vec<ExecutionRecord>,
    /// To be sent next time. Below 2⁵³.
    pub cursor: u64,
}

/// One execution.
#[derive(Clone, Debug)]
pub struct ExecutionRecord {
    /// What kind of function ran.
    pub kind: FunctionKind,
    /// `messages:list`.
    pub identifier: String,
    /// The component's path; `None` for the app itself.
    pub component: Option<String>,
    /// When it ended: seconds since the Unix epoch.
    pub ended_at_s: f64,
    /// From its beginning to its end, waiting included.
    pub execution_time: Duration,
    /// What it printed.
    pub lines: Vec<ConsoleLine>,
    /// What it threw, with the stack.
    pub error: Option<String>,
    /// The status that an HTTP action has answered with.
    pub http_status: Option<u16>,
    /// Whether it was answered without running.
    pub cached: bool,
    /// Where the call came from.
    pub caller: Caller,
    /// In whose name it ran.
    pub identity: IdentityKind,
    /// That of the call; all attempts of a mutation share it.
    pub request_id: String,
    /// Its own.
    pub execution_id: String,
    /// A conflict's table, where this attempt was refused.
    pub conflict: Option<String>,
    /// Whether another attempt follows.
    pub will_retry: bool,
}

/// A line that a function printed.
#[derive(Clone, Debug)]
pub struct ConsoleLine {
    /// By which method of the console.
    pub level: ConsoleLevel,
    /// One per argument, formatted.
    pub messages: Vec<String>,
    /// Whether a limit has cut it.
    pub truncated: bool,
    /// When it was written: milliseconds since the Unix epoch.
    pub logged_at_ms: f64,
}

/// The methods of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleLevel {
    /// `console.debug`.
    Debug,
    /// `console.error`.
    Error,
    /// `console.info`.
    Info,
    /// `console.log`.
    Log,
    /// `console.warn`.
    Warn,
}

impl ConsoleLevel {
    /// In capitals, as clients print it.
    pub const fn name(self) -> &'static str {
        match self {
            ConsoleLevel::Debug => "DEBUG",
            ConsoleLevel::Error => "ERROR",
            ConsoleLevel::Info => "INFO",
            ConsoleLevel::Log => "LOG",
            ConsoleLevel::Warn => "WARN",
        }
    }
}

impl ConsoleLine {
    /// As clients print it; one that was cut says so.
    pub fn to_client_line(&self) -> String {
        let cut = if self.truncated { " (truncated due to length)" } else { "" };
        format!("[{}] {}{cut}", self.level.name(), self.messages.join(" "))
    }
}
