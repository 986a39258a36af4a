//! The contract of the blob service.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// The SHA-256 of a blob's bytes, by which it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobDigest(pub [u8; 32]);

/// Content-addressed bytes: bundles, source maps.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Stores `bytes`. When this returns, they MUST be durable. Storing the same bytes again is harmless.
    async fn put(&self, bytes: Bytes) -> Result<BlobDigest>;

    /// The bytes, or `None` if they were never stored. What is returned MUST have the digest asked for: a damaged blob
    /// is an error, never an answer.
    async fn get(&self, digest: BlobDigest) -> Result<Option<Bytes>>;

    /// Whether a blob was stored, without reading it: it may be damaged all the same.
    async fn has(&self, digest: BlobDigest) -> Result<bool>;
}
