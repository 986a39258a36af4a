//! Exports and imports: a deployment's data as files that people keep, and back.
//!
//! [`contract::Archives`] says what is promised. An export is a ZIP archive of one moment, with the layout that the original's exports have.
//! An import is such an archive, or the rows of one table. What is under way are rows of the deployment (`transaction::ExportRow`,
//! `transaction::ImportRow`), and so is how far it is: any process can go on with it.
//!
//! ```text
//!   requests → service, upload    what is wanted becomes a row
//!   jobs                          finds rows on which nobody works, claims them, and shows that it is there
//!     ├ export                    one moment → archive
//!     ├ import::plan              the whole upload is read, nothing is written: what it would do
//!     └ import::load, swap        documents into hidden tables; one commit puts these in their places
//! ```
//!
//! Records that other systems stream in (`streamed`) are written at once, and need no row.
//!
//! Archives are read and written by blocking code, on threads for that; what one holds in memory is bounded, however much data there is.
//!
//! This crate knows nothing of HTTP, JavaScript, or how the log stores things.

mod components;
mod export;
mod import;
mod job;
mod jobs;
mod limits;
mod service;
mod streamed;
mod upload;

pub use crate::limits::ArchiveLimits;
pub use service::{Dependencies, Handle, Options, Service};
