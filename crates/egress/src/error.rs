//! Why there is no answer.

/// Why a request got no answer. Texts are what follows an address: `http://x.example could not be reached: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not the address of a web server.
    #[error("is not an address with https:// or http://")]
    InvalidUrl,
    /// The policy does not let it through.
    #[error("is not let through by this server's configuration (`{setting}`)")]
    Denied {
        /// The setting that decides.
        setting: &'static str,
    },
    /// One redirect led to another.
    #[error("redirects more than {redirects_max} times")]
    TooManyRedirects {
        /// How many are followed.
        redirects_max: usize,
    },
    /// It redirects, and the request can't be sent again or is not to be.
    #[error("redirects, which this request can't follow")]
    Redirected,
    /// It took too long.
    #[error("did not answer in time")]
    TimedOut,
    /// The answer's body is too large.
    #[error("answered with more than {bytes_max} bytes")]
    TooLarge {
        /// How many were asked for.
        bytes_max: usize,
    },
    /// There was no connection, or it broke, or what came is not HTTP.
    #[error("could not be reached: {reason}")]
    Unreachable {
        /// A clause.
        reason: String,
    },
}

/// What stands in the way of a host or an address, for errors that pass through the client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` does not let it through")]
pub(crate) struct Denied {
    pub setting: &'static str,
}

impl From<Denied> for Error {
    fn from(Denied { setting }: Denied) -> Error {
        Error::Denied { setting }
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Error {
        let mut innermost: &(dyn std::error::Error + 'static) = &error;
        loop {
            if let Some(denied) = innermost.downcast_ref::<Denied>() {
                return (*denied).into();
            }
            match innermost.source() {
                Some(source) => innermost = source,
                None => break,
            }
        }
        if error.is_timeout() {
            return Error::TimedOut;
        }
        // The outer ones repeat the address, which may hold a secret.
        Error::Unreachable { reason: innermost.to_string() }
    }
}
