//! The directory: which deployments there are, where their data is, what opens them, and how much they may have.
//!
//! Its contract is [`contract::Directory`]. All of it are documents of one deployment, that of group 0, written by ordinary
//! transactions. Every node runs this service: it reads the documents once and then follows their commits, so that whatever
//! serves asks memory ([`contract::Deployments`]), also while group 0 has no leader. Secrets are sealed with the cluster's
//! ([`Options::secret`]) before they are written.
//!
//! What a deleted deployment has is deleted by the node that leads its group, document by document.
//!
//! This crate knows nothing of HTTP, JavaScript, or how the log stores things.

mod changes;
mod clock;
mod follow;
mod known;
mod limits;
mod names;
mod removal;
mod secrets;
mod service;
mod urls;

pub use clock::Clock;
pub use limits::DirectoryLimits;
pub use secrets::operator_key;
pub use service::{DefaultDeployment, Dependencies, Handle, Options, Service};
pub use urls::{HostRule, UrlPatterns};
