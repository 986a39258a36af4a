//! Records that other systems stream in, for administrators: the requests of Airbyte's connector.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post, put},
};
use contract::StreamedRecord;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    audit,
    authentication::require_admin,
    edge::{Addressed, SharedEdge},
    error::ApiError,
    json,
};

/// Small requests.
pub(crate) fn routes() -> Router<SharedEdge> {
    Router::new()
        .route("/api/streaming_import/add_primary_key_indexes", put(add_indexes))
        .route("/api/streaming_import/primary_key_indexes_ready", get(are_ready))
        .route("/api/streaming_import/clear_tables", put(clear_tables))
        .route("/api/streaming_import/replace_tables", post(replace_tables))
}

#[derive(Deserialize)]
struct Indexes {
    /// By table; each path is a list of names.
    indexes: BTreeMap<String, Vec<Vec<String>>>,
}

#[derive(Deserialize)]
struct Tables {
    tables: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TableNames {
    table_names: Vec<String>,
}

#[derive(Deserialize)]
struct Records {
    tables: BTreeMap<String, Stream>,
    messages: Vec<Message>,
}

/// What it says of the shape of records is not needed: they say it themselves.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stream {
    #[serde(default)]
    primary_key: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    table_name: String,
    data: Box<RawValue>,
}

pub(crate) async fn import_records(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let Records { tables, messages } = json::read_secret(&body)?;
    let streams = tables.into_iter().map(|(name, stream)| (name, stream.primary_key)).collect();
    let record =
        |message: Message| StreamedRecord { table: message.table_name, data: message.data.get().to_owned() };
    let records = messages.into_iter().map(record).collect();
    edge.services.archives.import_records(deployment.reference, streams, records).await?;
    Ok(Json(json!({})))
}

async fn add_indexes(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let Indexes { indexes } = json::read_secret(&body)?;
    let metadata = json!({ "tables": indexes.keys().collect::<Vec<_>>() });
    edge.services.archives.add_primary_key_indexes(deployment.reference, indexes).await?;
    audit::record(&edge, &deployment, &requester, "build_indexes", metadata).await;
    Ok(Json(json!({})))
}

async fn are_ready(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let Tables { tables } = json::read_secret(&body)?;
    let are_ready = edge.services.archives.primary_key_indexes_ready(deployment.reference, tables).await?;
    Ok(Json(json!({ "indexesReady": are_ready })))
}

async fn clear_tables(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let TableNames { table_names } = json::read_secret(&body)?;
    let metadata = json!({ "tables": table_names });
    edge.services.archives.clear_tables(deployment.reference, table_names).await?;
    audit::record(&edge, &deployment, &requester, "clear_tables", metadata).await;
    Ok(Json(json!({})))
}

async fn replace_tables(
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let message = "Tables can't be overwritten by a sync. Choose a mode that appends, with or without removing duplicates.";
    Err(ApiError::new(StatusCode::BAD_REQUEST, "OverwriteNotSupported", message))
}
