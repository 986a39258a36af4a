//! Every limit of the system by name, with its reason and its default.
//!
//! Two kinds: what the data format fixes is a constant (a stored document must stay readable whatever the
//! configuration says); what an operator may change is a field of one of the groups in [`Limits`], which the
//! configuration file fills in by the same names. Names end in their unit: `_bytes_max`, `_ms_max`, `_max` (a
//! count). Where a limit has an error code, its documentation names it.
//!
//! Limits that only make sense together are checked by [`Limits::broken_relation`]: for the defaults when this crate
//! is compiled, for a configuration when the process starts.

#[macro_use]
mod group;
mod fanout;
mod function;
mod gateway;
mod log;
mod push;
mod retry;
mod rpc;
mod store;
mod sync;
mod transaction;
mod value;

pub use fanout::FanoutLimits;
pub use function::FunctionLimits;
pub use gateway::GatewayLimits;
pub use log::LogLimits;
pub use push::{PushLimits, SchemaLimits, VALIDATOR_COMPARISONS_MAX};
pub use retry::RetryLimits;
pub use rpc::RpcLimits;
pub use store::StoreLimits;
pub use sync::SyncLimits;
pub use transaction::TransactionLimits;
pub use value::{
    ARRAY_LENGTH_MAX, FIELD_NAME_CHARS_MAX, IDENTIFIER_CHARS_MAX, OBJECT_FIELDS_MAX, VALUE_NESTING_MAX,
    ValueLimits,
};

/// Bytes in a kibibyte.
pub const KIB: usize = 1 << 10;
/// Bytes in a mebibyte.
pub const MIB: usize = 1 << 20;

/// All groups of limits, as the configuration file's `[limits]` table names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub value: ValueLimits,
    pub schema: SchemaLimits,
    pub transaction: TransactionLimits,
    pub function: FunctionLimits,
    pub retry: RetryLimits,
    pub log: LogLimits,
    pub store: StoreLimits,
    pub rpc: RpcLimits,
    pub fanout: FanoutLimits,
    pub sync: SyncLimits,
    pub gateway: GatewayLimits,
    pub push: PushLimits,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        value: ValueLimits::DEFAULT,
        schema: SchemaLimits::DEFAULT,
        transaction: TransactionLimits::DEFAULT,
        function: FunctionLimits::DEFAULT,
        retry: RetryLimits::DEFAULT,
        log: LogLimits::DEFAULT,
        store: StoreLimits::DEFAULT,
        rpc: RpcLimits::DEFAULT,
        fanout: FanoutLimits::DEFAULT,
        sync: SyncLimits::DEFAULT,
        gateway: GatewayLimits::DEFAULT,
        push: PushLimits::DEFAULT,
    };

    /// The first relation between limits which does not hold, as a sentence for the operator.
    pub const fn broken_relation(&self) -> Option<&'static str> {
        let (value, transaction, log) = (&self.value, &self.transaction, &self.log);
        require!(
            value.document_nesting_max <= VALUE_NESTING_MAX,
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
            log.batch_bytes_max > 0 && log.batches_in_flight_max > 0,
            "the log needs at least one batch in flight"
        );
        require!(
            log.single_entry_bytes_max < self.rpc.message_bytes_max,
            "rpc.message_bytes_max must hold one entry and its envelope"
        );
        require!(
            transaction.written_bytes_max < log.staged_bytes_max,
            "log.staged_bytes_max must hold the largest transaction"
        );
        require!(
            self.function.user_time_ms_max + self.function.system_time_ms_max < log.window_age_ms_min,
            "log.window_age_ms_min must be longer than one run of a function, or every slow mutation conflicts"
        );
        require!(
            log.window_age_ms_min <= log.retention_ms_min,
            "log.retention_ms_min must be at least log.window_age_ms_min"
        );
        require!(
            self.retry.conflict_retry_ms_max < log.commit_record_age_ms,
            "log.commit_record_age_ms must be longer than a mutation is retried"
        );
        require!(
            self.store.heartbeat_ms < self.store.election_ms_min
                && self.store.election_ms_min < self.store.election_ms_max,
            "store.heartbeat_ms, store.election_ms_min and store.election_ms_max must grow in this order"
        );
        require!(
            self.store.log_writes_queued_max > 0 && self.store.raft_messages_queued_max > 0,
            "store.log_writes_queued_max and store.raft_messages_queued_max must be at least 1"
        );
        require!(
            self.fanout.stream_heartbeat_ms < self.fanout.stream_silence_ms_max,
            "fanout.stream_silence_ms_max must be longer than fanout.stream_heartbeat_ms"
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
            self.gateway.api_body_bytes_max <= self.gateway.bodies_bytes_max,
            "gateway.bodies_bytes_max must hold one body of gateway.api_body_bytes_max"
        );
        require!(
            self.gateway.bodies_bytes_max <= 1 << 40,
            "gateway.bodies_bytes_max must be at most a tebibyte"
        );
        require!(self.gateway.head_bytes_max >= 8 * KIB, "gateway.head_bytes_max must be at least 8 KiB");
        require!(
            self.push.modules_bytes_max <= self.gateway.push_decompressed_bytes_max,
            "the largest set of modules must fit into a decompressed request"
        );
        None
    }
}

const _: () = assert!(Limits::DEFAULT.broken_relation().is_none());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_changes_one_limit_and_keeps_the_others() {
        let limits: Limits = toml::from_str("[value]\ndocument_bytes_max = 2_097_152\n").expect("valid");
        assert_eq!(limits.value.document_bytes_max, 2 * MIB);
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
    fn limits_that_contradict_each_other_are_named() {
        let mut limits = Limits::DEFAULT;
        limits.value.document_bytes_max = limits.transaction.written_bytes_max + 1;
        assert!(limits.broken_relation().is_some_and(|sentence| sentence.contains("document_bytes_max")));
    }
}
