//! Scheduled functions, for administrators: what tools ask that show a deployment.

use axum::{Json, body::Bytes, extract::State, http::HeaderMap};
use contract::JobsOf;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    audit,
    authentication::require_admin,
    components,
    edge::{Addressed, SharedEdge},
    error::ApiError,
    json,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody {
    id: String,
    /// Absent or null for the app itself.
    #[serde(default)]
    component_id: Option<String>,
}

/// What it does not know might have spared some jobs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CancelAllBody {
    /// As `_scheduled_functions` or the app spells it. Absent or null for every function.
    #[serde(default)]
    udf_path: Option<String>,
    #[serde(default)]
    component_id: Option<String>,
}

pub(crate) async fn cancel(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), ApiError> {
    let deployment = &addressed.deployment;
    let identity = require_admin(&headers, &deployment.admin_keys)?;
    let CancelBody { id, component_id } = json::read(&body, "The body does not name a job")?;
    let component = components::path_of(&edge, &addressed, &identity, component_id.as_deref()).await?;
    let jobs = JobsOf { deployment: deployment.reference, component };
    edge.services.schedules.cancel(jobs, &id).await?;
    audit::record(&edge, deployment, &addressed.requester, "cancel_scheduled_function", json!({ "id": id }))
        .await;
    Ok(())
}

/// Answers with how many were cancelled.
pub(crate) async fn cancel_all(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let deployment = &addressed.deployment;
    let identity = require_admin(&headers, &deployment.admin_keys)?;
    let CancelAllBody { udf_path, component_id } = json::read(&body, "The body does not say which jobs")?;
    let component = components::path_of(&edge, &addressed, &identity, component_id.as_deref()).await?;
    let jobs = JobsOf { deployment: deployment.reference, component };
    let canceled = edge.services.schedules.cancel_all(jobs, udf_path.as_deref()).await?;
    let metadata = json!({ "udf_path": udf_path, "canceled": canceled });
    audit::record(&edge, deployment, &addressed.requester, "cancel_all_scheduled_functions", metadata).await;
    Ok(Json(json!({ "canceled": canceled })))
}
