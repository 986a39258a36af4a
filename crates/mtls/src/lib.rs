//! Connections between the processes of a cluster, by mutual TLS; and TLS at the edge.
//!
//! Each process has one certificate, with a name of the form `tidemark://<cluster>/<roles>/<node>`, from an authority that the
//! cluster keeps for itself. Both sides of a connection show theirs. Whoever is called looks at the name: [`AllowRoles`] stands
//! in front of each service and says which roles may call it. Whoever calls looks as well: a node that is asked for must be the
//! one that answers. Host names in certificates are of no account, so that addresses may change.
//!
//! ```text
//!   files ──► Credentials ──► connect: a channel to a node, which connects when it is used
//!     ▲            │      └─► serve: accepts, shakes hands, knows who calls ──► AllowRoles ──► a service
//!     └─ looked at every few seconds; each new connection takes what is there now
//! ```
//!
//! Without certificates there are only connections within this machine: [`Security::Loopback`] refuses all other addresses,
//! its own and those of others.
//!
//! [`EdgeTls`] is the certificate that clients see: server side only, with names of hosts, as browsers want it.
//!
//! This crate knows nothing of what any service does.

#![warn(missing_docs)]

mod allow;
mod connect;
mod connection;
mod credentials;
mod edge;
mod error;
mod identity;
mod limits;
mod serve;
mod validity;
mod watched;

pub use crate::limits::TlsLimits;
pub use allow::AllowRoles;
pub use connect::{Expected, connect, connect_to};
pub use connection::{Connection, Peer};
pub use credentials::{CredentialFiles, Credentials, Security};
pub use edge::{EdgeFiles, EdgeProtocol, EdgeTls};
pub use error::Error;
pub use identity::{Identity, InvalidIdentity, Role, Roles};
pub use serve::serve;
