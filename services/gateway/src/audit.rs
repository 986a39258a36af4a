//! The audit log: what was changed of a deployment through this API, and how it is read.

use axum::{Json, Router, extract::State, http::HeaderMap, routing::get};
use contract::{AuditEntry, DeploymentRef, Requester};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    authentication::require_admin,
    deployments::Deployment,
    edge::{Addressed, Edge, SharedEdge},
    error::ApiError,
    parameters::Parameters,
};

pub(crate) fn routes() -> Router<SharedEdge> {
    Router::new().route("/api/v1/list_audit_log_events", get(list))
}

/// Enters a change that was made with the deployment's key. It has been made: that it could not be entered is only logged.
pub(crate) async fn record(
    edge: &Edge,
    deployment: &Deployment,
    requester: &Requester,
    action: &'static str,
    metadata: Value,
) {
    let entry = AuditEntry {
        action: action.to_owned(),
        // Whoever holds a key: there are no members here.
        actor: json!({ "kind": "token", "token_id": deployment.name }).to_string(),
        metadata: metadata.to_string(),
        client_address: requester.ip.map(|ip| ip.to_string()),
        client_agent: requester.user_agent.as_deref().map(str::to_owned),
    };
    enter(edge, deployment.reference, entry).await;
}

/// Enters what a push has changed.
pub(crate) async fn record_push(edge: &Edge, deployment: DeploymentRef) {
    let entry = AuditEntry {
        action: "push_config".to_owned(),
        actor: json!({ "kind": "token", "token_id": null }).to_string(),
        metadata: json!({}).to_string(),
        client_address: None,
        client_agent: None,
    };
    enter(edge, deployment, entry).await;
}

async fn enter(edge: &Edge, deployment: DeploymentRef, entry: AuditEntry) {
    let action = entry.action.clone();
    if let Err(error) = edge.services.log_streams.audit(deployment, entry).await {
        tracing::warn!(%deployment, action, "a change is missing in the audit log: {error}");
    }
}

#[derive(Deserialize)]
struct Page {
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    from: u64,
    limit: Option<usize>,
    cursor: Option<String>,
}

async fn list(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    Parameters(page): Parameters<Page>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    const LISTED: usize = 15;
    require_admin(&headers, &deployment.admin_keys)?;
    let limit = page.limit.unwrap_or(LISTED);
    let log_streams = &edge.services.log_streams;
    let found = log_streams.audit_log(deployment.reference, page.from, page.cursor, limit).await?;
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let items: Vec<Value> = found
        .entries
        .iter()
        .map(|(time_ms, entry)| {
            let mut item = json!({
                "action": entry.action,
                "actor": parsed(&entry.actor),
                "createTime": time_ms,
                "metadata": parsed(&entry.metadata),
            });
            if let Some(address) = &entry.client_address {
                item["clientIp"] = json!(address);
            }
            if let Some(agent) = &entry.client_agent {
                item["clientUserAgent"] = json!(agent);
            }
            item
        })
        .collect();
    let has_more = found.cursor.is_some();
    Ok(Json(json!({ "items": items, "pagination": { "hasMore": has_more, "nextCursor": found.cursor } })))
}
