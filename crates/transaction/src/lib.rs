//! One transaction: it reads at one moment, keeps what it writes to itself, and knows exactly what it has read.
//!
//! A [`Transaction`] begins at a [`contract::ReadAt`] of a [`contract::TransactionLog`] and ends as a [`Finished`]: the
//! read set and the writes that a [`contract::Commit`] takes. In between it offers what functions do with documents
//! (get, insert, patch, replace, delete, queries, pages), with all checks, limits and error codes, and nested calls
//! whose writes can be rolled back. [`Commits`] sends it to the log and finds out for certain what became of it.
//!
//! Everything is documents in tables. The system's own tables ([`SystemTable`]) have typed rows ([`SystemRow`]) and
//! definitions in code; the application's tables, indexes, schemas and modules are rows in them. What applies at a moment
//! is a [`Catalog`], which [`CatalogCache`] shares between transactions: a commit that changes it also writes the one
//! metadata document, whose version therefore names the catalog. Reading that document is left out of the read set;
//! what a transaction uses of the catalog is recorded row by row instead, so that a push disturbs only those whom it
//! concerns.
//!
//! This crate knows nothing of JavaScript, HTTP or how the log stores things.

#![warn(missing_docs)]

mod attempts;
mod catalog;
mod catalog_cache;
mod changes;
mod commits;
mod components;
mod crons;
mod cursor;
mod document;
mod documents;
mod enforcement;
mod erasure;
mod error;
mod expression;
mod fact;
mod files;
mod imports;
mod leases;
mod limits;
mod overviews;
mod page;
mod pause;
mod pending;
mod query;
mod range;
mod scan;
mod schedules;
mod search;
mod search_fields;
mod streamed;
mod system_rows;
pub mod system_tables;
mod transaction;
mod usage;
mod vector_search;

pub use crate::limits::{CronLimits, Limits, PREFETCH_DOCUMENTS, RetryLimits, TransactionLimits};
pub use attempts::{Attempts, Next};
pub use catalog::{Catalog, DeploymentCatalog, Index, IndexState, StoredSchema, Table, TableState};
pub use catalog_cache::CatalogCache;
pub use changes::{Change, ChangedDocument, Changes, ReplacedTable, read_changes};
pub use commits::{Commits, Settled, result_lost, unknown_outcome};
pub use components::component_id;
pub use crons::CronChanges;
pub use cursor::{CursorKey, UploadGrant};
pub use document::Document;
pub use documents::GetRequest;
pub use error::{Error, Result, UserError};
pub use files::{File, object_name};
pub use imports::{ImportedFile, document_id};
pub use leases::ClaimLease;
pub use overviews::{Count, UpcomingJob};
pub use page::{Page, PageRequest, PageStatus};
pub use query::Query;
pub use scan::QueryId;
pub use schedules::{Cancellation, DueRun, NewJob, QueuedJobs, RunEnd, held_from};
pub use search_fields::{IndexKind, filter_values, normalized, text_of, vector_of};
pub use streamed::PRIMARY_KEY_INDEX;
pub use system_tables::{
    AuditLogRow, AuthRow, ChangeHistoryRow, Claim, ComponentRow, CronJobRow, CronNextRunRow, CronOutcome,
    CronRunRow, DataSyncRow, DeployKeyRow, DeployKeyScope, DeploymentRow, DeploymentState, DirectoryRow,
    DueKind, DueRow, EnvironmentVariableRow, ExportRow, ExportState, FileObjectRow, FileRow, FileState,
    HistoryStateRow, Holder, ImportFormat, ImportMode, ImportOrder, ImportRow, ImportState, ImportTable,
    ImportTableRow, IndexRow, JobState, LeaseRow, LogStreamRow, LogStreamState, ModuleEnvironment, ModuleRow,
    NodeConfig, PauseRow, ScheduledJobRow, SchemaFailure, SchemaRow, SchemaState, SessionRequestRow, Stored,
    SystemRow, SystemTable, TableRow, UdfConfigRow, VariableBinding,
};
pub use transaction::{Finished, NestedOutcome, Options, Transaction, primary_key_of};
pub use usage::{Metric, NestedLimits, Usage, UsageWarning};
pub use vector_search::CheckedVectorSearch;
