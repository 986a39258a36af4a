//! Why a transaction of the system did not commit.

use contract::ErrorKind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a transaction of the system did not commit. But for [`Error::Unknown`] it has no effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The work was given up, or a service did not serve.
    #[error(transparent)]
    Refused(#[from] contract::Error),
    /// An operation of the transaction failed.
    #[error(transparent)]
    Operation(#[from] transaction::Error),
    /// Other commits that concern the same documents kept coming in between.
    #[error("OptimisticConcurrencyControlFailure: other changes kept coming in between")]
    Contended,
    /// It may or may not have taken effect, or it has and what it returned is lost.
    #[error(transparent)]
    Unknown(contract::Error),
}

impl Error {
    /// The stable code; see `docs/reference/errors.md`.
    pub fn code(&self) -> &str {
        match self {
            Error::Refused(error) | Error::Unknown(error) => &error.code,
            Error::Operation(error) => error.code(),
            Error::Contended => CONTENDED,
        }
    }
}

const CONTENDED: &str = "OptimisticConcurrencyControlFailure";

/// For whoever asked for the transaction: a mistake that an operation found is in what was asked for.
impl From<Error> for contract::Error {
    fn from(error: Error) -> contract::Error {
        match error {
            Error::Refused(error)
            | Error::Unknown(error)
            | Error::Operation(transaction::Error::Service(error)) => error,
            Error::Operation(transaction::Error::User(error)) => {
                contract::Error::bad_request(error.code, error.message)
            }
            Error::Contended => contract::Error::new(
                ErrorKind::Overloaded,
                CONTENDED,
                "Other changes kept coming in between. Try again.",
            ),
        }
    }
}
