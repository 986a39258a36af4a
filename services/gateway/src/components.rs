//! Components as tools name them: by their ids, where everything else names paths.

use axum::{body::Bytes, extract::State, http::HeaderMap};
use contract::{Caller, FunctionCall, Identity, QueryCall, ReadMoment, Requester};
use serde::Deserialize;
use serde_json::json;

use crate::{
    audit,
    authentication::require_admin,
    edge::{Addressed, Edge, SharedEdge},
    error::ApiError,
    json,
};

/// How tools name the app itself where they name a component.
const APP: &str = "_App";

/// What lists them, with the path that each is mounted at.
const LIST: &str = "_system/frontend/components:list";

#[derive(Deserialize)]
struct Component {
    id: String,
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteBody {
    component_id: String,
}

/// Deletes what is left of a component that is not mounted any more.
pub(crate) async fn delete(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), ApiError> {
    let deployment = &addressed.deployment;
    let identity = require_admin(&headers, &deployment.admin_keys)?;
    let DeleteBody { component_id } = json::read(&body, "The body does not name a component")?;
    let path = path_of(&edge, &addressed, &identity, Some(&component_id)).await?;
    edge.services.deploy.delete_component(deployment.reference, &path).await?;
    let metadata = json!({ "component": path });
    audit::record(&edge, deployment, &addressed.requester, "delete_component", metadata).await;
    Ok(())
}

/// The path of the component that an administrator names by its id; tools that name none mean the app itself.
pub(crate) async fn path_of(
    edge: &Edge,
    addressed: &Addressed,
    identity: &Identity,
    id: Option<&str>,
) -> Result<String, ApiError> {
    let Some(id) = id.filter(|id| *id != APP) else { return Ok(String::new()) };
    let function = FunctionCall {
        deployment: addressed.deployment.reference,
        component: String::new(),
        path: LIST.to_owned(),
        arguments: "[{}]".into(),
        identity: identity.clone(),
        caller: Caller::HttpApi,
        requester: Requester::default(),
        request_id: addressed.request_id.to_string(),
    };
    let call = QueryCall { function, at: ReadMoment::Latest, journal: None };
    let listed = edge.services.runner.query(call).await?.result;
    let listed = listed.map_err(|error| ApiError::bad_request("ComponentNotFound", error.message))?;
    let components: Vec<Component> = serde_json::from_str(&listed).map_err(|error| {
        contract::Error::internal(format!("the list of components can't be read: {error}"))
    })?;
    let component = components.into_iter().find(|component| component.id == id);
    component.map(|component| component.path).ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        ApiError::bad_request("ComponentNotFound", format!("There is no component with the id `{shown}`."))
    })
}
