//! What happens when the log or the store can't be trusted any more.

use std::{fmt, sync::Arc};

/// The exit code of a process that ended because its log or store failed.
pub const EXIT_CODE_STORAGE_FAILED: i32 = 70;

/// Ends the process. It must not return while anybody could still be answered: whatever is in memory may not be on the
/// disk, and a failed fsync is never tried again.
#[derive(Clone)]
pub struct FatalHandler(Arc<dyn Fn(&str) + Send + Sync>);

impl FatalHandler {
    /// Logs the reason and ends the process at once with [`EXIT_CODE_STORAGE_FAILED`], without destructors and exit handlers.
    pub fn exit() -> FatalHandler {
        FatalHandler::new(|reason| {
            tracing::error!(reason, "the storage failed: this process ends");
            // SAFETY: ends the process; nothing is touched afterwards.
            unsafe { libc::_exit(EXIT_CODE_STORAGE_FAILED) }
        })
    }

    pub fn new(end: impl Fn(&str) + Send + Sync + 'static) -> FatalHandler {
        FatalHandler(Arc::new(end))
    }

    pub fn end(&self, reason: &str) {
        (self.0)(reason);
    }
}

impl fmt::Debug for FatalHandler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FatalHandler")
    }
}
