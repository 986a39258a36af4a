//! Text and vector indexes, kept from the commit stream and answered as of a moment.
//!
//! A deployment's indexes are rows of its catalog. A task for each deployment follows its commits, reads what they have written, and puts it
//! into the indexes concerned ([`contract::Search`] says what is promised). A new index is filled by reading its table, page by page, each page at the
//! moment up to which the commits were heard; so is one after a gap, when what is there already need only be compared. What has
//! become large is written into files beside, and files into larger ones.
//!
//! Everything is derived: an index that is damaged or lost is made anew from the documents.
//!
//! Inside, `text` and `vectors` are the indexes, without a clock, tasks or the log; `kept` is one index with how far it has been filled, `deployment`
//! connects a deployment's indexes to the stream. This crate knows nothing of JavaScript, HTTP or how the log stores things.

mod deployment;
mod error;
mod files;
mod kept;
mod limits;
mod metrics;
mod service;
mod text;
mod vectors;

pub use crate::limits::SearchLimits;
pub use metrics::MetricsSnapshot;
pub use service::{Dependencies, Handle, Options, Service};
