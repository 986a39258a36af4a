//! How large files are, and how long what belongs to none is kept.

use limits::group;

group! {
    files:
    /// Files of applications.
    pub struct FileLimits {
        /// Bytes of one file (413 `FileTooLarge`): what an S3-compatible store takes in 10,000 parts of 8 MiB, less a margin.
        file_bytes_max: u64 = 64 << 30,
        /// How long an upload URL holds (401 `StorageTokenExpired`); an upload that has begun by then goes on.
        url_age_ms_max: u64 = 3_600_000,
        /// The media type of a file, which is sent back as a header (400 `InvalidContentType`).
        content_type_bytes_max: usize = 1_024,
        /// How long bytes are kept that no file has: of a file that was deleted, or of an upload that something cut off. Whoever
        /// is reading a file when it is deleted has so long to come to its end, an export above all.
        grace_ms: u64 = 7 * 3_600_000,
        /// How often such bytes are looked for.
        sweep_ms: u64 = 60_000,
        /// Objects that one step of a sweep deletes.
        swept_max: usize = 256,
        /// Of them at once.
        sweeps_in_flight_max: usize = 8,
    }
}
