//! What a deployment says about itself.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{authentication::require_admin, edge::SharedEdge, error::ApiError};

pub(crate) async fn banner() -> &'static str {
    concat!(
        "This is a Tidemark deployment, version ",
        env!("CARGO_PKG_VERSION"),
        ". Point a Convex client or `npx convex` at this address.\n"
    )
}

pub(crate) async fn version() -> &'static str {
    concat!("tidemark-", env!("CARGO_PKG_VERSION"))
}

/// The deployment's name as plain text.
pub(crate) async fn instance_name(State(edge): State<SharedEdge>) -> String {
    edge.options.deployment_name.clone()
}

/// The body, unchanged: `convex network-test` measures by it. Bodies can be large and nobody is authenticated, so only
/// few are taken at a time.
pub(crate) async fn echo(
    State(edge): State<SharedEdge>,
    request: axum::extract::Request,
) -> Result<Bytes, ApiError> {
    let _permit = edge.echoes.acquire().await.expect("the semaphore is never closed");
    axum::body::to_bytes(request.into_body(), edge.options.limits.gateway.echo_body_bytes_max).await.map_err(
        |_| {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestTooLarge",
                "The body is larger than what is sent back.",
            )
        },
    )
}

pub(crate) async fn canonical_urls(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &edge.options.admin_keys)?;
    let options = &edge.options;
    Ok(Json(json!({ "convexCloudUrl": options.cloud_url, "convexSiteUrl": options.site_url })))
}

/// What the holder of the key may do: everything that is served.
pub(crate) async fn check_admin_key(
    State(edge): State<SharedEdge>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &edge.options.admin_keys)?;
    Ok(Json(json!({
        "success": true,
        "isReadOnly": false,
        "allowedOps": [
            "Deploy",
            "ViewEnvironmentVariables",
            "ViewLogs",
            "ViewData",
            "ActAsUser",
            "RunInternalQueries",
            "RunInternalMutations",
        ],
    })))
}

/// Clients in debug mode tell what they saw. Nobody collects it.
pub(crate) async fn debug_event() -> Response {
    StatusCode::OK.into_response()
}
