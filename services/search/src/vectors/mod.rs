//! Vector indexes.
//!
//! An index is parts of vectors with their documents' ids. The newest part is in memory and open; beyond some thousands of vectors it is closed, and
//! written into files together with smaller parts before it. Up to that size vectors are compared one by one, which finds exactly the
//! nearest; a larger part has a graph that is asked for candidates, whose scores are computed exactly.
//!
//! All vectors are directions: scaled to length 1, so that their product is the cosine of the angle between them.

mod index;
mod part;
#[cfg(test)]
mod properties;

pub(crate) use index::{Job, VectorIndex};

use contract::{FilterValue, InternalDocumentId, Timestamp};

/// A document as a vector index takes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VectorDocument {
    pub id: InternalDocumentId,
    /// The commit that wrote it.
    pub from: Timestamp,
    pub filters: Vec<FilterValue>,
    /// Of length 1, or zeros.
    pub vector: Vec<f32>,
}
