//! Log streams, for administrators.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    audit,
    authentication::require_admin,
    edge::{Addressed, SharedEdge},
    error::ApiError,
};

pub(crate) fn routes() -> Router<SharedEdge> {
    Router::new()
        .route("/api/v1/create_log_stream", post(create))
        .route("/api/v1/update_log_stream/{id}", post(update))
        .route("/api/v1/delete_log_stream/{id}", post(delete))
        .route("/api/v1/list_log_streams", get(list))
        .route("/api/v1/get_log_stream/{id}", get(one))
        .route("/api/v1/rotate_webhook_secret/{id}", post(rotate))
}

/// The body may hold a secret: no message repeats it.
fn text_of(body: &Bytes) -> Result<&str, ApiError> {
    std::str::from_utf8(body)
        .map_err(|_| ApiError::bad_request("InvalidLogStream", "The body is not text in UTF-8."))
}

async fn create(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let created = edge.services.log_streams.create(deployment.reference, text_of(&body)?).await?;
    let metadata = json!({ "type": created.kind, "id": created.id });
    audit::record(&edge, &deployment, &requester, "create_integration", metadata).await;
    let mut answer = json!({ "logStreamType": created.kind, "id": created.id });
    if let Some(secret) = created.hmac_secret {
        answer["hmacSecret"] = json!(secret);
    }
    Ok(Json(answer))
}

async fn update(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let kind = edge.services.log_streams.update(deployment.reference, &id, text_of(&body)?).await?;
    let metadata = json!({ "type": kind, "id": id });
    audit::record(&edge, &deployment, &requester, "update_integration", metadata).await;
    Ok(())
}

async fn delete(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let kind = edge.services.log_streams.delete(deployment.reference, &id).await?;
    let metadata = json!({ "type": kind, "id": id });
    audit::record(&edge, &deployment, &requester, "delete_integration", metadata).await;
    Ok(())
}

async fn list(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let streams = edge.services.log_streams.list(deployment.reference).await?;
    Ok(json_text(format!("[{}]", streams.join(","))))
}

async fn one(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    Ok(json_text(edge.services.log_streams.get(deployment.reference, &id).await?))
}

async fn rotate(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let secret = edge.services.log_streams.rotate_webhook_secret(deployment.reference, &id).await?;
    let metadata = json!({ "type": "webhook", "id": id });
    audit::record(&edge, &deployment, &requester, "update_integration", metadata).await;
    Ok(Json(json!({ "logStreamType": "webhook", "hmacSecret": secret })))
}

fn json_text(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
