//! What connections may take.

use limits::{MIB, group};

group! {
    tls:
    /// Connections between processes, and certificates.
    pub struct TlsLimits {
        /// How long a handshake may take; then the connection is closed.
        handshake_ms_max: u64 = 5_000,
        /// Handshakes between processes that are under way at once. Further connections wait until they are accepted.
        handshakes_max: usize = 64,
        /// How often the files of certificates are looked at. (Kubernetes changes a link, which no watch of a file sees.)
        reload_ms: u64 = 5_000,
        /// One file with certificates or a key (`TlsFileUnusable`).
        file_bytes_max: usize = MIB,
        /// How old a connection between processes becomes until calls that begin go over another. Certificates are looked at when one
        /// begins.
        connection_age_ms_max: u64 = 3_600_000,
        /// How long what is under way may go on when a connection has that age: longer than the longest call. Streams that last for
        /// ever are cut then, and whoever reads them opens another. With the age, it is how long an authority that is trusted no more
        /// is still believed.
        connection_grace_ms_max: u64 = 7 * 3_600_000,
        /// How long calls of other nodes may go on when the process stops: all that they could ask for has ended before.
        shutdown_ms_max: u64 = 500,
    }
}
