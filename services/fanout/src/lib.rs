//! Live queries: keeps the queries of client sessions up to date.
//!
//! A session lives whole on one instance of this service. The instance follows the commit stream of each deployment
//! that it has sessions of, and moves them in *tides*, rounds that begin together: at a moment T, the newest published one, all sessions that are
//! due (a result no longer holds, a query was added, the identity changed, a write of their own is to be seen) start a
//! round. Every query whose result does not hold at T is run at exactly T, once for all sessions that ask the same;
//! when a session's queries have all answered, it is sent one [`contract::SessionRound`] to T. So each view is of one
//! moment. A session has one round at a time and few unsent ones; a slow session skips tides and holds up nobody.
//!
//! [`Service`] is started with [`Options`] and [`Dependencies`]; others call its [`Handle`]. Inside, `tides` decides
//! everything and is plain data, so that a simulation can hold it against a model; `deployment` connects it to the commit
//! stream, the runners and the sessions.
//!
//! Deployments share the places for sessions and runs and the memory for results; where there are several, none can have
//! all of them.
//!
//! This crate knows nothing of sockets, tokens or JavaScript, and reads no document itself.

mod call;
mod deployment;
mod feed;
mod limits;
mod memory;
mod metrics;
mod newest;
mod outcome;
#[cfg(test)]
#[path = "../tests/queries/mod.rs"]
mod queries;
mod run;
#[cfg(test)]
mod scenarios;
mod service;
mod session;
#[cfg(test)]
mod simulation;
mod tides;
#[cfg(test)]
mod transcripts;

pub use crate::limits::FanoutLimits;
pub use metrics::{Metrics, MetricsSnapshot};
pub use service::{Dependencies, Handle, Options, Service};
