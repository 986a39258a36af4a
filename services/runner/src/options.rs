//! How the runner is set up.

use std::sync::Arc;

use contract::{Deployment, Deployments, NodeId};
use tokio::sync::watch;

use crate::Limits;

/// The configuration of a [`Service`](crate::Service).
#[derive(Clone, Debug)]
pub struct Options {
    pub limits: Limits,
    /// Under which number it runs.
    pub node: NodeId,
    /// Whether no other process has this number as long as this one lives. Then what others have claimed under it has failed at
    /// once; else when their leases have run out, as that of any others.
    pub has_number_alone: bool,
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
            has_number_alone: true,
            deployments,
            swept: Deployment::fixed([]),
            redact_errors: false,
            native_values: true,
            trace_fetches: false,
            nodejs: None,
        }
    }
}
