//! The HTTP function API: one call of a function per request.
//!
//! A function that throws is a success of HTTP (200, `"status": "error"`); other statuses are for requests that could not
//! be run.

use std::{borrow::Cow, future::Future, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use contract::{
    ActionOutcome, Caller, DeploymentRef, ErrorKind, FunctionCall, FunctionError, FunctionKind, Identity,
    MutationCall, QueryCall, ReadMoment,
};
use fair_queue::Place;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use sync_protocol::normalize_arguments;
use value::{FunctionPath, JsonFormat, Value, ValueError, push_with_fractions};

use crate::{
    audit,
    authentication::{self, Sender, require_admin},
    bodies, clock, components,
    edge::{Addressed, Edge, SharedEdge},
    error::{ApiError, public_message},
    json,
    metrics::OfTheApp,
};

/// The body of every call. Unknown fields are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallBody<'a> {
    #[serde(default)]
    path: Option<String>,
    /// An object, or an array that holds one.
    #[serde(default, borrow)]
    args: Option<&'a RawValue>,
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    component_path: Option<String>,
    #[serde(default)]
    ts: Option<sync_protocol::Timestamp>,
}

/// A request that was read and whose sender is known.
struct Call {
    function: FunctionCall,
    format: JsonFormat,
    timestamp: Option<contract::Timestamp>,
}

/// What a function gave, of whichever kind.
struct Outcome {
    result: Result<Arc<str>, FunctionError>,
    log_lines: Vec<String>,
}

pub(crate) async fn query(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Call { function, format, .. } = read_call(&edge, addressed, &headers, &body, None).await?;
    answered(&edge, function.deployment, format, run_query(&edge, function, ReadMoment::Latest)).await
}

pub(crate) async fn query_at_timestamp(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Call { function, format, timestamp } = read_call(&edge, addressed, &headers, &body, None).await?;
    let timestamp =
        timestamp.ok_or_else(|| ApiError::bad_request("MissingTimestamp", "The field \"ts\" is missing."))?;
    check_moment(&edge, function.deployment, timestamp).await?;
    answered(&edge, function.deployment, format, run_query(&edge, function, ReadMoment::At(timestamp))).await
}

/// Refuses what can't be a moment that anybody has seen: none is 0, and none is far beyond the clock, unless the clock has been
/// set back. What may come in a moment is waited for.
async fn check_moment(
    edge: &Edge,
    deployment: DeploymentRef,
    timestamp: contract::Timestamp,
) -> Result<(), ApiError> {
    let skew = Duration::from_millis(edge.limits.gateway.clock_skew_ms_max);
    let clock_max = (clock::now() + skew).as_nanos();
    if timestamp == contract::Timestamp::ZERO {
        let message = "No moment has the timestamp 0.";
        return Err(ApiError::bad_request("InvalidTimestamp", message));
    }
    if u128::from(timestamp.as_nanoseconds()) > clock_max
        && timestamp > edge.services.sequencer.latest(deployment.group).await?.published
    {
        let message = "The moment of the timestamp is still to come.";
        return Err(ApiError::bad_request("InvalidTimestamp", message));
    }
    Ok(())
}

/// The newest moment, for queries that shall all be answered at one: the client sends it to `query_at_ts`.
pub(crate) async fn query_timestamp(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    authentication::sender_of(&edge, &deployment, &headers).await?;
    let position = edge.services.sequencer.latest(deployment.reference.group).await?;
    let timestamp = sync_protocol::Timestamp::new(position.published.as_nanoseconds())
        .expect("both kinds of timestamps have the same bounds");
    Ok(Json(json!({ "ts": timestamp.encode() })).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InlineBody<'a> {
    /// For tools that send no header.
    #[serde(default)]
    admin_key: Option<String>,
    #[serde(borrow)]
    bundle: Bundle<'a>,
    #[serde(default, borrow)]
    args: Option<&'a RawValue>,
    #[serde(default)]
    format: Option<String>,
    /// Absent for the app itself.
    #[serde(default)]
    component_id: Option<String>,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    path: String,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

/// A query that is not deployed, for administrators: its code comes with the request.
pub(crate) async fn inline_query(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let deployment = &addressed.deployment;
    let read = || {
        serde_json::from_slice::<InlineBody<'_>>(&body)
            .map_err(|error| ApiError::not_repeated("The body is not a query with its code", &error))
    };
    let (identity, body) = if headers.contains_key(AUTHORIZATION) {
        (require_admin(&headers, &deployment.admin_keys)?, read()?)
    } else {
        let body = read()?;
        let key = body.admin_key.as_deref().unwrap_or_default();
        (authentication::admin(&deployment.admin_keys, key, None)?, body)
    };
    let component = components::path_of(&edge, &addressed, &identity, body.component_id.as_deref()).await?;
    let path: FunctionPath = body.bundle.path.parse().map_err(value_error)?;
    if path.module.is_system() {
        let message = "A module whose path begins with `_system/` is the server's own.";
        return Err(ApiError::bad_request("InvalidModules", message));
    }
    let (arguments, format) = arguments_of(body.args, body.format)?;
    let function = FunctionCall {
        deployment: deployment.reference,
        component,
        path: path.to_string(),
        arguments,
        identity,
        caller: Caller::HttpApi,
        requester: addressed.requester.clone(),
        request_id: addressed.request_id.to_string(),
    };
    let run = run_inline_query(&edge, function, body.bundle.source.into());
    answered(&edge, deployment.reference, format, run).await
}

pub(crate) async fn mutation(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Call { function, format, .. } = read_call(&edge, addressed, &headers, &body, None).await?;
    answered(&edge, function.deployment, format, run_mutation(&edge, function)).await
}

pub(crate) async fn action(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Call { function, format, .. } = read_call(&edge, addressed, &headers, &body, None).await?;
    answer_action(&edge, function, format).await
}

/// A function of any kind.
pub(crate) async fn function(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Call { function, format, .. } = read_call(&edge, addressed, &headers, &body, None).await?;
    answer_any_kind(&edge, function, format).await
}

/// A function of any kind, named by the URL: `/api/run/messages/list`.
pub(crate) async fn run(
    State(edge): State<SharedEdge>,
    addressed: Addressed,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let path = FunctionPath::from_url_path(&path).map_err(value_error)?.to_string();
    let Call { function, format, .. } = read_call(&edge, addressed, &headers, &body, Some(path)).await?;
    answer_any_kind(&edge, function, format).await
}

/// Reads a call; `path` is given where the body does not name it.
async fn read_call(
    edge: &Edge,
    addressed: Addressed,
    headers: &HeaderMap,
    body: &[u8],
    path: Option<String>,
) -> Result<Call, ApiError> {
    let Sender { identity, token } = authentication::sender_of(edge, &addressed.deployment, headers).await?;
    let body: CallBody<'_> = json::read(body, "The body is not a call of a function")?;
    let path = path.or(body.path).ok_or_else(|| {
        ApiError::bad_request("MissingPath", "The field \"path\" is missing: the function's name.")
    })?;
    let component = body.component_path.unwrap_or_default();
    check_component(&component, &identity)?;
    let (arguments, format) = arguments_of(body.args, body.format)?;
    let timestamp = body.ts.and_then(|timestamp| contract::Timestamp::new(timestamp.as_nanoseconds()));
    let function = FunctionCall {
        deployment: addressed.deployment.reference,
        component,
        path,
        arguments,
        identity,
        caller: Caller::HttpApi,
        requester: addressed.requester_with(token),
        request_id: addressed.request_id.to_string(),
    };
    Ok(Call { function, format, timestamp })
}

/// Components are for administrators.
pub(crate) fn check_component(component: &str, identity: &Identity) -> Result<(), ApiError> {
    if component.is_empty() || identity.is_admin() {
        return Ok(());
    }
    Err(ApiError::forbidden("ComponentNeedsAdmin", "Only an admin key may call into a component."))
}

/// A call's arguments as functions take them, and the format in which they and the result are sent.
fn arguments_of(
    arguments: Option<&RawValue>,
    format: Option<String>,
) -> Result<(Arc<str>, JsonFormat), ApiError> {
    let format = match format {
        Some(name) => name.parse().map_err(value_error)?,
        None => JsonFormat::Clean,
    };
    let arguments: Arc<str> = match arguments {
        Some(arguments) => normalize_arguments(arguments).map_err(|error| {
            ApiError::bad_request("InvalidArguments", format!("The field \"args\" is wrong: {error}."))
        })?,
        None => "[{}]".into(),
    };
    let arguments = match format {
        JsonFormat::ConvexEncoded => {
            // The runner parses them; but what is encoded wrongly is a bad request, whichever function it is for.
            if arguments.contains("\"$") {
                Value::from_json(&arguments).map_err(value_error)?;
            }
            arguments
        }
        other => Value::from_json_in(&arguments, other).map_err(value_error)?.to_json().into(),
    };
    Ok((arguments, format))
}

/// Runs `work` once there is a place for a call of the deployment, and answers. A call keeps its place until there is room
/// for its answer: results that clients don't take are bounded, and so are those that wait for it.
async fn answered(
    edge: &Edge,
    deployment: DeploymentRef,
    format: JsonFormat,
    work: impl Future<Output = Result<Outcome, ApiError>>,
) -> Result<Response, ApiError> {
    let _place = place_for(edge, deployment, 1).await?;
    let outcome = work.await?;
    delivered(edge, deployment, format, outcome).await
}

/// Places for so many calls of queries and mutations, whichever way they have come.
pub(crate) async fn place_for(
    edge: &Edge,
    deployment: DeploymentRef,
    calls: usize,
) -> Result<Place, ApiError> {
    let wait = Duration::from_millis(edge.limits.slot_wait_ms_max);
    tokio::time::timeout(wait, edge.calls.take(deployment, calls)).await.map_err(|_| {
        ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyConcurrentRequests",
            "Too many functions are being called at once. Try again later.",
        )
    })
}

async fn delivered(
    edge: &Edge,
    deployment: DeploymentRef,
    format: JsonFormat,
    outcome: Outcome,
) -> Result<Response, ApiError> {
    let has_failed = outcome.result.is_err();
    let text = answer(outcome, format)?;
    let mut response = bodies::deliver(&edge.answers, deployment, text).await;
    if has_failed {
        response.extensions_mut().insert(OfTheApp::Failure);
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Actions take no place here: they wait for minutes, and the runner knows how many there may be. One goes on if its client
/// goes away, and if this server does.
async fn answer_action(
    edge: &Edge,
    function: FunctionCall,
    format: JsonFormat,
) -> Result<Response, ApiError> {
    let deployment = function.deployment;
    let outcome = run_action(edge, function).await?;
    let outcome = Outcome { result: outcome.result, log_lines: outcome.log_lines };
    delivered(edge, deployment, format, outcome).await
}

/// An action's outcome, unless the server shuts down before.
pub(crate) async fn run_action(edge: &Edge, function: FunctionCall) -> contract::Result<ActionOutcome> {
    tokio::select! {
        outcome = edge.services.runner.action(function) => outcome,
        () = edge.shutdown.cancelled() => {
            let message =
                "The server is shutting down, and does not wait for the action. What it does until it ends stays.";
            let error = contract::Error::overloaded("ShuttingDown", message);
            Err(contract::Error { retry: contract::Retry::Never, ..error })
        }
    }
}

async fn answer_any_kind(
    edge: &Edge,
    function: FunctionCall,
    format: JsonFormat,
) -> Result<Response, ApiError> {
    let deployment = function.deployment;
    match edge.services.runner.kind(&function).await? {
        Some(FunctionKind::Action) => answer_action(edge, function, format).await,
        Some(FunctionKind::Mutation) => {
            answered(edge, deployment, format, run_mutation(edge, function)).await
        }
        // What is not there, or can't be called, is said by the runner in the words that tools look for.
        Some(FunctionKind::Query | FunctionKind::HttpAction) | None => {
            answered(edge, deployment, format, run_query(edge, function, ReadMoment::Latest)).await
        }
    }
}

async fn run_query(edge: &Edge, function: FunctionCall, at: ReadMoment) -> Result<Outcome, ApiError> {
    let outcome = edge.services.runner.query(QueryCall { function, at, journal: None }).await?;
    Ok(Outcome { result: outcome.result, log_lines: outcome.log_lines })
}

async fn run_inline_query(
    edge: &Edge,
    function: FunctionCall,
    source: Arc<str>,
) -> Result<Outcome, ApiError> {
    let call = QueryCall { function, at: ReadMoment::Latest, journal: None };
    let outcome = edge.services.runner.inline_query(call, source).await?;
    Ok(Outcome { result: outcome.result, log_lines: outcome.log_lines })
}

async fn run_mutation(edge: &Edge, function: FunctionCall) -> Result<Outcome, ApiError> {
    let call = MutationCall { function, session: None, not_before: contract::Timestamp::ZERO };
    match audit::run_mutation(edge, call).await {
        Ok(outcome) => Ok(Outcome { result: outcome.result, log_lines: outcome.log_lines }),
        // It ran and lost every race; the status tells that the same call may be sent again.
        Err(error) if error.kind == ErrorKind::Conflict => {
            let message = public_message(&error);
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.code, message))
        }
        Err(error) => Err(error.into()),
    }
}

/// Written by hand, since the value is JSON already and can have megabytes.
fn answer(outcome: Outcome, format: JsonFormat) -> Result<String, ApiError> {
    let log_lines = json_of(&outcome.log_lines);
    let mut answer = String::new();
    match outcome.result {
        Ok(value) => {
            answer.reserve(value.len() + log_lines.len() + 64);
            answer.push_str(r#"{"status":"success","value":"#);
            push_in_format(&mut answer, &value, format)?;
        }
        Err(error) => {
            answer.push_str(r#"{"status":"error","errorMessage":"#);
            answer.push_str(&json_of(&error.message));
            // Absent, not null, where there is none: clients make a plain error of it only then.
            if let Some(data) = error.data {
                answer.push_str(r#","errorData":"#);
                push_in_format(&mut answer, &data, format)?;
            }
        }
    }
    answer.push_str(r#","logLines":"#);
    answer.push_str(&log_lines);
    answer.push('}');
    Ok(answer)
}

fn json_of(strings: &impl serde::Serialize) -> String {
    serde_json::to_string(strings).expect("strings have a JSON form")
}

fn push_in_format(answer: &mut String, value: &str, format: JsonFormat) -> Result<(), ApiError> {
    if format == JsonFormat::ConvexEncoded {
        // The Python client for HTTP refuses whole numbers that Python reads as integers.
        push_with_fractions(answer, value);
        return Ok(());
    }
    let value = Value::from_json(value)
        .map_err(|error| contract::Error::internal(format!("a function's result is not a value: {error}")))?;
    answer.push_str(&value.to_json_in(format));
    Ok(())
}

fn value_error(error: ValueError) -> ApiError {
    ApiError::bad_request(error.code(), format!("{error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(outcome: Outcome, format: JsonFormat) -> String {
        answer(outcome, format).expect("has a form")
    }

    fn succeeded(value: &str) -> Outcome {
        Outcome { result: Ok(value.into()), log_lines: vec!["[LOG] 'hi'".to_owned()] }
    }

    #[test]
    fn values_are_answered_in_the_format_that_was_asked_for() {
        let value = r#"{"big":{"$integer":"BwAAAAAAAAA="},"bytes":{"$bytes":"ABCD"},"nan":{"$float":"AAAAAAAA+H8="}}"#;
        assert_eq!(
            body_of(succeeded(value), JsonFormat::ConvexEncoded),
            format!(r#"{{"status":"success","value":{value},"logLines":["[LOG] 'hi'"]}}"#)
        );
        assert_eq!(
            body_of(succeeded("[1,-2.5]"), JsonFormat::ConvexEncoded),
            r#"{"status":"success","value":[1.0,-2.5],"logLines":["[LOG] 'hi'"]}"#
        );
        assert_eq!(
            body_of(succeeded(value), JsonFormat::Clean),
            r#"{"status":"success","value":{"big":"7","bytes":"ABCD","nan":"NaN"},"logLines":["[LOG] 'hi'"]}"#
        );
    }

    #[test]
    fn only_convex_errors_have_data() {
        let failed = |data: Option<&str>| Outcome {
            result: Err(FunctionError { message: "Uncaught \"x\"".to_owned(), data: data.map(Arc::from) }),
            log_lines: Vec::new(),
        };
        assert_eq!(
            body_of(failed(None), JsonFormat::Clean),
            r#"{"status":"error","errorMessage":"Uncaught \"x\"","logLines":[]}"#
        );
        assert_eq!(
            body_of(failed(Some("null")), JsonFormat::Clean),
            r#"{"status":"error","errorMessage":"Uncaught \"x\"","errorData":null,"logLines":[]}"#
        );
    }
}
