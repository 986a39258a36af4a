//! What copies of documents may take, and how long what has changed is remembered for them.

use limits::{MIB, group};

group! {
    data_sync:
    /// Snapshots, deltas and syncs.
    pub struct DataSyncLimits {
        /// Documents of one page. The changes of one commit are never parted, so that a page can be longer by one commit.
        page_documents_max: usize = 1_024,
        /// Bytes of the documents of one page, as they are stored; longer by one commit, too.
        page_bytes_max: usize = 4 * MIB,
        /// Notes of changes that one page passes, most of which may be about other tables.
        page_commits_max: usize = 16_384,
        /// Notes of changes that are older are forgotten (`InvalidWindowToReadDocuments`, `SnapshotTooOld`,
        /// `DataSyncCursorExpired`). A deployment of whose changes nobody asks for so long notes none any more.
        history_ms_max: u64 = 30 * 86_400_000,
        /// Bytes of the notes of a deployment; the oldest go first, with the same codes.
        history_bytes_max: usize = 1_024 * MIB,
        /// A sync of which no page was asked for so long has ended (`DataSyncCursorExpired`).
        sync_idle_ms_max: u64 = 3 * 86_400_000,
        /// How often it is looked what is to be forgotten.
        sweep_ms: u64 = 600_000,
        /// Notes that are deleted by one commit.
        forgotten_commits_max: usize = 4_096,
        /// Syncs that one answer lists.
        listed_syncs_max: usize = 100,
    }
}
