//! What the bodies of requests say, in JSON.

use serde::{Deserialize, de::DeserializeOwned};

use crate::error::ApiError;

/// Errors: `InvalidJson`, with `what` and what the parser says, which may repeat a part of the body.
pub(crate) fn read<'b, T: Deserialize<'b>>(body: &'b [u8], what: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request("InvalidJson", format!("{what}: {error}")))
}

/// The same of a body that may hold a secret: errors don't repeat it.
pub(crate) fn read_secret<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::not_repeated("The body can't be read", &error))
}
