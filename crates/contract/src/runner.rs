//! The contract of the function runners.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{DeploymentRef, Identity, ReadSet, Result, Timestamp};

/// Runs functions in isolates, each against one moment of the database.
///
/// A function that throws is an answer, not an [`crate::Error`]: errors are for calls that could not be run, or whose
/// outcome is not known.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Runs a query.
    async fn query(&self, call: QueryCall) -> Result<QueryOutcome>;

    /// Runs a mutation until it commits, throws, or gives up on conflicts (`OptimisticConcurrencyControlFailure`).
    ///
    /// The outcome, whatever it is, is returned only when everything it read and wrote is durable. With a session
    /// request that has already committed, nothing runs and the recorded outcome is returned.
    async fn mutation(&self, call: MutationCall) -> Result<MutationOutcome>;

    /// What kind of function a path names, for callers that accept any.
    async fn kind(&self, call: &FunctionCall) -> Result<Option<FunctionKind>>;

    /// Evaluates code that is about to be pushed, and builds its image. Changes nothing that is served.
    async fn evaluate(&self, request: EvaluationRequest) -> Result<Evaluation>;

    /// The executions after `cursor`, oldest first; waits up to `wait` for the first one. `cursor` 0 answers at
    /// once with what is kept.
    async fn function_log(
        &self,
        deployment: DeploymentRef,
        cursor: u64,
        wait: Duration,
    ) -> Result<FunctionLogPage>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    Query,
    Mutation,
    Action,
    HttpAction,
}

/// A function and what it is called with.
#[derive(Clone, Debug)]
pub struct FunctionCall {
    pub deployment: DeploymentRef,
    /// The component's path; empty for the app itself.
    pub component: String,
    /// As the client spelled it: `messages:list`, `messages.js:list`, `messages`.
    pub path: String,
    /// Convex JSON: an array whose one element is the arguments object.
    pub arguments: Arc<str>,
    pub identity: Identity,
    pub caller: Caller,
    /// Shown in error messages and in the log.
    pub request_id: String,
}

/// Through which door a call came; shown in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    HttpApi,
    SyncWorker,
}

#[derive(Clone, Debug)]
pub struct QueryCall {
    pub function: FunctionCall,
    pub at: ReadMoment,
    /// What an earlier run of the same query has returned, so that pages keep their ends.
    pub journal: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMoment {
    /// Sees every commit that was acknowledged before the call.
    Latest,
    /// Exactly this published moment.
    At(Timestamp),
}

#[derive(Clone, Debug)]
pub struct QueryOutcome {
    /// The moment at which it read.
    pub timestamp: Timestamp,
    /// Convex JSON.
    pub result: std::result::Result<Arc<str>, FunctionError>,
    /// As clients print them: `[LEVEL] text`.
    pub log_lines: Vec<String>,
    pub journal: Option<Arc<str>>,
    /// What it read, its code and environment included: the result holds until a commit touches this.
    pub read_set: Arc<ReadSet>,
    pub observed: Observed,
}

/// What a run has looked at besides the database; it bounds for whom and for how long its result can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The clock, or the snapshot's timestamp.
    pub time: bool,
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

#[derive(Clone, Debug)]
pub struct MutationCall {
    pub function: FunctionCall,
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
    pub request: u32,
}

#[derive(Clone, Debug)]
pub struct MutationOutcome {
    pub result: std::result::Result<Arc<str>, FunctionError>,
    /// The commit; for one that wrote nothing, a moment at which what it read was so. `None` if it threw.
    pub timestamp: Option<Timestamp>,
    pub log_lines: Vec<String>,
}

/// Code to evaluate.
#[derive(Clone, Debug)]
pub struct EvaluationRequest {
    pub deployment: DeploymentRef,
    /// The root app's function modules, chunks (`_deps/…`) and `auth.config.js`.
    pub modules: Vec<ModuleSource>,
    pub schema: Option<ModuleSource>,
    pub app_definition: Option<ModuleSource>,
    pub environment_variables: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// With extension: `messages.js`, `_deps/TKJ7AP77.js`.
    pub path: String,
    pub source: Arc<str>,
    pub source_map: Option<Arc<str>>,
}

/// What evaluating code has shown. JSON texts have the shapes that the push protocol gives them.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Per module path (chunks left out): `{"functions": […], "httpRoutes": …, "cronSpecs": …, "sourceMapped": …}`.
    pub modules: BTreeMap<String, Arc<str>>,
    /// The schema's `export()`.
    pub schema: Option<Arc<str>>,
    /// The app definition's `export()`.
    pub app_definition: Option<Arc<str>>,
    /// The `providers` of `auth.config.js`.
    pub auth_providers: Option<Arc<str>>,
    /// What the import phase was given; part of the deployed code, so that every later evaluation gives the same.
    pub import_seed: u64,
    /// Milliseconds since the Unix epoch.
    pub import_time_ms: u64,
}

/// A part of the function log.
#[derive(Clone, Debug)]
pub struct FunctionLogPage {
    pub records: Vec<ExecutionRecord>,
    /// To be sent next time. Below 2⁵³.
    pub cursor: u64,
}

/// One execution.
#[derive(Clone, Debug)]
pub struct ExecutionRecord {
    pub kind: FunctionKind,
    /// `messages:list`.
    pub identifier: String,
    pub component: Option<String>,
    /// When it ended: seconds since the Unix epoch.
    pub ended_at_s: f64,
    pub execution_time: Duration,
    pub lines: Vec<ConsoleLine>,
    pub error: Option<String>,
    pub cached: bool,
    pub caller: Caller,
    pub identity: &'static str,
    pub request_id: String,
    pub execution_id: String,
    /// A conflict's table, where this attempt was refused.
    pub conflict: Option<String>,
    pub will_retry: bool,
}

#[derive(Clone, Debug)]
pub struct ConsoleLine {
    pub level: ConsoleLevel,
    /// One per argument, formatted.
    pub messages: Vec<String>,
    pub truncated: bool,
    /// When it was written: milliseconds since the Unix epoch.
    pub logged_at_ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleLevel {
    Debug,
    Error,
    Info,
    Log,
    Warn,
}

impl ConsoleLevel {
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
