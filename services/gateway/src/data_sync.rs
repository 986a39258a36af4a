//! Documents for those who keep copies of them: streaming export, and data sync.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use contract::{DeltasRequest, SchemasRequest, SnapshotPage, SnapshotRequest, SyncRequest};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use crate::{
    audit,
    authentication::require_admin,
    edge::{Addressed, SharedEdge},
    error::ApiError,
    json,
    parameters::Parameters,
};

pub(crate) fn routes(sync_body_bytes_max: usize) -> Router<SharedEdge> {
    Router::new()
        .route("/api/json_schemas", get(json_schemas))
        .route("/api/list_snapshot", get(list_snapshot).post(list_snapshot))
        .route("/api/document_deltas", get(document_deltas).post(document_deltas))
        .route("/api/test_streaming_export_connection", get(test_connection))
        .route("/api/v1/data/sync", post(sync).layer(DefaultBodyLimit::max(sync_body_bytes_max)))
        .route("/api/v1/data/list_active_syncs", get(list_active_syncs))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SnapshotArguments {
    table_name: Option<String>,
    component: Option<String>,
    format: Option<String>,
    cursor: Option<String>,
    snapshot: Option<u64>,
    /// In the body alone.
    selection: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeltasArguments {
    table_name: Option<String>,
    component: Option<String>,
    format: Option<String>,
    cursor: Option<u64>,
    /// In the body alone.
    selection: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SchemasArguments {
    delta_schema: bool,
    format: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListArguments {
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SyncArguments {
    cursor: Option<String>,
    selection: Option<Box<RawValue>>,
}

/// From the query of the address, or else from the body.
fn arguments<A: DeserializeOwned>(query: A, body: &[u8]) -> Result<A, ApiError> {
    if body.is_empty() {
        return Ok(query);
    }
    json::read(body, "The body can't be read")
}

async fn json_schemas(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    Parameters(query): Parameters<SchemasArguments>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let SchemasArguments { delta_schema, format } = query;
    let request = SchemasRequest { delta: delta_schema, format };
    let schemas = edge.services.data_sync.json_schemas(deployment.reference, request).await?;
    Ok(json_text(schemas))
}

async fn list_snapshot(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    Parameters(query): Parameters<SnapshotArguments>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let SnapshotArguments { table_name, component, format, cursor, snapshot, selection } =
        arguments(query, &body)?;
    let selection = selection.map(|selection| selection.get().to_owned());
    let request = SnapshotRequest { table: table_name, component, format, cursor, snapshot, selection };
    let page = edge.services.data_sync.list_snapshot(deployment.reference, request).await?;
    let rest = json!({
        "cursor": page.cursor,
        "snapshot": page.timestamp.as_nanoseconds(),
        "hasMore": page.has_more,
    });
    Ok(page_text(page, &rest))
}

async fn document_deltas(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    Parameters(query): Parameters<DeltasArguments>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let DeltasArguments { table_name, component, format, cursor, selection } = arguments(query, &body)?;
    let selection = selection.map(|selection| selection.get().to_owned());
    let request = DeltasRequest { table: table_name, component, format, cursor, selection };
    let page = edge.services.data_sync.document_deltas(deployment.reference, request).await?;
    let rest = json!({ "cursor": page.timestamp.as_nanoseconds(), "hasMore": page.has_more });
    Ok(page_text(page, &rest))
}

/// Whoever may read gets an answer.
async fn test_connection(
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    Ok(Json(json!({})))
}

async fn sync(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let SyncArguments { cursor, selection } = arguments(SyncArguments::default(), &body)?;
    let is_new = cursor.is_none();
    let request = SyncRequest { cursor, selection: selection.map(|selection| selection.get().to_owned()) };
    let page = edge.services.data_sync.sync(deployment.reference, request).await?;
    if is_new {
        let metadata = json!({ "sync_id": page.sync });
        audit::record(&edge, &deployment, &requester, "create_data_sync", metadata).await;
    }
    let status = match page.synced {
        Some(synced) => json!({ "type": "synced", "syncedTs": synced.as_nanoseconds() }),
        None => json!({ "type": "inProgress" }),
    };
    let truncates: Vec<Value> = page
        .truncates
        .iter()
        .map(|truncate| json!({ "component": truncate.component, "table": truncate.table }))
        .collect();
    let values = page.values.into_iter().map(|document| {
        let head = json!({
            "component": document.component,
            "table": document.table,
            "ts": document.timestamp.as_nanoseconds(),
            "deleted": document.deleted,
        });
        with_field(&head, "value", &document.value)
    });
    let values: Vec<String> = values.collect();
    let rest = json!({
        "syncId": page.sync,
        "status": status,
        "truncates": truncates,
        "pagination": { "hasMore": page.synced.is_none(), "nextCursor": page.cursor },
    });
    Ok(json_text(with_field(&rest, "values", &array(&values))))
}

async fn list_active_syncs(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    Parameters(query): Parameters<ListArguments>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    const LISTED: usize = 50;
    require_admin(&headers, &deployment.admin_keys)?;
    let ListArguments { limit, cursor } = query;
    let limit = limit.unwrap_or(LISTED);
    let listed = edge.services.data_sync.active_syncs(deployment.reference, cursor, limit).await?;
    let syncs: Vec<Value> = listed
        .syncs
        .iter()
        .map(|sync| {
            let status: Value = serde_json::from_str(&sync.status).unwrap_or_default();
            json!({ "syncId": sync.sync, "lastUpdated": sync.updated_ms, "status": status })
        })
        .collect();
    let has_more = listed.cursor.is_some();
    let pagination = json!({ "hasMore": has_more, "nextCursor": listed.cursor });
    Ok(Json(json!({ "syncs": syncs, "pagination": pagination })))
}

fn page_text(page: SnapshotPage, rest: &Value) -> Response {
    json_text(with_field(rest, "values", &array(&page.values)))
}

/// An object with a field more, whose value is JSON text.
fn with_field(object: &Value, name: &str, value: &str) -> String {
    let mut text = object.to_string();
    assert_eq!(text.pop(), Some('}'), "it is an object");
    text.push_str(&format!(",{}:{value}}}", Value::from(name)));
    text
}

fn array(values: &[String]) -> String {
    format!("[{}]", values.join(","))
}

fn json_text(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
