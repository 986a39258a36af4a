//! What can go wrong.

use serde::{Deserialize, Serialize};

use crate::call::KillReason;

/// Something that user code threw and did not catch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsError {
    /// The error's name, such as `TypeError`; `Error` for thrown values that are no errors.
    pub name: String,
    /// Its message, or the thrown value as text.
    pub message: String,
    /// One frame per line, `    at function (module.js:line:column)`, in terms of the bundled modules, or as
    /// [`SyncHost::map_frames`](crate::SyncHost::map_frames) gave them if the function has read the stack. May be empty.
    pub stack: String,
    /// A stable code, if the platform itself threw the error, such as `NoFetchInQueriesOrMutations`.
    #[serde(default)]
    pub code: Option<String>,
    /// JSON text of the payload, if it is a `ConvexError`.
    #[serde(default)]
    pub convex_error_data: Option<String>,
}

impl std::fmt::Display for JsError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.name, self.message)
    }
}

/// Why an image could not be built. All but `Internal` are the fault of the modules.
#[derive(Clone, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the message of their variant names")]
pub enum ImportError {
    /// A module is no valid JavaScript.
    #[error("{module}: {error}")]
    Syntax { module: String, error: Box<JsError> },
    /// A module imports something that does not exist.
    #[error("{module}: {error}")]
    Unresolved { module: String, error: Box<JsError> },
    /// A module threw while it was evaluated.
    #[error("{module}: {error}")]
    Threw { module: String, error: Box<JsError> },
    /// A module read an environment variable that is not set, where that is an error.
    #[error("{module}: Environment variable {variable} is used but its value was not set")]
    MissingEnvironmentVariable { module: String, variable: String },
    /// The evaluation of a module was ended by a limit.
    #[error("{module}: {reason}")]
    Killed { module: String, reason: KillReason },
    /// Two modules have the same path, or a path is empty or not relative.
    #[error("{path}: {reason}")]
    InvalidPath { path: String, reason: &'static str },
    /// The host failed; trying again may help.
    #[error("{0}")]
    Internal(String),
}

/// Why an engine, a slot or an evaluation failed for a reason that is the host's.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the message of their variant names")]
pub enum EngineError {
    /// The compiled engine could not be loaded.
    #[error("loading the JavaScript engine: {0}")]
    Load(String),
    /// The system refused memory or another resource.
    #[error("{action}: {source}")]
    System { action: &'static str, source: std::io::Error },
    /// The thread's stack is too small for a guest; create threads by
    /// [`thread_builder`](crate::thread_builder).
    #[error("a thread for isolates needs a stack of {needed_bytes} bytes, this one has {actual_bytes}")]
    StackTooSmall { needed_bytes: usize, actual_bytes: usize },
    /// The slot is in the middle of a call, or not in one.
    #[error("the slot is {0}")]
    WrongState(&'static str),
    /// A new instance could not be made.
    #[error("instantiating the JavaScript engine: {0}")]
    Instantiate(String),
}
