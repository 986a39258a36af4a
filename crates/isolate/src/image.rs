//! An image: the memory of evaluated modules, from which calls start.

use crate::analysis::{Declaration, ModuleAnalysis};
use crate::error::ImportError;

/// The memory of an engine that has evaluated the modules of one deployment. Immutable; slots map it privately.
#[derive(Debug)]
pub struct Image {
    bytes: u64,
}

impl Image {
    /// What the entry points export. Blocks while the guest runs, on a thread of its own.
    pub fn analyze(&self) -> Result<Vec<ModuleAnalysis>, ImportError> {
        Err(ImportError::Internal("images can't be analyzed yet".into()))
    }

    /// JSON text of what `module` declares. Blocks while the guest runs, on a thread of its own.
    pub fn declaration(&self, module: &str, declaration: Declaration) -> Result<String, ImportError> {
        let _ = (module, declaration);
        Err(ImportError::Internal("images can't be analyzed yet".into()))
    }

    /// The bytes of memory that the image takes.
    pub fn resident_bytes(&self) -> u64 {
        self.bytes
    }
}
