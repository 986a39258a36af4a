//! Traces of requests, from the edge to the disk and back.
//!
//! Spans are those of crate `tracing`, as they mark log lines. Whether a request is traced is decided once, where it comes in
//! ([`sample`]); a request that is not makes no span that only traces need, and sends nothing. Between processes the context goes as the W3C
//! has it, in the headers `traceparent` and `tracestate` ([`inject`], [`extract`]); metadata of gRPC are such headers.
//!
//! Nothing is traced before [`start`] was given what records spans. Where they are sent is its affair.

mod context;
mod filter;
mod sampling;
mod state;

pub use context::{Traced, extract, from_traceparent, inject, sample, traceparent};
pub use state::{began, is_on, is_traced, record, start};

/// The target of the spans with which a trace begins in a process.
pub const TARGET: &str = "telemetry";
