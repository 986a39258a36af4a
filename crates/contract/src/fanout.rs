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
    /// Begins a session. It has no queries yet.
    ///
    /// One on an instance that is gone ends with an error after which it may begin anew, on any instance.
    async fn open(&self, start: SessionStart) -> Result<FanoutSession>;
}

/// What a session begins with.
#[derive(Clone, Debug)]
pub struct SessionStart {
    /// Whose functions it runs.
    pub deployment: DeploymentRef,
    /// No round may be of an earlier moment: the newest that the client has seen.
    pub not_before: Timestamp,
    /// In whose name its queries run, until a [`SessionCommand::SetIdentity`].
    pub identity: Identity,
}

/// One session. It ends when `commands` is dropped; `rounds` then ends too. What waits is boxed: a channel has room for many
/// from the start, and most sessions have nothing that waits.
pub struct FanoutSession {
    /// Bounded; carried out in order.
    pub commands: mpsc::Sender<Box<SessionCommand>>,
    /// Bounded: a session that does not take its rounds gets fewer of them, and delays no other session. An error ends the
    /// session; its code becomes the reason for closing the socket.
    pub rounds: mpsc::Receiver<Box<Result<SessionRound>>>,
}

/// What a session asks for.
#[derive(Clone, Debug)]
pub enum SessionCommand {
    /// The round that holds these changes has at least `version` as its query set version. Queries that are added are shown as of
    /// a moment that holds every commit which was acknowledged before this, to whomever.
    ModifyQueries {
        /// Counts up within the session.
        version: u32,
        /// In this order.
        modifications: Vec<QueryModification>,
    },
    /// Every query is run again, or shown not to depend on the identity, before the round that has this version,
    /// which is as of a moment like that of added queries.
    SetIdentity {
        /// Counts up within the session.
        version: u32,
        /// In whose name all queries run from now on.
        identity: Identity,
    },
    /// The client was answered about a write of its own: a round at or past `timestamp` must follow, even an empty one.
    Wrote {
        /// The commit.
        timestamp: Timestamp,
    },
    /// A round must follow, even if nothing changed.
    Touch,
}

/// A change of a session's set of queries.
#[derive(Clone, Debug)]
pub enum QueryModification {
    /// Keep a query live. One that has the number already ends the session (`QueryAlreadyAdded`).
    Add {
        /// The session's number for it.
        query: u32,
        /// The component's path; empty for the app itself.
        component: String,
        /// The function, as the client spelled it.
        path: String,
        /// Convex JSON: an array whose one element is the arguments object.
        arguments: Arc<str>,
        /// What an earlier run of the same query has returned ([`crate::QueryOutcome::journal`]).
        journal: Option<Arc<str>>,
    },
    /// No longer. A number that is not there ends the session (`QueryNotAdded`).
    Remove {
        /// The session's number for it.
        query: u32,
    },
}

/// A step of a session from one moment to the next.
#[derive(Clone, Debug)]
pub struct SessionRound {
    /// The moment of everything that the session is shown now.
    pub timestamp: Timestamp,
    /// The version of the newest [`SessionCommand::ModifyQueries`] that it takes into account.
    pub query_set_version: u32,
    /// The version of the newest [`SessionCommand::SetIdentity`] that it takes into account.
    pub identity_version: u32,
    /// At most one per query; only what differs from what the session was last sent.
    pub changes: Vec<QueryChange>,
}

/// What has changed for one query.
#[derive(Clone, Debug)]
pub enum QueryChange {
    /// It has another value now.
    Updated {
        /// The session's number for it.
        query: u32,
        /// Convex JSON.
        value: Arc<str>,
        /// As clients print them: `[LEVEL] text`.
        log_lines: Arc<[String]>,
        /// To be sent with the query when it is added again.
        journal: Option<Arc<str>>,
    },
    /// It throws now.
    Failed {
        /// The session's number for it.
        query: u32,
        /// What it threw.
        error: FunctionError,
        /// As clients print them: `[LEVEL] text`.
        log_lines: Arc<[String]>,
        /// To be sent with the query when it is added again.
        journal: Option<Arc<str>>,
    },
    /// It is no longer in the set.
    Removed {
        /// The session's number for it.
        query: u32,
    },
}
