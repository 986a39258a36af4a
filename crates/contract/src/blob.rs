//! The contracts of the blob service: bytes that are named by their digest, and objects that are named by whoever makes them.

use std::{fs::File, ops::Range, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::{DeploymentRef, Result};

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

/// Names an object. Whoever makes one MUST take a name that no other object ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Whose object it is.
    pub deployment: DeploymentRef,
    /// The component within the deployment; `None` is the app itself.
    pub component: Option<[u8; 16]>,
    /// The object within the component.
    pub id: [u8; 16],
}

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectSummary {
    /// Its bytes.
    pub size_bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

/// The bytes of an object, or of a part of it, in pieces. It ends with an error, or after the last byte that was asked for.
pub type ObjectBytes = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A part of an object, as bytes of a file that this process may read.
#[derive(Clone, Debug)]
pub struct ObjectPart {
    /// It MUST only be read. It stays readable when the object is deleted.
    pub file: Arc<File>,
    /// Which of its bytes: at least one, and at most [`ObjectPart::BYTES_MAX`].
    pub range: Range<u64>,
}

impl ObjectPart {
    /// So few that whoever passes on one of them holds up nobody.
    pub const BYTES_MAX: usize = 256 << 10;

    /// How many bytes it has.
    pub fn size_bytes(&self) -> usize {
        let size_bytes = self.range.end - self.range.start;
        usize::try_from(size_bytes).expect("a part is smaller than memory")
    }
}

/// The parts of a range, in their order. It ends as [`ObjectBytes`] do.
pub type ObjectParts = Pin<Box<dyn Stream<Item = Result<ObjectPart>> + Send>>;

/// Objects: bytes of any number, written once from beginning to end, read in parts, and deleted. Whatever their size, what
/// one writer or one reader holds in memory is bounded.
///
/// ```text
///   create ── write … ── finish      the object is there, whole and durable
///      └───────┴──────── dropped     there is nothing
/// ```
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Begins an object. Until it is finished, it is not there.
    async fn create(&self, name: ObjectName) -> Result<Box<dyn ObjectWriter>>;

    /// The number of its bytes; `None` if there is no such object.
    async fn size(&self, name: ObjectName) -> Result<Option<u64>>;

    /// The bytes of a range, in their order; `None` if there is no such object. The range MUST lie within the object
    /// (`RangeNotInObject`). That the bytes are those that were written is not checked: who needs to know keeps the digest.
    async fn read(&self, name: ObjectName, range: Range<u64>) -> Result<Option<ObjectBytes>>;

    /// The same bytes where they lie, for a process that sends them on and has no need to have them in its own memory. `None` also
    /// if they lie in no file that this process can open, as behind a network; [`ObjectStore::read`] has them everywhere.
    ///
    /// When a part comes, the system SHOULD have it in memory: who reads it then waits for no disk.
    async fn read_in_place(&self, _name: ObjectName, _range: Range<u64>) -> Result<Option<ObjectParts>> {
        Ok(None)
    }

    /// Deletes it; when this returns, it MUST NOT come back. What is not there, is only begun, or was left behind by a process
    /// that ended while it wrote, is deleted as well.
    async fn delete(&self, name: ObjectName) -> Result<()>;
}

/// An object that is being written. One that is dropped leaves nothing.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Appends bytes; waits while the store is behind. After an error it MUST be dropped.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the object. When this returns, it MUST be there, whole and durable.
    async fn finish(self: Box<Self>) -> Result<ObjectSummary>;
}
