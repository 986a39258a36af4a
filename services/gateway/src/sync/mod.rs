//! The WebSocket sync protocol.
//!
//! A connection is one task ([`connection`]), which owns the socket and the session's place in the fan-out and waits for its
//! actions ([`actions`]), and a second one ([`mutations`]), which runs the session's mutations one after the other. What a
//! message means is decided by a state machine without input or output ([`session`]).

mod actions;
mod close;
mod connection;
mod mutations;
mod session;
mod sessions;
#[cfg(test)]
mod transcripts;

use axum::{
    extract::{Path, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use contract::{Caller, FunctionCall};
use sync_protocol::{ClientVersion, FunctionRequest};
use tracing::Instrument as _;

use crate::{
    authentication::Sender,
    edge::{Addressed, SharedEdge},
    error::ApiError,
    router::client_version,
};

pub(crate) use sessions::Sessions;

/// What each socket holds at all times, and what is zeroed at each look at it. The library's 128 KiB are most of what an
/// idle client costs; larger messages are read in pieces.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// Clients that tell who they are in a header: Rust, Python.
pub(crate) async fn upgrade(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let client = client_version(&headers)?;
    accept(edge, addressed, client, socket)
}

/// Clients of the npm package, whose browsers can't set headers.
pub(crate) async fn upgrade_versioned(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    Path(version): Path<String>,
    socket: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let client = ClientVersion::from_socket_path(&version)
        .map_err(|error| ApiError::bad_request("InvalidClientVersion", format!("{error}.")))?;
    accept(edge, addressed, Some(client), socket)
}

fn accept(
    edge: SharedEdge,
    addressed: Addressed,
    client: Option<ClientVersion>,
    socket: WebSocketUpgrade,
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
    let message_bytes_max = edge.limits.sync.message_bytes_max;
    let socket = (socket.max_message_size(message_bytes_max).max_frame_size(message_bytes_max))
        .read_buffer_size(READ_BUFFER_BYTES);
    Ok(socket.on_upgrade(async move |socket| {
        let span = addressed.log_span();
        connection::run(edge, addressed, client, socket).instrument(span).await;
        drop((place, tracked));
    }))
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
