//! What a deployment says about itself.

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use contract::Door;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    audit,
    authentication::require_admin,
    bodies,
    edge::{Addressed, SharedEdge},
    error::ApiError,
};

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
pub(crate) async fn instance_name(Addressed { deployment, .. }: Addressed) -> String {
    deployment.name.clone()
}

/// The body, unchanged: `convex network-test` measures by it. Bodies can be large and nobody is authenticated, so only
/// few are taken at a time, until the client has taken them back.
pub(crate) async fn echo(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    request: Request,
) -> Result<Response, ApiError> {
    let place = edge.echoes.take(deployment.reference, 1).await;
    let limits = &edge.limits.gateway;
    let body = axum::body::to_bytes(request.into_body(), limits.echo_body_bytes_max).await;
    let body = body.map_err(|_| bodies::too_large())?;
    Ok(bodies::in_pieces(body, place))
}

pub(crate) async fn canonical_urls(
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    Ok(Json(json!({ "convexCloudUrl": deployment.cloud_url, "convexSiteUrl": deployment.site_url })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CanonicalUrl {
    request_destination: Destination,
    /// Absent or null for the one that it has by default.
    #[serde(default)]
    url: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Destination {
    ConvexCloud,
    ConvexSite,
}

pub(crate) async fn update_canonical_url(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let CanonicalUrl { request_destination, url } = serde_json::from_slice(&body)
        .map_err(|error| ApiError::not_repeated("The body does not say which address", &error))?;
    let (door, destination) = match request_destination {
        Destination::ConvexCloud => (Door::Api, "convexCloud"),
        Destination::ConvexSite => (Door::Site, "convexSite"),
    };
    edge.services.directory.set_url(deployment.reference, door, url.as_deref()).await?;
    let action = if url.is_some() { "update_canonical_url" } else { "delete_canonical_url" };
    let metadata = json!({ "request_destination": destination, "url": url });
    audit::record(&edge, &deployment, &requester, action, metadata).await;
    Ok(())
}

/// What kind of deployment it is.
pub(crate) async fn deployment(
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    Ok(Json(json!({ "kind": "selfHosted" })))
}

/// What the holder of the key may do: everything that is served.
pub(crate) async fn check_admin_key(
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    Ok(Json(json!({
        "success": true,
        "isReadOnly": false,
        "allowedOps": [
            "Deploy",
            "ViewEnvironmentVariables",
            "WriteEnvironmentVariables",
            "ViewLogs",
            "ViewData",
            "ActAsUser",
            "RunInternalQueries",
            "RunInternalMutations",
            "RunTestQuery",
        ],
    })))
}

/// Clients in debug mode tell what they saw. Nobody collects it.
pub(crate) async fn debug_event() -> Response {
    StatusCode::OK.into_response()
}
