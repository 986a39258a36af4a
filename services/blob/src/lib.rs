//! Content-addressed blobs on a local disk: bundles, source maps.
//!
//! A blob is a file named by the SHA-256 of its bytes, `ab/abcd…`, below one folder. It appears there whole or not at all:
//! it is written under `incoming/`, synced, renamed, and the folder that holds the name is synced too, before
//! [`put`](contract::BlobStore::put) returns. Reading checks the digest, so that a damaged file is an error and never an
//! answer.
//!
//! This crate knows nothing of what the blobs mean and never deletes one.

mod service;
mod store;

pub use service::{Handle, Options, Service};
pub use store::Error;
