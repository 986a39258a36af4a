//! The audit log: what was changed of a deployment through this API or by the functions of the system, and how it is read.

use axum::{Json, Router, extract::State, http::HeaderMap, routing::get};
use contract::{AuditEntry, DeploymentRef, MutationCall, MutationOutcome, Requester};
use serde::Deserialize;
use serde_json::{Value, json};
use value::FunctionPath;

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
    enter(edge, (deployment.reference, &deployment.name), requester, action, metadata).await;
}

/// Runs a mutation. If it is one of the system's own, as consoles call them, what it has changed is entered.
pub(crate) async fn run_mutation(edge: &Edge, call: MutationCall) -> contract::Result<MutationOutcome> {
    let path = call.function.path.parse::<FunctionPath>().ok();
    let Some(path) = path.filter(|path| path.module.is_system()) else {
        return edge.services.runner.mutation(call).await;
    };
    let (at, requester) = (call.function.deployment, call.function.requester.clone());
    let arguments: Value = serde_json::from_str(&call.function.arguments).unwrap_or_default();
    let outcome = edge.services.runner.mutation(call).await?;
    let arguments = arguments.get(0).unwrap_or(&arguments);
    if let Ok(result) = &outcome.result
        && let Some(action) = action_of(&path.to_string(), arguments, result)
    {
        let deployments = edge.services.directory.deployments().borrow().clone();
        let name = deployments.get(at).map(|entry| entry.deployment.name.clone()).unwrap_or_default();
        enter(edge, (at, &name), &requester, action, metadata_of(arguments)).await;
    }
    Ok(outcome)
}

/// As what a call of a function of the system is entered; `None` if it has changed nothing.
fn action_of(path: &str, arguments: &Value, result: &str) -> Option<&'static str> {
    let (module, name) = path.strip_prefix("_system/frontend/")?.split_once(':')?;
    // A table is cleared by many calls.
    let is_first = arguments.get("cursor").is_none_or(Value::is_null);
    match (module, name) {
        ("addDocument", "default") => Some("add_documents"),
        ("clearTablePage", "default") => is_first.then_some("clear_tables"),
        ("createTable", "default") => Some("create_table"),
        ("deleteDocuments", "default") => Some("delete_documents"),
        // They say whether anything was.
        ("deploymentState", "pause") => (result == "true").then_some("pause_deployment"),
        ("deploymentState", "resume") => (result == "true").then_some("unpause_deployment"),
        ("fileStorageV2", "deleteFiles") => Some("delete_files"),
        ("fileStorageV2", "generateUploadUrl") => Some("generate_upload_url"),
        ("patchDocumentsFields" | "replaceDocument", "default") => Some("update_documents"),
        _ => None,
    }
}

/// Which table it was, and nothing of what stands in it.
fn metadata_of(arguments: &Value) -> Value {
    let table = ["/table", "/tableName", "/toDelete/0/tableName"].into_iter();
    let table = table.filter_map(|place| arguments.pointer(place)).find_map(Value::as_str);
    table.map_or_else(|| json!({}), |table| json!({ "table_name": table }))
}

async fn enter(
    edge: &Edge,
    (deployment, name): (DeploymentRef, &str),
    requester: &Requester,
    action: &'static str,
    metadata: Value,
) {
    let entry = AuditEntry {
        action: action.to_owned(),
        // Whoever holds a key: there are no members here.
        actor: json!({ "kind": "token", "token_id": name }).to_string(),
        metadata: metadata.to_string(),
        client_address: requester.ip.map(|ip| ip.to_string()),
        client_agent: requester.user_agent.as_deref().map(str::to_owned),
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_consoles_change_is_entered_by_table_and_without_contents() {
        let action = |path: &str, arguments: &Value, result: &str| {
            action_of(&format!("_system/frontend/{path}"), arguments, result)
        };
        let added = json!({ "table": "people", "documents": [{ "name": "Ada" }] });
        assert_eq!(action("addDocument:default", &added, "null"), Some("add_documents"));
        assert_eq!(metadata_of(&added), json!({ "table_name": "people" }));
        let deleted = json!({ "toDelete": [{ "id": "1", "tableName": "people" }] });
        assert_eq!(action("deleteDocuments:default", &deleted, "null"), Some("delete_documents"));
        assert_eq!(metadata_of(&deleted), json!({ "table_name": "people" }));
        let cleared = |cursor: Value| json!({ "tableName": "people", "cursor": cursor });
        assert_eq!(action("clearTablePage:default", &cleared(json!(null)), "{}"), Some("clear_tables"));
        assert_eq!(action("clearTablePage:default", &cleared(json!("next")), "{}"), None);
        assert_eq!(action("deploymentState:pause", &json!({}), "true"), Some("pause_deployment"));
        assert_eq!(action("deploymentState:pause", &json!({}), "false"), None);
        assert_eq!(metadata_of(&json!({})), json!({}));
        assert_eq!(action_of("people:addDocument", &added, "null"), None);
    }
}
