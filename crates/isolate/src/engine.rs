//! The engine: what all images and slots of a process share.

use std::sync::Arc;

use crate::error::{EngineError, ImportError};
use crate::image::Image;
use crate::source::ImageSource;

/// The compiled JavaScript engine. One per process is enough; it is cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    _shared: Arc<()>,
}

impl Engine {
    /// The most that [`CallLimits::heap_bytes_max`](crate::CallLimits::heap_bytes_max) may be.
    pub const HEAP_BYTES_MAX: u64 = 512 << 20;

    /// Loads the engine and starts the thread that watches time limits.
    pub fn new() -> Result<Engine, EngineError> {
        Ok(Engine { _shared: Arc::new(()) })
    }

    /// Evaluates the modules and keeps what results. Blocks for as long as they run; the work is done on a thread of
    /// its own.
    pub fn build_image(&self, source: ImageSource) -> Result<Arc<Image>, ImportError> {
        let _ = source;
        Err(ImportError::Internal("images can't be built yet".into()))
    }
}

/// A builder for threads on which slots can run: their stack is large enough for the deepest guest.
pub fn thread_builder(name: impl Into<String>) -> std::thread::Builder {
    std::thread::Builder::new().name(name.into()).stack_size(64 << 20)
}
