group! {
    retry:
    /// How long a mutation that conflicts is run again before the caller hears of it
    /// (`OptimisticConcurrencyControlFailure`), and a request that comes again is answered as before.
    pub struct RetryLimits {
        /// Time from the first attempt; no attempt starts after it.
        conflict_retry_ms_max: u64 = 5_000,
        /// Attempts, the first one included.
        conflict_attempts_max: u32 = 64,
        /// How long an outcome that is unknown after a change of leader is looked up before the caller is told so.
        lookup_ms_max: u64 = 30_000,
        /// Shortest pause between two questions to a log that has no ready leader.
        not_ready_backoff_ms_min: u64 = 10,
        /// Longest such pause.
        not_ready_backoff_ms_max: u64 = 1_000,
        /// How long the answer to a session's request is kept, for the client that makes the request again.
        session_record_age_ms: u64 = 14 * 24 * 3_600_000,
        /// How often answers that were kept for longer are removed.
        session_record_sweep_ms: u64 = 3_600_000,
        /// Such answers that one transaction removes.
        session_records_removed_max: usize = 1_000,
    }
}
