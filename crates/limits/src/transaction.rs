use crate::MIB;

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
        /// Queries that may be open at once in one function (`TooManyOpenQueries`).
        open_queries_max: usize = 1_000,
        /// Percentage of a limit from which a warning is appended to the function's log.
        warn_percent: usize = 80,
    }
}
