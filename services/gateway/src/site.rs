//! The site address, where HTTP actions will answer.

use axum::{Router, http::StatusCode};

pub(crate) fn router() -> Router {
    Router::new().fallback(async || {
        (
            StatusCode::NOT_FOUND,
            "This is the address of a Tidemark deployment's HTTP actions, which this version does not serve yet.\n",
        )
    })
}
