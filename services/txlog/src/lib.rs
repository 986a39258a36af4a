//! The transaction log: validates, orders, replicates and stores commits, and serves reads of them.
//!
//! [`Service::start`] opens a folder with [`Options`]; [`Service::handle`] gives the [`Handle`] that others call, by the
//! contract [`contract::TransactionLog`].
//!
//! A commit passes through small state machines that know nothing of clocks, disks or networks: `commit_queue` composes
//! `validator` and `window` (may it be?), `batcher` (which entry does it go into?), `undecided` and `overlay` (who waits,
//! who reads it before it is published?), `holds` (what must stay readable?); `apply` and `backfill` say what an entry does to the store. Around them
//! `proposer`, `state_machine`, `raft_log` and `state_store` do what touches Raft and the disk, `network` and `raft_server`
//! what goes between the replicas of a group.
//!
//! This crate knows nothing of tables, schemas or functions, and of documents only what an index key takes.

mod ages;
mod apply;
mod backfill;
mod batcher;
mod channels;
mod clock;
mod commit_queue;
mod counts;
mod entry;
mod fatal;
mod folders;
mod formation;
mod gaps;
mod group;
mod handle;
mod holds;
mod incarnations;
mod keys;
mod leader;
mod level;
mod limits;
mod log_disk;
mod members;
mod metrics;
#[cfg(test)]
mod model_tests;
mod network;
mod options;
mod overlay;
mod planted;
mod proposer;
mod raft_codec;
mod raft_log;
mod raft_messages;
mod raft_server;
#[cfg(test)]
mod raft_storage_tests;
mod raft_types;
mod reads;
mod runtime;
mod service;
#[cfg(test)]
mod simulation;
mod snapshot;
mod state_machine;
mod state_store;
#[cfg(test)]
mod store_tests;
mod stream;
mod sweep;
mod undecided;
#[cfg(test)]
mod unrest_tests;
mod upkeep;
mod validator;
mod walk;
mod write_ahead;

pub use crate::limits::{LogLimits, StoreLimits};
pub use channels::{Channels, Purpose};
pub use clock::Clock;
pub use fatal::{EXIT_CODE_STORAGE_FAILED, FatalHandler};
pub use folders::OpenError;
pub use formation::Beginning;
pub use handle::{Handle, Measures};
pub use members::{GroupStatus, ReplicaStatus};
pub use metrics::{MetricsSnapshot, RaftSnapshot, ReplicaSnapshot};
pub use options::{Deployment, Options};
pub use raft_server::RaftService;
pub use service::{Service, StartError};
