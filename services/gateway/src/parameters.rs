//! What the query of an address says.

use std::error::Error as _;

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// Errors: `InvalidParameters`, with the parameter that can't be read and why. What it is is not repeated.
pub(crate) struct Parameters<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Parameters<T>, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Parameters(parameters)),
            Err(error) => {
                let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                let message = format!("A parameter of the address can't be read: {why}.");
                Err(ApiError::bad_request("InvalidParameters", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Moment {
        snapshot: Option<u64>,
    }

    #[tokio::test]
    async fn a_parameter_that_can_not_be_read_is_named() {
        let read = async |uri: &str| {
            let (mut parts, ()) = Request::get(uri).body(()).expect("a request").into_parts();
            Parameters::<Moment>::from_request_parts(&mut parts, &())
                .await
                .map(|Parameters(read)| read.snapshot)
        };
        assert_eq!(read("/a?snapshot=5").await.ok(), Some(Some(5)));
        assert_eq!(read("/a").await.ok(), Some(None));
        for wrong in ["abc", "-1", "1.5"] {
            let error = read(&format!("/a?snapshot={wrong}")).await.map(|_| ()).expect_err("it is refused");
            assert_eq!(error.code(), "InvalidParameters");
            assert!(error.message().contains("snapshot: "), "{}", error.message());
        }
    }
}
