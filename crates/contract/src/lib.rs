//! What each service promises to the others.
//!
//! Every service is a trait of plain Rust types, whose documentation is its contract. Within one process calls are direct.
//! Between processes they go over gRPC, through the adapters in crate `rpc`. The suites in crate `conformance` run against any
//! implementation, and hold both ways to the same sentences.
//!
//! Between processes any call may also fail with what the transport has to say: `NodeUnreachable` had no effect; `ConnectionLost`,
//! `CallTimedOut` and `AnswerNotUnderstood` may have had one, and say by [`Error::retry`] whether the call may be sent again.
//!
//! This crate knows nothing of RocksDB, Raft, JavaScript, HTTP or gRPC.

#![warn(missing_docs)]

mod archives;
mod blob;
pub mod code;
mod data_sync;
mod deploy;
mod deployment;
mod directory;
pub mod document;
mod due_runner;
mod error;
mod fanout;
mod files;
mod http;
mod identity;
mod interval;
mod log_streams;
mod position;
mod requester;
mod runner;
mod schedules;
mod search;
mod sequencer;
mod text;
mod transaction_log;

pub use archives::{Archives, NewExport, NewImport, PartUpload, StoredExport, StreamedRecord};
pub use blob::{
    BlobDigest, BlobStore, ObjectBytes, ObjectName, ObjectPart, ObjectParts, ObjectStore, ObjectSummary,
    ObjectWriter,
};
pub use data_sync::{
    ActiveSync, ActiveSyncs, DataSync, DeltasRequest, SchemasRequest, SnapshotPage, SnapshotRequest,
    SyncPage, SyncRequest, SyncTruncate, SyncedDocument,
};
pub use deploy::{
    AuthDifference, ComponentChange, ComponentDifference, ComponentSchema, ComponentSchemaEvaluation,
    CronDifference, DeclaredIndex, DeclaredIndexKind, Deploy, DeployedCode, FinishPush, IndexChangeKind,
    IndexDifference, IndexEvaluation, ModuleHash, Push, PushDifference, PushedComponent, PushedModule,
    SchemaDifference, SchemaEvaluation, SchemaId, SchemaProgress, SchemaTexts, StartedDefinition,
    StartedPush, TableCheck, TableEvaluation, VariableChange,
};
pub use deployment::{CLOUD_URL_VARIABLE, Deployment, SITE_URL_VARIABLE};
pub use directory::{
    AdminKey, DIRECTORY, DeploymentKind, Deployments, Directory, DirectoryEntry, Door, KeyEntry, KeyOwner,
    NewDeployment, NewKey, Share, deployment_not_found,
};
pub use due_runner::{DueCall, DueOutcome, DueRunner};
pub use error::{Error, ErrorKind, Result, Retry};
pub use fanout::{
    Fanout, FanoutSession, QueryChange, QueryModification, SessionCommand, SessionRound, SessionStart,
};
pub use files::{FileName, FileUpload, Files, NewFile, StoredFile, Uploader};
pub use http::{HttpAnswer, HttpBody, HttpCall, HttpResponse};
pub use identity::{Identity, IdentityKind, UserIdentity};
pub use interval::{Interval, ReadSet};
pub use log_streams::{AuditEntry, AuditPage, CreatedLogStream, LogStreams};
pub use position::{
    CommitId, DeploymentId, DeploymentRef, Epoch, GroupId, HoldId, IndexId, LeaderHint, NodeId, Position,
    Timestamp,
};
pub use requester::{AuthToken, Requester};
pub use runner::{
    ActionOutcome, Caller, ConsoleLevel, ConsoleLine, Evaluation, EvaluationRequest, ExecutionRecord,
    FunctionCall, FunctionError, FunctionKind, FunctionLogPage, ImportPhase, ModuleSource, MutationCall,
    MutationOutcome, NodeEvaluation, NodeEvaluationRequest, NodePackage, NodePackages, Observed, QueryCall,
    QueryOutcome, ReadMoment, Runner, SessionRequest,
};
pub use schedules::{JobsOf, Schedules};
pub use search::{
    InternalDocumentId, Search, SearchIndexState, TextMatch, TextMatches, TextSearch, VectorMatch,
    VectorSearch, WrittenText,
};
pub use sequencer::Sequencer;
pub use text::{FilterValue, TextCondition, TextFilter, TextKey, is_announced_only};
pub use transaction_log::{
    BackfillProgress, BackfillStep, Commit, CommitNotice, CommitOutcome, Conflict, Hold, IndexUpdate, Lookup,
    Order, Read, ReadAt, ReadResult, Row, StreamEvent, StreamEvents, TouchedKey, TransactionLog, Version,
    Write,
};
