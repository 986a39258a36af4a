/// Why something can't be formatted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Of a value outside of what is allowed, or of what is not available.
    #[error("{0}")]
    Range(String),
    #[error("{0}")]
    Type(String),
}

impl Error {
    /// The name of the error that JavaScript throws.
    pub fn name(&self) -> &'static str {
        match self {
            Error::Range(_) => "RangeError",
            Error::Type(_) => "TypeError",
        }
    }

    pub fn range(message: impl Into<String>) -> Error {
        Error::Range(message.into())
    }
}

pub type Result<T> = std::result::Result<T, Error>;
