//! Function runners: they execute queries and mutations in isolates, each against one moment of the database.
//!
//! [`Runner`] implements [`contract::Runner`]. A call goes through these parts:
//!
//! ```text
//!   query, mutation       the moment to read at; commits, conflicts and lost answers (by `transaction::Commits`)
//!     └ run               one run at one moment: transaction, session record, image, function log
//!         └ threads       a thread for JavaScript, admitted once for the whole tree of calls
//!             └ execution   the function and those that it calls, checked at each boundary
//!                 └ syscalls  what functions ask of their host
//! ```
//!
//! Records of session requests are removed by `session_records` when they are too old.
//!
//! This crate knows nothing of HTTP, WebSockets or how the log stores things.

mod arguments;
mod evaluate;
mod execution;
mod failure;
mod function_log;
mod functions;
mod images;
mod log_lines;
mod metrics;
mod mutation;
mod options;
mod query;
mod run;
mod service;
mod session_records;
mod slots;
mod source_map;
mod syscalls;
mod threads;

pub use metrics::MetricsSnapshot;
pub use options::RunnerOptions;
pub use service::{Runner, Services};
