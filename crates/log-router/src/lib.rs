//! One transaction log for a process, made of the replicas of each group, in whichever process or zone they are.
//!
//! ```text
//!                     ┌─ commit, speculative read, lookup, confirm, backfill, hold ──► the leader
//!   caller ── Router ─┤
//!                     └─ read, stream of commits ──► the nearest replica, or the next one where that fails
//! ```
//!
//! Who leads is known by the positions of all replicas, and by what those say that don't. A call for the leader goes where they point,
//! and waits for an election as long as it may. A commit is sent again only where it is certain that it had no effect: an unknown
//! outcome stays one, and its caller looks it up.
//!
//! A stream that breaks, or in which nothing is heard, goes on at another replica from the moment it had reached: all give the same
//! commits.

mod following;
mod group;
mod leading;
mod limits;
mod near;
mod position;
mod rest;
mod router;

pub use crate::limits::RouterLimits;
pub use near::NearSequencer;
pub use router::{Here, Replica, Router};
