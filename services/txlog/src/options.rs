//! What the service is started with.

use std::path::PathBuf;

use contract::{DeploymentId, DeploymentRef, GroupId};
use limits::LogLimits;

use crate::{clock::Clock, fatal::FatalHandler, state_store::StateStoreOptions};

/// The configuration of a node's transaction log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the log and the store lie, each in a folder of its own.
    pub folder: PathBuf,
    /// This node's identity in Raft. A node that lost its disk must come back under a new one.
    pub node: u64,
    /// What there is, until a directory of its own keeps it.
    pub deployments: Vec<Deployment>,
    pub limits: LogLimits,
    pub store: StoreOptions,
    pub clock: Clock,
    /// What ends the process when the disk fails.
    pub fatal: FatalHandler,
}

/// A deployment's name, for people and keys, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub name: String,
    pub at: DeploymentRef,
}

#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Memory for what was read from the disk.
    pub block_cache_bytes: usize,
    /// Memory of one part of the newest writes; up to four parts wait to be written to files.
    pub write_buffer_bytes: usize,
    /// The store is flushed after this many bytes of changes, so that a restart replays a bounded part of the log.
    pub flush_bytes: u64,
    /// And at least this often while there are changes.
    pub flush_age_ms: u64,
    /// Entries of the log that are kept behind a flush, for replicas that are a little behind.
    pub log_entries_kept: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            block_cache_bytes: 256 << 20,
            write_buffer_bytes: 64 << 20,
            flush_bytes: 64 << 20,
            flush_age_ms: 60_000,
            log_entries_kept: 1_000,
        }
    }
}

impl StoreOptions {
    pub(crate) fn state_store(&self) -> StateStoreOptions {
        StateStoreOptions {
            block_cache_bytes: self.block_cache_bytes,
            write_buffer_bytes: self.write_buffer_bytes,
        }
    }
}

impl Options {
    /// One data group with one deployment, `dev`. Group 0 is left to the directory.
    pub fn embedded(folder: impl Into<PathBuf>) -> Options {
        let at = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
        Options {
            folder: folder.into(),
            node: 1,
            deployments: vec![Deployment { name: "dev".into(), at }],
            limits: LogLimits::DEFAULT,
            store: StoreOptions::default(),
            clock: Clock::system(),
            fatal: FatalHandler::exit(),
        }
    }
}
