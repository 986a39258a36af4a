//! Bytes that are too large for documents: blobs, which are named by their digest (bundles, source maps), and objects, which
//! are named by whoever makes them (the bytes of files).
//!
//! They lie in a folder of a local disk or in a bucket of an S3-compatible store, under the same names. Each appears whole or
//! not at all. In a folder it is written under `incoming/`, synced, renamed, and the folder that holds the name is synced
//! too. Reading a blob checks its digest, so that a damaged one is an error and never an answer.
//!
//! This crate knows nothing of what the bytes mean, and deletes only what it is told to.

mod bucket;
mod error;
mod folder;
mod metrics;
mod names;
mod service;
mod transfer;

pub use bucket::BucketOptions;
pub use error::Error;
pub use service::{Handle, Options, Service};
