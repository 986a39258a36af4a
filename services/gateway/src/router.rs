//! Which path leads where, and what every request passes through.

use std::{sync::LazyLock, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header::CONNECTION},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use sync_protocol::ClientVersion;
use tower_http::{
    cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer},
    decompression::RequestDecompressionLayer,
    limit::RequestBodyLimitLayer,
};

use tracing::Instrument as _;

use crate::{
    addressing::Addressee,
    archives, audit, bodies, components,
    connections::Connection,
    console, control, data_sync,
    deployments::Deployment,
    edge::{Addressed, Edge, SharedEdge},
    error::ApiError,
    functions, information, jobs, log_streams, logs,
    metrics::Api,
    pause, push,
    requester::requester_of,
    site, storage, streaming_import, sync, variables,
};

static CONVEX_CLIENT: LazyLock<HeaderName> = LazyLock::new(|| HeaderName::from_static("convex-client"));

pub(crate) fn router(edge: SharedEdge) -> Router {
    let limits = edge.limits.gateway;
    let functions = Router::new()
        .route("/api/query", post(functions::query))
        .route("/api/mutation", post(functions::mutation))
        .route("/api/action", post(functions::action))
        .route("/api/function", post(functions::function))
        .route("/api/run/{*path}", post(functions::run))
        .route("/api/query_at_ts", post(functions::query_at_timestamp))
        .route("/api/run_test_function", post(functions::inline_query))
        .route("/api/streaming_import/import_airbyte_records", post(streaming_import::import_records))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(edge.call_bodies.clone(), bodies::read_whole));
    let pushes = push::routes()
        // From the outside in: who sends it, the bytes as they are sent, the decompression, the bytes that come out of it.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(edge.push_bodies.clone(), bodies::read_whole))
        .layer(RequestDecompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(limits.push_body_bytes_max))
        .layer(middleware::from_fn(push::administrators_only));
    let others = Router::new()
        .route("/", get(information::banner))
        .route("/version", get(information::version))
        .route("/instance_version", get(information::version))
        .route("/instance_name", get(information::instance_name))
        .route("/echo", any(information::echo))
        .route("/api/v1/get_canonical_urls", get(information::canonical_urls))
        .route("/api/v1/update_canonical_url", post(information::update_canonical_url))
        .route("/api/v1/deployment_info", get(information::deployment))
        .route("/api/check_admin_key", get(information::check_admin_key))
        .route("/api/debug_event", post(information::debug_event))
        .route("/api/query_ts", post(functions::query_timestamp))
        .route("/api/stream_function_logs", get(logs::stream_function_logs))
        .route("/api/sync", get(sync::upgrade))
        .route("/api/{version}/sync", get(sync::upgrade_versioned))
        .route("/api/update_environment_variables", post(variables::update))
        .route("/api/v1/update_environment_variables", post(variables::update))
        .route("/api/v1/list_environment_variables", get(variables::list))
        .route("/api/cancel_job", post(jobs::cancel))
        .route("/api/cancel_all_jobs", post(jobs::cancel_all))
        .route("/api/delete_component", post(components::delete))
        .merge(archives::routes())
        .merge(audit::routes())
        .merge(data_sync::routes(limits.sync_body_bytes_max))
        .merge(log_streams::routes())
        .merge(pause::routes())
        .merge(streaming_import::routes())
        .route("/console", get(console::to_folder))
        .route("/console/", get(console::page))
        .route("/console/{name}", get(console::asset))
        .layer(DefaultBodyLimit::max(limits.other_body_bytes_max));
    functions
        .merge(pushes)
        .merge(others)
        .fallback(not_served)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(edge.clone(), within_time))
        // Files have times of their own.
        .merge(storage::routes().method_not_allowed_fallback(wrong_method))
        .merge(archives::long_routes().method_not_allowed_fallback(wrong_method))
        .layer(middleware::from_fn(known_client))
        .layer(middleware::map_response(described))
        .layer(middleware::from_fn_with_state((edge.clone(), None::<Api>), addressed))
        .layer(cors())
        .with_state(edge.clone())
        // What an app answers is its own: nothing is added.
        .merge(site::routes_of_api(edge.clone()))
        // What is about all deployments is not addressed to one.
        .merge(control::routes(edge))
}

/// Any origin may call, as with the original: credentials are in a header that a page must hold, never in a cookie.
fn cors() -> CorsLayer {
    const MAX_AGE: Duration = Duration::from_secs(86_400);
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .allow_methods(AllowMethods::list([
            Method::GET,
            Method::POST,
            Method::OPTIONS,
            Method::PATCH,
            Method::DELETE,
            Method::PUT,
        ]))
        .allow_credentials(true)
        .max_age(MAX_AGE)
}

/// Clients append paths to addresses which may end in a slash: `//api/query` is `/api/query`.
pub(crate) fn without_double_slashes<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let uri = request.uri();
    if !uri.path().contains("//") {
        return request;
    }
    let mut path = String::with_capacity(uri.path().len());
    for character in uri.path().chars() {
        if character != '/' || !path.ends_with('/') {
            path.push(character);
        }
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Everything else that looks at a request comes behind this. What is asked for is told by the route unless it is given.
pub(crate) async fn addressed(
    State((edge, api)): State<(SharedEdge, Option<Api>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let counted = edge.metrics.begin(api.unwrap_or_else(|| Api::of(route)));
    let (addressed, admitted) = match address(&mut request) {
        Ok(found) => found,
        Err(error) => {
            let response = error.into_response();
            counted.answered(&response);
            return response;
        }
    };
    let deployment = addressed.deployment.clone();
    let span = addressed.span(Some(request.headers()));
    if let Err(error) = admitted {
        let response = ([(CONNECTION, "close")], error).into_response();
        counted.answered(&response);
        return response;
    }
    request.extensions_mut().insert(addressed);
    let answer = unless_deleted(&edge, &deployment, next.run(request).instrument(span)).await;
    let response = answer.unwrap_or_else(IntoResponse::into_response);
    counted.answered(&response);
    response
}

/// Whom a request is for and who has sent it, over HTTP or gRPC, and whether its connection may be used for that. Errors:
/// `DeploymentNotFound` if it is for nobody.
pub(crate) fn address(request: &mut Request) -> Result<(Addressed, Result<(), ApiError>), ApiError> {
    let connection = request.extensions_mut().remove::<Connection>();
    let peer = connection.as_ref().map(|connection| connection.peer);
    let Some(Addressee(Some(deployment))) = request.extensions_mut().remove::<Addressee>() else {
        return Err(contract::deployment_not_found().into());
    };
    let addressed = Addressed::new(deployment, requester_of(peer, request.headers()));
    let is_admitted = connection.is_none_or(|connection| connection.admit(addressed.deployment.reference));
    let too_many = || {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "TooManyConnections",
            "This deployment has as many connections as it may have. Try again later.",
        )
    };
    Ok((addressed, is_admitted.then_some(()).ok_or_else(too_many)))
}

/// What comes of a request, unless its deployment is deleted meanwhile. At the shutdown, whoever is being answered still is.
pub(crate) async fn unless_deleted<T>(
    edge: &Edge,
    deployment: &Deployment,
    answer: impl Future<Output = T>,
) -> Result<T, ApiError> {
    let deleted = async {
        deployment.gone.cancelled().await;
        if edge.shutdown.is_cancelled() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        answer = answer => Ok(answer),
        () = deleted => Err(contract::deployment_not_found().into()),
    }
}

pub(crate) async fn within_time(
    State(edge): State<SharedEdge>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let time = Duration::from_millis(edge.limits.gateway.request_ms_max);
    tokio::time::timeout(time, next.run(request)).await.map_err(|_| took_too_long())
}

pub(crate) fn took_too_long() -> ApiError {
    let message = "The request took longer than a request may.";
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
}

/// The header is optional, but what is there must be readable.
async fn known_client(headers: HeaderMap, request: Request, next: Next) -> Result<Response, ApiError> {
    client_version(&headers)?;
    Ok(next.run(request).await)
}

pub(crate) fn client_version(headers: &HeaderMap) -> Result<Option<ClientVersion>, ApiError> {
    let Some(header) = headers.get(&*CONVEX_CLIENT) else { return Ok(None) };
    let version = header.to_str().ok().map(ClientVersion::from_header);
    match version {
        Some(Ok(version)) => Ok(Some(version)),
        _ => Err(ApiError::bad_request(
            "InvalidClientVersion",
            "The header Convex-Client must be a name and a version, such as npm-1.48.0.",
        )),
    }
}

/// What the original has below these paths and this version has not.
const NOT_IMPLEMENTED: &[&str] = &[
    "/api/actions/",
    "/api/app_metrics/",
    "/api/data_sync_cursor_from_deltas",
    "/api/delete_scheduled_functions_table",
    "/api/delete_tables",
    "/api/deploy2/",
    "/api/get_config",
    "/api/get_indexes",
    "/api/get_table_column_names",
    "/api/import",
    "/api/prepare_schema",
    "/api/push_config",
    "/api/query_batch",
    "/api/schema_state/",
    "/api/shapes2",
    "/api/stream_udf_execution",
    "/api/streaming_import/",
    "/api/update_canonical_url",
    "/api/v1/",
];

async fn not_served(method: Method, uri: Uri, headers: HeaderMap) -> ApiError {
    let path = uri.path();
    // Versions that are too old to push have other endpoints for it.
    if let Err(error) = push::check_tool(&headers) {
        return error;
    }
    if NOT_IMPLEMENTED.iter().any(|known| path.starts_with(known)) {
        // The command line tool sends a request that changes nothing again for half a minute, unless the status tells it
        // that it is wrong.
        let status =
            if method.is_idempotent() { StatusCode::BAD_REQUEST } else { StatusCode::NOT_IMPLEMENTED };
        let message = format!("This version of Tidemark does not serve {method} {path}.");
        return ApiError::new(status, "EndpointNotImplemented", message);
    }
    ApiError::new(StatusCode::NOT_FOUND, "NotFound", format!("There is nothing at {path}."))
}

pub(crate) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}.", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}

/// Refusals of the framework (a body that is too large, a query string that can't be read) get the shape of all others.
pub(crate) async fn described(response: Response) -> Response {
    use axum::http::header::CONTENT_TYPE;
    let status = response.status();
    let is_plain = !response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/json"));
    if !status.is_client_error() || !is_plain {
        return response;
    }
    let (code, message) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => return bodies::too_large().into_response(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("UnsupportedEncoding", "The body's encoding is not known here.")
        }
        StatusCode::UPGRADE_REQUIRED => ("WebSocketExpected", "This is the address of a WebSocket."),
        _ => ("BadRequest", "The request can't be read."),
    };
    ApiError::new(status, code, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(uri: &str) -> String {
        let request = axum::http::Request::builder().uri(uri).body(()).expect("a request");
        without_double_slashes(request).uri().to_string()
    }

    #[test]
    fn double_slashes_count_once_in_the_path_alone() {
        assert_eq!(normalized("//api//1.48.0///sync"), "/api/1.48.0/sync");
        assert_eq!(normalized("/api/query?next=a//b"), "/api/query?next=a//b");
        assert_eq!(normalized("//api/query?next=a//b"), "/api/query?next=a//b");
        assert_eq!(normalized("/"), "/");
    }
}
