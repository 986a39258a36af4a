//! The contract of the fan-out service: live queries.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{DeploymentRef, FunctionError, Identity, Result, Timestamp};

/// Keeps the queries of client sessions live.
///
/// Every round shows a session all its queries at one moment; moments never go back. Rounds come when results may have
/// changed, queries were added or removed, the identity changed, or a write of the session's own is to be seen.
#[async_trait]
pub trait Fanout: Send + Sync + 'static {
    async fn open(&self, start: SessionStart) -> Result<FanoutSession>;
}

#[derive(Clone, Debug)]
pub struct SessionStart {
    pub deployment: DeploymentRef,
    /// No round may be of an earlier moment: the newest that the client has seen.
    pub not_before: Timestamp,
    pub identity: Identity,
}

/// One session. It ends when `commands` is dropped; `rounds` then ends too.
pub struct FanoutSession {
    pub commands: mpsc::Sender<SessionCommand>,
    /// Bounded: a session that does not take its rounds gets fewer of them and holds up nobody. An error ends the
    /// session; its code becomes the reason for closing the socket.
    pub rounds: mpsc::Receiver<Result<SessionRound>>,
}

#[derive(Clone, Debug)]
pub enum SessionCommand {
    /// The round that holds these changes has at least `version` as its query set version.
    ModifyQueries { version: u32, modifications: Vec<QueryModification> },
    /// Every query is run again, or shown not to depend on the identity, before the round that has this version.
    SetIdentity { version: u32, identity: Identity },
    /// The client was answered about a write of its own: a round at or past `timestamp` must follow, even an empty one.
    Wrote { timestamp: Timestamp },
    /// A round must follow, even if nothing changed.
    Touch,
}

#[derive(Clone, Debug)]
pub enum QueryModification {
    Add {
        query: u32,
        component: String,
        path: String,
        /// Convex JSON: an array whose one element is the arguments object.
        arguments: Arc<str>,
        journal: Option<Arc<str>>,
    },
    Remove {
        query: u32,
    },
}

/// A step of a session from one moment to the next.
#[derive(Clone, Debug)]
pub struct SessionRound {
    pub timestamp: Timestamp,
    pub query_set_version: u32,
    pub identity_version: u32,
    /// At most one per query; only what differs from what the session was last sent.
    pub changes: Vec<QueryChange>,
}

#[derive(Clone, Debug)]
pub enum QueryChange {
    Updated { query: u32, value: Arc<str>, log_lines: Arc<[String]>, journal: Option<Arc<str>> },
    Failed { query: u32, error: FunctionError, log_lines: Arc<[String]>, journal: Option<Arc<str>> },
    Removed { query: u32 },
}
