//! The deploy API: what the command line tool calls to push code, in the order of the handlers here.
//!
//! Bodies come compressed with brotli and hold an `adminKey` besides the header, which is not looked at.

use axum::{Json, body::Bytes, extract::State, http::HeaderMap};
use contract::DeploymentRef;
use deploy::{FinishPushRequest, PushRequest, WaitForSchemaRequest};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{authentication::require_admin, edge::SharedEdge, error::ApiError};

pub(crate) async fn config_hashes(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let deployment = admitted(&edge, &headers)?;
    Ok(Json(edge.services.deploy.config_hashes(deployment).await?))
}

pub(crate) async fn evaluate_schema(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let deployment = admitted(&edge, &headers)?;
    let request: PushRequest = read(body).await?;
    Ok(Json(edge.services.deploy.evaluate_schema(deployment, request).await?))
}

pub(crate) async fn evaluate_push(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let deployment = admitted(&edge, &headers)?;
    let request: PushRequest = read(body).await?;
    Ok(Json(edge.services.deploy.evaluate_push(deployment, request).await?))
}

pub(crate) async fn start_push(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let deployment = admitted(&edge, &headers)?;
    let request: PushRequest = read(body).await?;
    Ok(Json(edge.services.deploy.start_push(deployment, request).await?))
}

pub(crate) async fn wait_for_schema(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let deployment = admitted(&edge, &headers)?;
    let mut request: WaitForSchemaRequest = read(body).await?;
    request.timeout_ms = request.timeout_ms.min(edge.options.limits.gateway.long_poll_ms_max);
    Ok(Json(edge.services.deploy.wait_for_schema(deployment, request).await?))
}

pub(crate) async fn finish_push(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let deployment = admitted(&edge, &headers)?;
    let request: FinishPushRequest = read(body).await?;
    Ok(Json(edge.services.deploy.finish_push(deployment, request).await?))
}

/// How long the tool's own steps took. Nobody collects it.
pub(crate) async fn report_push_completed(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    admitted(&edge, &headers)?;
    Ok(Json(Value::Null))
}

fn admitted(edge: &SharedEdge, headers: &HeaderMap) -> Result<DeploymentRef, ApiError> {
    require_admin(headers, &edge.options.admin_keys)?;
    Ok(edge.options.deployment)
}

/// Bundles have megabytes, so they are parsed where nobody else waits.
async fn read<T: DeserializeOwned + Send + 'static>(body: Bytes) -> Result<T, ApiError> {
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&body)).await;
    let parsed = parsed.map_err(|_| contract::Error::internal("parsing a push ended early"))?;
    parsed.map_err(|error| ApiError::bad_request("InvalidPush", format!("The body is not a push: {error}")))
}
