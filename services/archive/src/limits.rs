//! How large imports are, and how long what is left of them and of exports is kept.

use limits::{MIB, group};

group! {
    archive:
    /// Exports and imports.
    pub struct ArchiveLimits {
        /// Exports and imports that one process works on at the same time: each takes most of a core.
        jobs_max: usize = 2,
        /// How much of them one of several deployments may have, in percent. One that is alone may have all.
        deployment_share_percent: usize = 75,
        /// Parts of one upload (400 `InvalidImport`): the tools that upload make larger parts rather than more of them.
        parts_max: u32 = 10_000,
        /// Bytes of one part (400 `ImportTooLarge`).
        part_bytes_max: u64 = 1 << 30,
        /// Bytes of an import that is one JSON array, which is read at once.
        array_bytes_max: usize = 8 * MIB,
        /// Bytes of the text of one document: escaped, or in base 64, it is several times as long as the document.
        line_bytes_max: usize = 16 * MIB,
        /// Files in an archive that is imported or exported: the list of them is held in memory, some hundred bytes for each.
        entries_max: usize = 200_000,
        /// Bytes of that list in the archive.
        directory_bytes_max: usize = 64 * MIB,
        /// How many times the bytes of an archive what is unpacked of it may have.
        unpacked_factor_max: u64 = 100,
        /// So many bytes may be unpacked however small the archive is.
        unpacked_bytes_min: u64 = 1 << 30,
        /// Files for `_storage` that one import brings: they appear by one commit.
        files_max: usize = 50_000,
        /// Files that one import replaces: they go by the same commit, of which each is about a KiB.
        replaced_files_max: usize = 50_000,
        /// Tables in an imported archive, those of its components included: the last commit of an import writes each.
        tables_max: usize = 2_000,
        /// Ids of documents to be appended that are held in memory at once, to find those that come twice: of more than so many a
        /// part after another, with a reading of the upload for each.
        ids_held_max: usize = 1 << 20,
        /// Fields of the primary key of a stream of records.
        key_fields_max: usize = 16,
        /// Documents that one commit of an import writes.
        batch_documents_max: usize = 1_000,
        /// Bytes of them; one document may have more.
        batch_bytes_max: usize = 2 * MIB,
        /// How often it is shown that somebody works on an export or import.
        beat_ms: u64 = 2_000,
        /// Without that sign for so long, another process goes on with it.
        lease_ms: u64 = 10_000,
        /// How long an import waits, without a place among `jobs_max`, until what it brings is in the indexes for searches.
        search_wait_ms_max: u64 = 2 * 3_600_000,
        /// The pause before it is looked again for what is to be done, and before what failed is tried again.
        look_ms: u64 = 1_000,
        /// How often an export or import may fail for no fault of its own, or end the process that works on it; an import, without
        /// writing anything in between.
        attempts_max: u32 = 5,
        /// An upload that is not complete after so long is given up.
        upload_ms_max: u64 = 24 * 3_600_000,
        /// An import that nobody confirms for so long is given up.
        confirmation_ms_max: u64 = 7 * 24 * 3_600_000,
        /// How long an export can be fetched, unless somebody says otherwise.
        export_kept_ms: u64 = 14 * 24 * 3_600_000,
        /// How long it is remembered what became of an export or import.
        history_ms: u64 = 30 * 24 * 3_600_000,
        /// Documents or objects of what is no longer used that one step removes.
        removed_max: usize = 500,
    }
}
