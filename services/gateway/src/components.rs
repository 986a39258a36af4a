//! Components as tools name them: by their ids, where everything else names paths.

use contract::{Caller, FunctionCall, Identity, QueryCall, ReadMoment, Requester};
use serde::Deserialize;

use crate::{
    edge::{Addressed, Edge},
    error::ApiError,
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
