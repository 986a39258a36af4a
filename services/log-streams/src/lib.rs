//! What happens in a deployment, told to the services that its owner names: webhooks, and what collects logs and exceptions.
//!
//! [`contract::LogStreams`] says what is promised. Which streams there are is rows of the deployment, what opens their receivers is
//! sealed in them. Each process tells what its own runner has run and what was changed through it; nothing is kept on a disk until it is
//! told, so that a process that ends takes with it what waits. Nothing is sent where no stream says so.
//!
//! This crate knows nothing of JavaScript, HTTP servers, or how the log stores things.

mod audit;
mod configuration;
mod delivery;
mod deployment;
mod events;
mod limits;
mod metrics;
mod queue;
mod rows;
mod seal;
mod service;
mod sinks;

pub use crate::limits::LogStreamLimits;
pub use metrics::MetricsSnapshot;
pub use service::{Dependencies, Handle, Options, Service};
