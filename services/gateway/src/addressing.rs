//! Which deployment a request is for, and where its path leads without what has named it.

use std::sync::Arc;

use axum::http::{HeaderMap, Request, Uri, header::AUTHORIZATION};
use contract::Door;

use crate::{
    deployments::{Deployment, Naming},
    edge::Edge,
    router::without_double_slashes,
    site,
};

/// Whom a request is for, as its head says; `None` for nobody.
#[derive(Clone)]
pub(crate) struct Addressee(pub Option<Arc<Deployment>>);

/// A request whose origin, as browsers see it, is not the app's alone: others' pages are there, too, the console's among them.
#[derive(Clone, Copy)]
pub(crate) struct OnSharedOrigin;

/// What comes before everything else that looks at a request to one of the two ports for HTTP.
pub(crate) fn lead<B>(edge: &Edge, port: Door, request: Request<B>) -> Request<B> {
    let (mut request, door) = address(edge, port, request);
    match (port, door) {
        (Door::Site, _) => request,
        (Door::Api, Door::Site) => {
            site::below_prefix(&mut request);
            request
        }
        // What is the app's stays as it is.
        (Door::Api, Door::Api) if request.uri().path().starts_with("/http/") => request,
        (Door::Api, Door::Api) => without_double_slashes(request),
    }
}

/// The same of a call at the port for gRPC, which has the API alone.
pub(crate) fn lead_call<B>(edge: &Edge, request: Request<B>) -> Request<B> {
    address(edge, Door::Api, request).0
}

/// Finds out whom a request to one of the ports is for, and takes from its path what has named it. At which of the
/// deployment's addresses it has come is returned as well.
fn address<B>(edge: &Edge, port: Door, mut request: Request<B>) -> (Request<B>, Door) {
    let host = site::host_of(request.uri(), request.headers());
    let host = host.map(|authority| authority.host().to_ascii_lowercase());
    let naming = Naming { host: host.as_deref(), path: request.uri().path(), key: key_of(request.headers()) };
    let found = edge.served.find(port, &naming);
    let (mut door, mut prefix_bytes) = (port, 0);
    if let Some(found) = &found {
        door = found.door.unwrap_or(port);
        prefix_bytes = found.prefix_bytes;
    }
    if prefix_bytes > 0 || door == Door::Api {
        request.extensions_mut().insert(OnSharedOrigin);
    }
    request.extensions_mut().insert(Addressee(found.map(|found| found.deployment)));
    if prefix_bytes > 0 {
        strip(request.uri_mut(), prefix_bytes);
    }
    (request, door)
}

/// What stands behind `Convex` in the header by which administrators show who they are.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("convex").then(|| credentials.trim())
}

/// Takes so many bytes from the beginning of the path.
fn strip(uri: &mut Uri, bytes: usize) {
    let Some(whole) = uri.path_and_query() else { return };
    let rest = &whole.as_str()[bytes..];
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = rest.parse().ok();
    if let Ok(stripped) = Uri::from_parts(parts) {
        *uri = stripped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_named_the_deployment_is_taken_from_the_path() {
        for (uri, bytes, rest) in [
            ("/d/shop/api/query?a=b", 7, "/api/query?a=b"),
            ("/d/shop", 7, "/"),
            ("/d/shop?a=/d/shop", 7, "/?a=/d/shop"),
            ("/d/shop//api", 7, "//api"),
            ("http://x:1/d/shop/a", 7, "http://x:1/a"),
        ] {
            let mut stripped: Uri = uri.parse().expect("a URI");
            strip(&mut stripped, bytes);
            assert_eq!(stripped.to_string(), rest, "{uri}");
        }
    }
}
