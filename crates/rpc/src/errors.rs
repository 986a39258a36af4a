//! How errors cross: a gRPC status by kind, code and retry beside it; and what a caller is told where none crossed.

use std::error::Error as _;

use contract::{Error, ErrorKind, Retry, code};
use proto::common::v1 as wire;
use tonic::{Code, Status, metadata::MetadataValue};

/// Metadata of a failed call: the stable code, and whether it may be sent again.
const CODE: &str = "tidemark-code";
const RETRY: &str = "tidemark-retry";

/// Nobody answered in time. Whoever makes a call that has an effect must find out whether it had it.
pub fn timed_out() -> Error {
    Error::overloaded(code::CALL_TIMED_OUT, "another node did not answer in time")
}

/// The connection broke before the answer came.
pub fn lost() -> Error {
    Error::overloaded(code::CONNECTION_LOST, "the connection to another node broke before its answer came")
}

/// The same for what may have had an effect, or was read in part: it must not be sent again as if it had none.
pub fn not_again(error: Error) -> Error {
    match [code::CALL_TIMED_OUT, code::CONNECTION_LOST].contains(&&*error.code) {
        true => Error { retry: Retry::Never, ..error },
        false => error,
    }
}

/// The other side was not reached, so that the call had no effect.
pub fn unreachable(why: &str) -> Error {
    Error::overloaded(code::NODE_UNREACHABLE, format!("another node can't be reached: {why}"))
}

/// The other side has answered, and what it says can't be read here. The call may have had its effect.
pub fn answer_not_understood(why: &str) -> Error {
    let message = format!("the answer of another node is not understood: {why}");
    Error::new(ErrorKind::Internal, "AnswerNotUnderstood", message)
}

/// The other side has answered, and it is no answer to what was asked.
pub fn of_another_call() -> Error {
    answer_not_understood("it is one to another call")
}

/// The one table of kinds and gRPC statuses; it can be read both ways.
const STATUSES: [(ErrorKind, Code); 9] = [
    (ErrorKind::BadRequest, Code::InvalidArgument),
    (ErrorKind::Unauthenticated, Code::Unauthenticated),
    (ErrorKind::Forbidden, Code::PermissionDenied),
    (ErrorKind::NotFound, Code::NotFound),
    (ErrorKind::Conflict, Code::Aborted),
    (ErrorKind::TooManyRequests, Code::ResourceExhausted),
    (ErrorKind::Overloaded, Code::Unavailable),
    (ErrorKind::OutOfRetention, Code::OutOfRange),
    (ErrorKind::Internal, Code::Internal),
];

fn code_of(kind: ErrorKind) -> Code {
    STATUSES.iter().find(|(known, _)| *known == kind).map_or(Code::Internal, |(_, code)| *code)
}

/// Codes that we do not send come from the transport: the other side could not be reached, or gave up.
fn kind_of(code: Code) -> ErrorKind {
    STATUSES.iter().find(|(_, known)| *known == code).map_or(ErrorKind::Overloaded, |(kind, _)| *kind)
}

fn retry_name(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Now => "now",
        Retry::Later => "later",
    }
}

/// The status that a call fails with.
pub fn to_status(error: Error) -> Status {
    let mut status = Status::new(code_of(error.kind), error.message);
    let code =
        MetadataValue::try_from(&*error.code).unwrap_or_else(|_| MetadataValue::from_static("Unknown"));
    status.metadata_mut().insert(CODE, code);
    status.metadata_mut().insert(RETRY, MetadataValue::from_static(retry_name(error.retry)));
    status
}

/// The error of a call that failed, whether the other side said so or the transport.
pub fn from_status(status: Status) -> Error {
    let metadata = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
    let Some(code) = metadata(CODE) else {
        // Not from our side. The library speaks for the transport, and then names what that met; or for itself: the
        // answer is not the message that it should be, or has too many bytes, or the other side has no such method.
        let of_the_library = matches!(status.code(), Code::Internal | Code::OutOfRange | Code::Unimplemented)
            && status.source().is_none();
        let why = status.to_string();
        return if of_the_library { answer_not_understood(&why) } else { unreachable(&why) };
    };
    let retry = match metadata(RETRY) {
        Some("now") => Retry::Now,
        Some("later") => Retry::Later,
        _ => Retry::Never,
    };
    let kind = kind_of(status.code());
    Error { kind, code: code.to_owned().into(), message: status.message().to_owned(), retry }
}

/// The error of a stream that was begun and failed. What was sent on it may have had an effect, unless the other side itself says
/// that it did not take it, or there was no connection.
pub fn of_begun(status: Status) -> Error {
    let is_said = status.metadata().get(CODE).is_some();
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return unreachable(&status.to_string());
        }
        source = error.source();
    }
    match from_status(status) {
        error if is_said || error.code != code::NODE_UNREACHABLE => error,
        _ => lost(),
    }
}

/// The error inside of an answer.
pub fn to_wire(error: Error) -> wire::CallError {
    let retry = match error.retry {
        Retry::Never => wire::Retry::Never,
        Retry::Now => wire::Retry::Now,
        Retry::Later => wire::Retry::Later,
    };
    wire::CallError {
        status: code_of(error.kind) as i32,
        code: error.code.into_owned(),
        message: error.message,
        retry: retry.into(),
    }
}

/// The other way of [`to_wire`].
pub fn from_wire(error: wire::CallError) -> Error {
    let retry = match error.retry() {
        wire::Retry::Never => Retry::Never,
        wire::Retry::Now => Retry::Now,
        wire::Retry::Later => Retry::Later,
    };
    let kind = kind_of(Code::from_i32(error.status));
    Error { kind, code: error.code.into(), message: error.message, retry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_crosses_unchanged_both_ways() {
        for (kind, _) in STATUSES {
            for retry in [Retry::Never, Retry::Now, Retry::Later] {
                let error = Error { kind, code: "SomeCode".into(), message: "Söme message".into(), retry };
                assert_eq!(from_status(to_status(error.clone())), error);
                assert_eq!(from_wire(to_wire(error.clone())), error);
            }
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_to_be_sent_again() {
        let unread = tonic::Status::internal("failed to decode Protobuf message");
        for status in [unread, Status::unimplemented(""), Status::out_of_range("message length too large")] {
            let error = from_status(status);
            assert_eq!((error.kind, error.retry), (ErrorKind::Internal, Retry::Never));
            assert_eq!(error.code, "AnswerNotUnderstood");
        }
    }

    #[test]
    fn what_the_transport_says_can_be_sent_again_later() {
        let error = from_status(Status::unavailable("connection refused"));
        assert_eq!((error.kind, error.retry), (ErrorKind::Overloaded, Retry::Later));
    }
}
