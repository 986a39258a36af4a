//! Queries and mutations: functions that run in a transaction.
//!
//! ```text
//!   query, mutation     the moment to read at; commits, conflicts and lost answers (by `transaction::Commits`)
//!     ├ due           of what was scheduled: each entry of the queue runs once
//!     ├ session         of a client's mutations: each request takes effect once
//!     ├ inline          queries whose code comes with the call
//!     └ run             one run at one moment: component, image, function log
//!         └ host        the transaction as guests see it; calls of functions within it
//!             └ syscalls, files, schedules   the operations of the function library
//! ```

mod due;
mod files;
mod host;
mod inline;
mod mutation;
mod query;
mod run;
mod schedules;
mod search;
mod session;
mod snapshot;
mod syscalls;

pub(crate) use files::{file, file_operation};
pub(crate) use mutation::kept_of_error;
pub(crate) use run::{Fate, Run, code_of, component_at};
pub(crate) use schedules::{Scheduling, cancel, schedule};
pub(crate) use search::{Searches, Unanswered};
pub(crate) use snapshot::Snapshot;
pub(crate) use syscalls::{
    Address, Attempt, Failure, Target, answered, caught, find, handle_of, identity_json, not_yet, parse,
    request_json, target,
};
