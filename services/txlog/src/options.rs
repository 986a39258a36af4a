//! What the service is started with.

use std::path::PathBuf;

use crate::limits::{LogLimits, StoreLimits};
use contract::{DeploymentId, DeploymentRef, GroupId, NodeId};

use crate::{channels::Channels, clock::Clock, fatal::FatalHandler, formation::Beginning};

/// The configuration of a node's transaction log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the log and the store lie, each in a folder of its own.
    pub folder: PathBuf,
    /// This node's identity in Raft, which its folders keep: with another one they are refused. A node that lost its disk
    /// must come back under a new one.
    pub node: NodeId,
    /// Where other nodes call this one's services, as `host:port`; where there are no others, its host.
    pub address: String,
    /// The availability zone in which this node stands; empty if it is not known.
    pub zone: String,
    /// The cluster's name: what comes from another one is refused.
    pub cluster: String,
    /// How groups begin that are new on this node.
    pub beginning: Beginning,
    /// How other nodes are reached.
    pub channels: Channels,
    /// What is there from the start and always; their groups are those that the node has. What comes and goes
    /// [`Handle::serve`](crate::Handle::serve) is told.
    pub deployments: Vec<Deployment>,
    pub limits: LogLimits,
    pub store: StoreLimits,
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

impl Options {
    /// One data group with one deployment, `dev`. Group 0 is left to the directory.
    pub fn embedded(folder: impl Into<PathBuf>) -> Options {
        let at = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
        Options {
            folder: folder.into(),
            node: NodeId(1),
            address: "localhost".into(),
            zone: "local".into(),
            cluster: "local".into(),
            beginning: Beginning::Alone,
            channels: Channels::none(),
            deployments: vec![Deployment { name: "dev".into(), at }],
            limits: LogLimits::DEFAULT,
            store: StoreLimits::DEFAULT,
            clock: Clock::system(),
            fatal: FatalHandler::exit(),
        }
    }
}
