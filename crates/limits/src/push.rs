use crate::KIB;

/// Pairs of validators that are looked at to prove that one accepts all that another does. Unions within unions need
/// the product of their sizes; beyond this the proof is given up and the data is checked instead. Fixed: only speed
/// depends on it.
pub const VALIDATOR_COMPARISONS_MAX: usize = 1_000_000;

group! {
    schema:
    /// What a schema may declare.
    pub struct SchemaLimits {
        /// Tables of a deployment, its components' included (`TooManyTables`).
        tables_max: usize = 10_000,
        /// Indexes of one table, text and vector indexes included (`TooManyIndexes`): each write maintains them all.
        table_indexes_max: usize = 64,
        /// Text search indexes of one table (`TooManyIndexes`).
        table_search_indexes_max: usize = 4,
        /// Vector indexes of one table (`TooManyIndexes`).
        table_vector_indexes_max: usize = 4,
        /// Fields of one index (`IndexTooManyFields`).
        index_fields_max: usize = 16,
        /// Filter fields of one text or vector index (`IndexTooManyFields`).
        index_filter_fields_max: usize = 16,
        /// Fewest dimensions of a vector index (`InvalidVectorDimensions`).
        vector_dimensions_min: usize = 2,
        /// Most dimensions of a vector index (`InvalidVectorDimensions`).
        vector_dimensions_max: usize = 4_096,
        /// Nesting of one validator's JSON (`InvalidValidator`): an array adds one level, a union two, an object three. It is
        /// shown as a part of values, so it must not nest deeper than these.
        validator_nesting_max: usize = 60,
        /// Nodes of one validator (`InvalidValidator`): bounds parsing and comparing.
        validator_nodes_max: usize = 65_536,
    }
}

group! {
    push:
    /// What one push may bring.
    pub struct PushLimits {
        /// Modules of one component (`ModulesTooLarge`).
        modules_max: usize = 4_096,
        /// Functions and HTTP routes of all modules (`ModulesTooLarge`): `convex function-spec` shows them in one array.
        functions_max: usize = 8_192,
        /// Source text and source maps of all modules (`ModulesTooLarge`).
        modules_bytes_max: usize = 230_000_000,
        /// How often somebody who waits for a schema looks how far it is.
        schema_look_ms: u64 = 25,
        /// The pause before preparing a schema is tried again after it failed for a reason that may pass.
        schema_retry_ms: u64 = 200,
        /// Documents that are held against a new schema at once: some hundred microseconds of work.
        checked_documents_max: usize = 64,
        /// Bytes of such documents, one document excepted.
        checked_bytes_max: usize = 256 * KIB,
        /// Up to here the documents of a table are counted for the command line tool, which asks before it drops or
        /// fills an index of 100,000 and more.
        counted_documents_max: usize = 200_000,
    }
}
