//! What the scheduler may use.

use limits::{KIB, group};

group! {
    schedule:
    /// Scheduled functions.
    pub struct ScheduleLimits {
        /// Scheduled functions that one process runs at the same time. More than there are cores, because a run mostly waits for
        /// its commit, and commits that wait together share an fsync.
        runs_max: usize = 64,
        /// How much of them one of several deployments may have, in percent. One that is alone may have all.
        deployment_share_percent: usize = 75,
        /// Entries of a deployment's queue that are known ahead, the next ones first; some 100 bytes each. However many there are
        /// behind them, these are all that is looked at.
        entries_known_max: usize = 4_096,
        /// First pause before a function is run again that kept losing races against others; each is twice as long as the one
        /// before.
        conflict_pause_ms_min: u64 = 100,
        /// Longest such pause, and longest before a function is run again for which there was no place.
        conflict_pause_ms_max: u64 = 60_000,
        /// First pause before a function is run again that could not be run for no fault of its own; each is twice as long as the
        /// one before.
        failure_pause_ms_min: u64 = 500,
        /// Longest such pause.
        failure_pause_ms_max: u64 = 7_200_000,
        /// The pause before the log is asked again that did not serve.
        log_pause_ms: u64 = 250,
        /// Without a sign of the commit stream for this long it is asked for again.
        stream_silence_ms_max: u64 = 5_000,
        /// How long results of scheduled functions are kept.
        result_age_ms: u64 = 7 * 24 * 3_600_000,
        /// How often results that were kept for longer are removed.
        result_sweep_ms: u64 = 60_000,
        /// Such results that one transaction removes.
        results_removed_max: usize = 1_000,
        /// Jobs that one transaction cancels, of many that an administrator cancels together.
        jobs_cancelled_max: usize = 1_000,
    }
}

/// Bytes of entries that are read at once. An entry is small.
pub(crate) const READ_BYTES_MAX: usize = 512 * KIB;
