//! The deploy API: what the command line tool calls to push code, in the order of the handlers here.
//!
//! Bodies come compressed with brotli and hold an `adminKey` besides the header, which is not looked at.

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use deploy::{FinishPushRequest, PushRequest, WaitForSchemaRequest};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{authentication::require_admin, edge::SharedEdge, error::ApiError};

pub(crate) async fn config_hashes(State(edge): State<SharedEdge>) -> Result<Json<Value>, ApiError> {
    Ok(Json(edge.services.deploy.config_hashes(edge.options.deployment).await?))
}

pub(crate) async fn evaluate_schema(
    State(edge): State<SharedEdge>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: PushRequest = read(body).await?;
    Ok(Json(edge.services.deploy.evaluate_schema(edge.options.deployment, request).await?))
}

pub(crate) async fn evaluate_push(
    State(edge): State<SharedEdge>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: PushRequest = read(body).await?;
    Ok(Json(edge.services.deploy.evaluate_push(edge.options.deployment, request).await?))
}

pub(crate) async fn start_push(State(edge): State<SharedEdge>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let request: PushRequest = read(body).await?;
    Ok(Json(edge.services.deploy.start_push(edge.options.deployment, request).await?))
}

pub(crate) async fn wait_for_schema(
    State(edge): State<SharedEdge>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: WaitForSchemaRequest = read(body).await?;
    Ok(Json(edge.services.deploy.wait_for_schema(edge.options.deployment, request).await?))
}

pub(crate) async fn finish_push(
    State(edge): State<SharedEdge>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let request: FinishPushRequest = read(body).await?;
    Ok(Json(edge.services.deploy.finish_push(edge.options.deployment, request).await?))
}

/// How long the tool's own steps took. Nobody collects it.
pub(crate) async fn report_push_completed() -> Json<Value> {
    Json(Value::Null)
}

/// Lets administrators pass. It comes before the body is read, which may be large.
pub(crate) async fn administrators_only(
    State(edge): State<SharedEdge>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    require_admin(request.headers(), &edge.options.admin_keys)?;
    Ok(next.run(request).await)
}

/// Bundles have megabytes, so they are parsed where nobody else waits.
async fn read<T: DeserializeOwned + Send + 'static>(body: Bytes) -> Result<T, ApiError> {
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&body)).await;
    let parsed = parsed.map_err(|_| contract::Error::internal("parsing a push ended early"))?;
    parsed.map_err(|error| ApiError::bad_request("InvalidPush", format!("The body is not a push: {error}")))
}
