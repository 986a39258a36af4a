//! The edge: what clients, the command line tool and browsers talk to.
//!
//! * the HTTP function API (`/api/query`, `/api/mutation`, …), for one call at a time;
//! * the gRPC API for app servers, on a port of its own, which has live queries, too;
//! * the WebSocket sync protocol (`/api/{version}/sync`), for live queries and exactly-once mutations;
//! * files, which clients upload to addresses that functions give them, and read by others;
//! * exports and imports, by which data goes out and in;
//! * the deploy API, by which the command line tool pushes code, and the log stream that it prints;
//! * the web console, at `/console`;
//! * the site address, where the app answers by its HTTP actions.
//!
//! The gateway authenticates, checks sizes, gives each call a request id, and passes on: the runners execute, the fan-out
//! keeps queries live. It owns nothing but connections, so that any number of gateways can stand side by side.
//!
//! [`Service`] is started with [`Options`] and [`Dependencies`], and serves until it is told to stop. Nobody calls it but
//! over the network.
//!
//! This crate knows nothing of JavaScript, transactions or the store.

mod addressing;
mod admin_key;
mod archives;
mod audit;
mod authentication;
mod bodies;
mod clock;
mod components;
mod connections;
mod console;
mod control;
mod data_sync;
mod deployments;
mod edge;
mod error;
mod functions;
mod grpc;
mod information;
mod jobs;
mod json;
mod limits;
mod log_streams;
mod logs;
mod metrics;
mod parameters;
mod pause;
mod push;
mod request_id;
mod requester;
mod router;
mod sendfile;
mod server;
mod site;
mod storage;
mod streaming_import;
mod sync;
mod tokens;
mod variables;

pub use crate::limits::{GatewayLimits, GrpcLimits, Limits, SyncLimits};
pub use edge::{Dependencies, Options, Services};
pub use grpc::IsReady;
pub use metrics::MetricsSnapshot;
pub use server::{Handle, Listeners, Service};
