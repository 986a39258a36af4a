//! The control plane: what is about all deployments, and is not addressed to one.
//!
//! The official command line tool asks it where a deploy key leads and to claim previews ([`projects`]), when
//! `CONVEX_PROVISION_HOST` is this server's address; operators create, list and delete deployments and their keys
//! ([`deployments`]). Who shows the operator's key may do everything; a deploy key opens what it is for.
//!
//! The official tools know teams and projects. There is one team, which is the cluster.

mod deployments;
mod projects;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts, Request, State},
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
    middleware::{self, Next},
    response::Response,
};
use contract::{Deployments, DirectoryEntry, KeyOwner};
use subtle::ConstantTimeEq as _;

use crate::{
    admin_key::{AdminKeys, deployment_of, is_among},
    edge::{Edge, SharedEdge},
    error::ApiError,
    metrics::Api,
    router::{described, within_time, wrong_method},
};

/// The routes of the control plane, with what they are held to.
pub(crate) fn routes(edge: SharedEdge) -> Router {
    projects::routes()
        .merge(deployments::routes())
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(edge.limits.gateway.other_body_bytes_max))
        .layer(middleware::from_fn_with_state(edge.clone(), within_time))
        .layer(middleware::map_response(described))
        .layer(middleware::from_fn_with_state(edge.clone(), counted))
        .with_state(edge)
}

async fn counted(State(edge): State<SharedEdge>, request: Request, next: Next) -> Response {
    let counted = edge.metrics.begin(Api::Administration);
    let response = next.run(request).await;
    counted.answered(&response);
    response
}

/// What opens all of the control plane. Kept out of logs.
pub(crate) struct OperatorKey(String);

impl OperatorKey {
    pub(crate) fn new(key: String) -> OperatorKey {
        OperatorKey(key)
    }

    fn accepts(&self, key: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(key.as_bytes()))
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OperatorKey(…)")
    }
}

/// Who asks, by the key in its header.
#[derive(Clone, Debug, PartialEq)]
enum Caller {
    /// Whoever holds the operator's key.
    Operator,
    /// By a key of a project.
    Project(String),
    /// By a key for previews of a project.
    Previews(String),
    /// By an admin key of a deployment.
    Deployment(Arc<DirectoryEntry>),
}

impl Caller {
    fn of(edge: &Edge, deployments: &Deployments, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let key = header.and_then(|text| text.trim().split_once(' '));
        let key = key.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
        let Some(key) = key else {
            let message = "This needs the header \"Authorization: Bearer <key>\".";
            return Err(ApiError::unauthorized("MissingAccessToken", message));
        };
        Caller::of_key(edge, deployments, key)
    }

    fn of_key(edge: &Edge, deployments: &Deployments, key: &str) -> Result<Caller, ApiError> {
        if edge.operator_key.accepts(key) {
            return Ok(Caller::Operator);
        }
        let by_owner = || {
            let (before, secret_part) = key.split_once('|')?;
            let parts: Vec<&str> = before.split(':').collect();
            let owner = match parts[..] {
                ["preview", team, project] if team == edge.team => KeyOwner::Previews(project.to_owned()),
                ["project", team, project] if team == edge.team => KeyOwner::Project(project.to_owned()),
                _ => return None,
            };
            let of_owner = deployments.project_keys().iter().filter(|key| key.owner == owner);
            is_among(of_owner.map(|key| &key.digest), secret_part).then_some(owner)
        };
        match by_owner() {
            Some(KeyOwner::Previews(project)) => return Ok(Caller::Previews(project)),
            Some(KeyOwner::Project(project)) => return Ok(Caller::Project(project)),
            Some(KeyOwner::Deployment(_)) | None => {}
        }
        let entry = deployment_of(key).and_then(|name| deployments.named(name));
        match entry.filter(|entry| AdminKeys::of(entry).accepts(key)) {
            Some(entry) => Ok(Caller::Deployment(entry.clone())),
            None => Err(ApiError::unauthorized("BadAccessToken", "The key is none that this cluster knows.")),
        }
    }

    /// Whether it may open deployments of a project, all kinds of them.
    fn may_open(&self, project: &str) -> bool {
        match self {
            Caller::Operator => true,
            Caller::Project(own) => own == project,
            Caller::Previews(_) | Caller::Deployment(_) => false,
        }
    }

    /// Whether it may open previews of a project.
    fn may_preview(&self, project: &str) -> bool {
        self.may_open(project) || matches!(self, Caller::Previews(own) if own == project)
    }

    /// Whether it may know of a project.
    fn may_see(&self, project: &str) -> bool {
        self.may_preview(project) || matches!(self, Caller::Deployment(entry) if entry.project == project)
    }
}

/// A request of the control plane: who sends it, and the deployments as they are now.
struct Asked {
    caller: Caller,
    deployments: Arc<Deployments>,
}

impl FromRequestParts<SharedEdge> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &SharedEdge) -> Result<Asked, ApiError> {
        let deployments = edge.services.directory.deployments().borrow().clone();
        let caller = Caller::of(edge, &deployments, &parts.headers)?;
        Ok(Asked { caller, deployments })
    }
}

/// A request that only operators may send.
struct ByOperator {
    deployments: Arc<Deployments>,
}

impl FromRequestParts<SharedEdge> for ByOperator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &SharedEdge) -> Result<ByOperator, ApiError> {
        match Asked::from_request_parts(parts, edge).await? {
            Asked { caller: Caller::Operator, deployments } => Ok(ByOperator { deployments }),
            _ => Err(forbidden("Only the operator's key may do this.")),
        }
    }
}

fn forbidden(message: &str) -> ApiError {
    ApiError::forbidden("OperationNotPermitted", message)
}
