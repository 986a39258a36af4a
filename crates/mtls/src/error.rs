//! Why certificates can't be used.

use std::path::PathBuf;

use crate::identity::InvalidIdentity;

/// Why a process can't have the connections that it is configured with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read, or does not hold what it should.
    #[error("TlsFileUnusable: {}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files are readable and don't go together.
    #[error("TlsFileUnusable: the certificate and the key can't be used together: {0}")]
    Pair(#[from] rustls::Error),
    /// The certificate does not name a process of a cluster.
    #[error("TlsIdentityInvalid: {0}")]
    Identity(#[from] InvalidIdentity),
    /// It names another one than it should.
    #[error("TlsIdentityWrong: the certificate is of {found}, and {wanted} is wanted")]
    WrongIdentity {
        /// The name in the certificate.
        found: String,
        /// What it should name.
        wanted: String,
    },
    /// An address that can't be called.
    #[error("{address} can't be called: {reason}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address that others reach, without certificates.
    #[error(
        "TlsRequired: {what} {address} is not of this machine, and there are no certificates: other nodes are only called by \
         mutual TLS, see [tls]"
    )]
    Required {
        /// Whose address it is.
        what: &'static str,
        /// The address.
        address: String,
    },
}
