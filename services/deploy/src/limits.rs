//! What a push may bring, and what pushes are made under.

use auth::AuthLimits;
use limits::{KIB, group};

/// What pushes are held to, and the transactions that make them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub push: PushLimits,
    pub auth: AuthLimits,
    pub transaction: transaction::Limits,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        push: PushLimits::DEFAULT,
        auth: AuthLimits::DEFAULT,
        transaction: transaction::Limits::DEFAULT,
    };
}

group! {
    push:
    /// What one push may bring.
    pub struct PushLimits {
        /// Instances of components that an app mounts, at whatever depth (`TooManyComponents`).
        components_max: usize = 512,
        /// Components within components (`TooManyComponents`): calls between them nest no deeper.
        component_depth_max: usize = 16,
        /// Modules of one component (`ModulesTooLarge`).
        modules_max: usize = 4_096,
        /// Functions and HTTP routes of all modules (`ModulesTooLarge`): `convex function-spec` shows them in one array.
        functions_max: usize = 8_192,
        /// Source text and source maps of all modules (`ModulesTooLarge`).
        modules_bytes_max: usize = 230_000_000,
        /// Environment variables of a deployment (`EnvVarLimitMet`).
        variables_max: usize = 1_000,
        /// Bytes of a variable's name (`EnvVarNameInvalid`).
        variable_name_bytes_max: usize = 256,
        /// Bytes of its value (`EnvVarValueTooLarge`): a private key with some room.
        variable_value_bytes_max: usize = 8 * KIB,
        /// Bytes of all names and values (`EnvVarLimitMet`): every image has them.
        variables_bytes_max: usize = 512 * KIB,
        /// How often somebody who waits for a schema looks how far it is.
        schema_look_ms: u64 = 25,
        /// The pause before preparing a schema is tried again after it failed for a reason that may pass.
        schema_retry_ms: u64 = 200,
        /// Documents that are held against a new schema at once: some hundred microseconds of work.
        checked_documents_max: usize = 64,
        /// Bytes of such documents, one document excepted.
        checked_bytes_max: usize = 256 * KIB,
        /// Jobs, or files, of a component that one commit deletes with it.
        deleted_rows_max: usize = 256,
        /// Up to here the documents of a table are counted for the command line tool, which asks before it drops or
        /// fills an index of 100,000 and more.
        counted_documents_max: usize = 200_000,
    }
}
