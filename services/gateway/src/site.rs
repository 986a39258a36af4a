//! HTTP actions: requests that the app's own router answers.
//!
//! They come at the site address; below `/http/` of the API; and at the API under the site's host name, where that is another
//! one, so that one port serves both. Nothing is added to what the app answers, and nothing of a body is kept here: it is
//! passed on piece by piece, both ways.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes, HttpBody as _},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{
            CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING,
            UPGRADE,
        },
        uri::Authority,
    },
    middleware,
    response::{IntoResponse, Response},
    routing::any,
};
use contract::{Error, FunctionError, HttpAnswer, HttpBody, HttpCall, HttpResponse};
use futures::{StreamExt as _, stream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    addressing::OnSharedOrigin,
    authentication, bodies,
    edge::{Addressed, Edge, SharedEdge},
    error::ApiError,
    metrics::{Api, OfTheApp},
    router::addressed,
};

/// Below it the API has what the site has.
const PREFIX: &str = "/http";

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What belongs to a connection and not to an answer: a function that passes on what another server said must not set it.
static OF_CONNECTIONS: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// By these an answer would rule all of its origin, and not only what is below its own path: kept from an origin that an app shares.
static OF_ORIGINS: [HeaderName; 2] =
    [HeaderName::from_static("service-worker-allowed"), HeaderName::from_static("clear-site-data")];

/// Bytes of a refused request that are read so that its sender sees the answer.
const REFUSED_BYTES_MAX: usize = 16 << 20;

/// For the site's own port.
pub(crate) fn router(edge: SharedEdge) -> Router {
    Router::new()
        .fallback(answer)
        .layer(middleware::from_fn_with_state((edge.clone(), Some(Api::HttpAction)), addressed))
        .with_state(edge)
}

/// For the API's port.
pub(crate) fn routes_of_api(edge: SharedEdge) -> Router {
    Router::new()
        .route("/http", any(answer_below_prefix))
        .route("/http/", any(answer_below_prefix))
        .route("/http/{*path}", any(answer_below_prefix))
        .layer(middleware::from_fn_with_state((edge.clone(), Some(Api::HttpAction)), addressed))
        .with_state(edge)
}

/// Leads a request to the API's port to where the API has the site.
pub(crate) fn below_prefix<B>(request: &mut Request<B>) {
    let path = format!("{PREFIX}{}", path_of(request.uri()));
    if let Ok(uri) = path.parse() {
        *request.uri_mut() = uri;
    }
}

async fn answer(State(edge): State<SharedEdge>, addressed: Addressed, request: Request) -> Response {
    let path = path_of(request.uri());
    respond(&edge, addressed, path, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer_below_prefix(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    request: Request,
) -> Response {
    let path = path_of(request.uri());
    let path = path.strip_prefix(PREFIX).unwrap_or(&path);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    respond(&edge, addressed, path, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// With the query.
pub(crate) fn path_of(uri: &Uri) -> String {
    match uri.path_and_query() {
        Some(path) if path.as_str().starts_with('/') => path.as_str().to_owned(),
        // `OPTIONS *`
        _ => "/".to_owned(),
    }
}

async fn respond(
    edge: &Edge,
    addressed: Addressed,
    path: String,
    request: Request,
) -> Result<Response, ApiError> {
    let deployment = &addressed.deployment;
    let (head, body) = request.into_parts();
    let has_body = match head.method {
        Method::GET | Method::HEAD | Method::OPTIONS => false,
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => !body.is_end_stream(),
        method => {
            let message = format!("HTTP actions do not take {method}.");
            return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
        }
    };
    let stall = Duration::from_millis(edge.limits.gateway.upload_stall_ms_max);
    if body.size_hint().lower() > edge.limits.http_request_bytes_max as u64 {
        let discarded = async { bodies::discard(&mut body.into_data_stream(), REFUSED_BYTES_MAX).await };
        let _ = timeout(stall, discarded).await;
        return Err(bodies::too_large());
    }
    let url = url_of(&head.uri, &head.headers, &path, &deployment.site_url)
        .ok_or_else(|| ApiError::bad_request("InvalidHost", "The header Host does not name a host."))?;
    let sender = authentication::sender_or_reason(edge, deployment, &head.headers).await;
    let call = HttpCall {
        deployment: deployment.reference,
        component: String::new(),
        method: head.method.to_string(),
        url,
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect(),
        body: has_body.then(|| pieces_of(body, stall)),
        identity: sender.identity,
        requester: addressed.requester_with(sender.token),
        request_id: addressed.request_id.to_string(),
        is_own: false,
    };
    let answer = tokio::select! {
        answer = edge.services.runner.http_action(call) => answer?,
        () = edge.shutdown.cancelled() => return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ShuttingDown",
            "The server is shutting down, and does not wait for the action. What it does until it ends stays.",
        )),
    };
    Ok(match answer {
        HttpAnswer::Response(response) => {
            let shares_origin = head.extensions.get::<OnSharedOrigin>().is_some();
            passed_on(response, &head.method, shares_origin, deployment.gone.clone())
        }
        HttpAnswer::Failed(error) => failed(&error),
        HttpAnswer::NoRouter => no_router(),
    })
}

/// The address as the client has it: proxies say by which scheme it came.
fn url_of(uri: &Uri, headers: &HeaderMap, path: &str, site_url: &str) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let first = |list: &'_ str| list.split(',').next().unwrap_or_default().trim().to_ascii_lowercase();
    let forwarded = || {
        let element = first(text(FORWARDED)?);
        let proto = element.split(';').find_map(|pair| pair.trim().strip_prefix("proto="))?;
        Some(proto.trim_matches('"').to_owned())
    };
    let scheme = text(X_FORWARDED_PROTO).map(first).or_else(forwarded);
    let scheme = scheme.filter(|scheme| scheme == "https").unwrap_or_else(|| "http".to_owned());
    let host = match uri.authority().is_some() || headers.contains_key(HOST) {
        true => host_of(uri, headers)?.to_string(),
        // HTTP/1.0 may leave it out.
        false => Url::parse(site_url).ok()?[url::Position::BeforeHost..url::Position::AfterPort].to_owned(),
    };
    let url = format!("{scheme}://{host}{path}");
    let parsed = Url::parse(&url).ok()?;
    (parsed.username().is_empty() && parsed.password().is_none()).then_some(url)
}

pub(crate) fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    match uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => Authority::try_from(headers.get(HOST)?.as_bytes()).ok(),
    }
}

/// The body as it comes. Who reads it does not wait for ever for a client that sends nothing.
fn pieces_of(body: Body, stall: Duration) -> HttpBody {
    stream::unfold(Some(body.into_data_stream()), move |frames| async move {
        let mut frames = frames?;
        let error = match timeout(stall, frames.next()).await {
            Ok(Some(Ok(bytes))) => return Some((Ok(bytes), Some(frames))),
            Ok(None) => return None,
            Ok(Some(Err(_))) => "The client went away before the end of the body.",
            Err(_) => "Nothing came of the body for longer than may be.",
        };
        Some((Err(Error::bad_request("RequestCutOff", error)), None))
    })
    .boxed()
}

fn passed_on(
    response: HttpResponse,
    method: &Method,
    shares_origin: bool,
    shutdown: CancellationToken,
) -> Response {
    let HttpResponse { status, headers: answered, body_bytes, body } = response;
    let Ok(status) = StatusCode::from_u16(status) else { return not_http() };
    let mut headers = HeaderMap::with_capacity(answered.len() + 1);
    for (name, value) in &answered {
        let name = HeaderName::from_bytes(name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) else { return not_http() };
        let is_kept_back = OF_CONNECTIONS.contains(&name) || (shares_origin && OF_ORIGINS.contains(&name));
        if !is_kept_back {
            headers.append(name, value);
        }
    }
    let said = length_of(&headers);
    headers.remove(CONTENT_LENGTH);
    let has_body =
        !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    // What a GET would bring is the app's to say; elsewhere it must be true.
    let length = if *method == Method::HEAD { said.or(body_bytes) } else { body_bytes.or(said) };
    if let Some(length) = length.filter(|_| has_body) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let body = if body_bytes == Some(0) {
        Body::empty()
    } else if *method != Method::HEAD {
        Body::from_stream(until(body, shutdown))
    } else if length.is_some() || !has_body {
        Body::empty()
    } else {
        // Nothing is sent, and nothing is said of how much a GET would bring: an empty body would say that it is nothing.
        Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.extensions_mut().insert(OfTheApp::Answer);
    response
}

/// What the app says of its body's length, if that is one.
fn length_of(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let length = values.next()?.to_str().ok()?.parse().ok()?;
    values.next().is_none().then_some(length)
}

/// A body that breaks off when the server stops or the deployment is deleted: some never end.
fn until(body: HttpBody, shutdown: CancellationToken) -> HttpBody {
    stream::unfold(Some((body, shutdown)), |state| async move {
        let (mut body, shutdown) = state?;
        tokio::select! {
            biased;
            piece = body.next() => piece.map(|piece| (piece, Some((body, shutdown)))),
            () = shutdown.cancelled() => {
                let message = "The server is shutting down.";
                Some((Err(Error::overloaded("ShuttingDown", message)), None))
            }
        }
    })
    .boxed()
}

/// The function threw. People see why, unless errors are kept from them.
fn failed(error: &FunctionError) -> Response {
    let (code, trace) = error.message.split_once('\n').unwrap_or((&error.message, ""));
    let mut body = serde_json::Map::new();
    body.insert("code".to_owned(), code.into());
    if !trace.is_empty() {
        body.insert("trace".to_owned(), trace.into());
    }
    if let Some(data) = error.data.as_deref().and_then(|data| serde_json::from_str(data).ok()) {
        body.insert("data".to_owned(), data);
    }
    (StatusCode::INTERNAL_SERVER_ERROR, Extension(OfTheApp::Failure), Json(body)).into_response()
}

fn no_router() -> Response {
    let sentence = "This Convex deployment does not have HTTP actions enabled.";
    (StatusCode::NOT_FOUND, sentence).into_response()
}

fn not_http() -> Response {
    let message = "The function answered with what HTTP does not know.";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InvalidHttpResponse", message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "https://site.example:8443";

    fn url(headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        });
        url_of(&Uri::from_static("/a?b=c"), &headers.collect(), "/a?b=c", SITE)
    }

    #[test]
    fn functions_see_the_address_that_the_client_has_asked_for() {
        for (headers, seen) in [
            (&[("host", "127.0.0.1:3211")][..], Some("http://127.0.0.1:3211/a?b=c")),
            (&[("host", "x.example"), ("x-forwarded-proto", "https")], Some("https://x.example/a?b=c")),
            (&[("host", "x.example"), ("x-forwarded-proto", "HTTPS, http")], Some("https://x.example/a?b=c")),
            (
                &[("host", "x.example"), ("forwarded", "for=1.2.3.4;proto=https, for=5")],
                Some("https://x.example/a?b=c"),
            ),
            (&[("host", "x.example"), ("forwarded", "Proto=\"https\"")], Some("https://x.example/a?b=c")),
            (&[("host", "x.example"), ("x-forwarded-proto", "javascript")], Some("http://x.example/a?b=c")),
            (&[("host", "[::1]:80")], Some("http://[::1]:80/a?b=c")),
            (&[], Some("http://site.example:8443/a?b=c")),
            (&[("host", "user@x.example")], None),
            (&[("host", "x example")], None),
        ] {
            assert_eq!(url(headers).as_deref(), seen, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_keeps_its_headers_but_those_of_a_connection() {
        let headers = [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        let response = |status, body_bytes| HttpResponse {
            status,
            headers: headers.clone(),
            body_bytes,
            body: stream::iter([Ok("hi".into())]).boxed(),
        };
        let names = |response: &Response| {
            let headers = response.headers().iter();
            headers
                .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
                .collect::<Vec<_>>()
        };
        let cookies = ["set-cookie: a=1", "set-cookie: b=2"].map(str::to_owned);
        let known = passed_on(response(200, Some(2)), &Method::GET, false, CancellationToken::new());
        assert_eq!(names(&known), [&cookies[..], &["content-length: 2".to_owned()]].concat());
        let head = passed_on(response(200, Some(2)), &Method::HEAD, false, CancellationToken::new());
        assert_eq!(names(&head), [&cookies[..], &["content-length: 7".to_owned()]].concat());
        assert!(head.into_body().is_end_stream());
        let unsaid = HttpResponse { headers: Vec::new(), ..response(200, None) };
        let head = passed_on(unsaid, &Method::HEAD, false, CancellationToken::new());
        assert!(names(&head).is_empty());
        assert_eq!(head.body().size_hint().exact(), None, "the server would say that a GET brings nothing");
        let sent = axum::body::to_bytes(head.into_body(), 10).await.expect("it is empty");
        assert!(sent.is_empty());
        let none = passed_on(response(204, Some(0)), &Method::GET, false, CancellationToken::new());
        assert_eq!(names(&none), cookies);
        let streamed = passed_on(response(200, None), &Method::GET, false, CancellationToken::new());
        assert_eq!(names(&streamed), [&cookies[..], &["content-length: 7".to_owned()]].concat());
        let body = axum::body::to_bytes(streamed.into_body(), 10).await.expect("it comes");
        assert_eq!(&body[..], b"hi");
        assert_eq!(
            passed_on(response(99, None), &Method::GET, false, CancellationToken::new()).status(),
            500
        );
    }

    #[test]
    fn who_calls_a_function_that_threw_sees_what_it_may() {
        let error = FunctionError {
            message: "[Request ID: a] Server Error\nUncaught Error: no\n    at f".to_owned(),
            data: Some("7".into()),
        };
        assert_eq!(failed(&error).status(), 500);
    }

    #[tokio::test]
    async fn a_body_breaks_off_when_the_server_stops() {
        let shutdown = CancellationToken::new();
        let body = stream::iter([Ok("first".into())]).chain(stream::pending()).boxed();
        let mut body = until(body, shutdown.clone());
        assert!(body.next().await.expect("a piece").is_ok());
        shutdown.cancel();
        assert_eq!(body.next().await.expect("an end").expect_err("it breaks off").code, "ShuttingDown");
        assert!(body.next().await.is_none());
    }
}
