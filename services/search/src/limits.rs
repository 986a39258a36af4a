//! What search indexes may use.

use limits::{MIB, group};

group! {
    search:
    /// Text and vector indexes.
    pub struct SearchLimits {
        /// How long a search waits until the indexes have heard of its moment (`SearchIndexesUnavailable`).
        wait_ms_max: u64 = 5_000,
        /// How long the past of a text index is kept for searches at a moment that was (`OutOfRetention`), by the time that has passed: as
        /// long as the log keeps it.
        retention_ms: u64 = 5 * 60_000,
        /// Bytes that documents may take in the memory of all indexes of a process before those of the index that has the most are written
        /// to a file, besides what is being written.
        memory_bytes_max: usize = 256 * MIB,
        /// Bytes that documents may take in the memory of a text index before it is written to a file: some milliseconds of work for
        /// each mebibyte, once.
        text_memory_bytes_max: usize = 32 * MIB,
        /// Terms that begin as the last one of a query does and that a document has, of which is asked, in the order of their bytes, whether a
        /// document has them that passes the query's filters. Behind them the first ones count that any document has.
        prefix_terms_visited_max: usize = 4_096,
        /// Bytes of vectors that are compared one by one, some 10,000 of 768 dimensions: that takes about three milliseconds and misses
        /// nothing. More are put into a graph. As many bytes may documents take in the memory of a vector index before they are written to a
        /// file.
        vectors_plain_bytes_max: usize = 32 * MIB,
        /// Of the vectors of a graph, the part that must pass a filter for the graph to be asked, in percent. With less it would take
        /// longer than to compare them one by one, and find less.
        vectors_graph_percent_min: usize = 7,
        /// Candidates that a graph is asked for, at least: their scores are then computed exactly.
        vectors_candidates_min: usize = 64,
        /// How far a graph is searched.
        vectors_expansion: usize = 128,
        /// Files that are written for indexes at the same time.
        builds_max: usize = 2,
        /// Searches that compute at the same time in one process.
        searches_max: usize = 8,
        /// Documents that are read at once for an index that is being built.
        documents_read_max: usize = 512,
        /// Bytes of such documents, one document excepted.
        bytes_read_max: usize = 2 * MIB,
        /// Commits that are taken from the stream at once.
        commits_taken_max: usize = 256,
        /// The pause before the log is asked again that did not serve.
        log_pause_ms: u64 = 250,
        /// The pause after an index whose files can't be used was made anew, before that is done again: at first, and at the most. It
        /// doubles while indexes break.
        remake_pause_ms_min: u64 = 1_000,
        remake_pause_ms_max: u64 = 2 * 60_000,
        /// Without a sign of the commit stream for this long it is asked for again.
        stream_silence_ms_max: u64 = 5_000,
    }
}
