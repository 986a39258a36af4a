//! Text indexes.
//!
//! An index is parts, oldest first, each with documents under numbers of its own. The last one is in memory and open; the others were
//! closed and are, once that is done, posting lists in files. No document is ever changed in a part: a new version is a new document, and
//! what it replaces is noted as dead from a moment on. So every part can be read as of every moment that is kept.

mod disk;
mod index;
mod memory;
mod parts;
#[cfg(test)]
mod properties;
mod search;

pub(crate) use index::{Job, TextIndex, Unanswered};

use contract::{FilterValue, InternalDocumentId, Timestamp};

/// A document as a text index takes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TextDocument {
    pub id: InternalDocumentId,
    /// `f64`, in milliseconds.
    pub creation_time_bits: u64,
    /// The commit that wrote it.
    pub from: Timestamp,
    pub filters: Vec<FilterValue>,
    /// By term.
    pub terms: Vec<(String, u32)>,
}

impl TextDocument {
    /// The number of its tokens.
    pub fn length(&self) -> u32 {
        self.terms.iter().map(|(_, count)| *count).sum()
    }
}
