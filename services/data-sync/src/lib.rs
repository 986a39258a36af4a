//! Copies of a deployment's documents for others: snapshots, what has changed since, and syncs that are both.
//!
//! [`contract::DataSync`] says what is promised. The service keeps nothing of its readers but who syncs: what a reader has come to stands in
//! its cursor, and what has changed since in notes that the commits themselves have made ([`transaction::read_changes`]).
//!
//! This crate knows nothing of HTTP, JavaScript, or how the log stores things.

mod deltas;
mod documents;
mod history;
mod limits;
mod page;
mod schemas;
mod selection;
mod service;
mod snapshot;
mod sync;
mod syncs;
mod upkeep;

pub use crate::limits::DataSyncLimits;
pub use service::{Dependencies, Handle, Options, Service};
