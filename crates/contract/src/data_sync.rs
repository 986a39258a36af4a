//! The contract of what copies a deployment's documents elsewhere, and keeps the copies as they are.

use async_trait::async_trait;

use crate::{DeploymentRef, Result, Timestamp};

/// Documents for those who keep a copy of them. Whoever reads all pages of a snapshot, and from its moment on the deltas, or all pages of
/// a sync, has exactly what the deployment has at the moment to which that is complete.
///
/// Cursors hold everything that a reader has come to: they mean the same on every node, after restarts and under other leaders. A
/// page may be asked for again.
///
/// From the first call of [`DataSync::list_snapshot`] or [`DataSync::sync`] on, a deployment notes what its commits change. The notes
/// are kept for a while (`data_sync.history_ms_max`, `data_sync.history_bytes_max`), and no longer made when nobody has asked for
/// anything for that time.
///
/// Values are JSON objects as text. Besides what each method lists, `BadFormat` if the format is not known, and what the log has to
/// say.
#[async_trait]
pub trait DataSync: Send + Sync + 'static {
    /// A page of the documents as of one moment, by table and id. That of the first page is chosen; once it can't be read any
    /// more (`log.retention_ms_min`), documents come as they are now, and the deltas from the snapshot on make it whole.
    ///
    /// Errors: `InvalidCursor`; `InvalidSelection`; `SnapshotTooOld` if the deltas from it are not kept any more.
    async fn list_snapshot(
        &self,
        deployment: DeploymentRef,
        request: SnapshotRequest,
    ) -> Result<SnapshotPage>;

    /// What has changed above a moment, commit by commit and none of them in part: each document as its last change has left it.
    /// One that has changed again later comes with that change.
    ///
    /// Errors: `DocumentDeltasCursorRequired`; `InvalidSelection`; `InvalidWindowToReadDocuments` if the moment is older than what is kept, or not
    /// there yet.
    async fn document_deltas(
        &self,
        deployment: DeploymentRef,
        request: DeltasRequest,
    ) -> Result<SnapshotPage>;

    /// By table, a JSON schema of its documents as `json` writes them.
    async fn json_schemas(&self, deployment: DeploymentRef, request: SchemasRequest) -> Result<String>;

    /// The next page of a sync, or the first of a new one.
    ///
    /// Errors: `DataSyncCursorExpired` if it was not asked for within `data_sync.sync_idle_ms_max`, or is older than what is kept: start
    /// anew without a cursor; `InvalidCursor`; `InvalidSelection`.
    async fn sync(&self, deployment: DeploymentRef, request: SyncRequest) -> Result<SyncPage>;

    /// Who syncs, newest first: at most `limit`, behind `cursor`.
    ///
    /// Errors: `InvalidCursor`.
    async fn active_syncs(
        &self,
        deployment: DeploymentRef,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<ActiveSyncs>;
}

/// Which page of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct SnapshotRequest {
    /// All of them without it.
    pub table: Option<String>,
    /// Of the table; the app's itself without it.
    pub component: Option<String>,
    /// `json` without it.
    pub format: Option<String>,
    /// As the page before has given it; none begins.
    pub cursor: Option<String>,
    /// The moment, in nanoseconds, if it is known.
    pub snapshot: Option<u64>,
    /// As that of a sync; everything without it.
    pub selection: Option<String>,
}

/// Which changes.
#[derive(Clone, Debug, Default)]
pub struct DeltasRequest {
    /// All of them without it.
    pub table: Option<String>,
    /// Of the table; the app's itself without it.
    pub component: Option<String>,
    /// `json` without it.
    pub format: Option<String>,
    /// Nanoseconds; what comes is above it.
    pub cursor: Option<u64>,
    /// As that of a sync; everything without it.
    pub selection: Option<String>,
}

/// Which schemas.
#[derive(Clone, Debug, Default)]
pub struct SchemasRequest {
    /// With the fields that snapshots and deltas add.
    pub delta: bool,
    /// `json` without it.
    pub format: Option<String>,
}

/// Documents, with `_ts`, `_table` and `_component`, and with `_deleted` where they come of deltas.
#[derive(Clone, Debug)]
pub struct SnapshotPage {
    /// JSON objects.
    pub values: Vec<String>,
    /// Of a snapshot: where the next page begins; `None` behind the last.
    pub cursor: Option<String>,
    /// Of a snapshot its moment, of deltas the moment up to which they are complete.
    pub timestamp: Timestamp,
    /// Whether there is more now.
    pub has_more: bool,
}

/// Which page of a sync.
#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    /// As the page before has given it; none begins.
    pub cursor: Option<String>,
    /// JSON; everything without it.
    pub selection: Option<String>,
}

/// A page of a sync: to be applied at once, together with its cursor.
#[derive(Clone, Debug)]
pub struct SyncPage {
    /// The same in every page.
    pub sync: String,
    /// The moment at which what was synced is exactly what there is; `None` while it is on its way.
    pub synced: Option<Timestamp>,
    /// To be done first.
    pub truncates: Vec<SyncTruncate>,
    /// In order.
    pub values: Vec<SyncedDocument>,
    /// Where the next page begins.
    pub cursor: String,
}

/// A table of which nothing that was synced holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncTruncate {
    /// Path of its component.
    pub component: String,
    /// The table's name.
    pub table: String,
}

/// A document to put in the place of that with the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedDocument {
    /// Path of its component.
    pub component: String,
    /// The table's name.
    pub table: String,
    /// The commit that wrote or deleted it.
    pub timestamp: Timestamp,
    /// Then only its id is in the value.
    pub deleted: bool,
    /// A JSON object, as `export_json` writes it.
    pub value: String,
}

/// Some of those who sync.
#[derive(Clone, Debug)]
pub struct ActiveSyncs {
    /// Newest first.
    pub syncs: Vec<ActiveSync>,
    /// `None` behind the last.
    pub cursor: Option<String>,
}

/// Somebody who syncs.
#[derive(Clone, Debug)]
pub struct ActiveSync {
    /// The same in every page.
    pub sync: String,
    /// When a page was asked for last; milliseconds since the Unix epoch.
    pub updated_ms: u64,
    /// JSON: how far it is.
    pub status: String,
}
