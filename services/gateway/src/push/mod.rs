//! The deploy API: what the command line tool calls to push code.
//!
//! Bodies come compressed with brotli and hold an `adminKey` besides the header, which is not looked at. `request` reads
//! them, `answer` writes what the tool then checks field by field.

mod answer;
mod definitions;
mod request;

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use contract::{DeploymentKind, DeploymentRef, DirectoryEntry, Error, FinishPush, Result, SchemaProgress};
use serde::{Serialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::json;
use sync_protocol::{Client, ClientVersion};

use self::request::{FinishBody, PushBody, WaitBody};
use crate::{
    audit,
    authentication::require_admin,
    edge::{Addressed, Edge, SharedEdge},
    error::ApiError,
    router::client_version,
};

/// The steps of a push, in their order.
pub(crate) fn routes() -> Router<SharedEdge> {
    Router::new()
        .route(
            "/api/get_config_hashes",
            step(|edge, of, _: IgnoredAny| async move {
                let at = of.deployment.reference;
                let code = edge.services.deploy.deployed_code(at).await?;
                Ok(answer::config_hashes(&code))
            }),
        )
        .route(
            "/api/deploy2/evaluate_schema",
            step(|edge, of, body: PushBody| async move {
                let at = of.deployment.reference;
                let deploy = &edge.services.deploy;
                let evaluation = deploy.evaluate_schema(at, body.into()).await?;
                Ok(answer::schema_evaluation(&evaluation))
            }),
        )
        .route(
            "/api/deploy2/evaluate_push",
            step(|edge, of, body: PushBody| async move {
                let at = of.deployment.reference;
                let deploy = &edge.services.deploy;
                let difference = deploy.evaluate_push(at, body.into()).await?;
                Ok(answer::push_evaluation(&difference))
            }),
        )
        .route(
            "/api/deploy2/start_push",
            step(|edge, of, body: PushBody| async move {
                let at = of.deployment.reference;
                let started = edge.services.deploy.start_push(at, body.into()).await?;
                answer::started(started)
            }),
        )
        .route(
            "/api/deploy2/wait_for_schema",
            step(|edge, of, body: WaitBody| async move {
                let at = of.deployment.reference;
                // A push that writes nothing has prepared nothing.
                if body.dry_run {
                    return Ok(answer::schema_progress(&SchemaProgress::Complete));
                }
                let wait_ms_max = edge.limits.gateway.long_poll_ms_max;
                let wait = Duration::from_millis(body.timeout_ms.unwrap_or(wait_ms_max).min(wait_ms_max));
                let deploy = &edge.services.deploy;
                let progress = deploy.wait_for_schema(at, body.schema_change.schemas(), wait).await?;
                Ok(answer::schema_progress(&progress))
            }),
        )
        .route(
            "/api/deploy2/finish_push",
            step(|edge, of, body: FinishBody| async move {
                let at = of.deployment.reference;
                let push: FinishPush = body.into();
                let changes = !push.dry_run;
                let difference = edge.services.deploy.finish_push(at, push).await?;
                if changes {
                    audit::record(&edge, &of.deployment, &of.requester, "push_config", json!({})).await;
                    keep_preview(&edge, at).await;
                }
                Ok(answer::finished(&difference))
            }),
        )
        // How long the tool's own steps took. Nobody collects it.
        .route("/api/deploy2/report_push_completed", post(async || Json(())))
}

/// Previews go some time after their last push. This one is made, whether its time could be moved on or not.
async fn keep_preview(edge: &Edge, at: DeploymentRef) {
    let directory = &edge.services.directory;
    let is_preview = |entry: &Arc<DirectoryEntry>| entry.kind == DeploymentKind::Preview;
    if !directory.deployments().borrow().get(at).is_ok_and(is_preview) {
        return;
    }
    if let Err(error) = directory.pushed(at).await {
        tracing::warn!(deployment = %at, "the time at which a preview is deleted could not be moved on: {error}");
    }
}

/// A request of a push: its body is read, the work done, the answer written. Bundles have megabytes, so both are
/// done where nobody else waits.
fn step<B, A, W>(
    work: impl Fn(SharedEdge, Addressed, B) -> W + Clone + Send + Sync + 'static,
) -> MethodRouter<SharedEdge>
where
    B: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    W: Future<Output = Result<A>> + Send,
{
    post(async move |State(edge): State<SharedEdge>, addressed: Addressed, body: Bytes| {
        let body = apart(move || serde_json::from_slice::<B>(&body)).await?;
        let body = body.map_err(|error| {
            ApiError::bad_request("InvalidPush", format!("The body is not a push: {error}"))
        })?;
        let answer = work(edge, addressed, body).await?;
        let answer = apart(move || serde_json::to_vec(&answer)).await?;
        let answer =
            answer.map_err(|error| Error::internal(format!("a push's answer can't be written: {error}")))?;
        Ok::<_, ApiError>(([(CONTENT_TYPE, "application/json")], answer).into_response())
    })
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::internal("reading or writing a push ended early"))
}

/// Lets administrators pass. It comes before the body is read, which may be large.
pub(crate) async fn administrators_only(
    Addressed { deployment, .. }: Addressed,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    require_admin(request.headers(), &deployment.admin_keys)?;
    check_tool(request.headers())?;
    Ok(next.run(request).await)
}

/// The first version of the command line tool whose pushes are understood.
const TOOL_MIN: (u64, u64) = (1, 28);

/// Refuses what the command line tool asks for in versions that are too old to push here.
pub(crate) fn check_tool(headers: &HeaderMap) -> Result<(), ApiError> {
    match client_version(headers)? {
        Some(ClientVersion { client: Client::NpmCli, major, minor, patch, .. })
            if (major, minor) < TOOL_MIN =>
        {
            let (major_min, minor_min) = TOOL_MIN;
            let message = format!(
                "This deployment takes pushes from version {major_min}.{minor_min}.0 of the npm package `convex` on; this is \
                 {major}.{minor}.{patch}. Install a newer one: npm install convex@latest"
            );
            Err(ApiError::bad_request("ClientTooOld", message))
        }
        _ => Ok(()),
    }
}
