//! The service: how it starts, listens and stops.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use crate::limits::GatewayLimits;
use axum::{http::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioTimer, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, util::MapRequestLayer};

use crate::{
    edge::{Dependencies, Edge, Options, SharedEdge},
    router,
    sendfile::{self, WaitingParts},
    site,
};

/// The edge of the deployments that a process serves.
pub struct Service {
    serving: JoinHandle<()>,
}

/// Where a gateway listens.
pub struct Listeners {
    /// For the API.
    pub api: TcpListener,
    /// For HTTP actions.
    pub site: TcpListener,
}

impl Service {
    /// Serves on the current runtime until `shutdown`. Then it closes the sessions (code 1001) and lets open requests end.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let Dependencies { services, http, listeners } = dependencies;
        let edge = Arc::new(Edge::new(options, services, http, shutdown));
        Service { serving: tokio::spawn(serve(edge, listeners)) }
    }

    /// Waits for the end that cancelling the token brings about: until nothing that was started runs any more, or for the
    /// limit's time.
    pub async fn stopped(self) {
        if let Err(panic) = self.serving.await {
            std::panic::resume_unwind(panic.into_panic());
        }
    }
}

async fn serve(edge: SharedEdge, listeners: Listeners) {
    let by_host = edge.clone();
    let lead = move |request: Request<Incoming>| router::lead(&by_host, request);
    let api_service = MapRequestLayer::new(lead).layer(router::router(edge.clone()));
    let api = accept(&edge, listeners.api, api_service);
    let site = accept(&edge, listeners.site, site::router(edge.clone()));
    let serving = async {
        tokio::join!(api, site);
        edge.tasks.close();
        edge.tasks.wait().await;
    };
    let overdue = async {
        edge.shutdown.cancelled().await;
        tokio::time::sleep(Duration::from_millis(edge.limits.gateway.shutdown_ms_max)).await;
    };
    tokio::select! {
        () = serving => {}
        () = overdue => {
            tracing::warn!("some requests had not ended when the time for stopping was over");
        }
    }
}

/// Accepts connections until shutdown; each is served by a task of its own.
async fn accept<S>(edge: &SharedEdge, listener: TcpListener, service: S)
where
    S: tower::Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let limits = &edge.limits.gateway;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.head_ms_max))
        .max_buf_size(limits.head_bytes_max);
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place.expect("the semaphore is never closed"), listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = edge.shutdown.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!("no connection can be accepted for now: {error}");
                let pause = tokio::time::sleep(Duration::from_millis(limits.accept_retry_ms));
                edge.shutdown.run_until_cancelled(pause).await;
                continue;
            }
        };
        set_up(&stream, limits);
        let (accepted, waiting_parts) = (edge.connections.accepted(peer.ip()), WaitingParts::default());
        let stream = sendfile::Connection::new(stream, waiting_parts.clone());
        let service = MapRequestLayer::new(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(accepted.clone());
            request.extensions_mut().insert(waiting_parts.clone());
            request
        })
        .layer(service.clone());
        let connection = http.serve_connection(stream, TowerToHyperService::new(service)).with_upgrades();
        let shutdown = edge.shutdown.clone();
        edge.tasks.spawn(async move {
            let _place = place;
            let mut connection = pin!(connection);
            // How a connection ends is its client's affair.
            let _ = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
        });
    }
}

/// Whether the client went away before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused)
}

/// Answers are small and awaited: they don't wait for more bytes to send along. Who takes none of them is not waited for.
fn set_up(stream: &TcpStream, limits: &GatewayLimits) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("setting TCP_NODELAY: {error}");
    }
    let stall_ms = u32::try_from(limits.write_stall_ms_max).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, stall_ms) {
        tracing::debug!("setting TCP_USER_TIMEOUT: {error}");
    }
}
