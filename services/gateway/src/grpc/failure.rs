//! Why a call failed, as a gRPC status: `google.rpc.Status` with our code in an `ErrorInfo`, and a `RetryInfo` where the call may be sent
//! again.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use axum::http::StatusCode;
use contract::{ErrorKind, Retry};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use value::ValueError;

use crate::error::{ApiError, public_message};

/// Whose the codes are.
const DOMAIN: &str = "tidemark";
/// After which a refused call may be sent again, where it may not be at once.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) type Result<T> = std::result::Result<T, Failure>;

#[derive(Debug)]
pub(super) struct Failure {
    status: Code,
    code: Cow<'static, str>,
    message: String,
    retry: Retry,
}

impl Failure {
    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Failure {
        contract::Error::bad_request(code, message).into()
    }

    /// The time that the caller has given is over. What the call has done until then stays.
    pub(super) fn deadline_exceeded() -> Failure {
        let message = "The call's deadline has passed.".to_owned();
        let code = Cow::Borrowed("DeadlineExceeded");
        Failure { status: Code::DeadlineExceeded, code, message, retry: Retry::Never }
    }

    /// What the library itself says, in front of our service: it has nothing but a status and a sentence.
    pub(super) fn of_library(status: &Status) -> Failure {
        let (status_code, code) = match status.code() {
            Code::OutOfRange => (Code::ResourceExhausted, "RequestTooLarge"),
            // Of methods that it does not know it says nothing.
            Code::Unimplemented if status.message().is_empty() => {
                (Code::Unimplemented, "EndpointNotImplemented")
            }
            Code::Unimplemented => (Code::Unimplemented, "UnsupportedEncoding"),
            _ => (Code::InvalidArgument, "MalformedMessage"),
        };
        let message = match status.message() {
            "" => "There is no such method here.",
            message => message,
        };
        Failure { status: status_code, code: code.into(), message: message.to_owned(), retry: Retry::Never }
    }

    pub(super) fn into_status(self, request_id: &str) -> Status {
        let about = HashMap::from([("request_id".to_owned(), request_id.to_owned())]);
        let mut details = ErrorDetails::new();
        details.set_error_info(self.code, DOMAIN, about);
        let pause = match self.retry {
            Retry::Never => None,
            Retry::Now => Some(Duration::ZERO),
            Retry::Later => Some(PAUSE),
        };
        if pause.is_some() {
            details.set_retry_info(pause);
        }
        Status::with_error_details(self.status, self.message, details)
    }
}

/// The table in docs/reference/grpc-api.md.
fn status_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::BadRequest => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::TooManyRequests => Code::ResourceExhausted,
        ErrorKind::Overloaded => Code::Unavailable,
        ErrorKind::OutOfRetention => Code::OutOfRange,
        ErrorKind::Internal => Code::Internal,
    }
}

impl From<contract::Error> for Failure {
    fn from(error: contract::Error) -> Failure {
        let message = public_message(&error);
        Failure { status: status_of(error.kind), code: error.code, message, retry: error.retry }
    }
}

/// What the edge itself refuses, before a service has heard of the call.
impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        let (status, retry) = match error.status() {
            StatusCode::UNAUTHORIZED => (Code::Unauthenticated, Retry::Never),
            StatusCode::FORBIDDEN => (Code::PermissionDenied, Retry::Never),
            StatusCode::NOT_FOUND => (Code::NotFound, Retry::Never),
            StatusCode::PAYLOAD_TOO_LARGE => (Code::ResourceExhausted, Retry::Never),
            StatusCode::TOO_MANY_REQUESTS => (Code::ResourceExhausted, Retry::Later),
            // What the call does goes on.
            StatusCode::REQUEST_TIMEOUT => (Code::DeadlineExceeded, Retry::Never),
            StatusCode::SERVICE_UNAVAILABLE => (Code::Unavailable, Retry::Later),
            status if status.is_server_error() => (Code::Internal, Retry::Never),
            _ => (Code::InvalidArgument, Retry::Never),
        };
        let (code, message) = error.into_parts();
        Failure { status, code, message, retry }
    }
}

impl From<ValueError> for Failure {
    fn from(error: ValueError) -> Failure {
        Failure::bad_request(error.code(), format!("{error}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code, reason and pause, as a client reads them.
    fn read(failure: Failure) -> (Code, String, Option<Duration>) {
        let status = failure.into_status("abc");
        let details = status.get_error_details();
        let info = details.error_info().expect("it is always there");
        assert_eq!((info.domain.as_str(), info.metadata["request_id"].as_str()), ("tidemark", "abc"));
        let pause = details.retry_info().and_then(|retry| retry.retry_delay);
        (status.code(), info.reason.clone(), pause)
    }

    #[test]
    fn every_kind_has_its_status_and_says_whether_to_try_again() {
        for (kind, status, pause) in [
            (ErrorKind::BadRequest, Code::InvalidArgument, None),
            (ErrorKind::Unauthenticated, Code::Unauthenticated, None),
            (ErrorKind::Forbidden, Code::PermissionDenied, None),
            (ErrorKind::NotFound, Code::NotFound, None),
            (ErrorKind::Conflict, Code::Aborted, Some(Duration::ZERO)),
            (ErrorKind::TooManyRequests, Code::ResourceExhausted, Some(PAUSE)),
            (ErrorKind::Overloaded, Code::Unavailable, Some(PAUSE)),
            (ErrorKind::OutOfRetention, Code::OutOfRange, None),
            (ErrorKind::Internal, Code::Internal, None),
        ] {
            let error = contract::Error::new(kind, "SomeCode", "why");
            assert_eq!(read(error.into()), (status, "SomeCode".to_owned(), pause));
        }
    }

    #[test]
    fn a_defect_is_not_shown() {
        let status = Failure::from(contract::Error::internal("the secret detail")).into_status("abc");
        assert!(!status.message().contains("secret"), "{status}");
    }

    #[test]
    fn what_the_edge_refuses_has_a_status_of_its_own() {
        for (http, status, pause) in [
            (StatusCode::BAD_REQUEST, Code::InvalidArgument, None),
            (StatusCode::UNAUTHORIZED, Code::Unauthenticated, None),
            (StatusCode::FORBIDDEN, Code::PermissionDenied, None),
            (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, None),
            (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, None),
            (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, Some(PAUSE)),
            (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, Some(PAUSE)),
            (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, None),
        ] {
            let failure = ApiError::new(http, "SomeCode", "why").into();
            assert_eq!(read(failure), (status, "SomeCode".to_owned(), pause), "{http}");
        }
    }

    #[test]
    fn what_the_library_refuses_gets_a_code() {
        for (status, expected) in [
            (Status::internal("failed to decode"), (Code::InvalidArgument, "MalformedMessage")),
            (Status::out_of_range("too large"), (Code::ResourceExhausted, "RequestTooLarge")),
            (Status::unimplemented(""), (Code::Unimplemented, "EndpointNotImplemented")),
            (Status::unimplemented("`gzip` is not known"), (Code::Unimplemented, "UnsupportedEncoding")),
        ] {
            let (code, reason, pause) = read(Failure::of_library(&status));
            assert_eq!((code, reason.as_str(), pause), (expected.0, expected.1, None));
        }
    }
}
