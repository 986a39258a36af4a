//! The contract of the archive service: a deployment's data as files that people keep, and back.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{DeploymentRef, ObjectBytes, ObjectName, Result};

/// Exports and imports.
///
/// ```text
///   request_export   one at a time; it is made in the background, of one moment, and kept for some days
///   start_upload → begin_part … → finish_upload   the bytes of an import are there
///   in the background   they are read, and all of them make sense, or the import fails
///   perform_import   what it said that it will do is wanted; from now on it takes effect in the background
/// ```
///
/// How far each is stands in a document, which the functions `_system/cli/…` show. An import that does not append takes effect by
/// one commit: whatever ends in between, everybody sees the old data or the new. One that appends writes documents as it
/// goes on, each once. Both go on after a crash, on whichever process sees them first.
#[async_trait]
pub trait Archives: Send + Sync + 'static {
    /// Begins an upload, and names it.
    async fn start_upload(&self, deployment: DeploymentRef) -> Result<String>;

    /// Begins a part of an upload. A part may be sent again, and counts once `finish_upload` names it. Errors: `ImportNotFound`,
    /// `InvalidImport` for a number that can't be one.
    async fn begin_part(
        &self,
        deployment: DeploymentRef,
        upload: &str,
        number: u32,
    ) -> Result<Box<dyn PartUpload>>;

    /// Makes an import of the parts, in this order; the id of its document comes back. Errors: `ImportNotFound`, `InvalidImport`,
    /// `ComponentNotFound`.
    async fn finish_upload(
        &self,
        deployment: DeploymentRef,
        upload: &str,
        parts: Vec<String>,
        import: NewImport,
    ) -> Result<String>;

    /// Has an import take effect. When this returns, it no longer waits to be confirmed. What it imports comes back; `None` if it was
    /// confirmed before, and stays as it is. Errors: `ImportNotFound`, `ImportNotReady`.
    async fn perform_import(&self, deployment: DeploymentRef, import: &str) -> Result<Option<NewImport>>;

    /// Gives up an import that is not over; nothing if it is. Errors: `ImportNotFound`.
    async fn cancel_import(&self, deployment: DeploymentRef, import: &str) -> Result<()>;

    /// Has an export made. Errors: `ExportInProgress` while another one is; `ComponentNotFound`.
    async fn request_export(&self, deployment: DeploymentRef, export: NewExport) -> Result<()>;

    /// Gives up an export that is not over; nothing if it is. Errors: `ExportNotFound`.
    async fn cancel_export(&self, deployment: DeploymentRef, export: &str) -> Result<()>;

    /// Says when a complete export goes; nanoseconds since the Unix epoch. Errors: `ExportNotFound`.
    async fn set_export_expiration(
        &self,
        deployment: DeploymentRef,
        export: &str,
        expires_ns: u64,
    ) -> Result<()>;

    /// A complete export by the id of its document, or by its moment in nanoseconds; `None` if there is none.
    async fn find_export(&self, deployment: DeploymentRef, name: &str) -> Result<Option<StoredExport>>;

    /// The bytes of an export. Errors: `ExportNotFound` if it has gone meanwhile.
    async fn read_export(&self, export: &StoredExport) -> Result<ObjectBytes>;

    /// Has tables of the app be indexed by primary keys, by which streamed records are found; tables that are not there are made. A key
    /// is a list of paths, each a list of names. Errors: `InvalidStreamingImport`.
    async fn add_primary_key_indexes(
        &self,
        deployment: DeploymentRef,
        keys: BTreeMap<String, Vec<Vec<String>>>,
    ) -> Result<()>;

    /// Whether the indexes of these tables hold all documents. It goes on with what is missing, as long as somebody asks. Errors:
    /// `InvalidStreamingImport`; `IndexNotFoundError` if one has none.
    async fn primary_key_indexes_ready(&self, deployment: DeploymentRef, tables: Vec<String>)
    -> Result<bool>;

    /// Writes records into tables of the app, in their order and each batch of them by one commit. `streams` has the primary key of each
    /// table, if it has one: a record that has the key of a document takes its place. Sent again, records without one come again.
    ///
    /// Errors: `InvalidStreamingImport`, `IndexNotFoundError`, `IndexBackfillingError`, and what documents can be refused for.
    async fn import_records(
        &self,
        deployment: DeploymentRef,
        streams: BTreeMap<String, Option<Vec<Vec<String>>>>,
        records: Vec<StreamedRecord>,
    ) -> Result<()>;

    /// Removes all documents of these tables of the app by one commit. Errors: `InvalidStreamingImport`.
    async fn clear_tables(&self, deployment: DeploymentRef, tables: Vec<String>) -> Result<()>;
}

/// A record of another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamedRecord {
    /// Where it goes.
    pub table: String,
    /// JSON: the fields of the document.
    pub data: String,
}

/// What is to be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewExport {
    /// With the bytes of files.
    pub include_storage: bool,
    /// The path of a component, if only its data is wanted, with those within it; empty for everything.
    pub component: String,
}

/// What is to be imported, as tools spell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewImport {
    /// `zip`, `csv`, `jsonLines` or `jsonArray`.
    pub format: String,
    /// `requireEmpty`, `append`, `replace` or `replaceAll`.
    pub mode: String,
    /// The table that it is for; every format but `zip` needs one.
    pub table: Option<String>,
    /// The path of the component that it is for; empty for the app.
    pub component: String,
}

/// An export that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredExport {
    /// Where its bytes are.
    pub object: ObjectName,
    /// How many.
    pub size_bytes: u64,
    /// What a file of it is called.
    pub file_name: String,
}

/// A part that is being uploaded. One that is dropped leaves nothing.
#[async_trait]
pub trait PartUpload: Send {
    /// Appends bytes. After an error it MUST be dropped. Errors: `ImportTooLarge`.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the part; what names it for [`Archives::finish_upload`] comes back.
    async fn finish(self: Box<Self>) -> Result<String>;
}
