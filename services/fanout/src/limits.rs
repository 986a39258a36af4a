//! What live queries may use.

use limits::{MIB, group};

group! {
    fanout:
    /// Subscriptions and the commit stream that they follow.
    pub struct FanoutLimits {
        /// Shortest time between two tides under load; a quiet instance moves at once.
        tide_ms_min: u64 = 5,
        /// How long an added query waits until the newest timestamp is known, and then until the commit stream has come to it and
        /// to what its session has seen (close code 1013).
        timestamp_wait_ms_max: u64 = 5_000,
        /// Transitions of a session that may be unsent; a slower session skips tides.
        transitions_unsent_max: usize = 2,
        /// Queries of one session (`TooManyQueries`).
        session_queries_max: usize = 10_000,
        /// Sessions of one instance (close code 1013).
        sessions_max: usize = 100_000,
        /// Queries that one instance gives to the runners at the same time; 0: four times as many as there are cores.
        /// More than can run, so that the isolates' threads find the next one without being woken for it; few enough that
        /// a mutation is not long behind them.
        runs_in_flight_max: usize = 0,
        /// How much of the sessions, of the runs at the same time and of the memory for results one of several deployments
        /// may have, in percent: what it fills stalls no other. One that is alone may have all.
        deployment_share_percent: usize = 75,
        /// Commands of one session that wait to be taken; then its client's socket is not read.
        session_commands_max: usize = 64,
        /// Sessions of one deployment that may wait to begin (`SubscriptionsWorkerFullError`).
        openings_waiting_max: usize = 1_024,
        /// Events of one commit stream that may wait before the log's own buffer fills.
        stream_events_waiting_max: usize = 256,
        /// Bytes of all live queries of one instance, with their arguments, and of their results; beyond it no query can be added
        /// (`SubscriptionsWorkerFullError`).
        result_bytes_max: usize = 1_024 * MIB,
        /// Bytes of what the newest commits touched: a run that began before them can't be shown to hold.
        recent_commit_bytes_max: usize = 16 * MIB,
        /// A deployment without sessions is followed no longer after this time; its cached results go.
        deployment_idle_ms_max: u64 = 60_000,
        /// Results of one instance without a listener are kept within so many bytes, in equal parts for its deployments;
        /// least recently used ones go first.
        unlistened_bytes_max: usize = 100 * MIB,
        /// Without a sign of the commit stream for this long, nothing new is served and the stream is asked for again.
        stream_silence_ms_max: u64 = 5_000,
        /// The pause before a commit stream that broke is followed again.
        stream_retry_ms: u64 = 250,
        /// Events of each kind that are taken at once, so that one tide serves them all.
        events_taken_max: usize = 512,
        /// First pause before a query that failed for no fault of its own is run again; each is twice as long as the one
        /// before. Mostly the isolates were busy for a moment, and somebody waits for the answer.
        query_retry_ms_min: u64 = 20,
        /// Longest such pause.
        query_retry_ms_max: u64 = 5_000,
        /// A query that could not be run for this long ends its sessions (close code 1013).
        query_give_up_ms_max: u64 = 30_000,
    }
}
