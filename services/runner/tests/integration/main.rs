//! The runner with the real log, isolates and blob store.

mod actions;
mod concurrency;
mod conformance;
mod environment;
mod errors;
mod evaluation;
mod files;
mod function_log;
mod functions;
mod harness;
mod hostile;
mod http_actions;
#[path = "../../../../crates/rpc/tests/support/loopback.rs"]
mod loopback;
mod nested;
mod node;
mod schedules;
mod sessions;
mod turns;
mod web_server;
