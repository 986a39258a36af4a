//! A read-timestamp oracle: it answers what is the newest published timestamp, confirmed as Raft's ReadIndex is. It assigns
//! none: that does the log's leader, for each commit that it validates.
//!
//! Only reads that must see every acknowledged commit ask it. [`Service`] answers many of them by one confirmation of a
//! quorum, and has no state of its own.

mod batched;
mod service;

pub use service::{Dependencies, Handle, Service};
