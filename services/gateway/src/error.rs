//! Errors as HTTP answers.

use std::borrow::Cow;

use axum::{
    Extension, Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use contract::{ErrorKind, code};
use serde_json::json;

use crate::metrics::ErrorCode;

/// Why a request was refused: `{"code", "message"}` with a status. Codes are listed in `docs/reference/errors.md`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> ApiError {
        ApiError { status, code: code.into(), message: message.into() }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn unauthorized(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, code, message)
    }

    /// A body that can't be read, and where. What it holds may be a secret, so the message does not repeat it.
    pub(crate) fn not_repeated(what: &str, error: &serde_json::Error) -> ApiError {
        let (line, column) = (error.line(), error.column());
        ApiError::bad_request("InvalidJson", format!("{what}: line {line}, column {column}."))
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The code and the message.
    pub(crate) fn into_parts(self) -> (Cow<'static, str>, String) {
        (self.code, self.message)
    }
}

/// A service's error on its way out. Defects are logged here, once, and the caller learns no more than that.
impl From<contract::Error> for ApiError {
    fn from(error: contract::Error) -> ApiError {
        ApiError { status: status_of(error.kind), message: public_message(&error), code: error.code }
    }
}

/// Credentials that were refused, for whom nothing follows from that but what the error says.
impl From<ApiError> for contract::Error {
    fn from(error: ApiError) -> contract::Error {
        contract::Error::new(ErrorKind::Unauthenticated, error.code, error.message)
    }
}

/// The status that a caller over HTTP sees.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Overloaded | ErrorKind::OutOfRetention => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The sentence that a client is shown: nothing of the server's insides, nor of its other nodes. What is left out is logged here.
pub(crate) fn public_message(error: &contract::Error) -> String {
    let sentence = match &*error.code {
        _ if error.kind == ErrorKind::Internal => {
            tracing::error!(code = %error.code, "{}", error.message);
            return "The request could not be completed because of a fault of the server. Try again later."
                .to_owned();
        }
        code::NODE_UNREACHABLE => "Another node of the server can't be reached. Try again later.",
        code::NOT_LEADER => "No node of the server that leads is known here. Try again later.",
        // How the nodes are configured.
        "RoleForbidden" | "VersionNotSupported" => "The nodes of the server do not understand each other.",
        _ => return error.message.clone(),
    };
    tracing::info!(code = %error.code, "a request is refused: {}", error.message);
    sentence.to_owned()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "code": self.code, "message": self.message }));
        (self.status, Extension(ErrorCode(self.code)), body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_learn_nothing_of_the_nodes_behind() {
        const INSIDE: &str = "node 3 at 10.0.0.3:3213: ConnectError(Os { code: 111 })";
        for (kind, code) in [
            (ErrorKind::Overloaded, code::NODE_UNREACHABLE),
            (ErrorKind::Overloaded, code::NOT_LEADER),
            (ErrorKind::Forbidden, "RoleForbidden"),
            (ErrorKind::BadRequest, "VersionNotSupported"),
            (ErrorKind::Internal, "AnswerNotUnderstood"),
        ] {
            let shown = ApiError::from(contract::Error::new(kind, code, INSIDE));
            assert_eq!((shown.status(), shown.code()), (status_of(kind), code));
            assert!(!shown.message().contains("10.0.0.3"), "{}", shown.message());
        }
        let told = contract::Error::bad_request("InvalidArguments", "what is wrong");
        assert_eq!(ApiError::from(told).message(), "what is wrong");
    }
}
