//! The bodies of calls: how much of them is in memory at once, and how long they may take to arrive.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody as _},
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use bytes::BytesMut;
use futures::StreamExt as _;
use limits::GatewayLimits;
use tokio::sync::{Semaphore, SemaphorePermit};

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
    let time = Duration::from_millis(limits.body_ms_max);
    let (parts, body) = request.into_parts();
    let is_too_large = body.size_hint().lower() > limits.api_body_bytes_max as u64;
    let mut frames = body.into_data_stream();
    let mut reading = Reading { room: &edge.body_room, limits, held: None, waits_for_room: false };
    let read = match is_too_large {
        true => Err(too_large()),
        false => match tokio::time::timeout(time, reading.read(&mut frames)).await {
            Ok(read) => read,
            Err(_) if reading.waits_for_room => Err(no_room()),
            Err(_) => {
                let message = "The body took longer to arrive than a body may.";
                return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message));
            }
        },
    };
    match read {
        Ok(body) => {
            let _room = reading.held;
            Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
        }
        Err(error) => {
            drop(reading);
            let _ = tokio::time::timeout(time, discard(&mut frames, 2 * limits.api_body_bytes_max)).await;
            Err(error)
        }
    }
}

/// A body while it is read.
struct Reading<'e> {
    room: &'e Semaphore,
    limits: &'e GatewayLimits,
    /// For what has arrived, unless that is little.
    held: Option<SemaphorePermit<'e>>,
    waits_for_room: bool,
}

impl Reading<'_> {
    async fn read(&mut self, frames: &mut BodyDataStream) -> Result<Bytes, ApiError> {
        let unreadable = |_| ApiError::bad_request("BadRequest", "The request can't be read.");
        // Most bodies come in one piece, which is taken as it is.
        let Some(first) = frames.next().await.transpose().map_err(unreadable)? else {
            return Ok(Bytes::new());
        };
        self.make_room(first.len()).await?;
        let Some(second) = frames.next().await.transpose().map_err(unreadable)? else { return Ok(first) };
        let mut body = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(frame) = next {
            self.make_room(body.len() + frame.len()).await?;
            body.extend_from_slice(&frame);
            next = frames.next().await.transpose().map_err(unreadable)?;
        }
        Ok(body.freeze())
    }

    /// Waits until there is room for a body of so many bytes.
    async fn make_room(&mut self, bytes: usize) -> Result<(), ApiError> {
        if bytes > self.limits.api_body_bytes_max {
            return Err(too_large());
        }
        let units =
            if bytes > self.limits.small_body_bytes_max { bytes.div_ceil(ROOM_UNIT_BYTES) } else { 0 };
        let missing = units - self.held.as_ref().map_or(0, SemaphorePermit::num_permits).min(units);
        if missing > 0 {
            self.waits_for_room = true;
            let more = self.room.acquire_many(missing as u32).await.expect("the semaphore is never closed");
            self.waits_for_room = false;
            match &mut self.held {
                Some(held) => held.merge(more),
                none => *none = Some(more),
            }
        }
        Ok(())
    }
}

/// Takes a body that nobody wants, up to `bytes_max`: a connection that ends with much unread may end so hard that the
/// client never sees the answer.
async fn discard(frames: &mut BodyDataStream, bytes_max: usize) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = frames.next().await {
        bytes += frame.len();
        if bytes > bytes_max {
            return;
        }
    }
}

fn no_room() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "TooManyRequestBytes",
        "The bodies of other requests take all the memory that there is for them. Try again later.",
    )
}

pub(crate) fn too_large() -> ApiError {
    let message = "The body is larger than what this endpoint takes.";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge", message)
}
