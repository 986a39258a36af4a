//! What every call passes through before its message is read: whom it is for, how long it may take, and room for what it brings.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use fair_queue::Place;
use tokio::{
    sync::Semaphore,
    time::{Sleep, sleep, timeout},
};
use tonic::Status;
use tracing::Instrument as _;

use super::{
    deadline,
    failure::{Failure, Result},
    handover,
};
use crate::{
    addressing::Addressee,
    edge::{Addressed, Edge, SharedEdge},
    error::ApiError,
    metrics::Api,
    request_id::new_request_id,
    router,
};

/// In an answer: that it takes long to be taken, and what it holds until then.
#[derive(Clone)]
pub(super) struct Long {
    pub held: Option<Arc<Place>>,
}

/// A call of the public service.
pub(super) async fn call(State(edge): State<SharedEdge>, mut request: Request, next: Next) -> Response {
    let (addressed, admitted) = match router::address(&mut request) {
        Ok(found) => found,
        Err(error) => return Failure::from(error).into_status(&new_request_id()).into_http(),
    };
    let (span, request_id) = (addressed.span(Some(request.headers())), addressed.request_id.clone());
    let deployment = addressed.deployment.clone();
    let counted = edge.metrics.begin(Api::Grpc);
    let answer = async {
        admitted?;
        router::unless_deleted(&edge, &deployment, answer(&edge, addressed, request, next)).await?
    };
    let answer = answer.instrument(span).await;
    let answer = answer.unwrap_or_else(|failure| failure.into_status(&request_id).into_http());
    counted.answered_over_grpc(&answer);
    answer
}

async fn answer(edge: &Edge, addressed: Addressed, request: Request, next: Next) -> Result<Response> {
    let deployment = addressed.deployment.reference;
    let request_id = addressed.request_id.clone();
    let mut deadline = deadline::time_of(request.headers())?.map(|time| Box::pin(sleep(time)));
    // One connection brings many calls, so there may be far more of them than connections.
    let _place = edge.grpc_calls.try_take(deployment, 1).ok_or_else(too_many_calls)?;
    let head = async {
        let (mut parts, body) = request.into_parts();
        let (body, _room) = edge.call_bodies.read(deployment, body).await?;
        parts.extensions.insert(addressed);
        Ok::<_, Failure>(next.run(Request::from_parts(parts, Body::from(body))).await)
    };
    let time_max = Duration::from_millis(edge.limits.gateway.request_ms_max);
    let mut answer = tokio::select! {
        answer = timeout(time_max, head) => answer.map_err(|_| router::took_too_long())??,
        () = passed(&mut deadline) => return Err(Failure::deadline_exceeded()),
    };
    // What we refuse has details.
    if let Some(status) = Status::from_header_map(answer.headers())
        && status.details().is_empty()
    {
        return Err(Failure::of_library(&status));
    }
    let Some(long) = answer.extensions_mut().remove::<Long>() else { return Ok(answer) };
    let end = async move {
        let _held = long.held;
        passed(&mut deadline).await;
        Failure::deadline_exceeded().into_status(&request_id)
    };
    Ok(handover::by_a_task(edge, answer, end))
}

/// Never, without a deadline.
async fn passed(deadline: &mut Option<Pin<Box<Sleep>>>) {
    match deadline {
        Some(deadline) => deadline.await,
        None => std::future::pending().await,
    }
}

fn too_many_calls() -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "TooManyConcurrentRequests",
        "Too many calls are under way. Try again later.",
    )
}

/// A call that is answered from memory at once. It is for no deployment and needs no place, so that nobody's streams keep others from
/// asking.
pub(super) async fn question(State(edge): State<SharedEdge>, request: Request, next: Next) -> Response {
    let time_max = Duration::from_millis(edge.limits.gateway.body_ms_max);
    in_time(time_max, request, next).await
}

/// What comes of it, if its message comes in time.
async fn in_time(time_max: Duration, request: Request, next: Next) -> Response {
    timeout(time_max, next.run(request))
        .await
        .unwrap_or_else(|_| Failure::from(router::took_too_long()).into_status(&new_request_id()).into_http())
}

/// A stream about the server: its health, its description. It is for no deployment, and ends with the server or after some minutes.
pub(super) async fn probe(
    State((edge, places)): State<(SharedEdge, Arc<Semaphore>)>,
    request: Request,
    next: Next,
) -> Response {
    let request_id = new_request_id();
    let Ok(place) = places.try_acquire_owned() else {
        return Failure::from(too_many_calls()).into_status(&request_id).into_http();
    };
    let time_max = Duration::from_millis(edge.limits.gateway.request_ms_max);
    let answer = in_time(time_max, request, next).await;
    let shutdown = edge.shutdown.clone();
    let end = async move {
        let _place = place;
        let failure: Failure = match timeout(time_max, shutdown.cancelled()).await {
            Ok(()) => shutting_down().into(),
            Err(_) => router::took_too_long().into(),
        };
        failure.into_status(&request_id)
    };
    handover::by_a_task(&edge, answer, end)
}

/// Another server may be there.
pub(super) fn shutting_down() -> contract::Error {
    contract::Error::overloaded("ShuttingDown", "The server is shutting down.")
}

/// Nothing is served at this path, or it names a deployment that is not there.
pub(super) async fn not_served(request: Request) -> Response {
    let failure: Failure = match request.extensions().get::<Addressee>() {
        Some(Addressee(None)) => ApiError::from(contract::deployment_not_found()).into(),
        _ => Failure::of_library(&Status::unimplemented("")),
    };
    failure.into_status(&new_request_id()).into_http()
}
