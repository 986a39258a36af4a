//! The one error type at contracts.

use std::{borrow::Cow, fmt};

use crate::code;

/// What a service answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a service did not do what it was asked.
///
/// `code` is stable and documented in `docs/reference/errors.md`; those that callers act upon are in [`code`].
/// `message` is for people and may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Decides the status at the edges.
    pub kind: ErrorKind,
    /// Stable, in capitalised words: `NotLeader`.
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
    /// Whether to send the request again.
    pub retry: Retry,
}

/// What kind of trouble it is. The edges have a status for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request can't be right, whenever it is sent.
    BadRequest,
    /// The caller is unknown, or its credentials can't be read.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// What is asked for is not here.
    NotFound,
    /// The request was right but lost a race.
    Conflict,
    /// The caller, or all callers together, send too much at once.
    TooManyRequests,
    /// The service can't take more now, or is not ready.
    Overloaded,
    /// The time asked for is older than what is kept.
    OutOfRetention,
    /// A defect of ours, or of the machine.
    Internal,
}

/// Whether the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It would fail again, or it is not known whether it took effect.
    Never,
    /// At once: it was refused before it had any effect.
    Now,
    /// After a pause: it was refused before it had any effect.
    Later,
}

impl Error {
    /// An error whose kind decides whether to try again.
    pub fn new(kind: ErrorKind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        let retry = match kind {
            ErrorKind::Conflict => Retry::Now,
            ErrorKind::Overloaded | ErrorKind::TooManyRequests => Retry::Later,
            _ => Retry::Never,
        };
        Error { kind, code: code.into(), message: message.into(), retry }
    }

    /// A request that can't be right.
    pub fn bad_request(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::BadRequest, code, message)
    }

    /// A request for which there is no room now; it may be sent again later.
    pub fn overloaded(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Overloaded, code, message)
    }

    /// A defect; the message is for the log, the user sees a general sentence.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Internal, code::INTERNAL, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}
