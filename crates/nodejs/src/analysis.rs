//! What the modules for Node.js export.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contract::{DeploymentRef, Error, ModuleSource};
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    CodeId, Executor, Failure, JsError, NodeVersion, PackagesId, Standing,
    executor::Purpose,
    message::{FromNode, ToNode},
    process::Message,
};

/// Modules that are about to be pushed.
#[derive(Clone, Debug)]
pub struct AnalysisRequest {
    /// For which deployment.
    pub deployment: DeploymentRef,
    /// Those for Node.js, chunks included.
    pub modules: Vec<ModuleSource>,
    /// What they import, as [`Executor::install`] has named it.
    pub packages: Option<PackagesId>,
    /// In what they run.
    pub version: NodeVersion,
    /// What `process.env` holds.
    pub environment: Arc<BTreeMap<String, String>>,
}

/// What one module exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleAnalysis {
    /// The path of the module.
    pub path: String,
    /// The actions among its exports, in the order of their names.
    pub functions: Vec<AnalyzedFunction>,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalyzedFunction {
    /// The name of the export.
    pub name: String,
    /// Whether clients may call it; other functions may in any case.
    pub is_public: bool,
    /// JSON text of the validator of its arguments.
    pub args: String,
    /// JSON text of the validator of its result, `null` if there is none.
    pub returns: String,
    /// Line and column, both from 1, of its handler in the bundled module.
    pub position: Option<(u32, u32)>,
}

/// Why modules could not be analysed. All but `Service` are the fault of the modules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the message of their variant names")]
pub enum AnalysisError {
    #[error("{module}: Uncaught {}: {}{}", error.name, error.message, on_a_new_line(&error.stack))]
    Threw { module: String, error: Box<JsError> },
    /// Transactions can't leave the isolate.
    #[error(
        "`{name}` defined in `{module}` is {kind}. Only actions can be defined in Node.js: move it to a file that does not \
         begin with \"use node\"."
    )]
    NotAnAction { module: String, name: String, kind: &'static str },
    #[error("evaluating the modules for Node.js took longer than {} s", *limit_ms as f64 / 1e3)]
    TimedOut { limit_ms: u64 },
    /// The process ended, or had to be ended.
    #[error("{0}")]
    Ended(Failure),
    #[error("{0}")]
    Service(Error),
}

fn on_a_new_line(stack: &str) -> String {
    if stack.is_empty() { String::new() } else { format!("\n{stack}") }
}

impl From<AnalysisError> for Error {
    fn from(error: AnalysisError) -> Error {
        match error {
            AnalysisError::Service(error) => error,
            error => Error::bad_request("InvalidModules", format!("The code could not be loaded. {error}")),
        }
    }
}

#[derive(Deserialize)]
struct SentModule {
    path: String,
    functions: Vec<SentFunction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentFunction {
    name: String,
    kind: SentKind,
    is_public: bool,
    args: String,
    returns: String,
    position: Option<(u32, u32)>,
}

#[derive(Deserialize)]
enum SentKind {
    Query,
    Mutation,
    Action,
    HttpAction,
}

impl Executor {
    /// Evaluates modules in a process of their own, and says what those of them export that are no chunks (`_deps/…`).
    pub async fn analyze(&self, request: AnalysisRequest) -> Result<Vec<ModuleAnalysis>, AnalysisError> {
        let limit_ms = self.shared.options.limits.analysis_ms_max;
        let _place =
            self.admit(request.deployment, Standing::Outermost).await.map_err(AnalysisError::Service)?;
        let analysis = timeout(Duration::from_millis(limit_ms), self.analyze_in_place(request));
        let analyzed = self.until_shutdown(analysis).await.map_err(AnalysisError::Service)?;
        analyzed.unwrap_or(Err(AnalysisError::TimedOut { limit_ms }))
    }

    async fn analyze_in_place(&self, request: AnalysisRequest) -> Result<Vec<ModuleAnalysis>, AnalysisError> {
        let AnalysisRequest { deployment, modules, packages, version, environment } = request;
        let mut paths: Vec<String> = modules.iter().map(|module| module.path.clone()).collect();
        paths.retain(|path| !path.starts_with("_deps/"));
        paths.sort_unstable();
        let (code, component) = (CodeId::of(&modules), String::new());
        let purpose = Purpose { deployment, component, version, environment, code, packages };
        let shared = &self.shared;
        let started = async {
            shared.code_folder(&purpose, async { Ok(modules) }).await?;
            shared.start(shared.key(&purpose)).await
        };
        let mut process = started.await.map_err(AnalysisError::Service)?;
        process.sender().send(&ToNode::Analyze { modules: &paths }, &[]).await;
        loop {
            match process.receive().await {
                Some(Message::Frame(FromNode::Analyzed {}, body)) => return read(&body),
                Some(Message::Frame(FromNode::NotAnalyzed { module, error }, _)) => {
                    return Err(AnalysisError::Threw { module, error: Box::new(error) });
                }
                Some(Message::Frame(FromNode::Uncaught { error }, _)) => {
                    return Err(AnalysisError::Ended(Failure::ThrewElsewhere(Box::new(error))));
                }
                Some(_) => {}
                None => return Err(AnalysisError::Ended(process.failure(&shared.options.limits).await)),
            }
        }
    }
}

fn read(text: &[u8]) -> Result<Vec<ModuleAnalysis>, AnalysisError> {
    let broken =
        |error: serde_json::Error| AnalysisError::Ended(Failure::Broken { reason: error.to_string() });
    let sent: Vec<SentModule> = serde_json::from_slice(text).map_err(broken)?;
    sent.into_iter()
        .map(|SentModule { path, functions }| {
            let functions =
                functions.into_iter().map(|function| action(&path, function)).collect::<Result<_, _>>()?;
            Ok(ModuleAnalysis { path, functions })
        })
        .collect()
}

fn action(module: &str, function: SentFunction) -> Result<AnalyzedFunction, AnalysisError> {
    let SentFunction { name, kind, is_public, args, returns, position } = function;
    let kind = match kind {
        SentKind::Action => return Ok(AnalyzedFunction { name, is_public, args, returns, position }),
        SentKind::Query => "a Query function",
        SentKind::Mutation => "a Mutation function",
        SentKind::HttpAction => "an HTTP action",
    };
    Err(AnalysisError::NotAnAction { module: module.to_owned(), name, kind })
}
