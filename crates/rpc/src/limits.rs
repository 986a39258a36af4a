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
        /// The same for calls of queries and mutations, which wait for a thread, run, and may run again: longer than a client waits.
        function_call_ms_max: u64 = 90_000,
        /// How long new calls go over the same stream; then they go over another, so that a connection that is old can end when its
        /// last call is answered.
        line_ms_max: u64 = 300_000,
        /// Calls of queries and mutations of one stream that are worked on at once.
        function_calls_in_flight_max: usize = 8_192,
        /// How long an action may take, or whoever waits for the function log: longer than an action is allowed to run.
        long_call_ms_max: u64 = 1_900_000,
        /// Actions of one stream that are under way at once.
        long_calls_in_flight_max: usize = 8_192,
        /// Bytes of such a stream, as `calls_bytes_max`: a page of the function log is large.
        long_calls_bytes_max: usize = 128 * MIB,
        /// How long it may take to evaluate what is pushed, or to make a step of a push.
        push_ms_max: u64 = 360_000,
        /// Steps of pushes of one stream that are under way at once.
        pushes_in_flight_max: usize = 64,
        /// Bytes of such a stream, as `calls_bytes_max`: all modules of an app are one call.
        pushes_bytes_max: usize = 320 * MIB,
        /// How long the end of an upload may take, from the last byte to the answer: a store joins its parts.
        upload_end_ms_max: u64 = 300_000,
        /// Commands of one session of live queries that wait to be sent; then its client's socket is not read.
        session_commands_max: usize = 16,
        /// What one stream of a connection may send ahead of its reader.
        stream_window_bytes: usize = 4 * MIB,
        /// What all streams of a connection may send ahead of their readers.
        connection_window_bytes: usize = 16 * MIB,
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

impl RpcLimits {
    /// For streams of calls of queries and mutations.
    pub(crate) fn of_functions(self) -> RpcLimits {
        RpcLimits {
            call_ms_max: self.function_call_ms_max,
            calls_in_flight_max: self.function_calls_in_flight_max,
            ..self
        }
    }

    /// For streams of calls that may take as long as an action.
    pub(crate) fn of_long_calls(self) -> RpcLimits {
        RpcLimits {
            call_ms_max: self.long_call_ms_max,
            calls_in_flight_max: self.long_calls_in_flight_max,
            calls_bytes_max: self.long_calls_bytes_max,
            ..self
        }
    }

    /// For streams of calls that bring code.
    pub(crate) fn of_pushes(self) -> RpcLimits {
        RpcLimits {
            call_ms_max: self.push_ms_max,
            calls_in_flight_max: self.pushes_in_flight_max,
            calls_bytes_max: self.pushes_bytes_max,
            ..self
        }
    }
}
