//! Pausing a deployment and resuming it, for administrators.

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use contract::{Caller, Error, FunctionCall, MutationCall, Timestamp};

use crate::{
    audit,
    authentication::require_admin,
    edge::{Addressed, SharedEdge},
    error::ApiError,
};

const PAUSE: &str = "_system/frontend/deploymentState:pause";
const RESUME: &str = "_system/frontend/deploymentState:resume";

pub(crate) fn routes() -> Router<SharedEdge> {
    Router::new()
        .route("/api/v1/pause_deployment", post(pause))
        .route("/api/v1/unpause_deployment", post(resume))
}

async fn pause(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
) -> Result<(), ApiError> {
    change(edge, addressed, headers, PAUSE).await
}

async fn resume(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
) -> Result<(), ApiError> {
    change(edge, addressed, headers, RESUME).await
}

async fn change(
    edge: SharedEdge,
    addressed: Addressed,
    headers: HeaderMap,
    path: &str,
) -> Result<(), ApiError> {
    let deployment = &addressed.deployment;
    let function = FunctionCall {
        deployment: deployment.reference,
        component: String::new(),
        path: path.to_owned(),
        arguments: "[{}]".into(),
        identity: require_admin(&headers, &deployment.admin_keys)?,
        caller: Caller::HttpApi,
        requester: addressed.requester.clone(),
        request_id: addressed.request_id.to_string(),
    };
    let call = MutationCall { function, session: None, not_before: Timestamp::ZERO };
    let outcome = audit::run_mutation(&edge, call).await?;
    outcome.result.map_err(|error| Error::internal(error.message))?;
    Ok(())
}
