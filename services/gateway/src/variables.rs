//! Environment variables, for administrators.

use axum::{Json, extract::State, http::HeaderMap};
use contract::VariableChange;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    audit,
    authentication::require_admin,
    edge::{Addressed, SharedEdge},
    error::ApiError,
};

#[derive(Deserialize)]
pub(crate) struct Changes {
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    name: String,
    /// Absent or null removes it.
    #[serde(default)]
    value: Option<String>,
}

/// All of the changes, or none.
pub(crate) async fn update(
    State(edge): State<SharedEdge>,
    Addressed { deployment, requester, .. }: Addressed,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<(), ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let body: Changes = serde_json::from_slice(&body)
        .map_err(|error| ApiError::not_repeated("The body is not a list of changes", &error))?;
    let changes = body.changes.into_iter().map(|Change { name, value }| VariableChange { name, value });
    let changes: Vec<VariableChange> = changes.collect();
    let deploy = &edge.services.deploy;
    let before = deploy.environment_variables(deployment.reference).await?;
    deploy.update_environment_variables(deployment.reference, changes.clone()).await?;
    for change in changes {
        let action = match (before.contains_key(&change.name), change.value) {
            (true, Some(_)) => "update_environment_variable",
            (true, None) => "delete_environment_variable",
            (false, Some(_)) => "create_environment_variable",
            (false, None) => continue,
        };
        let metadata = json!({ "variable_name": change.name });
        audit::record(&edge, &deployment, &requester, action, metadata).await;
    }
    Ok(())
}

pub(crate) async fn list(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    require_admin(&headers, &deployment.admin_keys)?;
    let variables = edge.services.deploy.environment_variables(deployment.reference).await?;
    Ok(Json(json!({ "environmentVariables": variables })))
}
