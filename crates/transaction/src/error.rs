use std::borrow::Cow;

use value::{Value, ValueError, object};

/// What an operation of a transaction answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation of a transaction failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A mistake of the function: it may catch it and go on.
    #[error(transparent)]
    User(#[from] UserError),
    /// Not the function's fault. The run ends, whatever the function would do.
    #[error(transparent)]
    Service(#[from] contract::Error),
}

/// A mistake of the function that runs, as it sees it: an exception which it can catch.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct UserError {
    /// Stable; see `docs/reference/errors.md`. The whole text begins with it, because clients look for some of them.
    pub code: Cow<'static, str>,
    /// For the author of the function.
    pub message: String,
    /// What a `ConvexError` carries; `None` for every other error.
    pub data: Option<Value>,
}

impl Error {
    /// A mistake of the function.
    pub fn user(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Error {
        Error::User(UserError { code: code.into(), message: message.into(), data: None })
    }

    /// Something that is stored is not as it must be: a defect of ours.
    pub(crate) fn stored(what: impl std::fmt::Display) -> Error {
        Error::Service(contract::Error::internal(format!("stored data can't be read: {what}")))
    }

    /// A cursor or journal that is not one of ours, or of another query. Clients start again from the first page.
    pub(crate) fn invalid_cursor(message: &str) -> Error {
        Error::User(UserError {
            code: "InvalidCursor".into(),
            message: message.to_owned(),
            data: Some(Value::Object(object! {
                "isConvexSystemError" => true,
                "paginationError" => "InvalidCursor",
            })),
        })
    }

    /// The error of what the system does by itself: a mistake in it is a defect of ours.
    pub fn of_the_system(self) -> contract::Error {
        match self {
            Error::User(error) => contract::Error::internal(error.to_string()),
            Error::Service(error) => error,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Error::User(error) => &error.code,
            Error::Service(error) => &error.code,
        }
    }
}

impl From<ValueError> for Error {
    fn from(error: ValueError) -> Error {
        Error::user(error.code(), error.to_string())
    }
}
