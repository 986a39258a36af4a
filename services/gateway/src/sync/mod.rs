//! The WebSocket sync protocol.
//!
//! A connection is one task ([`connection`]), which owns the socket ([`socket`]) and the session's place in the fan-out and
//! waits for its actions ([`actions`]), and a second one ([`mutations`]), which runs the session's mutations one after the
//! other. What a message means is decided by a state machine without input or output ([`session`]).

mod actions;
mod close;
mod connection;
mod mutations;
mod session;
mod sessions;
mod socket;
#[cfg(test)]
mod transcripts;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use contract::{Caller, FunctionCall};
use hyper_util::rt::TokioIo;
use sync_protocol::{ClientVersion, FunctionRequest};
use tracing::Instrument as _;

use crate::{
    authentication::Sender,
    edge::{Addressed, SharedEdge},
    error::ApiError,
    router::client_version,
};

pub(crate) use sessions::Sessions;
use socket::{Socket, Upgrade};

/// Clients that tell who they are in a header: Rust, Python.
pub(crate) async fn upgrade(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let client = client_version(&headers)?;
    accept(edge, addressed, client, upgrade)
}

/// Clients of the npm package, whose browsers can't set headers.
pub(crate) async fn upgrade_versioned(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    Path(version): Path<String>,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let client = ClientVersion::from_socket_path(&version)
        .map_err(|error| ApiError::bad_request("InvalidClientVersion", format!("{error}.")))?;
    accept(edge, addressed, Some(client), upgrade)
}

fn accept(
    edge: SharedEdge,
    addressed: Addressed,
    client: Option<ClientVersion>,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let place = edge.sockets.try_take(addressed.deployment.reference, 1).ok_or_else(|| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "TooManyConnections",
            "This server has as many connections as it may have. Try again later.",
        )
    })?;
    // From now on the gateway waits for this connection before it says that it has stopped.
    let tracked = edge.tasks.token();
    let (answer, connection) = upgrade.accept();
    tokio::spawn(async move {
        let _held = (place, tracked);
        // Otherwise the client went away before it had the answer.
        if let Ok(io) = connection.await {
            let (budget, deployment) = (edge.call_bodies.clone(), addressed.deployment.reference);
            let bytes_max = edge.limits.sync.message_bytes_max;
            let socket = Socket::new(TokioIo::new(io), budget, deployment, bytes_max).await;
            let span = addressed.log_span();
            connection::run(edge, addressed, client, socket).instrument(span).await;
        }
    });
    Ok(answer)
}

/// The call of a function that a session asks for.
fn call_of(addressed: Addressed, request: FunctionRequest, by: Sender) -> FunctionCall {
    FunctionCall {
        deployment: addressed.deployment.reference,
        component: request.component,
        path: request.path,
        arguments: request.arguments,
        identity: by.identity,
        caller: Caller::SyncWorker,
        requester: addressed.requester_with(by.token),
        request_id: addressed.request_id.to_string(),
    }
}
