//! A call: what goes in, its steps, and what comes out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::JsError;

/// A call of one exported function.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The path of an entry point, as in [`ModuleSource::path`](crate::ModuleSource::path).
    pub module: &'a str,
    /// The name of the export, `default` for a default export.
    pub export: &'a str,
    /// How the function is called. An export of another kind fails with a `JsError`.
    pub kind: FunctionKind,
    /// JSON text of an array: the arguments after the context, usually one object.
    pub arguments: &'a str,
    /// The seed of all randomness in this call.
    pub seed: [u8; 32],
    /// The clock, in milliseconds since the Unix epoch. It stands still during the call, unless the host says otherwise
    /// ([`SyncHost::now_ms`]).
    pub now_ms: u64,
    /// Passed to actions, which echo it in their syscalls. Empty for queries and mutations.
    pub request_id: &'a str,
    /// What the call may use.
    pub limits: CallLimits,
}

/// The kind of a registered function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FunctionKind {
    /// Reads; deterministic.
    Query,
    /// Reads and writes; deterministic.
    Mutation,
    /// May have effects outside of the database.
    Action,
    /// An action that answers an HTTP request: what is called is a router, and the arguments are JSON text about the request
    /// (platform/http-action.js).
    HttpAction,
}

/// What one call may use.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Processor time of the function itself, in milliseconds; waiting for the host does not count.
    pub user_time_ms_max: u64,
    /// Memory that the call may take on top of its image, in bytes. At most
    /// [`Engine::HEAP_BYTES_MAX`](crate::Engine::HEAP_BYTES_MAX).
    pub heap_bytes_max: u64,
    /// Lines that it may write to the console, the notice about the others included.
    pub log_lines_max: usize,
    /// Characters of one such line, over all its messages.
    pub log_line_chars_max: usize,
}

impl CallLimits {
    /// What functions are given unless the configuration says otherwise. Of time it is four times what a compiler to
    /// machine code would be given: this engine is slower on loops, and legal functions must not die of it.
    pub const DEFAULT: CallLimits = CallLimits {
        user_time_ms_max: 4_000,
        heap_bytes_max: 64 << 20,
        log_lines_max: 256,
        log_line_chars_max: 32_768,
    };
}

impl Default for CallLimits {
    fn default() -> Self {
        CallLimits::DEFAULT
    }
}

/// Where a call stands after the guest ran for a while.
#[derive(Debug)]
pub enum Step {
    /// The guest waits. Go on with [`Slot::resume`](crate::Slot::resume).
    NeedsHost {
        /// Those issued since the last step, in the order of issue; none if the host still owes answers to earlier ones.
        operations: Vec<AsyncOperation>,
    },
    /// The call ended: JSON text of its result, or what it threw. Every operation it issued has been answered.
    Done(Result<String, Box<JsError>>),
    /// The call was ended from outside; user code could not prevent it.
    Killed(KillReason),
}

/// Names one `asyncSyscall` within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u32);

/// One `Convex.asyncSyscall` that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsyncOperation {
    /// Answered under this id, once.
    pub id: OperationId,
    /// Such as `1.0/get`.
    pub name: String,
    /// JSON text as the library wrote it.
    pub arguments: String,
    /// What the platform sends along, such as a chunk of a request's body.
    pub body: Vec<u8>,
}

/// What the host answers to an operation, or an error that user code can catch.
pub type Answer = Result<Reply, SyscallError>;

/// An answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// JSON text.
    Text(String),
    /// What only the platform asks for: it gets an `ArrayBuffer`.
    Bytes(Vec<u8>),
}

impl From<String> for Reply {
    fn from(text: String) -> Reply {
        Reply::Text(text)
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Reply {
        Reply::Text(text.to_owned())
    }
}

/// A syscall's failure as user code sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallError {
    /// Becomes the message of the error that is thrown.
    pub message: String,
    /// JSON text of the payload, if user code shall see a `ConvexError`.
    pub data: Option<String>,
}

impl SyscallError {
    /// An ordinary error, without a payload.
    pub fn new(message: impl Into<String>) -> Self {
        SyscallError { message: message.into(), data: None }
    }
}

/// Why a call was ended from outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the message of their variant names")]
pub enum KillReason {
    /// It used more processor time than `user_time_ms_max`.
    #[error("the function ran longer than {limit_ms} ms")]
    TimedOut { limit_ms: u64 },
    /// It wanted more memory than `heap_bytes_max`.
    #[error("the function used more memory than {limit_bytes} bytes")]
    OutOfMemory { limit_bytes: u64 },
    /// The native stack ran out before JavaScript's own limit, which is a catchable `RangeError`.
    #[error("the function overflowed the stack")]
    StackOverflow,
    /// The promise it returned can't settle: nothing it waits for is outstanding.
    #[error("the function returned a promise that will never resolve")]
    NeverResolves,
    /// The engine trapped for another reason, which is a defect of the engine.
    #[error("the isolate trapped: {0}")]
    Trap(String),
}

/// What a call did that its result alone doesn't show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// It read the clock (`Date.now()`, `new Date()`, `performance.now()`).
    pub time: bool,
    /// It drew random numbers.
    pub randomness: bool,
    /// Processor time of the guest so far.
    pub user_time: Duration,
    /// Memory it took on top of its image, in bytes, at the most.
    pub heap_bytes: u64,
}

/// Answers the guest's synchronous calls while it runs.
///
/// The guest waits on the same thread, so an implementation must not block on anything that needs another slot of
/// this thread.
pub trait SyncHost {
    /// Answers `Convex.syscall(operation, arguments)` with JSON text.
    fn syscall(&mut self, operation: &str, arguments: &str) -> Result<String, SyscallError>;

    /// The time in milliseconds since the Unix epoch, for a function for which it passes. `None`: it stands still.
    fn now_ms(&mut self) -> Option<f64> {
        None
    }

    /// Takes a line written to the console. The host gives it its time.
    fn log(&mut self, line: ConsoleLine);

    /// The function reads an environment variable, set or not; all of them if the name is empty. Those that the image's
    /// modules have read ([`Image::variables_read`](crate::Image::variables_read)) are not told again.
    fn variable_is_read(&mut self, _name: &str) {}

    /// The frames of a stack that the function reads or logs, one a line as in [`JsError::stack`], in terms of the files
    /// that people wrote. The function sees what is returned. Nothing is asked for a stack that nobody reads.
    fn map_frames(&mut self, frames: String) -> String {
        frames
    }
}

/// One call of `console.log` or its siblings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLine {
    /// Which of the siblings.
    pub level: ConsoleLevel,
    /// One formatted text per argument.
    pub messages: Vec<String>,
    /// Whether the line was longer than the limit and lost its end.
    pub is_truncated: bool,
}

/// The level of a console line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsoleLevel {
    /// `console.debug`
    Debug,
    /// `console.log`, `console.trace`, `console.time…`
    Log,
    /// `console.info`
    Info,
    /// `console.warn`
    Warn,
    /// `console.error`
    Error,
}

impl ConsoleLevel {
    /// The name that clients and log streams show.
    pub fn as_str(self) -> &'static str {
        match self {
            ConsoleLevel::Debug => "DEBUG",
            ConsoleLevel::Log => "LOG",
            ConsoleLevel::Info => "INFO",
            ConsoleLevel::Warn => "WARN",
            ConsoleLevel::Error => "ERROR",
        }
    }
}
