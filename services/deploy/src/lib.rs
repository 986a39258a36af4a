//! Pushes: from the bundles that the command line tool sends to the one commit that serves them.
//!
//! The service is [`contract::Deploy`]: `start` evaluates what came and stores it, `worker` prepares the new schema while
//! the old code serves, `finish` commits. What one request leaves for the next is `prepared`; it travels through the tool,
//! so that a push can be finished by another instance than the one that started it.
//!
//! This crate knows nothing of HTTP, nor of the shapes in which the tool wants its answers: those are the gateway's.

mod analysis;
mod crons;
mod definitions;
mod delete;
mod deployed;
mod evaluate;
mod finish;
mod imports;
mod limits;
mod node;
mod prepared;
mod schema_change;
mod search;
mod service;
mod start;
mod variables;
mod wait;
mod worker;

pub use crate::limits::{Limits, PushLimits};
pub use service::{Dependencies, Handle, Options, Service};
