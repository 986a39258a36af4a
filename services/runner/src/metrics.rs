//! Plain counters of what the runner does.

use std::time::Duration;

use contract::FunctionKind;
use counters::{Counter, Histogram, HistogramSnapshot, Named};

/// Tables that have a counter of their own: those on which something was lost first.
pub const TABLES_MAX: usize = 32;

/// What ends a function that does not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// Its own processor time.
    Time,
    /// The time that its reads and writes took.
    HostTime,
    /// All of its time, waiting included.
    TotalTime,
    Memory,
    /// What all actions have together.
    ActionsMemory,
    Stack,
    /// What it waits for can't happen.
    Unsettled,
    /// Processes that a Node.js action has started.
    Processes,
    /// A defect of the engine.
    Trap,
}

impl Kill {
    const ALL: [Kill; 9] = [
        Kill::Time,
        Kill::HostTime,
        Kill::TotalTime,
        Kill::Memory,
        Kill::ActionsMemory,
        Kill::Stack,
        Kill::Unsettled,
        Kill::Processes,
        Kill::Trap,
    ];

    const fn name(self) -> &'static str {
        match self {
            Kill::Time => "time",
            Kill::HostTime => "host_time",
            Kill::TotalTime => "total_time",
            Kill::Memory => "memory",
            Kill::ActionsMemory => "actions_memory",
            Kill::Stack => "stack",
            Kill::Unsettled => "unsettled",
            Kill::Processes => "processes",
            Kill::Trap => "trap",
        }
    }
}

const KINDS: [&str; 4] = ["query", "mutation", "action", "http_action"];

/// The counters themselves.
#[derive(Debug)]
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
    pub(crate) kills: [Counter; Kill::ALL.len()],
    pub(crate) refused: Counter,
    pub(crate) images_built: Counter,
    pub(crate) images: Counter,
    pub(crate) isolates_started: Counter,
    pub(crate) isolates_reset: Counter,
    durations: [Histogram; KINDS.len()],
    conflicts_by_table: Named,
}

/// What the counters say at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Functions that were ended, by a limit but for defects.
    pub kills: u64,
    /// The same by why, which is a closed list.
    pub kills_by_reason: Vec<([&'static str; 1], u64)>,
    /// How long functions ran, waiting for a thread included, by their kind.
    pub durations: Vec<([&'static str; 1], HistogramSnapshot)>,
    /// How long calls have waited for a thread.
    pub waits: HistogramSnapshot,
    /// Attempts that the log refused, by the table on which they lost: of at most [`TABLES_MAX`] tables, and of all others.
    pub conflicts_by_table: Vec<(String, u64)>,
    /// Isolates that were made anew from an image.
    pub isolates_started: u64,
    /// Isolates that were reset to their image, to serve another call.
    pub isolates_reset: u64,
    /// What images take that are kept.
    pub images_bytes: u64,
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
    pub waits: HistogramSnapshot,
    pub images_bytes: u64,
    pub running: u64,
    pub waiting: u64,
    pub actions_running: u64,
    pub actions_bytes: u64,
    pub action_orphans: u64,
    pub function_log_bytes: u64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            queries: Counter::default(),
            mutations: Counter::default(),
            actions: Counter::default(),
            http_actions: Counter::default(),
            http_request_bytes: Counter::default(),
            http_response_bytes: Counter::default(),
            http_clients_gone: Counter::default(),
            mutation_attempts: Counter::default(),
            conflicts: Counter::default(),
            conflicts_given_up: Counter::default(),
            turns_wanted: Counter::default(),
            commits_looked_up: Counter::default(),
            session_replays: Counter::default(),
            function_errors: Counter::default(),
            kills: Default::default(),
            refused: Counter::default(),
            images_built: Counter::default(),
            images: Counter::default(),
            isolates_started: Counter::default(),
            isolates_reset: Counter::default(),
            durations: Default::default(),
            conflicts_by_table: Named::new(TABLES_MAX),
        }
    }
}

impl Metrics {
    /// A function was ended.
    pub(crate) fn count_kill(&self, kill: Kill) {
        self.kills[kill as usize].increment();
    }

    /// The log has refused an attempt; `table` is the one in which it was overtaken, if that is known.
    pub(crate) fn count_conflict(&self, table: Option<&str>) {
        self.conflicts.increment();
        self.conflicts_by_table.increment(table.unwrap_or("unknown"));
    }

    /// A function has run.
    pub(crate) fn record_run(&self, kind: FunctionKind, took: Duration) {
        let kind = match kind {
            FunctionKind::Query => 0,
            FunctionKind::Mutation => 1,
            FunctionKind::Action => 2,
            FunctionKind::HttpAction => 3,
        };
        self.durations[kind].record(took);
    }

    pub(crate) fn snapshot(&self, load: Load) -> MetricsSnapshot {
        let Load {
            waits,
            images_bytes,
            running,
            waiting,
            actions_running,
            actions_bytes,
            action_orphans,
            function_log_bytes,
        } = load;
        let durations = KINDS.iter().zip(&self.durations);
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
            kills: self.kills.iter().map(Counter::get).sum(),
            kills_by_reason: Kill::ALL.map(|kill| ([kill.name()], self.kills[kill as usize].get())).to_vec(),
            durations: durations.map(|(kind, durations)| ([*kind], durations.snapshot())).collect(),
            waits,
            conflicts_by_table: self.conflicts_by_table.snapshot(),
            isolates_started: self.isolates_started.get(),
            isolates_reset: self.isolates_reset.get(),
            images_bytes,
            refused: self.refused.get(),
            images_built: self.images_built.get(),
            images: self.images.get(),
            running,
            waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(metrics: &Metrics) -> MetricsSnapshot {
        metrics.snapshot(Load {
            waits: HistogramSnapshot::default(),
            images_bytes: 0,
            running: 0,
            waiting: 0,
            actions_running: 0,
            actions_bytes: 0,
            action_orphans: 0,
            function_log_bytes: 0,
        })
    }

    #[test]
    fn kills_stand_at_their_names() {
        let metrics = Metrics::default();
        for (times, kill) in Kill::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.count_kill(kill));
        }
        let counts = snapshot(&metrics).kills_by_reason;
        for (times, (kill, ([name], count))) in Kill::ALL.into_iter().zip(counts).enumerate() {
            assert_eq!((name, count), (kill.name(), times as u64));
        }
    }

    #[test]
    fn conflicts_of_any_number_of_tables_are_few_series() {
        let metrics = Metrics::default();
        for number in 0..1_000 {
            metrics.count_conflict(Some(&format!("table{number}")));
        }
        metrics.count_conflict(None);
        let MetricsSnapshot { conflicts, conflicts_by_table, .. } = snapshot(&metrics);
        assert_eq!((conflicts, conflicts_by_table.len()), (1_001, TABLES_MAX + 1));
        assert_eq!(conflicts_by_table.iter().map(|(_, count)| count).sum::<u64>(), 1_001);
    }
}
