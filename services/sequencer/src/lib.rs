//! The newest published timestamp, confirmed by the leader.
//!
//! [`Batched`] answers many calls by one confirmation of a quorum. It has no state of its own: timestamps are given by the
//! leader of the log, whose process it lives in.

mod batched;

pub use batched::Batched;
