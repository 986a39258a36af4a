//! The contracts between processes: for each trait a gRPC server over any implementation, and a client which is one.
//!
//! Calls that come often share streams: see [`calls`]. What has a body of any length goes part by part: see [`transfer`]. Errors
//! cross by one table: see [`errors`]. Both sides say which versions they speak: see [`version`]. What an old connection takes no more goes
//! over the next: see [`resending`]. What is traced goes on with its trace: see [`traces`].

mod blob;
mod callers;
mod calls;
mod convert;
mod deploy;
mod errors;
mod fanout;
mod files;
mod limits;
mod pieces;
mod resending;
mod runner;
mod scheduler;
mod search;
mod sequencer;
mod traces;
mod transaction_log_client;
mod transaction_log_server;
mod transfer;
mod transport;
mod upload;
mod version;

pub use crate::limits::RpcLimits;
pub use blob::{BlobServer, GrpcBlobs};
pub use deploy::{DeployServer, GrpcDeploy};
pub use errors::{from_status, to_status};
pub use fanout::{FanoutServer, GrpcFanout};
pub use files::{FilesServer, GrpcFiles};
pub use resending::Resending;
pub use runner::{GrpcRunner, RunnerServer};
pub use scheduler::{DueRunnerServer, GrpcDueRunner, GrpcSchedules, SchedulesServer};
pub use search::{GrpcSearch, SearchServer};
pub use sequencer::{GrpcSequencer, SequencerServer};
pub use transaction_log_client::GrpcTransactionLog;
pub use transaction_log_server::TransactionLogServer;
pub use transport::{endpoint, server};
pub use version::Checked;
