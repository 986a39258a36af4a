//! How the runner is set up.

use std::sync::Arc;

use contract::{Deployment, Deployments, NodeId};
use tokio::sync::watch;

use crate::Limits;

/// The configuration of a [`Service`](crate::Service).
#[derive(Clone, Debug)]
pub struct Options {
    pub limits: Limits,
    /// On which node it runs; the only runner there. What one before it has claimed is its to clear up.
    pub node: NodeId,
    /// The deployments whose functions it runs: what these see of their name and addresses. Calls of others are refused
    /// (`DeploymentNotFound`).
    pub deployments: watch::Receiver<Arc<Deployments>>,
    /// Those whose old records of session requests this runner removes from time to time. Several processes may do so for one
    /// deployment; once is enough.
    pub swept: watch::Receiver<Arc<Deployments>>,
    /// Tell clients of errors only their request id; the log has the rest.
    pub redact_errors: bool,
    /// Let values that are plain pass the published library's conversion natively. Its results are the same.
    pub native_values: bool,
    /// Let other servers that actions ask see the trace that a request belongs to.
    pub trace_fetches: bool,
    /// With what actions run that are for Node.js; `None` refuses them.
    pub nodejs: Option<nodejs::Options>,
}

impl Options {
    /// For the given deployments; none of them is swept.
    pub fn new(limits: Limits, deployments: watch::Receiver<Arc<Deployments>>) -> Options {
        Options {
            limits,
            node: NodeId(1),
            deployments,
            swept: Deployment::fixed([]),
            redact_errors: false,
            native_values: true,
            trace_fetches: false,
            nodejs: None,
        }
    }
}
