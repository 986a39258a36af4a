//! What one transaction may use, and how long a change is tried.

use limits::{MIB, group};
use schema::SchemaLimits;
use value::ValueLimits;

/// Documents that a query reads ahead of what it was asked for, by default.
pub const PREFETCH_DOCUMENTS: usize = 100;

/// What transactions are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of values and documents.
    pub value: ValueLimits,
    /// Of schemas.
    pub schema: SchemaLimits,
    /// Of one transaction.
    pub transaction: TransactionLimits,
    /// Of what happens after a conflict, or when an answer was lost.
    pub retry: RetryLimits,
    /// Of cron jobs.
    pub cron: CronLimits,
    /// Documents that a query reads ahead of what it was asked for.
    pub prefetch_documents: usize,
}

impl Limits {
    /// The limits unless the configuration says otherwise.
    pub const DEFAULT: Self = Self {
        value: ValueLimits::DEFAULT,
        schema: SchemaLimits::DEFAULT,
        transaction: TransactionLimits::DEFAULT,
        retry: RetryLimits::DEFAULT,
        cron: CronLimits::DEFAULT,
        prefetch_documents: PREFETCH_DOCUMENTS,
    };
}

group! {
    transaction:
    /// What one transaction may read and write, nested calls included. Reads and writes of system tables are not
    /// counted here, except where a field says so.
    pub struct TransactionLimits {
        /// Documents scanned, also those that a filter drops (`TooManyDocumentsRead`).
        read_documents_max: usize = 32_000,
        /// Bytes of documents scanned (`TooManyBytesRead`).
        read_bytes_max: usize = 16 * MIB,
        /// Index ranges read, one for each get and query (`TooManyReads`): each is checked against every commit.
        read_intervals_max: usize = 4_096,
        /// Inserts, updates and deletes (`TooManyWrites`).
        written_documents_max: usize = 16_000,
        /// Bytes of documents written (`TooManyBytesWritten`).
        written_bytes_max: usize = 16 * MIB,
        /// Writes to system tables (`TooManySystemWrites`): pushes write thousands of rows.
        system_written_documents_max: usize = 40_000,
        /// Bytes written to system tables (`TooManySystemWrites`). Bundles are blobs, so rows stay small.
        system_written_bytes_max: usize = 128 * MIB,
        /// Functions scheduled by one mutation (`TooManyFunctionsScheduled`).
        scheduled_functions_max: usize = 1_000,
        /// Arguments of all functions scheduled by one mutation (`ScheduledFunctionsArgumentsTooLarge`).
        scheduled_arguments_bytes_max: usize = 16 * MIB,
        /// Rows of the queue of scheduled functions, which all components share, that are looked at to list those of one.
        queue_rows_max: usize = 4_096,
        /// How far from now the time of a scheduled function may be, in the future and in the past: five years
        /// (`InvalidScheduledFunctionDelay`).
        scheduled_delay_ms_max: u64 = 5 * 366 * 24 * 3_600_000,
        /// Functions within functions: how deep `runQuery` and `runMutation` may nest (`MaximumCallDepthExceeded`).
        /// Each level holds an isolate.
        call_depth_max: usize = 8,
        /// Operators (filters, limits) of one query (`TooManyQueryOperators`).
        query_operators_max: usize = 256,
        /// Nodes of one query's filter expressions (`FilterTooComplex`): bounds the work per scanned document.
        filter_nodes_max: usize = 4_096,
        /// Depth of one filter expression (`FilterTooComplex`): its evaluation recurses.
        filter_nesting_max: usize = 64,
        /// Items of one page (`PageSizeTooLarge`).
        page_items_max: usize = 32_000,
        /// From how many items of a page on the client is advised to split it: three quarters of an array.
        page_items_split: usize = 6_144,
        /// Documents that one text search finds, the best ones; whoever wants more fails
        /// (`SearchQueryScannedTooManyDocumentsError`).
        search_documents_max: usize = 1_024,
        /// From how many of them on the client is advised to split a page: three quarters.
        search_documents_split: usize = 768,
        /// Terms of a search's text; the rest is ignored.
        search_terms_max: usize = 16,
        /// Equalities of one text search (`TooManySearchFilters`).
        search_filters_max: usize = 8,
        /// Documents that a vector search finds (`VectorLimitTooLargeError`).
        vector_matches_max: usize = 256,
        /// Conditions of a vector search's filter (`TooManyVectorFilters`).
        vector_filters_max: usize = 64,
        /// Queries that may be open at once in one function (`TooManyOpenQueries`).
        open_queries_max: usize = 1_000,
        /// Percentage of a limit from which a warning is appended to the function's log.
        warn_percent: usize = 80,
    }
}

group! {
    retry:
    /// How long a mutation that conflicts is run again before the caller hears of it
    /// (`OptimisticConcurrencyControlFailure`), and a request that comes again is answered as before.
    pub struct RetryLimits {
        /// Time from the first attempt; no attempt starts after it.
        conflict_retry_ms_max: u64 = 5_000,
        /// Attempts, the first one included.
        conflict_attempts_max: u32 = 64,
        /// How long an outcome that is unknown after a change of leader is looked up before the caller is told so.
        lookup_ms_max: u64 = 30_000,
        /// Shortest pause between two questions to a log that has no ready leader.
        not_ready_backoff_ms_min: u64 = 10,
        /// Longest such pause.
        not_ready_backoff_ms_max: u64 = 1_000,
        /// How long the answer to a session's request is kept, for the client that makes the request again.
        session_record_age_ms: u64 = 14 * 24 * 3_600_000,
        /// How often answers that were kept for longer are removed.
        session_record_sweep_ms: u64 = 3_600_000,
        /// Such answers that one transaction removes.
        session_records_removed_max: usize = 1_000,
    }
}

group! {
    cron:
    /// Cron jobs: when they run, and what is kept of their runs.
    pub struct CronLimits {
        /// Jobs with a time of day run within so many seconds behind it, each at a place of its own, so that not all begin at
        /// once; 1 lets them run at their times. Those that leave the minute open are spread over the hour.
        splay_seconds: u64 = cron::SPLAY_SECONDS_DEFAULT,
        /// Runs of a job that its log keeps, the newest ones.
        runs_kept_max: usize = 5,
        /// Characters that the log keeps of what a run returned or threw, and of all lines that it printed.
        run_chars_max: usize = 1_000,
    }
}
