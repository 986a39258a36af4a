//! Plain counters of what clients ask for, and of what they are told.

use std::{array, borrow::Cow, sync::Arc};

use axum::{http::StatusCode, response::Response};
use contract::ErrorKind;
use counters::{Counter, Histogram, HistogramSnapshot, Named, Stopwatch};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Codes of errors that are told apart. There are fewer.
const CODES_MAX: usize = 128;

/// What is asked for. Clients choose paths, and no path becomes a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// A query over HTTP.
    Query,
    Mutation,
    Action,
    /// A function of any kind over HTTP.
    Function,
    /// A mutation of a session.
    SessionMutation,
    /// An action of a session.
    SessionAction,
    /// The beginning of a session.
    Session,
    HttpAction,
    /// A call of the gRPC API.
    Grpc,
    Upload,
    Download,
    Push,
    /// Environment variables, jobs, exports, and the like.
    Administration,
    /// The log of functions, which is waited for.
    FunctionLog,
    Other,
}

impl Api {
    const ALL: [Api; 15] = [
        Api::Query,
        Api::Mutation,
        Api::Action,
        Api::Function,
        Api::SessionMutation,
        Api::SessionAction,
        Api::Session,
        Api::HttpAction,
        Api::Grpc,
        Api::Upload,
        Api::Download,
        Api::Push,
        Api::Administration,
        Api::FunctionLog,
        Api::Other,
    ];

    /// By the route that a request has taken, as the router has it.
    pub(crate) fn of(route: Option<&str>) -> Api {
        match route.unwrap_or_default() {
            "/api/query" | "/api/query_at_ts" | "/api/query_ts" | "/api/run_test_function" => Api::Query,
            "/api/mutation" => Api::Mutation,
            "/api/action" => Api::Action,
            "/api/function" | "/api/run/{*path}" => Api::Function,
            "/api/sync" | "/api/{version}/sync" => Api::Session,
            "/api/storage/upload" | "/api/import/upload_part" => Api::Upload,
            "/api/storage/{uuid}" | "/api/export/zip/{name}" => Api::Download,
            "/api/get_config_hashes" => Api::Push,
            "/api/stream_function_logs" => Api::FunctionLog,
            "/api/cancel_job" | "/api/cancel_all_jobs" | "/api/check_admin_key" => Api::Administration,
            "/api/perform_import" | "/api/cancel_import" => Api::Administration,
            "/api/v1/pause_deployment" | "/api/v1/unpause_deployment" | "/api/v1/update_canonical_url" => {
                Api::Administration
            }
            route if route.starts_with("/api/export/") || route.starts_with("/api/import/") => {
                Api::Administration
            }
            route if route.starts_with("/api/streaming_import/") => Api::Administration,
            route if route.starts_with("/api/deploy2/") => Api::Push,
            route if route.ends_with("_environment_variables") => Api::Administration,
            _ => Api::Other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Api::Query => "query",
            Api::Mutation => "mutation",
            Api::Action => "action",
            Api::Function => "function",
            Api::SessionMutation => "session_mutation",
            Api::SessionAction => "session_action",
            Api::Session => "session",
            Api::HttpAction => "http_action",
            Api::Grpc => "grpc",
            Api::Upload => "upload",
            Api::Download => "download",
            Api::Push => "push",
            Api::Administration => "administration",
            Api::FunctionLog => "function_log",
            Api::Other => "other",
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered.
    Answered,
    /// The app's function threw.
    Threw,
    /// It was wrong, or its sender may not.
    Invalid,
    /// There was no room or no time for it, or nobody to serve it now.
    Refused,
    /// A fault of the server's own.
    Failed,
    /// Its client went away before the answer.
    Gone,
}

impl Outcome {
    const ALL: [Outcome; 6] = [
        Outcome::Answered,
        Outcome::Threw,
        Outcome::Invalid,
        Outcome::Refused,
        Outcome::Failed,
        Outcome::Gone,
    ];

    /// What an answer over HTTP says.
    fn of(response: &Response) -> Outcome {
        match response.extensions().get::<OfTheApp>() {
            Some(OfTheApp::Answer) => return Outcome::Answered,
            Some(OfTheApp::Failure) => return Outcome::Threw,
            None => {}
        }
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT => {
                Outcome::Refused
            }
            status if status.is_server_error() => Outcome::Failed,
            status if status.is_client_error() => Outcome::Invalid,
            _ => Outcome::Answered,
        }
    }

    /// What a service's error says that is told over another protocol.
    pub(crate) fn of_error(kind: ErrorKind) -> Outcome {
        match kind {
            ErrorKind::Conflict
            | ErrorKind::TooManyRequests
            | ErrorKind::Overloaded
            | ErrorKind::OutOfRetention => Outcome::Refused,
            ErrorKind::Internal => Outcome::Failed,
            ErrorKind::BadRequest
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden
            | ErrorKind::NotFound => Outcome::Invalid,
        }
    }

    /// What a status of gRPC says.
    fn of_status(code: Code) -> Outcome {
        match code {
            Code::Ok => Outcome::Answered,
            Code::Cancelled => Outcome::Gone,
            Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded | Code::Aborted => {
                Outcome::Refused
            }
            Code::Internal | Code::Unknown | Code::DataLoss => Outcome::Failed,
            _ => Outcome::Invalid,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Threw => "threw",
            Outcome::Invalid => "invalid",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::Gone => "gone",
        }
    }
}

/// Marks a response whose status is not the server's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfTheApp {
    /// The app has answered, whatever its status is.
    Answer,
    /// The app's function has failed.
    Failure,
}

/// Marks a response with the code of the error that it tells.
#[derive(Clone, Debug)]
pub(crate) struct ErrorCode(pub(crate) Cow<'static, str>);

/// The counters themselves.
pub(crate) struct Metrics {
    requests: [[Counter; Outcome::ALL.len()]; Api::ALL.len()],
    seconds: [Histogram; Api::ALL.len()],
    errors: Named,
}

/// What the counters say at a moment.
#[derive(Clone, Debug)]
pub struct MetricsSnapshot {
    /// By what was asked for and what became of it, which are two closed lists.
    pub requests: Vec<([&'static str; 2], u64)>,
    /// How long requests took until their answer began, by what was asked for.
    pub durations: Vec<([&'static str; 1], HistogramSnapshot)>,
    /// Errors that were told, by their codes.
    pub errors: Vec<(String, u64)>,
    /// Sessions over WebSockets that are open.
    pub sockets: u64,
    /// Connections that speak HTTP.
    pub connections: u64,
}

/// A request that is under way; if it is dropped before its end, its client has gone.
pub(crate) struct Counted {
    metrics: Arc<Metrics>,
    api: Api,
    stopwatch: Stopwatch,
    is_over: bool,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        Metrics {
            requests: array::from_fn(|_| array::from_fn(|_| Counter::default())),
            seconds: array::from_fn(|_| Histogram::default()),
            errors: Named::new(CODES_MAX),
        }
    }

    /// A request begins.
    pub(crate) fn begin(self: &Arc<Metrics>, api: Api) -> Counted {
        Counted { metrics: Arc::clone(self), api, stopwatch: Stopwatch::start(), is_over: false }
    }

    /// An error is told, over whichever protocol.
    pub(crate) fn count_error(&self, code: &str) {
        self.errors.increment(code);
    }

    pub(crate) fn snapshot(&self, sockets: usize, connections: usize) -> MetricsSnapshot {
        let mut requests = Vec::with_capacity(Api::ALL.len() * Outcome::ALL.len());
        for api in Api::ALL {
            for outcome in Outcome::ALL {
                let count = self.requests[api as usize][outcome as usize].get();
                requests.push(([api.name(), outcome.name()], count));
            }
        }
        let duration = |api: Api| ([api.name()], self.seconds[api as usize].snapshot());
        MetricsSnapshot {
            requests,
            durations: Api::ALL.map(duration).to_vec(),
            errors: self.errors.snapshot(),
            sockets: sockets as u64,
            connections: connections as u64,
        }
    }
}

impl Counted {
    /// It has been answered over HTTP.
    pub(crate) fn answered(self, response: &Response) {
        if let Some(ErrorCode(code)) = response.extensions().get() {
            self.metrics.count_error(code);
        }
        self.end(Outcome::of(response));
    }

    /// It has been answered over gRPC: with a status, or with what was asked for, whose status comes behind it.
    pub(crate) fn answered_over_grpc(self, response: &Response) {
        let Some(status) = Status::from_header_map(response.headers()) else {
            return self.end(Outcome::of(response));
        };
        if let Some(info) = status.get_error_details().error_info() {
            self.metrics.count_error(&info.reason);
        }
        self.end(Outcome::of_status(status.code()));
    }

    pub(crate) fn end(mut self, outcome: Outcome) {
        self.is_over = true;
        self.metrics.seconds[self.api as usize].record(self.stopwatch.took());
        self.metrics.requests[self.api as usize][outcome as usize].increment();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.is_over {
            self.metrics.requests[self.api as usize][Outcome::Gone as usize].increment();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use axum::response::IntoResponse as _;
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::error::ApiError;

    #[test]
    fn a_path_is_no_name() {
        assert_eq!(Api::of(Some("/api/run/{*path}")), Api::Function);
        assert_eq!(Api::of(Some("/api/deploy2/start_push")), Api::Push);
        assert_eq!(Api::of(Some("/api/v1/list_environment_variables")), Api::Administration);
        assert_eq!(Api::of(Some("/what/ever")), Api::Other);
        assert_eq!(Api::of(None), Api::Other);
    }

    #[test]
    fn names_are_told_apart_and_stand_at_their_numbers() {
        for (number, api) in Api::ALL.into_iter().enumerate() {
            assert_eq!(api as usize, number);
        }
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
        }
        let apis: BTreeSet<&str> = Api::ALL.into_iter().map(Api::name).collect();
        let outcomes: BTreeSet<&str> = Outcome::ALL.into_iter().map(Outcome::name).collect();
        assert_eq!((apis.len(), outcomes.len()), (Api::ALL.len(), Outcome::ALL.len()));
    }

    fn count(snapshot: &MetricsSnapshot, api: &str, outcome: &str) -> u64 {
        let of = |labels: &[&str; 2]| *labels == [api, outcome];
        snapshot.requests.iter().find(|(labels, _)| of(labels)).expect("it is there").1
    }

    #[test]
    fn each_request_is_counted_once_by_what_became_of_it() {
        let metrics = Arc::new(Metrics::new());
        let refusal = |status| ApiError::new(status, "TooManyConnections", "…").into_response();
        metrics.begin(Api::Query).answered(&StatusCode::OK.into_response());
        metrics.begin(Api::Query).answered(&refusal(StatusCode::SERVICE_UNAVAILABLE));
        metrics.begin(Api::Query).answered(&refusal(StatusCode::BAD_REQUEST));
        metrics.begin(Api::Query).answered(&refusal(StatusCode::INTERNAL_SERVER_ERROR));
        drop(metrics.begin(Api::Query));
        let mut thrown = StatusCode::OK.into_response();
        thrown.extensions_mut().insert(OfTheApp::Failure);
        metrics.begin(Api::Query).answered(&thrown);
        let mut own = StatusCode::BAD_GATEWAY.into_response();
        own.extensions_mut().insert(OfTheApp::Answer);
        metrics.begin(Api::HttpAction).answered(&own);
        metrics.begin(Api::Grpc).answered_over_grpc(&thrown);
        metrics.begin(Api::Grpc).answered_over_grpc(&StatusCode::OK.into_response());
        let mut details = ErrorDetails::new();
        details.set_error_info("TooManyConnections", "tidemark", HashMap::<String, String>::new());
        let refused = Status::with_error_details(Code::ResourceExhausted, "…", details);
        metrics.begin(Api::Grpc).answered_over_grpc(&refused.into_http());
        metrics.begin(Api::Grpc).answered_over_grpc(&Status::unknown("…").into_http());
        let snapshot = metrics.snapshot(0, 0);
        for outcome in [Outcome::Threw, Outcome::Answered, Outcome::Refused, Outcome::Failed] {
            assert_eq!(count(&snapshot, "grpc", outcome.name()), 1, "{outcome:?}");
        }
        for outcome in Outcome::ALL {
            assert_eq!(count(&snapshot, "query", outcome.name()), 1, "{outcome:?}");
        }
        assert_eq!(count(&snapshot, "http_action", "answered"), 1);
        assert_eq!(snapshot.errors[0], ("TooManyConnections".to_owned(), 4));
        let of_queries = snapshot.durations[Api::Query as usize].1;
        assert_eq!(of_queries.count(), 5, "of who has gone nobody knows how long it would have taken");
    }
}
