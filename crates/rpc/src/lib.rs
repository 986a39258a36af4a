//! The contracts between processes: for each trait a gRPC server over any implementation, and a client which is one.
//!
//! Calls that come often share streams: see [`calls`]. Errors cross by one table: see [`errors`].

mod calls;
mod convert;
mod errors;
mod limits;
mod pieces;
mod sequencer;
mod transaction_log_client;
mod transaction_log_server;
mod transport;

pub use crate::limits::RpcLimits;
pub use sequencer::{GrpcSequencer, SequencerServer};
pub use transaction_log_client::GrpcTransactionLog;
pub use transaction_log_server::TransactionLogServer;
pub use transport::{endpoint, server};
