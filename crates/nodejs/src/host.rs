//! What an action asks of whoever runs it.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use contract::{ConsoleLevel, Error, ModuleSource};
use futures::stream::BoxStream;

/// Answers one action while it runs in its process.
#[async_trait]
pub trait ActionHost: Send + Sync + 'static {
    /// The modules of [`Call::code`](crate::Call::code) that are for Node.js, chunks included. Asked for if they are not in
    /// their folder.
    async fn modules(&self) -> Result<Vec<ModuleSource>, Error>;

    /// Answers an operation. Several may be under way. The future runs to its end, the action's outcome waits for it; it is
    /// dropped only if the action is ended by a limit or with the executor.
    async fn answer(&self, operation: Operation) -> Result<Answer, OperationError>;

    /// Takes a line as soon as it is written. Lines of one action come in their order.
    fn log(&self, line: ConsoleLine);
}

/// Bytes as they come.
pub type Body = BoxStream<'static, io::Result<Bytes>>;

/// A `Convex.asyncSyscall`, or `storage/storeBlob` and `storage/getBlob`.
pub struct Operation {
    /// Such as `1.0/actions/query`.
    pub name: String,
    /// JSON text as the library wrote it. Of `storage/storeBlob`: `{size, contentType (or null), sha256?, requestId, version}`, of
    /// `storage/getBlob`: `{storageId, requestId, version}`.
    pub arguments: String,
    /// The content of `storage/storeBlob`. It ends early if the process does: an error comes last then.
    pub body: Option<Body>,
}

/// What an operation is answered with.
pub struct Answer {
    /// JSON text. Of `storage/storeBlob` the storage id, of `storage/getBlob` `{contentType?}` or `null`.
    pub json: String,
    /// The content that `storage/getBlob` has asked for.
    pub body: Option<Body>,
}

/// An operation's failure, as the function sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationError {
    /// Becomes the message of the error that is thrown.
    pub message: String,
    /// JSON text of the payload, if the function shall see a `ConvexError`.
    pub data: Option<String>,
}

/// What a function wrote to its console, or to its standard output (`LOG`) and error (`ERROR`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLine {
    /// By which method.
    pub level: ConsoleLevel,
    /// One formatted text per argument.
    pub messages: Vec<String>,
    /// Whether the line was longer than the limit and lost its end.
    pub is_truncated: bool,
}
