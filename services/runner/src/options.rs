//! How the runner is set up.

use contract::{DeploymentRef, NodeId};

use crate::Limits;

/// The configuration of a [`Service`](crate::Service).
#[derive(Clone, Debug)]
pub struct Options {
    pub limits: Limits,
    /// On which node it runs; the only runner there. What one before it has claimed is its to clear up.
    pub node: NodeId,
    /// What functions see as `process.env.CONVEX_CLOUD_URL`.
    pub cloud_url: String,
    /// What functions see as `process.env.CONVEX_SITE_URL`.
    pub site_url: String,
    /// What `getDeploymentMetadata` shows.
    pub deployment_name: String,
    /// The deployments whose old records of session requests this runner removes from time to time. Several processes may
    /// do so for one deployment; once is enough.
    pub swept: Vec<DeploymentRef>,
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
    /// For the given addresses.
    pub fn new(limits: Limits, cloud_url: String, site_url: String) -> Options {
        Options {
            limits,
            node: NodeId(1),
            cloud_url,
            site_url,
            deployment_name: "dev".to_owned(),
            swept: Vec::new(),
            redact_errors: false,
            native_values: true,
            trace_fetches: false,
            nodejs: None,
        }
    }
}
