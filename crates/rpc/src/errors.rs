//! How errors cross: a gRPC status by kind, code and retry beside it.

use contract::{Error, ErrorKind, Retry};
use proto::common::v1 as wire;
use tonic::{Code, Status, metadata::MetadataValue};

/// Metadata of a failed call: the stable code, and whether it may be sent again.
const CODE: &str = "tidemark-code";
const RETRY: &str = "tidemark-retry";

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
        // Not from our side: the transport speaks.
        return Error::overloaded("NodeUnreachable", status.to_string());
    };
    let retry = match metadata(RETRY) {
        Some("now") => Retry::Now,
        Some("later") => Retry::Later,
        _ => Retry::Never,
    };
    let kind = kind_of(status.code());
    Error { kind, code: code.to_owned().into(), message: status.message().to_owned(), retry }
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
    fn what_the_transport_says_can_be_sent_again_later() {
        let error = from_status(Status::unavailable("connection refused"));
        assert_eq!((error.kind, error.retry), (ErrorKind::Overloaded, Retry::Later));
    }
}
