//! The files of applications: documents of `_storage`, and the objects that hold their bytes.
//!
//! Its contract, with the life of a file, is [`contract::Files`]. The documents and the notes about objects are rows of the
//! deployment, and so is whatever a crash interrupts: a sweep finds it there, without looking through the store.
//!
//! This crate knows nothing of HTTP, JavaScript, or how objects are stored.

mod limits;
mod metrics;
mod service;
mod sweep;
mod upload;

pub use crate::limits::FileLimits;
pub use metrics::MetricsSnapshot;
pub use service::{Dependencies, Handle, Options, Service};
