//! What requests to other servers may use. How long one may take and how large its answer may be is said by whoever sends it.

use limits::{KIB, group};

group! {
    egress:
    /// Requests that leave the server.
    pub struct EgressLimits {
        /// Redirects that are followed, as browsers do.
        redirects_max: usize = 20,
        /// Time for a connection, TLS included.
        connect_ms_max: u64 = 10_000,
        /// Idle connections that are kept to one server.
        idle_connections_max: usize = 32,
        /// How long an idle connection is kept: servers close theirs after a minute or more.
        idle_ms_max: u64 = 50_000,
        /// Headers of one answer over HTTP/2; over HTTP/1 there may be a hundred.
        head_bytes_max: u32 = 64 * KIB as u32,
    }
}
