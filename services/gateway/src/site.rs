//! The site address, where HTTP actions will answer.

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};

pub(crate) fn router() -> Router {
    Router::new().fallback(answer)
}

/// A request to the site: of a client, or of this server, which may need what the app serves there.
pub(crate) async fn answer(_: Request) -> Response {
    let sentence = "This is the address of a Tidemark deployment's HTTP actions, which this version does not serve yet.\n";
    (StatusCode::NOT_FOUND, sentence).into_response()
}
