//! The contract of the files service.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{DeploymentRef, ObjectBytes, ObjectName, ObjectParts, Result};

/// The files of applications: what `_storage` shows, and the bytes of each.
///
/// A file is a document that names an object. An object is noted before its first byte is stored and forgotten after its last
/// one is deleted, so whatever ends in between, no byte is kept that no file has, but for the grace time.
///
/// ```text
///   begin            object noted: arriving
///   write … finish   bytes durable; then, in one commit: object kept, document in `_storage`
///   delete           in the transaction of whoever deletes: object discarded, no document
///   sweep            arriving or discarded for longer than the grace time: bytes deleted, object forgotten
/// ```
#[async_trait]
pub trait Files: Send + Sync + 'static {
    /// Begins to store a file.
    ///
    /// Errors: `StorageTokenInvalid`, `StorageTokenExpired`, `InvalidContentType`; `UnmountedComponent`, `ComponentNotFound`.
    async fn begin(&self, upload: NewFile) -> Result<Box<dyn FileUpload>>;

    /// The file that a URL names, as of the newest commit that was acknowledged; `None` if there is none.
    async fn find(&self, name: FileName) -> Result<Option<StoredFile>>;

    /// Bytes of a file, from what [`Files::find`] has found. Errors: `FileNotFound` if it was deleted meanwhile.
    async fn read(&self, file: &StoredFile, range: Range<u64>) -> Result<ObjectBytes>;

    /// The same as [`ObjectStore::read_in_place`](crate::ObjectStore::read_in_place); whoever gets `None` calls [`Files::read`].
    async fn read_in_place(&self, _file: &StoredFile, _range: Range<u64>) -> Result<Option<ObjectParts>> {
        Ok(None)
    }
}

/// Who stores a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uploader {
    /// Whoever holds the token of an upload URL; it names the component.
    Token(String),
    /// A function.
    Function {
        /// The id of its component; empty for the app itself.
        component: String,
    },
}

/// A file to store.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Whose file it is.
    pub deployment: DeploymentRef,
    /// Who stores it.
    pub by: Uploader,
    /// The media type, as the client gave it.
    pub content_type: Option<String>,
    /// The digest that the bytes must have.
    pub sha256: Option<[u8; 32]>,
}

/// A file as its URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// Whose file it is.
    pub deployment: DeploymentRef,
    /// The id of its component; empty for the app itself.
    pub component: String,
    /// The UUID in the URL, in lower case.
    pub uuid: String,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Where its bytes are.
    pub object: ObjectName,
    /// How many.
    pub size_bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// The media type; `None` if nobody gave one.
    pub content_type: Option<String>,
}

/// A file that is being stored. One that is dropped leaves nothing.
#[async_trait]
pub trait FileUpload: Send {
    /// Appends bytes. After an error it MUST be dropped. Errors: `FileTooLarge` (`file_bytes_max`).
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the file; the id of its document in `_storage` comes back. When this returns, the file MUST be durable.
    ///
    /// Errors: `Sha256Mismatch` if its bytes have another digest than was said; `UploadTooSlow` if it took longer than the grace
    /// time; `UnmountedComponent`, `ComponentNotFound` if its component has gone meanwhile; as the log does.
    async fn finish(self: Box<Self>) -> Result<String>;
}
