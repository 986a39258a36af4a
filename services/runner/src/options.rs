//! How the runner is set up.

use limits::Limits;

use crate::function_log::Retention;

/// The configuration of a [`Runner`](crate::Runner).
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// Threads for JavaScript. More than cores, so that functions that compute for seconds don't hold up all others;
    /// each costs a stack and the slots that it keeps warm.
    pub threads: usize,
    /// Calls that run at the same time unless they turn out to be long: about as many as there are cores.
    pub short_calls: usize,
    /// Isolates that each thread keeps between calls; some 0.3 MB each.
    pub slots_per_thread: usize,
    /// Catalogs whose image is remembered: at least one for each deployment that is in use.
    pub catalogs: usize,
    /// Analyses of modules kept in memory.
    pub modules: usize,
    /// Parsed source maps kept in memory.
    pub source_maps: usize,
    /// How much of the past the function log keeps, per deployment.
    pub log: Retention,
    pub limits: Limits,
    /// What functions see as `process.env.CONVEX_CLOUD_URL`.
    pub cloud_url: String,
    /// What functions see as `process.env.CONVEX_SITE_URL`.
    pub site_url: String,
    /// What `getDeploymentMetadata` shows.
    pub deployment_name: String,
    /// Tell clients of errors only their request id; the log has the rest.
    pub redact_errors: bool,
}

impl RunnerOptions {
    /// The defaults, for the given addresses.
    pub fn new(cloud_url: String, site_url: String) -> RunnerOptions {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        RunnerOptions {
            threads: (4 * cores).max(8),
            short_calls: cores + 1,
            slots_per_thread: 16,
            catalogs: 64,
            modules: 4_096,
            source_maps: 64,
            log: Retention { entries_max: 1_000, bytes_max: 8 << 20 },
            limits: Limits::DEFAULT,
            cloud_url,
            site_url,
            deployment_name: "dev".to_owned(),
            redact_errors: false,
        }
    }
}
