use crate::MIB;

group! {
    sync:
    /// The WebSocket sync protocol.
    pub struct SyncLimits {
        /// One message from a client: arguments of one call and their envelope (close code 1009).
        message_bytes_max: usize = 17 * MIB,
        /// A Transition with more bytes is sent in chunks to clients that know them.
        transition_chunk_bytes_max: usize = 5_000_000,
        /// Mutations of one session that may wait for their turn (`TooManyConcurrentMutations`).
        pending_mutations_max: usize = 1_000,
        /// Outcomes of mutations that wait to be written; the next mutation starts only when there is room.
        outcomes_waiting_max: usize = 4,
        /// Wall time of one mutation, retries included, before the client is told that it failed.
        mutation_ms_max: u64 = 60_000,
        /// WebSocket pings: a pong counts as life.
        ping_interval_ms: u64 = 5_000,
        /// A client that sent nothing for so long is gone.
        client_silence_ms_max: u64 = 120_000,
        /// A sync `Ping` is sent when nothing else was for so long: clients reconnect after 30 or 60 s of silence.
        heartbeat_ms: u64 = 15_000,
        /// Time until the first message, `Connect`.
        connect_ms_max: u64 = 30_000,
        /// How long a client that was refused by `AuthError` or `FatalError` may take to close by itself, which spares
        /// it a pause before it comes back.
        refused_linger_ms_max: u64 = 5_000,
        /// Bytes of a close reason, as the WebSocket standard has it.
        close_reason_bytes_max: usize = 123,
        /// Connections of one process (503).
        connections_max: usize = 50_000,
    }
}
