//! What comes of an action.

use serde::Deserialize;

/// JSON text of the result, or how the action failed.
pub type Outcome = Result<String, Failure>;

/// Something that a function threw.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct JsError {
    /// The error's name, such as `TypeError`; `Error` for thrown values that are no errors.
    pub name: String,
    /// Its message, or the thrown value as text.
    pub message: String,
    /// One frame per line, `    at function (file:line:column)`, in terms of the files that people wrote where there are
    /// source maps. May be empty.
    pub stack: String,
    /// JSON text of the payload, if it is a `ConvexError`.
    pub data: Option<String>,
}

/// Why an action has no result. All of these are answers: the action is to blame, and had begun or could not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the message of their variant names")]
pub enum Failure {
    /// It threw.
    #[error("Uncaught {}: {}", .0.name, .0.message)]
    Threw(Box<JsError>),
    /// Something threw that it did not wait for, which ended the process.
    #[error("Uncaught {}: {} (nobody waited for what threw this, so it ended the action's process)", .0.name, .0.message)]
    ThrewElsewhere(Box<JsError>),
    /// There is no such action.
    #[error("Could not find function `{module}:{name}` among the actions for Node.js.")]
    Missing { module: String, name: String },
    #[error(
        "FunctionArgumentsTooLarge: the arguments have {bytes} bytes, more than the {bytes_max} that are allowed in Node.js."
    )]
    ArgumentsTooLarge { bytes: usize, bytes_max: usize },
    #[error(
        "FunctionResultTooLarge: the function returned {bytes} bytes, more than the {bytes_max} that are allowed."
    )]
    ResultTooLarge { bytes: usize, bytes_max: usize },
    #[error("Function execution timed out (maximum duration: {} s).", *limit_ms as f64 / 1e3)]
    TimedOut { limit_ms: u64 },
    #[error("FunctionOutOfMemory: the function used more than {} MiB of memory.", *limit_bytes >> 20)]
    OutOfMemory { limit_bytes: usize },
    #[error("NodeProcessesLimit: the action had more than {limit} processes of its own.")]
    TooManyProcesses { limit: usize },
    /// It ended its process, or the process crashed.
    #[error("NodeProcessEnded: the process that ran the action {how} before the action had a result.")]
    ProcessEnded { how: String },
    /// It wrote to the pipe that is the server's.
    #[error("NodeProcessBroken: the process that ran the action sent what can't be read: {reason}.")]
    Broken { reason: String },
}
