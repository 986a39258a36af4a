//! What calls between processes may use.

use limits::{KIB, MIB, group};

group! {
    rpc:
    /// Calls between processes.
    pub struct RpcLimits {
        /// One gRPC message.
        message_bytes_max: usize = 4 * MIB,
        /// Content of one piece of a call: well below the message limit, large enough that few calls need two.
        piece_bytes_max: usize = 256 * KIB,
        /// Calls of one stream that are worked on at once; over it callers wait.
        calls_in_flight_max: usize = 1_024,
        /// Bytes of one stream's calls that arrive (`CallsTooLarge`), that are worked on, and that wait to be sent: each of
        /// the three, for calls and for answers. So it is also the largest call (`CallTooLarge`).
        calls_bytes_max: usize = 64 * MIB,
        /// How long a call may take, from the caller's side and from that of whoever answers it (`CallTimedOut`).
        call_ms_max: u64 = 10_000,
        /// How long it may take to connect to another node.
        connect_ms_max: u64 = 2_000,
        /// How often a connection is asked whether the other side is still there.
        keep_alive_ms: u64 = 2_000,
        /// How long the answer to that may take; then the connection is closed, and all that waits on it learns so.
        keep_alive_answer_ms_max: u64 = 2_000,
        /// Index keys in read sets are cut outward to this length: a superset of what was read is safe.
        interval_key_bytes_max: usize = 512,
        /// The pause before a broken watch of a position is opened again.
        watch_retry_ms: u64 = 200,
    }
}
