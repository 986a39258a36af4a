//! Why an operation failed, in the categories of the standard.

/// A refusal. The categories are those that the standard gives names to; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The algorithm has no such operation, or not with these parameters.
    #[error("{0}")]
    NotSupported(&'static str),
    /// The key is not one that the operation could use.
    #[error("{0}")]
    InvalidAccess(&'static str),
    /// The operation failed: a wrong tag or padding, parameters that it can't have, a bound that was exceeded.
    #[error("{0}")]
    Operation(&'static str),
    /// Whoever asked said that its time is over ([`IsOver`](crate::IsOver)).
    #[error("the time for the operation is over")]
    OutOfTime,
    /// The bytes are no key of that kind and format.
    #[error("{0}")]
    Data(&'static str),
}

impl Error {
    /// The name of the `DOMException` by which the standard tells of it.
    pub fn name(&self) -> &'static str {
        match self {
            Error::NotSupported(_) => "NotSupportedError",
            Error::InvalidAccess(_) => "InvalidAccessError",
            Error::Operation(_) | Error::OutOfTime => "OperationError",
            Error::Data(_) => "DataError",
        }
    }
}
