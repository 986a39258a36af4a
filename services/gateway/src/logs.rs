//! The log of executions, as `convex logs` and `convex dev` follow it.

use std::time::Duration;

use axum::{Json, extract::State, http::HeaderMap};
use contract::{Caller, ConsoleLine, ExecutionRecord, FunctionKind, FunctionLogPage};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    authentication::require_admin,
    edge::{Addressed, SharedEdge},
    error::ApiError,
    parameters::Parameters,
};

#[derive(Deserialize)]
pub(crate) struct Position {
    /// Where the last answer ended; a number to the client, 0 at first.
    #[serde(default)]
    cursor: f64,
}

/// A long poll: answers once there is an entry behind the cursor, or empty after a while. Clients ask again at once.
pub(crate) async fn stream_function_logs(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    Parameters(position): Parameters<Position>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    const CURSOR_MAX: f64 = (1u64 << 53) as f64;
    if !(0.0..=CURSOR_MAX).contains(&position.cursor) {
        return Err(ApiError::bad_request(
            "InvalidCursor",
            "The cursor is not one that this deployment gave.",
        ));
    }
    let cursor = position.cursor as u64;
    let wait = Duration::from_millis(edge.limits.gateway.long_poll_ms_max);
    let page = tokio::select! {
        page = edge.services.runner.function_log(deployment.reference, cursor, wait) => page?,
        () = edge.shutdown.cancelled() => FunctionLogPage { records: Vec::new(), cursor },
    };
    let entries: Vec<Value> = page.records.iter().map(entry).collect();
    Ok(Json(json!({ "entries": entries, "newCursor": page.cursor })))
}

fn entry(entry: &ExecutionRecord) -> Value {
    let ended = entry.ended_at_s;
    let seconds = entry.execution_time.as_secs_f64();
    let conflict = entry.conflict.as_ref().map(|table| {
        json!({ "tableName": table, "documentId": null, "writeSource": null, "componentPath": entry.component, "retryCount": null })
    });
    json!({
        "kind": "Completion",
        "udfType": match entry.kind {
            FunctionKind::Query => "Query",
            FunctionKind::Mutation => "Mutation",
            FunctionKind::Action => "Action",
            FunctionKind::HttpAction => "HttpAction",
        },
        "componentPath": entry.component,
        "identifier": entry.identifier,
        "logLines": entry.lines.iter().map(line).collect::<Vec<_>>(),
        "timestamp": ended,
        "cachedResult": entry.cached,
        "caller": match entry.caller {
            Caller::HttpApi => "HttpApi",
            Caller::SyncWorker => "SyncWorker",
            Caller::Scheduler => "Scheduler",
            Caller::Cron => "Cron",
            Caller::HttpEndpoint => "HttpEndpoint",
            Caller::Action => "Action",
        },
        "parentExecutionId": null,
        "executionTime": seconds,
        "userExecutionTime": null,
        "success": entry.http_status.map(|status| json!({ "status": status.to_string() })),
        "error": entry.error,
        "requestId": entry.request_id,
        "executionId": entry.execution_id,
        "usageStats": usage(),
        "returnBytes": null,
        "occInfo": conflict,
        "willRetry": entry.will_retry,
        "executionTimestamp": ended - seconds,
        "identityType": entry.identity.name(),
        "environment": "isolate",
    })
}

fn line(line: &ConsoleLine) -> Value {
    json!({
        "messages": line.messages,
        "isTruncated": line.truncated,
        "timestamp": line.logged_at_ms,
        "level": line.level.name(),
        "systemMetadata": null,
    })
}

/// Not measured yet. The fields must be there and be numbers.
fn usage() -> Value {
    const FIELDS: [&str; 17] = [
        "databaseReadBytes",
        "databaseWriteBytes",
        "databaseIoReadBytes",
        "databaseIoWriteBytes",
        "databaseReadDocuments",
        "databaseWriteDocuments",
        "databaseWriteIndexRows",
        "storageReadBytes",
        "storageWriteBytes",
        "vectorIndexReadBytes",
        "vectorIndexWriteBytes",
        "textIndexQueryBytes",
        "textIndexWriteQueryBytes",
        "vectorIndexReadQueryBytes",
        "vectorIndexWriteQueryBytes",
        "networkEgressBytes",
        "memoryUsedMb",
    ];
    FIELDS.into_iter().map(|field| (field.to_owned(), json!(0))).collect()
}
