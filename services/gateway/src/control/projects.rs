//! What the official command line tool asks about projects: where a key leads, and for previews.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, Uri},
    routing::{get, head, post},
};
use contract::{DeploymentKind, Deployments, DirectoryEntry};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Asked, Caller, forbidden};
use crate::{edge::SharedEdge, error::ApiError, json::read_secret};

pub(super) fn routes() -> Router<SharedEdge> {
    Router::new()
        .route("/api/authorize", head(authorize))
        .route("/api/check_opt_ins", post(async |_: Asked| Json(json!({ "optInsToAccept": [] }))))
        .route("/api/accept_opt_ins", post(async |_: Asked| Json(json!({}))))
        .route("/api/teams", get(teams))
        .route("/api/has_projects", get(async |_: Asked| Json(true)))
        .route("/api/claim_preview_deployment", post(claim_preview))
        .route("/api/deployment/url_for_key", post(url_for_key))
        .route("/api/deployment/team_and_project_for_key", post(team_and_project_for_key))
        .route("/api/deployment/{name}/team_and_project", get(team_and_project))
        .route("/api/deployment/provision_and_authorize", post(provision))
        .route("/api/deployment/authorize_prod", post(authorize_production))
        .route("/api/deployment/authorize_preview", post(authorize_preview))
        .route("/api/deployment/authorize_within_current_project", post(authorize_named))
        .route("/api/dashboard/teams/{id}/usage/team_usage_state", get(usage_state))
        .route("/api/dashboard/teams/{id}/get_spending_limits", get(spending_limits))
        .route("/v1/teams/{team}/projects/{project}", get(project))
        .route("/v1/teams/{team}/projects/{project}/deployment", get(deployment_of_project))
}

/// The one team's.
const TEAM_ID: u32 = 1;

async fn authorize(Asked { caller, .. }: Asked) -> Result<(), ApiError> {
    match caller {
        Caller::Operator => Ok(()),
        _ => Err(forbidden("This key is no access token.")),
    }
}

async fn teams(State(edge): State<SharedEdge>, _: Asked) -> Json<Value> {
    let team = json!({
        "id": TEAM_ID, "name": edge.team, "slug": edge.team, "suspended": false, "referralCode": "",
    });
    Json(json!([team]))
}

async fn usage_state(_: Asked) -> Json<Value> {
    Json(json!({ "usageState": "Default" }))
}

async fn spending_limits(_: Asked) -> Json<Value> {
    Json(json!({ "disableThresholdCents": null, "state": null }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyBody {
    deploy_key: String,
}

/// The deployment that a key in a body opens.
fn opened_by(edge: &SharedEdge, body: &[u8]) -> Result<Caller, ApiError> {
    let KeyBody { deploy_key } = read_secret(body)?;
    let deployments = edge.services.directory.deployments().borrow().clone();
    Caller::of_key(edge, &deployments, &deploy_key)
}

/// The URL as a bare string.
async fn url_for_key(State(edge): State<SharedEdge>, body: Bytes) -> Result<Json<String>, ApiError> {
    match opened_by(&edge, &body)? {
        Caller::Deployment(entry) => Ok(Json(entry.deployment.cloud_url.clone())),
        _ => Err(not_of_a_deployment()),
    }
}

async fn team_and_project_for_key(
    State(edge): State<SharedEdge>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let (project, entry) = match opened_by(&edge, &body)? {
        Caller::Deployment(entry) => (entry.project.clone(), Some(entry)),
        Caller::Project(project) | Caller::Previews(project) => (project, None),
        Caller::Operator => return Err(not_of_a_deployment()),
    };
    let deployments = edge.services.directory.deployments().borrow().clone();
    let mut answer = described_project(&edge, &project);
    answer["reference"] = json!(entry.as_ref().and_then(|entry| reference_of(entry)));
    answer["isDefault"] = json!(entry.is_some_and(|entry| is_default(&deployments, &entry)));
    Ok(Json(answer))
}

fn not_of_a_deployment() -> ApiError {
    ApiError::forbidden("BadDeployKey", "The key is not one of a deployment.")
}

async fn team_and_project(
    State(edge): State<SharedEdge>,
    Asked { caller, deployments }: Asked,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let entry = seen(&deployments, &caller, &name)?;
    Ok(Json(described_project(&edge, &entry.project)))
}

fn described_project(edge: &SharedEdge, project: &str) -> Value {
    json!({ "team": edge.team, "project": project, "teamId": TEAM_ID, "projectId": project_id(project) })
}

/// The tools want a number. Nobody else looks at it.
fn project_id(project: &str) -> u32 {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(project.as_bytes()));
    u32::from_be_bytes([a, b, c, d]) >> 1
}

/// A deployment whose project the caller may know of. To others there is none.
fn seen<'d>(
    deployments: &'d Deployments,
    caller: &Caller,
    name: &str,
) -> Result<&'d Arc<DirectoryEntry>, ApiError> {
    let entry = deployments.named(name).filter(|entry| caller.may_see(&entry.project));
    entry.ok_or_else(|| contract::deployment_not_found().into())
}

/// What the tool calls a deployment within its project.
fn reference_of(entry: &DirectoryEntry) -> Option<String> {
    match entry.kind {
        DeploymentKind::Production | DeploymentKind::Development => Some(entry.kind.name().to_owned()),
        DeploymentKind::Preview => entry.identifier.clone(),
    }
}

/// The deployment that is meant where only the kind is said: the oldest of the project.
fn default_of<'d>(
    deployments: &'d Deployments,
    project: &str,
    kind: DeploymentKind,
) -> Option<&'d Arc<DirectoryEntry>> {
    deployments.iter().find(|entry| entry.project == project && entry.kind == kind)
}

fn is_default(deployments: &Deployments, entry: &DirectoryEntry) -> bool {
    let default = default_of(deployments, &entry.project, entry.kind);
    entry.kind != DeploymentKind::Preview
        && default.is_some_and(|default| default.reference() == entry.reference())
}

/// What opens a deployment, and where it is.
fn opened(deployments: &Deployments, entry: &DirectoryEntry) -> Value {
    json!({
        "adminKey": entry.admin_key.0,
        "url": entry.deployment.cloud_url,
        "deploymentName": entry.deployment.name,
        "deploymentType": entry.kind.name(),
        "reference": reference_of(entry),
        "isDefault": is_default(deployments, entry),
    })
}

/// Where the tool looks for a deployment.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum ProjectSelection {
    TeamAndProjectSlugs { team_slug: String, project_slug: String },
    DeploymentName { deployment_name: String },
}

impl ProjectSelection {
    fn project(
        &self,
        edge: &SharedEdge,
        deployments: &Deployments,
        caller: &Caller,
    ) -> Result<String, ApiError> {
        match self {
            ProjectSelection::TeamAndProjectSlugs { team_slug, project_slug } => {
                check_project(edge, deployments, caller, team_slug, project_slug)?;
                Ok(project_slug.clone())
            }
            ProjectSelection::DeploymentName { deployment_name } => {
                Ok(seen(deployments, caller, deployment_name)?.project.clone())
            }
        }
    }
}

/// A project that the caller may know of. To others there is none.
fn check_project(
    edge: &SharedEdge,
    deployments: &Deployments,
    caller: &Caller,
    team: &str,
    project: &str,
) -> Result<(), ApiError> {
    if team != edge.team {
        let message = format!("There is no team {team:?}: this cluster is the team {:?}.", edge.team);
        return Err(ApiError::new(StatusCode::NOT_FOUND, "TeamNotFound", message));
    }
    if !caller.may_see(project) || !deployments.has_project(project) {
        let message = format!("There is no project {project:?}.");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "ProjectNotFound", message));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimBody {
    project_selection: ProjectSelection,
    identifier: String,
    #[serde(default)]
    reuse: bool,
}

async fn claim_preview(
    State(edge): State<SharedEdge>,
    Asked { caller, deployments }: Asked,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let ClaimBody { project_selection, identifier, reuse } = read_secret(&body)?;
    let project = project_selection.project(&edge, &deployments, &caller)?;
    if !caller.may_preview(&project) {
        return Err(forbidden("The key is not one for previews of this project."));
    }
    let directory = &edge.services.directory;
    let (entry, is_new) = directory.claim_preview(&project, &identifier, reuse).await?;
    Ok(Json(json!({
        "adminKey": entry.admin_key.0,
        "instanceUrl": entry.deployment.cloud_url,
        "deploymentName": entry.deployment.name,
        "reference": reference_of(&entry),
        "isNewDeployment": is_new,
    })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProvisionBody {
    team_slug: Option<String>,
    project_slug: Option<String>,
    deployment_type: String,
}

/// The project's deployment of a kind, which is created if there is none.
async fn provision(
    State(edge): State<SharedEdge>,
    Asked { caller, deployments }: Asked,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let ProvisionBody { team_slug, project_slug, deployment_type } = read_secret(&body)?;
    let kind = match DeploymentKind::from_name(&deployment_type) {
        Some(kind @ (DeploymentKind::Production | DeploymentKind::Development)) => kind,
        _ => {
            let message = "A deployment is provisioned as `prod` or `dev`.";
            return Err(ApiError::bad_request("InvalidDeploymentType", message));
        }
    };
    let project = match (team_slug.zip(project_slug), &caller) {
        (Some((team, project)), _) => {
            check_project(&edge, &deployments, &caller, &team, &project)?;
            project
        }
        (None, Caller::Project(project)) => project.clone(),
        (None, _) => return Err(ApiError::bad_request("ProjectNotNamed", "The request names no project.")),
    };
    if !caller.may_open(&project) {
        return Err(forbidden("The key does not open this project."));
    }
    if let Some(entry) = default_of(&deployments, &project, kind) {
        return Ok(Json(opened(&deployments, entry)));
    }
    let entry = edge.services.directory.provision(&project, kind).await?;
    let deployments = edge.services.directory.deployments().borrow().clone();
    Ok(Json(opened(&deployments, &entry)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProductionBody {
    deployment_name: String,
}

/// The production deployment of the project that a deployment is of.
async fn authorize_production(
    Asked { caller, deployments }: Asked,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let ProductionBody { deployment_name } = read_secret(&body)?;
    let entry = seen(&deployments, &caller, &deployment_name)?;
    let production = default_of(&deployments, &entry.project, DeploymentKind::Production);
    let production = production.ok_or_else(contract::deployment_not_found)?;
    if !caller.may_open(&entry.project) {
        return Err(forbidden("The key does not open this project."));
    }
    Ok(Json(opened(&deployments, production)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreviewBody {
    preview_name: String,
    project_selection: ProjectSelection,
}

/// A preview that is there.
async fn authorize_preview(
    State(edge): State<SharedEdge>,
    Asked { caller, deployments }: Asked,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let PreviewBody { preview_name, project_selection } = read_secret(&body)?;
    let project = project_selection.project(&edge, &deployments, &caller)?;
    if !caller.may_preview(&project) {
        return Err(forbidden("The key is not one for previews of this project."));
    }
    let is_it = |entry: &&Arc<DirectoryEntry>| {
        entry.project == project
            && entry.kind == DeploymentKind::Preview
            && entry.identifier.as_deref() == Some(&preview_name)
    };
    let entry = deployments.iter().find(is_it).ok_or_else(contract::deployment_not_found)?;
    Ok(Json(opened(&deployments, entry)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedBody {
    selected_deployment_name: String,
    project_selection: ProjectSelection,
}

/// A deployment of a project, by its name.
async fn authorize_named(
    State(edge): State<SharedEdge>,
    Asked { caller, deployments }: Asked,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let NamedBody { selected_deployment_name, project_selection } = read_secret(&body)?;
    let project = project_selection.project(&edge, &deployments, &caller)?;
    let entry = seen(&deployments, &caller, &selected_deployment_name)?;
    let may = match entry.kind {
        DeploymentKind::Preview => caller.may_preview(&project),
        DeploymentKind::Production | DeploymentKind::Development => caller.may_open(&project),
    };
    if entry.project != project || !may {
        return Err(forbidden("The key does not open this deployment."));
    }
    Ok(Json(opened(&deployments, entry)))
}

async fn project(
    State(edge): State<SharedEdge>,
    Asked { caller, deployments }: Asked,
    Path((team, project)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    check_project(&edge, &deployments, &caller, &team, &project)?;
    let of_project = deployments.iter().filter(|entry| entry.project == project);
    let created_ms = of_project.map(|entry| entry.created_ms).min().unwrap_or(0);
    Ok(Json(json!({
        "id": project_id(&project),
        "name": project,
        "slug": project,
        "teamId": TEAM_ID,
        "teamSlug": edge.team,
        "createTime": created_ms,
    })))
}

/// By `?reference=…` or `?defaultDev=true`.
async fn deployment_of_project(
    State(edge): State<SharedEdge>,
    Asked { caller, deployments }: Asked,
    Path((team, project)): Path<(String, String)>,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    check_project(&edge, &deployments, &caller, &team, &project)?;
    let query = uri.query().unwrap_or_default();
    let reference = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "reference")
        .map(|(_, reference)| reference.into_owned());
    let found = match reference {
        None => default_of(&deployments, &project, DeploymentKind::Development),
        Some(reference) => deployments
            .iter()
            .find(|entry| entry.project == project && reference_of(entry).as_ref() == Some(&reference)),
    };
    let entry = found.ok_or_else(contract::deployment_not_found)?;
    Ok(Json(json!({
        "kind": "cloud",
        "name": entry.deployment.name,
        "deploymentType": entry.kind.name(),
        "deploymentUrl": entry.deployment.cloud_url,
        "reference": reference_of(entry),
        "isDefault": is_default(&deployments, entry),
        "projectId": project_id(&project),
        "createTime": entry.created_ms,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_ways_of_naming_a_project_are_read() {
        let read = |text: &str| serde_json::from_str::<ClaimBody>(text);
        let claim = read(
            r#"{"projectSelection":{"kind":"teamAndProjectSlugs","teamSlug":"t","projectSlug":"p"},"identifier":"x","reuse":true}"#,
        );
        let claim = claim.expect("as the tool writes it");
        assert!(claim.reuse && claim.identifier == "x");
        assert!(matches!(claim.project_selection, ProjectSelection::TeamAndProjectSlugs { .. }));
        let named = r#"{"kind":"deploymentName","deploymentName":"d","deploymentType":null}"#;
        let named: ProjectSelection = serde_json::from_str(named).expect("as the tool writes it");
        assert!(
            matches!(named, ProjectSelection::DeploymentName { deployment_name } if deployment_name == "d")
        );
        assert!(read(r#"{"projectSelection":{"kind":"other"},"identifier":"x"}"#).is_err());
    }

    #[test]
    fn a_project_has_a_number_that_the_tools_can_read() {
        assert_eq!(project_id("shop"), project_id("shop"));
        assert_ne!(project_id("shop"), project_id("blog"));
        assert!(project_id("shop") <= i32::MAX as u32);
    }
}
