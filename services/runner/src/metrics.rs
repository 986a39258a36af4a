//! Plain counters of what the runner does.

use counters::Counter;

/// The counters themselves.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(crate) queries: Counter,
    pub(crate) mutations: Counter,
    pub(crate) actions: Counter,
    pub(crate) http_actions: Counter,
    pub(crate) http_request_bytes: Counter,
    pub(crate) http_response_bytes: Counter,
    pub(crate) http_clients_gone: Counter,
    pub(crate) mutation_attempts: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) conflicts_given_up: Counter,
    pub(crate) turns_wanted: Counter,
    pub(crate) commits_looked_up: Counter,
    pub(crate) session_replays: Counter,
    pub(crate) function_errors: Counter,
    pub(crate) kills: Counter,
    pub(crate) refused: Counter,
    pub(crate) images_built: Counter,
    pub(crate) images: Counter,
}

/// What the counters say at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Queries that ran, nested ones not counted.
    pub queries: u64,
    /// Mutations that were asked for.
    pub mutations: u64,
    /// Actions that ran, those that others have called included.
    pub actions: u64,
    /// HTTP requests that the router of an app has answered.
    pub http_actions: u64,
    /// Bytes of their bodies that functions have read.
    pub http_request_bytes: u64,
    /// Bytes of bodies that functions have answered with.
    pub http_response_bytes: u64,
    /// Clients that went away before they had all of an answer.
    pub http_clients_gone: u64,
    /// Actions that are under way now, HTTP actions included.
    pub actions_running: u64,
    /// What they take of memory now, their images not counted.
    pub actions_bytes: u64,
    /// Actions that were due and have failed because their process had ended.
    pub action_orphans: u64,
    /// How often mutations ran: more than `mutations` where they conflict.
    pub mutation_attempts: u64,
    /// Attempts that the log refused because of a conflict.
    pub conflicts: u64,
    /// Mutations that ended with `OptimisticConcurrencyControlFailure`.
    pub conflicts_given_up: u64,
    /// Attempts that ended where they met a key which others were queued for, to begin anew in their turn.
    pub turns_wanted: u64,
    /// Commits whose answer was lost and had to be looked up.
    pub commits_looked_up: u64,
    /// Mutations answered from a session record.
    pub session_replays: u64,
    /// Functions that threw.
    pub function_errors: u64,
    /// Functions that were ended by a limit.
    pub kills: u64,
    /// Calls that were refused because there was no free thread.
    pub refused: u64,
    /// Images built.
    pub images_built: u64,
    /// Images that are in memory now, for calls to come or for those that run.
    pub images: u64,
    /// Roughly what the newest executions take that tools can ask for.
    pub function_log_bytes: u64,
    /// Calls that run now.
    pub running: u64,
    /// Calls that wait for a thread now.
    pub waiting: u64,
}

/// What the threads and the actions know themselves; as in [`MetricsSnapshot`].
pub(crate) struct Load {
    pub running: u64,
    pub waiting: u64,
    pub actions_running: u64,
    pub actions_bytes: u64,
    pub action_orphans: u64,
    pub function_log_bytes: u64,
}

impl Metrics {
    pub(crate) fn snapshot(&self, load: Load) -> MetricsSnapshot {
        let Load { running, waiting, actions_running, actions_bytes, action_orphans, function_log_bytes } =
            load;
        MetricsSnapshot {
            queries: self.queries.get(),
            mutations: self.mutations.get(),
            actions: self.actions.get(),
            http_actions: self.http_actions.get(),
            http_request_bytes: self.http_request_bytes.get(),
            http_response_bytes: self.http_response_bytes.get(),
            http_clients_gone: self.http_clients_gone.get(),
            actions_running,
            actions_bytes,
            action_orphans,
            function_log_bytes,
            mutation_attempts: self.mutation_attempts.get(),
            conflicts: self.conflicts.get(),
            conflicts_given_up: self.conflicts_given_up.get(),
            turns_wanted: self.turns_wanted.get(),
            commits_looked_up: self.commits_looked_up.get(),
            session_replays: self.session_replays.get(),
            function_errors: self.function_errors.get(),
            kills: self.kills.get(),
            refused: self.refused.get(),
            images_built: self.images_built.get(),
            images: self.images.get(),
            running,
            waiting,
        }
    }
}
