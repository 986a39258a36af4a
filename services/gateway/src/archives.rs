//! Exports and imports, for administrators. Bytes of both go past the limits for requests: they have a place and times of their own.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE,
        },
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use contract::{NewExport, NewImport};
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    audit,
    authentication::require_admin,
    bodies,
    edge::{Addressed, Edge, SharedEdge},
    error::ApiError,
    json,
    parameters::Parameters,
    storage::{body_with, place},
};

/// An export never changes; but it goes, and who may read it can change.
const CACHED: HeaderValue = HeaderValue::from_static("private, max-age=2592000");
const EXPOSED: HeaderValue = HeaderValue::from_static("Content-Disposition");
/// Bytes of a refused part that are read so that its sender sees the answer.
const REFUSED_BYTES_MAX: usize = 16 << 20;

/// Small requests.
pub(crate) fn routes() -> Router<SharedEdge> {
    Router::new()
        .route("/api/export/request/zip", post(request_export))
        .route("/api/export/cancel/{id}", post(cancel_export))
        .route("/api/export/set_expiration/{id}", post(set_expiration))
        .route("/api/import/start_upload", post(start_upload))
        .route("/api/import/finish_upload", post(finish_upload))
        .route("/api/perform_import", post(perform_import))
        .route("/api/cancel_import", post(cancel_import))
}

/// Those that are as long as what they bring.
pub(crate) fn long_routes() -> Router<SharedEdge> {
    Router::new()
        .route("/api/import/upload_part", post(upload_part))
        .route("/api/export/zip/{name}", get(download))
        .layer(DefaultBodyLimit::disable())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExportQuery {
    #[serde(default)]
    include_storage: bool,
    #[serde(default)]
    component: Option<String>,
}

async fn request_export(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    Parameters(ExportQuery { include_storage, component }): Parameters<ExportQuery>,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let export = NewExport { include_storage, component: component.unwrap_or_default() };
    let metadata = json!({ "include_storage": include_storage, "component_path": export.component });
    edge.services.archives.request_export(deployment.reference, export).await?;
    audit::record(&edge, &deployment, &requester, "request_export", metadata).await;
    Ok(())
}

async fn cancel_export(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    edge.services.archives.cancel_export(deployment.reference, &id).await?;
    audit::record(&edge, &deployment, &requester, "cancel_export", json!({ "id": id })).await;
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expiration {
    /// Nanoseconds since the Unix epoch.
    expiration_ts_ns: u64,
}

async fn set_expiration(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let Expiration { expiration_ts_ns } = json::read(&body, "The body does not say when the export goes")?;
    edge.services.archives.set_export_expiration(deployment.reference, &id, expiration_ts_ns).await?;
    let metadata = json!({ "id": id, "expiration_ts_ns": expiration_ts_ns });
    audit::record(&edge, &deployment, &requester, "set_export_expiration", metadata).await;
    Ok(())
}

async fn download(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let Some(export) = edge.services.archives.find_export(deployment.reference, &name).await? else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "ExportNotFound", "There is no such export."));
    };
    let place = place(&edge, &edge.downloads, deployment.reference).await?;
    let bytes = edge.services.archives.read_export(&export).await?;
    // The whole rest of the header is the name, without quotes: that is how the command line tool reads it.
    let disposition = format!("attachment; filename={}", export.file_name);
    let disposition = HeaderValue::try_from(disposition).expect("the name has letters, digits, `_` and `.`");
    let mut response = ([(CONTENT_LENGTH, export.size_bytes)], body_with(place, bytes)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(CACHE_CONTROL, CACHED);
    Ok(response)
}

async fn start_upload(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let upload = edge.services.archives.start_upload(deployment.reference).await?;
    Ok(Json(json!({ "uploadToken": upload })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartQuery {
    upload_token: String,
    part_number: u32,
}

async fn upload_part(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    Parameters(part): Parameters<PartQuery>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    require_admin(request.headers(), &addressed.deployment.admin_keys)?;
    let mut frames = request.into_body().into_data_stream();
    let limits = &edge.limits.gateway;
    let stored =
        timeout(Duration::from_millis(limits.upload_ms_max), store(&edge, &addressed, part, &mut frames));
    let stored = stored.await.unwrap_or_else(|_| Err(too_slow("The upload took longer than an upload may.")));
    if let Err(error) = &stored
        && error.status() != StatusCode::REQUEST_TIMEOUT
    {
        let patience = Duration::from_millis(limits.upload_stall_ms_max);
        let _ = timeout(patience, bodies::discard(&mut frames, REFUSED_BYTES_MAX)).await;
    }
    Ok(Json(Value::String(stored?)))
}

async fn store(
    edge: &Edge,
    addressed: &Addressed,
    PartQuery { upload_token, part_number }: PartQuery,
    frames: &mut axum::body::BodyDataStream,
) -> Result<String, ApiError> {
    let deployment = addressed.deployment.reference;
    let _place = place(edge, &edge.uploads, deployment).await?;
    let mut part = edge.services.archives.begin_part(deployment, &upload_token, part_number).await?;
    let stall = Duration::from_millis(edge.limits.gateway.upload_stall_ms_max);
    loop {
        let Ok(frame) = timeout(stall, frames.next()).await else {
            return Err(too_slow("Nothing came of the upload for longer than may be."));
        };
        match frame.transpose().map_err(bodies::unreadable)? {
            Some(bytes) => part.write(bytes).await?,
            None => return Ok(part.finish().await?),
        }
    }
}

fn too_slow(message: &str) -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FinishBody {
    import: ImportBody,
    upload_token: String,
    part_tokens: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportBody {
    #[serde(default)]
    table_name: Option<String>,
    #[serde(default)]
    component_path: Option<String>,
    /// `requireEmpty` if nobody says otherwise.
    #[serde(default)]
    mode: Option<String>,
    format: String,
}

async fn finish_upload(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let FinishBody { import, upload_token, part_tokens } =
        json::read(&body, "The body does not describe an import")?;
    let ImportBody { table_name, component_path, mode, format } = import;
    let mode = mode.unwrap_or_else(|| "requireEmpty".to_owned());
    let import = NewImport { format, mode, table: table_name, component: component_path.unwrap_or_default() };
    let archives = &edge.services.archives;
    let id = archives.finish_upload(deployment.reference, &upload_token, part_tokens, import).await?;
    Ok(Json(json!({ "importId": id })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportName {
    import_id: String,
}

async fn perform_import(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let ImportName { import_id } = json::read(&body, "The body does not name an import")?;
    let confirmed = edge.services.archives.perform_import(deployment.reference, &import_id).await?;
    if let Some(NewImport { format, mode, table, component }) = confirmed {
        let metadata = json!({
            "id": import_id,
            "format": format,
            "mode": mode,
            "table_name": table,
            "component_path": component,
        });
        audit::record(&edge, &deployment, &requester, "snapshot_import", metadata).await;
    }
    Ok(())
}

async fn cancel_import(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let ImportName { import_id } = json::read(&body, "The body does not name an import")?;
    edge.services.archives.cancel_import(deployment.reference, &import_id).await?;
    audit::record(&edge, &deployment, &requester, "cancel_import", json!({ "id": import_id })).await;
    Ok(())
}
