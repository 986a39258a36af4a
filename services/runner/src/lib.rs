//! Function runners: they execute queries and mutations in isolates, each against one moment of the database, and actions,
//! which call these and other servers.
//!
//! [`Handle`] implements [`contract::Runner`]. What it does lies in two layers:
//!
//! ```text
//!   actions         waiting for the world; each step is a call of its own on a thread
//!   transaction     queries and mutations: a moment, a run, a commit; the host of functions in a transaction
//!     └ calls       stepping functions in isolates on threads, whatever their host is
//! ```
//!
//! A query or mutation is admitted to a thread for JavaScript once for the whole tree of functions that it calls. Beside the
//! layers stand the deployed code (`images`, `functions`, `source_map`), pushes (`evaluate`) and the function log.
//!
//! What is for Node.js runs in processes of its own ([`nodejs`]), which `node` has ready.
//!
//! This crate knows nothing of HTTP servers, WebSockets or how the log stores things.

mod actions;
mod calls;
mod clock;
mod evaluate;
mod function_log;
mod functions;
mod images;
mod limits;
mod metrics;
mod node;
mod options;
mod service;
mod source_map;
mod transaction;
mod turns;

pub use crate::limits::{ActionLimits, FunctionLimits, FunctionLogLimits, Limits};
pub use clock::Clock;
pub use metrics::{MetricsSnapshot, TABLES_MAX as CONFLICT_TABLES_MAX};
pub use options::Options;
pub use service::{Dependencies, Handle, Service};
