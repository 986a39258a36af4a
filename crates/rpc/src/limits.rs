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
        /// Pieces that wait to be sent; over it callers wait.
        pieces_queued_max: usize = 256,
        /// Calls of one stream that are worked on at once.
        calls_in_flight_max: usize = 1_024,
        /// Bytes of all calls of one stream that have begun to arrive and are not complete (`CallsTooLarge`).
        arriving_bytes_max: usize = 64 * MIB,
        /// Index keys in read sets are cut outward to this length: a superset of what was read is safe.
        interval_key_bytes_max: usize = 512,
        /// The pause before a broken watch of a position is opened again.
        watch_retry_ms: u64 = 200,
    }
}
