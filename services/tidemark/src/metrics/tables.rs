//! The names of what the services count. `docs/reference/metrics.md` lists the same.

use counters::{HistogramSnapshot, OperationsSnapshot};
use limits::End;

use super::{
    Instrument,
    machine::MachineSnapshot,
    text::{Kind, Sample, Value},
};
use crate::health::Standing;

/// Groups that are shown one by one; those with the lowest numbers. Numbers over all groups count the others, too.
const GROUPS_MAX: usize = 256;
/// Other replicas of such groups.
const REPLICAS_MAX: usize = 4 * GROUPS_MAX;
/// Limits that are shown. There are fewer.
const LIMITS_MAX: usize = 64;

/// What a metric's series can be made of.
pub trait IntoSamples {
    fn into_samples(self) -> Vec<Sample>;
}

impl IntoSamples for f64 {
    fn into_samples(self) -> Vec<Sample> {
        vec![Sample { labels: Vec::new(), value: Value::Number(self) }]
    }
}

impl IntoSamples for HistogramSnapshot {
    fn into_samples(self) -> Vec<Sample> {
        vec![Sample { labels: Vec::new(), value: Value::Histogram(Box::new(self)) }]
    }
}

/// A value with what tells it from others.
trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for u64 {
    fn into_value(self) -> Value {
        Value::Number(self as f64)
    }
}

impl IntoValue for f64 {
    fn into_value(self) -> Value {
        Value::Number(self)
    }
}

impl IntoValue for HistogramSnapshot {
    fn into_value(self) -> Value {
        Value::Histogram(Box::new(self))
    }
}

impl<const N: usize, V: IntoValue> IntoSamples for Vec<([&'static str; N], V)> {
    fn into_samples(self) -> Vec<Sample> {
        let sample = |(labels, value): ([&str; N], V)| Sample {
            labels: labels.map(str::to_owned).to_vec(),
            value: value.into_value(),
        };
        self.into_iter().map(sample).collect()
    }
}

impl<const N: usize, V: IntoValue> IntoSamples for Vec<([String; N], V)> {
    fn into_samples(self) -> Vec<Sample> {
        let sample =
            |(labels, value): ([String; N], V)| Sample { labels: labels.to_vec(), value: value.into_value() };
        self.into_iter().map(sample).collect()
    }
}

impl<V: IntoValue> IntoSamples for Vec<(String, V)> {
    fn into_samples(self) -> Vec<Sample> {
        let sample = |(label, value): (String, V)| Sample { labels: vec![label], value: value.into_value() };
        self.into_iter().map(sample).collect()
    }
}

/// One, unless there is another number.
pub(super) const fn last(numbers: &[usize]) -> usize {
    numbers[numbers.len() - 1]
}

macro_rules! instruments {
    ($($name:ident: $kind:ident $unit:literal $([$($label:literal),+; $series_max:expr])? $description:literal,
        |$at:ident| $value:expr;)*) => {
        &[$(Instrument {
            name: stringify!($name),
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($($label),+)?],
            series_max: last(&[1 $(, $series_max)?]),
            description: $description,
            read: |$at| IntoSamples::into_samples($value),
        },)*]
    };
}

#[cfg(test)]
pub(super) use instruments;

pub const GATEWAY: &[Instrument<gateway::MetricsSnapshot>] = instruments! {
    requests: Counter "" ["api", "outcome"; 15 * 6] "Requests, by what was asked for and what became of it: `answered`, `threw` (the app's function), `invalid`, `refused` (no room, no time), `failed` (a fault of the server), `gone` (the client went away).", |at| at.requests.clone();
    request: Histogram "s" ["api"; 15] "How long requests took until their answer began.", |at| at.durations.clone();
    errors: Counter "" ["code"; 129] "Errors that were told, by their codes.", |at| at.errors.clone();
    connections: Gauge "" "Connections that speak HTTP.", |at| at.connections as f64;
    sockets: Gauge "" "WebSockets that are open.", |at| at.sockets as f64;
};

pub const RUNNER: &[Instrument<runner::MetricsSnapshot>] = instruments! {
    queries: Counter "" "Queries that ran, nested ones not counted.", |at| at.queries as f64;
    mutations: Counter "" "Mutations that were asked for.", |at| at.mutations as f64;
    actions: Counter "" "Actions that ran, those that others called included.", |at| at.actions as f64;
    run: Histogram "s" ["kind"; 4] "How long functions ran, their waiting included; a mutation's each run.", |at| at.durations.clone();
    wait: Histogram "s" "How long calls waited for a thread.", |at| at.waits;
    http_actions: Counter "" "HTTP requests that an app's router answered.", |at| at.http_actions as f64;
    http_requests: Counter "By" "Bytes of their bodies that functions read.", |at| at.http_request_bytes as f64;
    http_responses: Counter "By" "Bytes of bodies that functions answered with.", |at| at.http_response_bytes as f64;
    http_clients_gone: Counter "" "Clients that went away before they had all of an answer.", |at| at.http_clients_gone as f64;
    actions_running: Gauge "" "Actions under way, most of which wait.", |at| at.actions_running as f64;
    action_orphans: Counter "" "Actions that were due and have failed because their process had ended.", |at| at.action_orphans as f64;
    actions_size: Gauge "By" "What they take in memory, their images not counted.", |at| at.actions_bytes as f64;
    mutation_attempts: Counter "" "Runs of mutations: more than mutations where they conflict.", |at| at.mutation_attempts as f64;
    conflicts: Counter "" "Runs of mutations that the log refused because what they had read was written meanwhile.", |at| at.conflicts as f64;
    conflicts_by_table: Counter "" ["table"; runner::CONFLICT_TABLES_MAX + 1] "The same by the table on which they lost: the first so many tables, the rest is `other`.", |at| at.conflicts_by_table.clone();
    conflicts_given_up: Counter "" "Mutations that ended with OptimisticConcurrencyControlFailure.", |at| at.conflicts_given_up as f64;
    turns_wanted: Counter "" "Runs of mutations that ended where they met a document others were queued for, to begin anew in their turn.", |at| at.turns_wanted as f64;
    commits_looked_up: Counter "" "Commits whose answer was lost and had to be looked up.", |at| at.commits_looked_up as f64;
    session_replays: Counter "" "Mutations that a client sent again, answered from the record of the first time.", |at| at.session_replays as f64;
    function_errors: Counter "" "Functions that threw.", |at| at.function_errors as f64;
    kills: Counter "" ["reason"; 9] "Functions that a limit ended, by why; `trap` is a defect of the engine.", |at| at.kills_by_reason.clone();
    refused: Counter "" "Calls that were refused because the queue was full.", |at| at.refused as f64;
    isolates_started: Counter "" "Isolates that were made anew from an image.", |at| at.isolates_started as f64;
    isolates_reset: Counter "" "Isolates that were reset to their image for another call.", |at| at.isolates_reset as f64;
    images_built: Counter "" "Images built of deployed code.", |at| at.images_built as f64;
    images: Gauge "" "Images of deployed code in memory.", |at| at.images as f64;
    images_size: Gauge "By" "What those take in memory that are kept for calls to come.", |at| at.images_bytes as f64;
    function_log_size: Gauge "By" "Roughly what the newest executions, which tools can ask for, take in memory.", |at| at.function_log_bytes as f64;
    running: Gauge "" "Calls that run.", |at| at.running as f64;
    waiting: Gauge "" "Calls that wait for a thread.", |at| at.waiting as f64;
};

pub const NODE: &[Instrument<nodejs::Metrics>] = instruments! {
    calls: Counter "" "Node.js actions that have begun.", |at| at.calls as f64;
    refused: Counter "" "Node.js actions that found no place.", |at| at.refused as f64;
    processes: Gauge "" "Processes of Node.js, those that sleep included.", |at| at.processes as f64;
    processes_sleeping: Gauge "" "Processes of Node.js that sleep until they are needed again.", |at| at.sleeping as f64;
    processes_started: Counter "" "Processes of Node.js that were started.", |at| at.started as f64;
    processes_replaced: Counter "" "Processes of Node.js that ended because of what they had done: limits, crashes, memory that was not given back.", |at| at.replaced as f64;
};

pub const FANOUT: &[Instrument<fanout::MetricsSnapshot>] = instruments! {
    sessions: Gauge "" "Clients' sessions that are open.", |at| at.sessions as f64;
    subscriptions: Gauge "" "Live queries of sessions, each counted for each session.", |at| at.subscriptions as f64;
    results: Gauge "" "Results of live queries that are kept, each for all sessions that ask the same.", |at| at.copies as f64;
    results_size: Gauge "By" "Roughly what they take in memory.", |at| at.copy_bytes as f64;
    tides: Counter "" "Moments to which at least one session was moved.", |at| at.tides as f64;
    runs: Counter "" "Live queries given to the runners, repetitions not counted.", |at| at.runs as f64;
    run_retries: Counter "" "Live queries given to the runners again, which had refused for no fault of the query.", |at| at.run_retries as f64;
    runs_failed: Counter "" "Live queries without an outcome. A function that throws has one.", |at| at.runs_failed as f64;
    rounds: Counter "" "Transitions sent to sessions.", |at| at.rounds as f64;
    changes: Counter "" "Results, errors and removals sent.", |at| at.changes as f64;
    changes_suppressed: Counter "" "Results that were not sent because the session has an equal one.", |at| at.changes_suppressed as f64;
    sessions_failed: Counter "" "Sessions that an error of the server ended.", |at| at.sessions_failed as f64;
    stream_gaps: Counter "" "Times that all results were dropped because commits were missing from the stream.", |at| at.stream_gaps as f64;
    lag: Gauge "s" "How far the last moment was behind what the log had published.", |at| at.lag_ns as f64 / 1e9;
    wait: Histogram "s" "How long sessions waited from becoming due until their transition was sent.", |at| at.waits;
};

pub const SCHEDULER: &[Instrument<scheduler::MetricsSnapshot>] = instruments! {
    running: Gauge "" "Scheduled functions that run, or wait for a thread.", |at| at.running as f64;
    runs: Counter "" "Scheduled functions that have run, those that threw included.", |at| at.runs as f64;
    delay: Histogram "s" "How long after their time scheduled functions were begun.", |at| at.delays;
    late: Gauge "s" "How long after its time the one is that has waited longest of those that are due and not begun.", |at| at.late_ms / 1e3;
    gone: Counter "" "Scheduled functions that were cancelled, or run by another scheduler, when their turn came.", |at| at.gone as f64;
    postponed: Counter "" "Times that a scheduled function could not be run for no fault of its own, and was put off.", |at| at.postponed as f64;
    results_removed: Counter "" "Results of scheduled functions that were removed because of their age.", |at| at.results_removed as f64;
    streams: Counter "" "Times that the scheduler began to follow the commits of a deployment.", |at| at.streams as f64;
};

pub const SEARCH: &[Instrument<search::MetricsSnapshot>] = instruments! {
    text: Histogram "s" "How long text searches took, what they waited for their moment included.", |at| at.text_searches;
    vectors: Histogram "s" "How long vector searches took, what they waited for their moment included.", |at| at.vector_searches;
    unavailable: Counter "" "Searches that were not answered because their index was being built or was behind.", |at| at.unavailable as f64;
    documents_read: Counter "" "Documents that were read to fill search indexes.", |at| at.documents_read as f64;
    files_written: Counter "" "Parts of search indexes that were written into files.", |at| at.files_written as f64;
    streams: Counter "" "Times that the search service began to follow the commits of a deployment.", |at| at.streams as f64;
    indexes: Gauge "" "Search indexes that are kept.", |at| at.indexes as f64;
    incomplete: Gauge "" "Search indexes that do not hold every document yet.", |at| at.incomplete as f64;
    documents: Gauge "" "Documents in all search indexes.", |at| at.documents as f64;
    memory: Gauge "By" "What search indexes have in memory and in no file yet, about.", |at| at.memory_bytes as f64;
    file_memory: Gauge "By" "What the parts of vector indexes that are in files take in memory, about: documents' ids, filter values and graphs.", |at| at.file_memory_bytes as f64;
};

pub const FILES: &[Instrument<files::MetricsSnapshot>] = instruments! {
    uploads: Counter "" "Uploads of files that were begun.", |at| at.uploads_begun as f64;
    uploads_kept: Counter "" "Uploads that have become files.", |at| at.uploads_kept as f64;
    uploads_cut_off: Counter "" "Uploads that were given up: their client went away, or they were refused.", |at| at.uploads_cut_off as f64;
    stored: Counter "By" "Bytes of uploads that were taken.", |at| at.bytes_stored as f64;
    reads: Counter "" "Reads of files and of parts of them.", |at| at.reads as f64;
    read: Counter "By" "Bytes that were read for them.", |at| at.bytes_read as f64;
    objects_swept: Counter "" "Objects without a file that were removed after the grace time.", |at| at.objects_swept as f64;
    sweeps_failed: Counter "" "Sweeps of such objects that came to no end.", |at| at.sweeps_failed as f64;
};

pub const BLOB: &[Instrument<OperationsSnapshot>] = instruments! {
    requests: Counter "" ["operation", "outcome"; 5 * 2] "What was asked of the folder or the bucket of blobs and objects.", |at| at.requests.clone();
    request: Histogram "s" ["operation"; 5] "How long it took; of `create` and `read` only the beginning.", |at| at.durations.clone();
};

pub const DEPLOY: &[Instrument<OperationsSnapshot>] = instruments! {
    requests: Counter "" ["step", "outcome"; 4 * 2] "Steps of pushes.", |at| at.requests.clone();
    request: Histogram "s" ["step"; 4] "How long they took.", |at| at.durations.clone();
};

pub const LOG: &[Instrument<txlog::MetricsSnapshot>] = instruments! {
    commits: Counter "" ["outcome"; 7] "Commits that were answered; `refused` are those for which there was no room.", |at| named(txlog::MetricsSnapshot::OUTCOMES, at.outcomes);
    commit: Histogram "s" "How long commits took, from their arrival to their answer.", |at| at.commits;
    commit_stage: Histogram "s" ["stage"; 4] "How long its stages took: `validate` of each commit; `queue` of each batch, from its first commit until it is handed to Raft; `replicate` from there until it is durable on a quorum and applied; `apply`, a part of that, into the store.", |at| named(txlog::MetricsSnapshot::STAGES, at.stages);
    sync: Histogram "s" "How long it took to make the log durable, each time for all that waited.", |at| at.syncs;
    commits_undecided: Gauge "" "Commits that are validated and not yet applied.", |at| at.commits_undecided as f64;
    commits_undecided_size: Gauge "By" "What they take in memory.", |at| at.commits_undecided_bytes as f64;
    batches_skipped: Counter "" "Batches of commits that all replicas have passed over, since they did not follow the one before.", |at| at.batches_skipped as f64;
    clock_held_back: Gauge "s" "By how much this machine's clock is held back for commits, since it is ahead of the others': the most of all groups.", |at| at.clock_held_back_ns as f64 / 1e9;
    held: Gauge "" "Moments that readers hold longer than others are kept, as exports do; in the groups that this node leads.", |at| at.held as f64;
    held_age: Gauge "s" "How old the oldest of them is: for so long the disk keeps what was overwritten and deleted.", |at| at.held_age.as_secs_f64();
    stream_wake_ups: Counter "" "Times that subscribers to the stream of commits were woken.", |at| at.stream_wake_ups as f64;
    stream_size: Gauge "By" "What the newest commits, for subscribers that are behind, take in memory.", |at| at.stream_bytes as f64;
    window_size: Gauge "By" "What the newest writes, which commits are validated against, take in memory.", |at| at.window_bytes as f64;
    entries_size: Gauge "By" "What the newest entries, for apply and replication, take in memory.", |at| at.entry_bytes as f64;
    write_buffers_size: Gauge "By" "What is in no file of the log yet.", |at| at.log_write_buffer_bytes as f64;
};

pub const STORE: &[Instrument<txlog::MetricsSnapshot>] = instruments! {
    write_buffers_size: Gauge "By" "What is in no file of the store yet, or on its way into one, in memory.", |at| at.store_write_buffer_bytes as f64;
    block_cache_size: Gauge "By" "What blocks of files that were read take in memory.", |at| at.store_block_cache_bytes as f64;
    unflushed_size: Gauge "By" "Changes since the store was flushed, which a restart applies again from the log.", |at| at.store_unflushed_bytes as f64;
    files_size: Gauge "By" "What the files of the store take on the disk.", |at| at.store_file_bytes as f64;
};

pub const RAFT: &[Instrument<Vec<txlog::RaftSnapshot>>] = instruments! {
    groups: Gauge "" "Groups of which this node has a replica.", |at| at.len() as f64;
    groups_without_leader: Gauge "" "Of these, those of which this replica knows no leader, or has not heard lately.", |at| at.iter().filter(|raft| !raft.has_leader).count() as f64;
    leads: Gauge "" ["group"; GROUPS_MAX] "Whether this replica leads the group.", |at| of_groups(at, |raft| u64::from(raft.leads));
    has_leader: Gauge "" ["group"; GROUPS_MAX] "Whether this replica has heard lately of who does; if it leads itself, of a quorum.", |at| of_groups(at, |raft| u64::from(raft.has_leader));
    term: Gauge "" ["group"; GROUPS_MAX] "The term, which grows with each election.", |at| of_groups(at, |raft| raft.term);
    leader_changes: Counter "" ["group"; GROUPS_MAX] "How often another replica began to lead, the first one included.", |at| of_groups(at, |raft| raft.leader_changes);
    voters: Gauge "" ["group"; GROUPS_MAX] "Replicas with a vote.", |at| of_groups(at, |raft| raft.voters);
    learners: Gauge "" ["group"; GROUPS_MAX] "Replicas without one.", |at| of_groups(at, |raft| raft.learners);
    last_index: Gauge "" ["group"; GROUPS_MAX] "The last entry of this replica's log.", |at| of_groups(at, |raft| raft.last_index);
    committed_index: Gauge "" ["group"; GROUPS_MAX] "The last entry that this replica knows to be on a quorum.", |at| of_groups(at, |raft| raft.committed_index);
    applied_index: Gauge "" ["group"; GROUPS_MAX] "The last entry that is in this replica's store.", |at| of_groups(at, |raft| raft.applied_index);
    purged_index: Gauge "" ["group"; GROUPS_MAX] "The last entry that is gone from this replica's log.", |at| of_groups(at, |raft| raft.purged_index);
    replica_lag: Gauge "" ["group", "replica"; REPLICAS_MAX] "Entries that another replica is not known to have; told by the leader.", |at| of_replicas(at, |replica| Some(replica.lag_entries as f64));
    replica_silence: Gauge "s" ["group", "replica"; REPLICAS_MAX] "How long ago another replica has answered; told by the leader.", |at| of_replicas(at, |replica| Some(replica.heard_ago?.as_secs_f64()));
    ahead_of_clock: Gauge "s" ["group"; GROUPS_MAX] "How far the newest commit is ahead of this machine's clock: more than a moment means that two clocks differ.", |at| of_groups(at, |raft| raft.ahead_of_clock.as_secs_f64());
};

pub const LIMIT: &[Instrument<Vec<limits::Use>>] = instruments! {
    used: Gauge "" ["limit", "end"; LIMITS_MAX] "How much of a limit is used, in what it counts. At its end it `refuses`, or lets wait; or, a cache, it `forgets`, and is often full.", |at| of_limits(at, |limit| limit.used);
    max: Gauge "" ["limit", "end"; LIMITS_MAX] "How much there is of it.", |at| of_limits(at, |limit| limit.max);
};

pub const ROLE: &[Instrument<Vec<(&'static str, Standing)>>] = instruments! {
    ready: Gauge "" ["role"; 16] "Whether a role of this process takes requests, as `/readyz` says it.", |at| at.iter().map(|(role, standing)| ([*role], u64::from(*standing == Standing::Ready))).collect::<Vec<_>>();
};

pub const PROCESS: &[Instrument<MachineSnapshot>] = instruments! {
    info: Gauge "" ["version"; 1] "Always 1; the label is the program's version.", |_at| vec![([env!("CARGO_PKG_VERSION")], 1_u64)];
    start_time: Gauge "s" "When the process began, since the Unix epoch.", |at| at.started_s;
    clock: Gauge "s" "What the machine's clock shows, since the Unix epoch.", |at| at.clock_s;
    processor: Counter "s" "Processor time that the process has used.", |at| at.processor_s;
    resident_memory: Gauge "By" "Memory that the process has.", |at| at.resident_bytes as f64;
    memory_limit: Gauge "By" "Memory that it may have, by its control group or because the machine has no more.", |at| at.memory_bytes_max as f64;
    open_files: Gauge "" "Files and sockets that are open.", |at| at.open_files as f64;
    open_files_max: Gauge "" "How many may be.", |at| at.open_files_max as f64;
    threads: Gauge "" "Threads of the process.", |at| at.threads as f64;
};

pub const DISK: &[Instrument<MachineSnapshot>] = instruments! {
    size: Gauge "By" "The size of the disk that the data folder is on.", |at| at.disk_bytes as f64;
    free: Gauge "By" "What is left of it.", |at| at.disk_free_bytes as f64;
};

pub const CERTIFICATE: &[Instrument<MachineSnapshot>] = instruments! {
    expires: Gauge "s" ["certificate"; 8] "When a certificate of this process expires, since the Unix epoch.", |at| at.certificates.clone();
};

fn named<V: Copy, const N: usize>(names: [&'static str; N], values: [V; N]) -> Vec<([&'static str; 1], V)> {
    names.into_iter().map(|name| [name]).zip(values).collect()
}

fn of_groups<V>(
    groups: &[txlog::RaftSnapshot],
    value: impl Fn(&txlog::RaftSnapshot) -> V,
) -> Vec<(String, V)> {
    groups.iter().map(|raft| (raft.group.to_string(), value(raft))).collect()
}

fn of_replicas(
    groups: &[txlog::RaftSnapshot],
    value: impl Fn(&txlog::ReplicaSnapshot) -> Option<f64>,
) -> Vec<([String; 2], f64)> {
    let replicas = groups.iter().flat_map(|raft| raft.replicas.iter().map(|replica| (raft.group, replica)));
    replicas
        .filter_map(|(group, replica)| Some(([group.to_string(), replica.node.to_string()], value(replica)?)))
        .collect()
}

fn of_limits(used: &[limits::Use], value: impl Fn(&limits::Use) -> u64) -> Vec<([&'static str; 2], u64)> {
    let end = |used: &limits::Use| match used.end {
        End::Refuses => "refuses",
        End::Forgets => "forgets",
    };
    used.iter().map(|used| ([used.limit, end(used)], value(used))).collect()
}
