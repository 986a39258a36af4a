//! Creating, listing and deleting deployments and their keys, for operators: what `tidemark deployment` calls.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::Uri,
    routing::{delete, get},
};
use contract::{
    DeploymentKind, Deployments, DirectoryEntry, KeyEntry, KeyOwner, NewDeployment, NewKey, Share,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ByOperator;
use crate::{clock, edge::SharedEdge, error::ApiError, json::read_secret};

pub(super) fn routes() -> Router<SharedEdge> {
    Router::new()
        .route("/v1/tidemark/deployments", get(list).post(create))
        .route("/v1/tidemark/deployments/{name}", delete(remove))
        .route("/v1/tidemark/keys", get(keys).post(create_key).delete(delete_key))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateBody {
    name: String,
    #[serde(default)]
    project: Option<String>,
    /// `prod`, `dev` or `preview`.
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    cloud_url: Option<String>,
    #[serde(default)]
    site_url: Option<String>,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    expires_ms: Option<u64>,
    #[serde(default)]
    share_weight: Option<u32>,
    #[serde(default)]
    share_percent_max: Option<u32>,
}

async fn create(State(edge): State<SharedEdge>, _: ByOperator, body: Bytes) -> Result<Json<Value>, ApiError> {
    let CreateBody { name, project, kind, cloud_url, site_url, expires_ms, share_weight, share_percent_max } =
        read_secret(&body)?;
    let kind = kind.as_deref().unwrap_or(DeploymentKind::Production.name());
    let Some(kind) = DeploymentKind::from_name(kind) else {
        let message = "The kind of a deployment is `prod`, `dev` or `preview`.";
        return Err(ApiError::bad_request("InvalidDeploymentType", message));
    };
    let share = Share {
        weight: share_weight.unwrap_or(Share::USUAL.weight),
        percent_max: share_percent_max.or(Share::USUAL.percent_max),
    };
    let new = NewDeployment { name, project, kind, cloud_url, site_url, expires_ms, share };
    let entry = edge.services.directory.create(new).await?;
    let mut answer = described(&entry);
    answer["adminKey"] = json!(entry.admin_key.0);
    Ok(Json(answer))
}

async fn list(ByOperator { deployments }: ByOperator) -> Json<Value> {
    let deployments: Vec<Value> = deployments.iter().map(|entry| described(entry)).collect();
    Json(json!({ "deployments": deployments, "nowMs": clock::now_ms() }))
}

fn described(entry: &DirectoryEntry) -> Value {
    let reference = entry.reference();
    json!({
        "name": entry.deployment.name,
        "number": reference.deployment.0,
        "group": reference.group.0,
        "project": entry.project,
        "kind": entry.kind.name(),
        "identifier": entry.identifier,
        "cloudUrl": entry.deployment.cloud_url,
        "siteUrl": entry.deployment.site_url,
        "createdMs": entry.created_ms,
        "expiresMs": entry.expires_ms,
        "shareWeight": entry.share.weight,
        "sharePercentMax": entry.share.percent_max,
    })
}

async fn remove(
    State(edge): State<SharedEdge>,
    _: ByOperator,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    edge.services.directory.delete(&name).await?;
    Ok(Json(json!({})))
}

/// Whose keys are asked for: `?deployment=…`, `?previews=…` or `?project=…`, and with `&name=…` which of them.
fn owner_in(uri: &Uri) -> Result<(KeyOwner, Option<String>), ApiError> {
    let (mut owner, mut key) = (None, None);
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let value = value.into_owned();
        match &*name {
            "name" => key = Some(value),
            other => owner = owner_of(other, value),
        }
    }
    Ok((owner.ok_or_else(no_owner)?, key))
}

fn owner_of(kind: &str, of: String) -> Option<KeyOwner> {
    match kind {
        "deployment" => Some(KeyOwner::Deployment(of)),
        "previews" => Some(KeyOwner::Previews(of)),
        "project" => Some(KeyOwner::Project(of)),
        _ => None,
    }
}

fn no_owner() -> ApiError {
    let message = "A key is one of a `deployment`, of the `previews` of a project, or of a `project`.";
    ApiError::bad_request("KeyOwnerNotNamed", message)
}

/// The names of the keys, and of a deployment the admin key that follows from its secret.
async fn keys(ByOperator { deployments }: ByOperator, uri: Uri) -> Result<Json<Value>, ApiError> {
    let (owner, _) = owner_in(&uri)?;
    let (admin_key, keys) = keys_of(&deployments, &owner)?;
    let keys: Vec<Value> =
        keys.iter().map(|key| json!({ "name": key.name, "createdMs": key.created_ms })).collect();
    Ok(Json(json!({ "adminKey": admin_key, "keys": keys })))
}

fn keys_of(deployments: &Deployments, owner: &KeyOwner) -> Result<(Option<String>, Vec<KeyEntry>), ApiError> {
    match owner {
        KeyOwner::Deployment(name) => {
            let entry = deployments.named(name).ok_or_else(contract::deployment_not_found)?;
            Ok((Some(entry.admin_key.0.clone()), entry.keys.clone()))
        }
        KeyOwner::Previews(_) | KeyOwner::Project(_) => {
            let own = deployments.project_keys().iter().filter(|key| key.owner == *owner);
            Ok((None, own.cloned().collect()))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateKeyBody {
    /// `deployment`, `previews` or `project`.
    owner: String,
    /// The name of that.
    of: String,
    /// Of the key.
    name: String,
}

/// Answers with the key, which nobody can read again.
async fn create_key(
    State(edge): State<SharedEdge>,
    _: ByOperator,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let CreateKeyBody { owner, of, name } = read_secret(&body)?;
    let owner = owner_of(&owner, of).ok_or_else(no_owner)?;
    let key = edge.services.directory.create_key(NewKey { owner, name }).await?;
    Ok(Json(json!({ "key": key })))
}

async fn delete_key(
    State(edge): State<SharedEdge>,
    _: ByOperator,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    let (owner, name) = owner_in(&uri)?;
    edge.services.directory.delete_key(owner, &name.unwrap_or_default()).await?;
    Ok(Json(json!({})))
}
