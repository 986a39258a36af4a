//! The contract of the search service.

use async_trait::async_trait;

use crate::{DeploymentRef, FilterValue, IndexId, Result, TextCondition, TextFilter, Timestamp};

/// Text and vector indexes, kept from the commit stream. They are derived: a service that has lost them makes them anew.
///
/// Besides the errors that are listed, each method may fail with `SearchIndexesUnavailable`: the index is being built here, or the service
/// has not heard of the moment that is asked for within `wait_ms_max`, or it has nothing of that moment any more; and with
/// `IndexNotFoundError` if there is no such index at the moment.
#[async_trait]
pub trait Search: Send + Sync + 'static {
    /// The documents that a text search finds at one moment, the best first: by score, then the newest, then the largest id. All
    /// implementations answer the same, to the last bit of the scores.
    ///
    /// Errors: `OutOfRetention` if the moment is older than what is kept.
    async fn search_text(&self, search: TextSearch) -> Result<TextMatches>;

    /// The documents whose vectors are nearest to one, the best first, equal ones by id. It MUST see every commit up to
    /// `search.not_before`, and MUST NOT return a document that was deleted by them. Beyond some thousands of vectors it may miss some.
    async fn search_vectors(&self, search: VectorSearch) -> Result<Vec<VectorMatch>>;

    /// Whether the index holds every document, and what it has by now.
    async fn search_index(&self, deployment: DeploymentRef, index: IndexId) -> Result<SearchIndexState>;
}

/// A text search at one moment, with what the transaction that asks has itself written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextSearch {
    /// Whose documents.
    pub deployment: DeploymentRef,
    /// The text index.
    pub index: IndexId,
    /// A moment that is published, or will be.
    pub at: Timestamp,
    /// Which documents.
    pub condition: TextCondition,
    /// At most so many.
    pub matches_max: usize,
    /// Documents that the transaction has written: in their place stand those of `written`, or nothing.
    pub replaced: Vec<InternalDocumentId>,
    /// Documents with a text in the field of the index, as the transaction has written them.
    pub written: Vec<WrittenText>,
}

/// The part of a document's id that names it within its table.
pub type InternalDocumentId = [u8; 16];

/// A document as a transaction has written it, as far as a text index is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenText {
    /// The document.
    pub id: InternalDocumentId,
    /// Its creation time's bits (`f64`), in milliseconds since the Unix epoch.
    pub creation_time_bits: u64,
    /// What searches filter by, in the order of the index's definition.
    pub filters: Vec<FilterValue>,
    /// Each of its terms and how often it occurs, by term.
    pub terms: Vec<(String, u32)>,
}

/// What a text search has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextMatches {
    /// The best first.
    pub matches: Vec<TextMatch>,
    /// There are more than were asked for.
    pub more: bool,
}

/// One document that a text search has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextMatch {
    /// The document.
    pub id: InternalDocumentId,
    /// Its creation time's bits (`f64`).
    pub creation_time_bits: u64,
    /// Its score's bits (`f32`).
    pub score_bits: u32,
}

/// A vector search.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSearch {
    /// Whose documents.
    pub deployment: DeploymentRef,
    /// The vector index.
    pub index: IndexId,
    /// Every commit up to here is seen.
    pub not_before: Timestamp,
    /// As many numbers as the index has dimensions.
    pub vector: Vec<f32>,
    /// Documents for which any of these holds; all of them if there are none.
    pub any_of: Vec<TextFilter>,
    /// At most so many.
    pub matches_max: usize,
}

/// One document that a vector search has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorMatch {
    /// The document.
    pub id: InternalDocumentId,
    /// The cosine of the angle between the vectors, from -1 to 1.
    pub score: f32,
}

/// How far an index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchIndexState {
    /// It holds every document, and is kept from now on.
    pub is_complete: bool,
    /// Documents that it holds.
    pub documents: u64,
}
