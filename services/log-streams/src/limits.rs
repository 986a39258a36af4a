//! What log streams may take.

use limits::{KIB, MIB, group};

group! {
    log_streams:
    /// Events on their way to the services that a deployment's owner names.
    pub struct LogStreamLimits {
        /// Events that wait for one stream; more are dropped, which is counted.
        events_queued_max: usize = 4_096,
        /// Bytes of the events that wait for one stream or are being sent; more are dropped, which is counted.
        events_queued_bytes_max: usize = 16 * MIB,
        /// What a function threw, its stack, or a line that it printed; what is longer is cut, with a mark.
        text_bytes_max: usize = 32 * KIB,
        /// Events of one request: what receivers are known to take.
        batch_events_max: usize = 128,
        /// Bytes of the events of one request, one event excepted.
        batch_bytes_max: usize = MIB,
        /// How long an event may wait for others to go with it.
        flush_ms_max: u64 = 5_000,
        /// How long a receiver may take to answer.
        answer_ms_max: u64 = 30_000,
        /// How often one request is sent before its events are dropped.
        attempts_max: usize = 6,
        /// The pause after the first attempt; it doubles from one to the next.
        pause_ms_min: u64 = 1_000,
        /// The longest pause between attempts.
        pause_ms_max: u64 = 60_000,
        /// How often a process looks whether a deployment's streams have changed.
        look_ms: u64 = 2_000,
        /// A configuration, as it is sent (`InvalidLogStream`).
        configuration_bytes_max: usize = 16_384,
        /// Entries of the audit log in one answer.
        audit_page_max: usize = 100,
        /// How long entries of the audit log are kept.
        audit_age_ms_max: u64 = 90 * 86_400_000,
    }
}
