//! The table `[limits]`: every service's limits by the names of their groups, and how they must relate.
//!
//! A limit lives in the crate that enforces it. Where several enforce it together, it lives in one, and the others are
//! given its value here.

use archive::ArchiveLimits;
use auth::AuthLimits;
use data_sync::DataSyncLimits;
use deploy::PushLimits;
use directory::DirectoryLimits;
use egress::EgressLimits;
use fanout::FanoutLimits;
use files::FileLimits;
use gateway::{GatewayLimits, GrpcLimits, SyncLimits};
use limits::KIB;
use log_router::RouterLimits;
use log_streams::LogStreamLimits;
use mtls::TlsLimits;
use nodejs::NodeLimits;
use rpc::RpcLimits;
use runner::{ActionLimits, FunctionLimits};
use scheduler::ScheduleLimits;
use schema::SchemaLimits;
use search::SearchLimits;
use transaction::{CronLimits, RetryLimits, TransactionLimits};
use txlog::{LogLimits, StoreLimits};
use value::ValueLimits;

limits::group! {
    health:
    /// When a process counts as alive, and how long it takes to end.
    pub struct HealthLimits {
        /// A process that runs no task, or whose disk takes no write of the log, for longer is not live: it is no use to anybody, and
        /// another start may help. Disks of clouds are known to hang for some seconds.
        stall_ms_max: u64 = 30_000,
        /// How often the process shows that it runs its tasks.
        beat_ms: u64 = 1_000,
        /// Time for services to end when the process stops. Then it ends without those that have not: calls may wait for a log
        /// that nobody leads.
        stop_ms_max: u64 = 20_000,
    }
}

limits::group! {
    monitoring:
    /// The port that operators and orchestrators ask, of one process.
    pub struct MonitoringLimits {
        /// Connections; more of them wait to be accepted.
        connections_max: usize = 1_000,
        /// Time for the head of a request to arrive, and the pause since the last one of the connection, which is then closed.
        head_ms_max: u64 = 60_000,
        /// A connection whose client takes nothing of what is sent to it for so long is ended.
        write_stall_ms_max: u64 = 60_000,
    }
}

limits::group! {
    telemetry:
    /// What traces may cost.
    pub struct TelemetryLimits {
        /// Traces a second that callers may ask for by a sampled `traceparent`, beside those that the server chooses itself: anybody
        /// can write the header, and a recorded span costs more than a small query.
        asked_per_second_max: u64 = 100,
        /// Spans that wait to be sent. More are dropped, which the log says once.
        spans_queued_max: usize = 8_192,
        /// A collector that takes no spans for longer loses them.
        export_ms_max: u64 = 10_000,
    }
}

/// Caches that make room for all their entries from the start hold at most as many.
const KEPT_MAX: usize = 1 << 20;

/// Each thread for JavaScript is one of the system's, with a stack and isolates of its own, from the start.
const THREADS_MAX: usize = 1_024;

/// Returns the sentence from `broken_relation` unless the condition holds.
macro_rules! require {
    ($condition:expr, $sentence:expr) => {
        if !($condition) {
            return Some($sentence);
        }
    };
}

/// All groups of limits, as the configuration file's `[limits]` table names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub value: ValueLimits,
    pub schema: SchemaLimits,
    pub transaction: TransactionLimits,
    pub function: FunctionLimits,
    pub action: ActionLimits,
    pub retry: RetryLimits,
    pub log: LogLimits,
    pub store: StoreLimits,
    pub rpc: RpcLimits,
    pub router: RouterLimits,
    pub tls: TlsLimits,
    pub fanout: FanoutLimits,
    pub sync: SyncLimits,
    pub gateway: GatewayLimits,
    pub grpc: GrpcLimits,
    pub push: PushLimits,
    pub auth: AuthLimits,
    pub egress: EgressLimits,
    pub schedule: ScheduleLimits,
    pub search: SearchLimits,
    pub cron: CronLimits,
    pub files: FileLimits,
    pub archive: ArchiveLimits,
    pub node: NodeLimits,
    pub health: HealthLimits,
    pub monitoring: MonitoringLimits,
    pub telemetry: TelemetryLimits,
    pub directory: DirectoryLimits,
    pub data_sync: DataSyncLimits,
    pub log_streams: LogStreamLimits,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        value: ValueLimits::DEFAULT,
        schema: SchemaLimits::DEFAULT,
        transaction: TransactionLimits::DEFAULT,
        function: FunctionLimits::DEFAULT,
        action: ActionLimits::DEFAULT,
        retry: RetryLimits::DEFAULT,
        log: LogLimits::DEFAULT,
        store: StoreLimits::DEFAULT,
        rpc: RpcLimits::DEFAULT,
        router: RouterLimits::DEFAULT,
        tls: TlsLimits::DEFAULT,
        fanout: FanoutLimits::DEFAULT,
        sync: SyncLimits::DEFAULT,
        gateway: GatewayLimits::DEFAULT,
        grpc: GrpcLimits::DEFAULT,
        push: PushLimits::DEFAULT,
        auth: AuthLimits::DEFAULT,
        egress: EgressLimits::DEFAULT,
        schedule: ScheduleLimits::DEFAULT,
        search: SearchLimits::DEFAULT,
        cron: CronLimits::DEFAULT,
        files: FileLimits::DEFAULT,
        archive: ArchiveLimits::DEFAULT,
        node: NodeLimits::DEFAULT,
        health: HealthLimits::DEFAULT,
        monitoring: MonitoringLimits::DEFAULT,
        telemetry: TelemetryLimits::DEFAULT,
        directory: DirectoryLimits::DEFAULT,
        data_sync: DataSyncLimits::DEFAULT,
        log_streams: LogStreamLimits::DEFAULT,
    };

    /// What transactions are held to, wherever they run.
    pub const fn of_transactions(&self) -> transaction::Limits {
        transaction::Limits {
            value: self.value,
            schema: self.schema,
            transaction: self.transaction,
            retry: self.retry,
            cron: self.cron,
            prefetch_documents: self.function.prefetch_documents,
        }
    }

    pub const fn of_runner(&self) -> runner::Limits {
        runner::Limits {
            function: self.function,
            action: self.action,
            transaction: self.of_transactions(),
            function_log: runner::FunctionLogLimits {
                entries_max: self.gateway.log_entries_max,
                bytes_max: self.gateway.log_entries_bytes_max,
            },
            read_wait_ms_max: self.log.read_wait_ms_max,
        }
    }

    pub const fn of_deploy(&self) -> deploy::Limits {
        deploy::Limits { push: self.push, auth: self.auth, transaction: self.of_transactions() }
    }

    pub const fn of_gateway(&self) -> gateway::Limits {
        gateway::Limits {
            gateway: self.gateway,
            grpc: self.grpc,
            sync: self.sync,
            auth: self.auth,
            slot_wait_ms_max: self.function.slot_wait_ms_max,
            session_queries_max: self.fanout.session_queries_max,
            file_bytes_max: self.files.file_bytes_max,
            http_request_bytes_max: self.action.http_request_bytes_max,
        }
    }

    /// The first relation between limits which does not hold, as a sentence for the operator.
    pub const fn broken_relation(&self) -> Option<&'static str> {
        let (value, transaction, log) = (&self.value, &self.transaction, &self.log);
        let no_limits = [
            value.no_limit(),
            self.schema.no_limit(),
            transaction.no_limit(),
            self.function.no_limit(),
            self.action.no_limit(),
            self.retry.no_limit(),
            log.no_limit(),
            self.store.no_limit(),
            self.rpc.no_limit(),
            self.router.no_limit(),
            self.tls.no_limit(),
            self.fanout.no_limit(),
            self.sync.no_limit(),
            self.gateway.no_limit(),
            self.grpc.no_limit(),
            self.push.no_limit(),
            self.auth.no_limit(),
            self.egress.no_limit(),
            self.schedule.no_limit(),
            self.search.no_limit(),
            self.cron.no_limit(),
            self.files.no_limit(),
            self.archive.no_limit(),
            self.node.no_limit(),
            self.health.no_limit(),
            self.monitoring.no_limit(),
            self.telemetry.no_limit(),
            self.directory.no_limit(),
            self.data_sync.no_limit(),
            self.log_streams.no_limit(),
        ];
        let mut group = 0;
        while group < no_limits.len() {
            if no_limits[group].is_some() {
                return no_limits[group];
            }
            group += 1;
        }
        require!(
            value.document_nesting_max <= value::VALUE_NESTING_MAX,
            "value.document_nesting_max must be at most 64"
        );
        require!(
            value.document_bytes_max <= value.value_bytes_max,
            "value.document_bytes_max must be at most value.value_bytes_max"
        );
        require!(
            value.document_bytes_max <= transaction.written_bytes_max
                && value.document_bytes_max <= transaction.read_bytes_max,
            "a transaction must be able to read and write one document of value.document_bytes_max"
        );
        require!(
            self.function.arguments_bytes_max <= value.value_bytes_max
                && self.function.result_bytes_max <= value.value_bytes_max,
            "arguments and results must be at most value.value_bytes_max"
        );
        require!(
            log.batch_bytes_max <= log.single_entry_bytes_max
                && log.staged_entry_bytes_max <= log.single_entry_bytes_max,
            "log.batch_bytes_max and log.staged_entry_bytes_max must be at most log.single_entry_bytes_max"
        );
        require!(
            log.single_entry_bytes_max < self.rpc.message_bytes_max,
            "rpc.message_bytes_max must hold one entry and its envelope"
        );
        require!(
            transaction.written_bytes_max < log.staged_bytes_max
                && transaction.system_written_bytes_max < log.staged_bytes_max,
            "log.staged_bytes_max must hold the largest transaction"
        );
        require!(
            self.function.user_time_ms_max + self.function.system_time_ms_max < log.window_age_ms_min,
            "log.window_age_ms_min must be longer than one run of a function, or every slow mutation conflicts"
        );
        require!(
            self.function.turn_wait_ms_max < self.retry.conflict_retry_ms_max,
            "function.turn_wait_ms_max must be below retry.conflict_retry_ms_max, or what has waited is not run again"
        );
        require!(
            log.window_age_ms_min <= log.retention_ms_min,
            "log.retention_ms_min must be at least log.window_age_ms_min"
        );
        require!(
            self.retry.conflict_retry_ms_max < log.commit_record_age_ms
                && self.retry.lookup_ms_max < log.commit_record_age_ms,
            "log.commit_record_age_ms must be longer than a mutation is retried and its outcome looked up"
        );
        require!(
            self.store.heartbeat_ms < self.store.election_ms_min
                && self.store.election_ms_min < self.store.election_ms_max,
            "store.heartbeat_ms, store.election_ms_min and store.election_ms_max must grow in this order"
        );
        require!(
            self.store.raft_append_bytes_max.saturating_add(log.single_entry_bytes_max.saturating_mul(2))
                < self.store.raft_message_bytes_max
                && self.store.snapshot_piece_bytes_max < self.store.raft_message_bytes_max,
            "store.raft_message_bytes_max must hold store.raft_append_bytes_max and twice log.single_entry_bytes_max, and store.snapshot_piece_bytes_max"
        );
        require!(
            self.function.long_call_niceness <= 19,
            "function.long_call_niceness must be at most 19: the system knows no more"
        );
        require!(
            log.stream_heartbeat_ms < self.fanout.stream_silence_ms_max,
            "fanout.stream_silence_ms_max must be longer than log.stream_heartbeat_ms"
        );
        require!(
            log.stream_heartbeat_ms < self.schedule.stream_silence_ms_max,
            "schedule.stream_silence_ms_max must be longer than log.stream_heartbeat_ms"
        );
        require!(
            log.stream_heartbeat_ms < self.search.stream_silence_ms_max,
            "search.stream_silence_ms_max must be longer than log.stream_heartbeat_ms"
        );
        require!(
            log.retention_ms_min <= self.search.retention_ms,
            "search.retention_ms must be at least log.retention_ms_min, or transactions can't search at moments that they can read"
        );
        require!(
            self.schedule.conflict_pause_ms_min <= self.schedule.conflict_pause_ms_max
                && self.schedule.failure_pause_ms_min <= self.schedule.failure_pause_ms_max,
            "the shortest pauses of schedule must be at most the longest"
        );
        require!(
            self.schedule.results_removed_max <= transaction.system_written_documents_max,
            "schedule.results_removed_max must be at most transaction.system_written_documents_max"
        );
        require!(
            transaction.scheduled_arguments_bytes_max < value.value_bytes_max
                && value.value_bytes_max.saturating_mul(3) <= transaction.system_written_bytes_max,
            "transaction.scheduled_arguments_bytes_max must be below value.value_bytes_max, which must be at most a third of transaction.system_written_bytes_max: a job is written when it is scheduled, and again when it has run"
        );
        require!(
            transaction.scheduled_functions_max.saturating_mul(2) <= transaction.system_written_documents_max,
            "transaction.system_written_documents_max must hold twice transaction.scheduled_functions_max"
        );
        require!(
            log.batch_commits_max <= log.commits_queued_max,
            "log.batch_commits_max must be at most log.commits_queued_max"
        );
        require!(
            self.gateway.requests_in_flight_max.saturating_add(self.sync.mutations_in_flight_max)
                <= log.commits_queued_max,
            "log.commits_queued_max must hold gateway.requests_in_flight_max and sync.mutations_in_flight_max, or one deployment could fill it"
        );
        require!(
            log.batches_in_flight_max.saturating_mul(log.batch_bytes_max) <= log.stream_buffer_bytes_max,
            "log.stream_buffer_bytes_max must hold log.batches_in_flight_max of log.batch_bytes_max"
        );
        require!(
            self.retry.not_ready_backoff_ms_min <= self.retry.not_ready_backoff_ms_max,
            "retry.not_ready_backoff_ms_min must be at most retry.not_ready_backoff_ms_max"
        );
        require!(
            self.fanout.query_retry_ms_min <= self.fanout.query_retry_ms_max,
            "fanout.query_retry_ms_min must be at most fanout.query_retry_ms_max"
        );
        require!(
            self.archive.deployment_share_percent <= 100
                && self.fanout.deployment_share_percent <= 100
                && self.gateway.deployment_share_percent <= 100
                && self.log.deployment_share_percent <= 100
                && self.schedule.deployment_share_percent <= 100
                && self.function.deployment_threads_percent <= 100,
            "archive.deployment_share_percent, fanout.deployment_share_percent, gateway.deployment_share_percent, log.deployment_share_percent, schedule.deployment_share_percent and function.deployment_threads_percent must be at most 100"
        );
        require!(
            self.sync.close_reason_bytes_max <= 123,
            "sync.close_reason_bytes_max must be at most 123, as the WebSocket standard has it"
        );
        require!(
            self.function.log_lines_max >= 2,
            "function.log_lines_max must be at least 2: one line and the notice"
        );
        require!(
            self.function.observed_time_cache_ms_max >= self.function.system_time_ms_max,
            "function.observed_time_cache_ms_max must be at least function.system_time_ms_max"
        );
        require!(self.function.threads <= THREADS_MAX, "function.threads must be at most 1024");
        require!(
            self.function.heap_bytes_max as u64 <= isolate::Engine::HEAP_BYTES_MAX,
            "function.heap_bytes_max must be at most 512 MiB"
        );
        require!(
            transaction.page_items_split <= value::ARRAY_LENGTH_MAX,
            "transaction.page_items_split must be at most 8192"
        );
        require!(
            self.schema.table_search_indexes_max.saturating_add(self.schema.table_vector_indexes_max)
                <= self.schema.table_indexes_max,
            "schema.table_indexes_max must hold all text and vector indexes"
        );
        require!(
            self.schema.vector_dimensions_min <= self.schema.vector_dimensions_max
                && self.schema.vector_dimensions_max <= value::ARRAY_LENGTH_MAX,
            "schema.vector_dimensions_min must be at most schema.vector_dimensions_max, and that at most 8192"
        );
        require!(
            self.schema.validator_nesting_max.saturating_add(4) <= value::VALUE_NESTING_MAX,
            "schema.validator_nesting_max must be at most 60: validators are shown within values, which nest 64 levels"
        );
        require!(
            self.push.functions_max <= value::ARRAY_LENGTH_MAX,
            "push.functions_max must be at most 8192: all functions are shown in one array"
        );
        require!(
            self.gateway.long_poll_ms_max < self.gateway.request_ms_max
                && self.gateway.body_ms_max < self.gateway.request_ms_max
                && self.gateway.push_body_ms_max < self.gateway.request_ms_max,
            "gateway.request_ms_max must be longer than gateway.long_poll_ms_max, body_ms_max and push_body_ms_max"
        );
        require!(
            self.gateway.last_request_ms < self.gateway.shutdown_ms_max
                && self.gateway.shutdown_ms_max < self.health.stop_ms_max,
            "gateway.last_request_ms, gateway.shutdown_ms_max and health.stop_ms_max must grow in this order, or the process ends before its requests have"
        );
        require!(
            self.sync.ping_interval_ms < self.sync.client_silence_ms_max,
            "sync.client_silence_ms_max must be longer than sync.ping_interval_ms"
        );
        require!(
            self.sync.heartbeat_ms < 30_000,
            "sync.heartbeat_ms must be below 30 s, when the shortest-tempered client reconnects"
        );
        require!(
            self.function.arguments_bytes_max <= self.sync.message_bytes_max
                && self.function.arguments_bytes_max <= self.gateway.api_body_bytes_max,
            "the largest arguments must fit into a message and into a request"
        );
        require!(
            self.grpc.batch_queries_max <= self.gateway.share_of(self.gateway.requests_in_flight_max),
            "grpc.batch_queries_max must be at most gateway.deployment_share_percent of gateway.requests_in_flight_max: each query takes a place"
        );
        require!(
            self.function.result_bytes_max <= self.grpc.batch_bytes_max,
            "grpc.batch_bytes_max must hold one result of function.result_bytes_max"
        );
        require!(
            self.gateway.api_body_bytes_max <= self.gateway.share_of(self.gateway.bodies_bytes_max),
            "gateway.deployment_share_percent of gateway.bodies_bytes_max must hold one body of gateway.api_body_bytes_max"
        );
        require!(
            self.gateway.push_decompressed_bytes_max
                <= self.gateway.share_of(self.gateway.push_bodies_bytes_max),
            "gateway.deployment_share_percent of gateway.push_bodies_bytes_max must hold one body of gateway.push_decompressed_bytes_max"
        );
        require!(
            self.function.image_names_max <= KEPT_MAX
                && self.function.module_analyses_max <= KEPT_MAX
                && self.function.source_maps_max <= KEPT_MAX,
            "function.image_names_max, module_analyses_max and source_maps_max must be at most 1048576"
        );
        require!(
            self.retry.session_record_age_ms > log.commit_record_age_ms
                && self.retry.session_record_age_ms
                    > self.sync.client_silence_ms_max + self.sync.mutation_ms_max,
            "retry.session_record_age_ms must be longer than any client repeats a request"
        );
        require!(
            self.retry.session_records_removed_max <= transaction.system_written_documents_max,
            "retry.session_records_removed_max must be at most transaction.system_written_documents_max"
        );
        require!(
            self.auth.token_bytes_max < self.gateway.head_bytes_max,
            "gateway.head_bytes_max must hold a token of auth.token_bytes_max"
        );
        require!(
            self.auth.fresh_ms_min <= self.auth.fresh_ms
                && self.auth.fresh_ms <= self.auth.fresh_ms_max
                && self.auth.fresh_ms_max <= self.auth.stale_ms_max,
            "auth.fresh_ms_min, fresh_ms, fresh_ms_max and stale_ms_max must grow in this order"
        );
        require!(
            self.auth.retry_ms_min <= self.auth.retry_ms_max,
            "auth.retry_ms_min must be at most auth.retry_ms_max"
        );
        require!(
            self.auth.fetch_ms_max.saturating_mul(4) < self.gateway.request_ms_max,
            "gateway.request_ms_max must be longer than four times auth.fetch_ms_max: a token may need so many documents"
        );
        require!(
            self.gateway.upload_stall_ms_max <= self.gateway.upload_ms_max
                && self.gateway.upload_ms_max < self.files.grace_ms,
            "files.grace_ms must be longer than gateway.upload_ms_max, and that than gateway.upload_stall_ms_max, or uploads lose their bytes"
        );
        require!(
            self.log.held_ms_max < self.files.grace_ms,
            "files.grace_ms must be longer than log.held_ms_max, or exports lose the bytes of files that are deleted meanwhile"
        );
        require!(
            self.files.swept_max <= transaction.system_written_documents_max,
            "files.swept_max must be at most transaction.system_written_documents_max"
        );
        require!(
            self.archive.batch_documents_max < transaction.written_documents_max
                && self.archive.batch_bytes_max.saturating_add(value.document_bytes_max)
                    < transaction.written_bytes_max
                && self.archive.removed_max < transaction.written_documents_max
                && self.archive.removed_max < transaction.system_written_documents_max,
            "a transaction must be able to write archive.batch_documents_max, archive.batch_bytes_max and one document more, and to delete archive.removed_max"
        );
        require!(
            value.document_bytes_max <= self.archive.line_bytes_max,
            "archive.line_bytes_max must hold a document of value.document_bytes_max"
        );
        require!(
            self.archive.beat_ms.saturating_mul(3) <= self.archive.lease_ms,
            "archive.lease_ms must be at least three times archive.beat_ms: a process that misses a sign is still there"
        );
        require!(
            self.directory.removed_documents_max <= transaction.system_written_documents_max
                && self.directory.removed_documents_max <= transaction.written_documents_max,
            "a transaction must be able to delete directory.removed_documents_max"
        );
        require!(
            self.files.content_type_bytes_max < self.gateway.head_bytes_max,
            "gateway.head_bytes_max must hold a media type of files.content_type_bytes_max"
        );
        require!(
            self.node.install_ms_max.saturating_mul(2).saturating_add(self.node.analysis_ms_max)
                < self.gateway.request_ms_max,
            "gateway.request_ms_max must be longer than twice node.install_ms_max and node.analysis_ms_max: a push is one request"
        );
        require!(
            self.node.result_bytes_max < self.node.frame_bytes_max
                && self.node.arguments_bytes_max < self.node.frame_bytes_max,
            "node.frame_bytes_max must hold node.arguments_bytes_max and node.result_bytes_max"
        );
        require!(
            self.node.rest_memory_bytes_max <= self.node.memory_bytes_max,
            "node.rest_memory_bytes_max must be at most node.memory_bytes_max"
        );
        require!(self.node.deployment_percent <= 100, "node.deployment_percent must be at most 100");
        require!(
            self.health.beat_ms < self.health.stall_ms_max,
            "health.stall_ms_max must be longer than health.beat_ms"
        );
        require!(self.gateway.head_bytes_max >= 8 * KIB, "gateway.head_bytes_max must be at least 8 KiB");
        require!(
            self.push.modules_bytes_max <= self.gateway.push_decompressed_bytes_max,
            "the largest set of modules must fit into a decompressed request"
        );
        None
    }

    /// The same of limits that count only where there are several processes.
    pub const fn broken_relation_between_processes(&self) -> Option<&'static str> {
        let (transaction, log) = (&self.transaction, &self.log);
        require!(
            log.read_page_bytes_max < self.rpc.message_bytes_max
                && self.rpc.piece_bytes_max.saturating_mul(2) <= self.rpc.message_bytes_max,
            "rpc.message_bytes_max must be above log.read_page_bytes_max and twice rpc.piece_bytes_max"
        );
        require!(
            transaction.written_bytes_max < self.rpc.calls_bytes_max,
            "rpc.calls_bytes_max must hold the largest transaction"
        );
        require!(
            self.sync.message_bytes_max <= self.rpc.calls_bytes_max,
            "rpc.calls_bytes_max must hold what a client says at once, sync.message_bytes_max"
        );
        require!(
            log.read_wait_ms_max < self.rpc.call_ms_max,
            "rpc.call_ms_max must be longer than log.read_wait_ms_max"
        );
        require!(
            self.rpc.call_ms_max.saturating_add(self.retry.lookup_ms_max) < log.commit_record_age_ms,
            "log.commit_record_age_ms must be longer than rpc.call_ms_max and retry.lookup_ms_max together: a commit whose call had no answer is looked up"
        );
        let grace_ms = self.tls.connection_grace_ms_max;
        require!(
            self.rpc.line_ms_max.saturating_add(self.rpc.long_call_ms_max) <= grace_ms
                && self.gateway.upload_ms_max.saturating_add(self.rpc.upload_end_ms_max) <= grace_ms
                && log.held_ms_max.saturating_add(self.rpc.upload_end_ms_max) <= grace_ms,
            "tls.connection_grace_ms_max must be at least rpc.line_ms_max and rpc.long_call_ms_max together, and gateway.upload_ms_max or log.held_ms_max with rpc.upload_end_ms_max: what is under way on an old connection comes to its end"
        );
        require!(
            self.function.slot_wait_ms_max
                + self.function.user_time_ms_max
                + self.function.system_time_ms_max
                + self.retry.conflict_retry_ms_max
                + self.retry.lookup_ms_max
                < self.rpc.function_call_ms_max,
            "rpc.function_call_ms_max must be longer than a call waits for an isolate, runs, is run again and is looked up"
        );
        require!(
            self.action.time_ms_max + self.action.wait_ms_max < self.rpc.long_call_ms_max,
            "rpc.long_call_ms_max must be longer than action.time_ms_max and action.wait_ms_max"
        );
        require!(
            self.action.claim_renewal_ms.saturating_mul(3) <= self.action.claim_lease_ms,
            "action.claim_lease_ms must be at least three times action.claim_renewal_ms: a process that misses a renewal is still there"
        );
        require!(
            self.gateway.log_entries_bytes_max < self.rpc.long_calls_bytes_max,
            "rpc.long_calls_bytes_max must hold gateway.log_entries_bytes_max"
        );
        require!(
            self.gateway.request_ms_max < self.rpc.push_ms_max
                && self.gateway.push_decompressed_bytes_max < self.rpc.pushes_bytes_max,
            "rpc.push_ms_max must be longer than gateway.request_ms_max, and rpc.pushes_bytes_max hold gateway.push_decompressed_bytes_max: a push is one request"
        );
        require!(
            2 * self.store.election_ms_max < self.router.leader_wait_ms_max
                && log.read_wait_ms_max < self.router.leader_wait_ms_max,
            "router.leader_wait_ms_max must be longer than an election, twice store.election_ms_max, and than log.read_wait_ms_max"
        );
        require!(
            log.read_wait_ms_max <= self.router.stream_silence_ms_max,
            "router.stream_silence_ms_max must not be shorter than log.read_wait_ms_max"
        );
        require!(
            log.stream_heartbeat_ms < self.router.stream_silence_ms_max
                && self.router.stream_silence_ms_max < self.fanout.stream_silence_ms_max,
            "router.stream_silence_ms_max must be longer than log.stream_heartbeat_ms, and shorter than fanout.stream_silence_ms_max: a stream goes on elsewhere before its sessions stand still"
        );
        require!(
            self.router.rest_ms_min <= self.router.rest_ms_max,
            "router.rest_ms_min must be at most router.rest_ms_max"
        );
        None
    }
}

const _: () = assert!(Limits::DEFAULT.broken_relation().is_none());
const _: () = assert!(Limits::DEFAULT.broken_relation_between_processes().is_none());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_changes_one_limit_and_keeps_the_others() {
        let limits: Limits = toml::from_str("[value]\ndocument_bytes_max = 2_097_152\n").expect("valid");
        assert_eq!(limits.value.document_bytes_max, 2 << 20);
        assert_eq!(limits.transaction, TransactionLimits::DEFAULT);
        assert_eq!(limits.broken_relation(), None);
    }

    #[test]
    fn an_unknown_limit_is_refused_by_name() {
        let error =
            toml::from_str::<Limits>("[value]\ndocument_byte_max = 1\n").expect_err("misspelt").to_string();
        assert!(error.contains("document_byte_max"), "{error}");
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_name() {
        let limits: Limits = toml::from_str("[fanout]\nsession_commands_max = 0\n").expect("it can be read");
        assert_eq!(limits.broken_relation(), Some("fanout.session_commands_max must be at least 1"));
        let limits: Limits =
            toml::from_str("[sync]\nconnections_max = 9223372036854775807\n").expect("it can be read");
        let sentence = limits.broken_relation().expect("it is refused");
        assert!(sentence.starts_with("sync.connections_max must be at most"), "{sentence}");
        let threads: Limits = toml::from_str("[function]\nthreads = 100000\n").expect("it can be read");
        assert_eq!(threads.broken_relation(), Some("function.threads must be at most 1024"));
        let automatic: Limits = toml::from_str("[function]\nthreads = 0\n").expect("it can be read");
        assert_eq!(automatic.broken_relation(), None, "its default is 0 as well");
    }

    #[test]
    fn limits_that_contradict_each_other_are_named() {
        let mut limits = Limits::DEFAULT;
        limits.value.document_bytes_max = limits.transaction.written_bytes_max + 1;
        assert!(limits.broken_relation().is_some_and(|sentence| sentence.contains("document_bytes_max")));
    }

    #[test]
    fn a_niceness_that_no_thread_can_have_is_refused() {
        let limits: Limits = toml::from_str("[function]\nlong_call_niceness = 20\n").expect("it can be read");
        let sentence = limits.broken_relation().expect("it is refused");
        assert!(sentence.contains("function.long_call_niceness"), "{sentence}");
    }

    #[test]
    fn limits_between_processes_count_only_there() {
        let mut limits = Limits::DEFAULT;
        limits.rpc.function_call_ms_max = limits.function.user_time_ms_max;
        assert_eq!(limits.broken_relation(), None);
        let sentence = limits.broken_relation_between_processes().expect("it is refused");
        assert!(sentence.contains("rpc.function_call_ms_max"), "{sentence}");
    }

    #[test]
    fn times_of_which_one_ends_before_the_other_are_compared() {
        let mut limits = Limits::DEFAULT;
        limits.gateway.shutdown_ms_max = limits.health.stop_ms_max;
        let sentence = limits.broken_relation().expect("requests would be cut off");
        assert!(sentence.contains("health.stop_ms_max"), "{sentence}");
        let mut limits = Limits::DEFAULT;
        limits.search.retention_ms = limits.log.retention_ms_min - 1;
        let sentence = limits.broken_relation().expect("searches would fail");
        assert!(sentence.contains("search.retention_ms"), "{sentence}");
        let mut limits = Limits::DEFAULT;
        limits.gateway.last_request_ms = limits.gateway.shutdown_ms_max;
        assert!(
            limits.broken_relation().is_some_and(|sentence| sentence.contains("gateway.last_request_ms"))
        );
        let mut limits = Limits::DEFAULT;
        limits.rpc.call_ms_max = limits.log.commit_record_age_ms - limits.retry.lookup_ms_max;
        assert_eq!(limits.broken_relation(), None);
        let sentence = limits.broken_relation_between_processes().expect("a record would end too early");
        assert!(sentence.contains("retry.lookup_ms_max"), "{sentence}");
        let mut limits = Limits::DEFAULT;
        limits.tls.connection_grace_ms_max = limits.log.held_ms_max;
        let sentence = limits.broken_relation_between_processes().expect("an export would be cut");
        assert!(sentence.contains("tls.connection_grace_ms_max"), "{sentence}");
    }

    /// Limits of one thing (a value, a message, a transaction, a session, a process, a step of work) or of a cache that has a metric of its
    /// own or too little in it to matter: nothing of them is used by all together.
    const OF_ONE_THING: &[&str] = &[
        "auth.",
        "cron.",
        "egress.",
        "push.",
        "retry.",
        "schema.",
        "transaction.",
        "value.",
        // Calls between processes; in one process there are none.
        "rpc.",
        "tls.",
        "grpc.streams_per_connection_max",
        "grpc.probes_in_flight_max",
        "grpc.batch_queries_max",
        "grpc.batch_bytes_max",
        "node.children_max",
        "node.arguments_bytes_max",
        "node.result_bytes_max",
        "node.frame_bytes_max",
        "node.operations_max",
        "node.log_lines_max",
        "node.log_line_chars_max",
        "node.stack_frames_max",
        "node.code_folders_max",
        "node.packages_bytes_max",
        "node.packages_max",
        "node.npm_output_bytes_max",
        "node.memory_bytes_max",
        "node.rest_memory_bytes_max",
        "fanout.transitions_unsent_max",
        "fanout.session_queries_max",
        "fanout.session_commands_max",
        "fanout.openings_waiting_max",
        "fanout.stream_events_waiting_max",
        "fanout.recent_commit_bytes_max",
        "fanout.unlistened_bytes_max",
        "fanout.events_taken_max",
        "directory.",
        "archive.parts_max",
        "archive.part_bytes_max",
        "archive.array_bytes_max",
        "archive.line_bytes_max",
        "archive.entries_max",
        "archive.directory_bytes_max",
        "archive.unpacked_factor_max",
        "archive.tables_max",
        "archive.ids_held_max",
        "archive.files_max",
        "archive.replaced_files_max",
        "archive.key_fields_max",
        "archive.batch_documents_max",
        "archive.batch_bytes_max",
        "archive.attempts_max",
        "archive.removed_max",
        "function.long_call_niceness",
        "files.file_bytes_max",
        "files.content_type_bytes_max",
        "files.swept_max",
        "files.sweeps_in_flight_max",
        "gateway.api_body_bytes_max",
        "gateway.small_body_bytes_max",
        "gateway.push_body_bytes_max",
        "gateway.push_decompressed_bytes_max",
        "gateway.other_body_bytes_max",
        "gateway.sync_body_bytes_max",
        "gateway.echo_body_bytes_max",
        "gateway.head_bytes_max",
        // Of each deployment.
        "gateway.log_entries_max",
        "gateway.log_entries_bytes_max",
        "sync.message_bytes_max",
        "sync.transition_chunk_bytes_max",
        "sync.pending_mutations_max",
        "sync.actions_in_flight_max",
        "sync.outcomes_waiting_max",
        "sync.close_reason_bytes_max",
        "function.arguments_bytes_max",
        "function.result_bytes_max",
        "function.heap_bytes_max",
        "function.host_calls_in_flight_max",
        "function.prefetch_documents",
        "function.log_lines_max",
        "function.log_line_chars_max",
        "function.threads",
        "function.short_calls_max",
        "function.thread_slots_max",
        "function.catalogs_bytes_max",
        "function.image_names_max",
        "function.module_analyses_max",
        "function.source_maps_max",
        "function.import_memory_bytes_max",
        "function.compile_memory_bytes_max",
        "function.bytecode_bytes_max",
        "action.calls_in_flight_max",
        "action.http_request_bytes_max",
        "action.http_response_bytes_max",
        "action.call_depth_max",
        "search.text_memory_bytes_max",
        "search.prefix_terms_visited_max",
        "search.vectors_plain_bytes_max",
        "search.vectors_expansion",
        "search.builds_max",
        "search.documents_read_max",
        "search.bytes_read_max",
        "search.commits_taken_max",
        "schedule.entries_known_max",
        "schedule.results_removed_max",
        "schedule.jobs_cancelled_max",
        "log.batch_bytes_max",
        "log.batch_commits_max",
        "log.batches_in_flight_max",
        "log.staged_entry_bytes_max",
        "log.single_entry_bytes_max",
        "log.read_page_documents_max",
        "log.read_page_bytes_max",
        "log.stream_buffer_commits_max",
        "log.stream_commits_taken_max",
        "log.backfill_keys_max",
        "store.",
        "telemetry.",
        // Not clients', and who tells of it would be asked there.
        "monitoring.",
        "data_sync.",
        "log_streams.",
    ];

    #[test]
    fn each_limit_that_all_share_is_told_how_much_of_it_is_used() {
        let all: Vec<&str> = [
            ValueLimits::NAMES,
            SchemaLimits::NAMES,
            TransactionLimits::NAMES,
            FunctionLimits::NAMES,
            ActionLimits::NAMES,
            RetryLimits::NAMES,
            LogLimits::NAMES,
            StoreLimits::NAMES,
            RpcLimits::NAMES,
            RouterLimits::NAMES,
            TlsLimits::NAMES,
            GrpcLimits::NAMES,
            FanoutLimits::NAMES,
            SyncLimits::NAMES,
            GatewayLimits::NAMES,
            PushLimits::NAMES,
            AuthLimits::NAMES,
            EgressLimits::NAMES,
            ScheduleLimits::NAMES,
            SearchLimits::NAMES,
            CronLimits::NAMES,
            FileLimits::NAMES,
            ArchiveLimits::NAMES,
            NodeLimits::NAMES,
            DirectoryLimits::NAMES,
            HealthLimits::NAMES,
            MonitoringLimits::NAMES,
            TelemetryLimits::NAMES,
            DataSyncLimits::NAMES,
            LogStreamLimits::NAMES,
        ]
        .concat();
        let reference = include_str!("../../../docs/reference/metrics.md");
        let line = reference.lines().find_map(|line| line.strip_prefix("Limits whose use is told: "));
        let told: Vec<&str> = line.expect("they are listed").split('`').skip(1).step_by(2).collect();
        for limit in &told {
            assert!(all.contains(limit), "{limit} is no limit");
        }
        for limit in all {
            let is_time_or_share =
                ["_ms", "_ms_max", "_percent", "_min", "_seconds"].iter().any(|end| limit.ends_with(end));
            let of = |known: &&&str| limit == **known || (known.ends_with('.') && limit.starts_with(**known));
            let is_of_one_thing = is_time_or_share || OF_ONE_THING.iter().any(|known| of(&known));
            assert!(
                told.contains(&limit) != is_of_one_thing,
                "{limit} must be told or stand in the list of those that are of one thing"
            );
        }
    }
}
