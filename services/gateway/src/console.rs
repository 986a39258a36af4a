//! The web console's files. They are the same for everybody and hold no secret: whoever opens the page types the admin key there,
//! and the page sends it like every other client.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    extract::Path,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};

use crate::error::ApiError;

/// Scripts and styles are the program's own, and the page talks to the address that it came from alone. `blob:` is for pictures that
/// it shows of files. Nobody else's page may hold it in a frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What a browser knows the version of each file by.
static TAGS: LazyLock<HashMap<&str, HeaderValue>> = LazyLock::new(|| {
    let tag = |bytes: &[u8]| format!("\"{}\"", hex::encode(&Sha256::digest(bytes)[..16]));
    let tag = |bytes| HeaderValue::try_from(tag(bytes)).expect("quoted hexadecimal digits");
    console::ASSETS.iter().map(|asset| (asset.name, tag(asset.bytes))).collect()
});

/// The page names its files relative to a folder, whatever stands before that in the path.
pub(crate) async fn to_folder() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "console/")]).into_response()
}

pub(crate) async fn page(headers: HeaderMap) -> Result<Response, ApiError> {
    file(console::PAGE, &headers)
}

pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    file(&name, &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let not_found = || ApiError::new(StatusCode::NOT_FOUND, "NotFound", "The console has no such file.");
    let asset = console::asset(name).ok_or_else(not_found)?;
    let tag = TAGS[asset.name].clone();
    let is_known = headers.get(IF_NONE_MATCH) == Some(&tag);
    let told = [
        (ETAG, tag),
        // Asked for again each time, and sent only if it is another one: another program may serve by then.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (OPENER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, told).into_response());
    }
    let content_type = HeaderValue::from_static(asset.content_type);
    Ok((told, [(CONTENT_TYPE, content_type)], asset.bytes).into_response())
}
