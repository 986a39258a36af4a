//! What a schema may declare.

use limits::group;

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
