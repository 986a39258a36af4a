//! The bodies of calls: how much of them is in memory at once, and how long they may take to arrive.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use futures::StreamExt as _;
use http_body_util::LengthLimitError;

use crate::{edge::SharedEdge, error::ApiError};

/// The semaphore of bytes counts in these.
pub(crate) const ROOM_UNIT_BYTES: usize = 1 << 10;

/// Reads the body before the request goes on, in room that it keeps until it is answered.
pub(crate) async fn read_whole(
    State(edge): State<SharedEdge>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let limits = &edge.options.limits.gateway;
    let bytes_max = limits.api_body_bytes_max;
    let (parts, body) = request.into_parts();
    let time = Duration::from_millis(limits.body_ms_max);
    let size = body.size_hint();
    if size.lower() > bytes_max as u64 {
        let _ = tokio::time::timeout(time, discard(body, 2 * bytes_max)).await;
        return Err(too_large());
    }
    // A body that does not say how large it is may become as large as any.
    let bytes = size.upper().map_or(bytes_max, |bytes| bytes.min(bytes_max as u64) as usize);
    let units = bytes.div_ceil(ROOM_UNIT_BYTES) as u32;
    let room = tokio::time::timeout(time, edge.body_room.acquire_many(units)).await.map_err(|_| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "TooManyRequestBytes",
            "The bodies of other requests take all the memory that there is for them. Try again later.",
        )
    })?;
    let _room = room.expect("the semaphore is never closed");
    let body = tokio::time::timeout(time, axum::body::to_bytes(body, bytes_max)).await.map_err(|_| {
        let message = "The body took longer to arrive than a body may.";
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
    })?;
    let body = body.map_err(|error| match error.into_inner().downcast_ref::<LengthLimitError>() {
        Some(_) => too_large(),
        None => ApiError::bad_request("BadRequest", "The request can't be read."),
    })?;
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

/// Takes a body that nobody wants, up to `bytes_max`: a connection that ends with much unread may end so hard that the
/// client never sees the answer.
async fn discard(body: Body, bytes_max: usize) {
    let mut frames = body.into_data_stream();
    let mut bytes = 0;
    while let Some(Ok(data)) = frames.next().await {
        bytes += data.len();
        if bytes > bytes_max {
            return;
        }
    }
}

pub(crate) fn too_large() -> ApiError {
    let message = "The body is larger than what this endpoint takes.";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge", message)
}
