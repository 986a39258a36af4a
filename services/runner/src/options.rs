//! How the runner is set up.

use crate::Limits;

/// The configuration of a [`Runner`](crate::Runner).
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    pub limits: Limits,
    /// What functions see as `process.env.CONVEX_CLOUD_URL`.
    pub cloud_url: String,
    /// What functions see as `process.env.CONVEX_SITE_URL`.
    pub site_url: String,
    /// What `getDeploymentMetadata` shows.
    pub deployment_name: String,
    /// Tell clients of errors only their request id; the log has the rest.
    pub redact_errors: bool,
    /// Let values that are plain pass the published library's conversion natively. Its results are the same.
    pub native_values: bool,
}

impl RunnerOptions {
    /// For the given addresses.
    pub fn new(limits: Limits, cloud_url: String, site_url: String) -> RunnerOptions {
        RunnerOptions {
            limits,
            cloud_url,
            site_url,
            deployment_name: "dev".to_owned(),
            redact_errors: false,
            native_values: true,
        }
    }
}
