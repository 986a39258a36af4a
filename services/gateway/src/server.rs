//! The service: how it starts, listens and stops.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use crate::limits::GatewayLimits;
use axum::{
    http::{HeaderValue, Request, StatusCode, header},
    response::Response,
};
use contract::Door;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::http1,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use mtls::{EdgeProtocol, EdgeTls};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::{
    Layer as _,
    util::{MapRequestLayer, MapResponseLayer},
};

use crate::{
    addressing, connections,
    edge::{Dependencies, Edge, Options, SharedEdge},
    grpc,
    metrics::MetricsSnapshot,
    router,
    sendfile::{self, WaitingParts},
    site,
};

/// The edge of the deployments that a process serves.
pub struct Service {
    serving: JoinHandle<()>,
    handle: Handle,
}

/// What others in the process may ask of a gateway. Cheap to clone.
#[derive(Clone)]
pub struct Handle(SharedEdge);

impl Handle {
    /// The counters by now.
    pub fn metrics(&self) -> MetricsSnapshot {
        let (sockets, _) = self.0.sockets.load();
        let (connections, _) = self.0.connections.places().load();
        self.0.metrics.snapshot(sockets, connections)
    }

    /// How much of its limits is used.
    pub fn limits_used(&self) -> Vec<limits::Use> {
        self.0.limits_used()
    }
}

/// Where a gateway listens.
pub struct Listeners {
    /// For the API.
    pub api: TcpListener,
    /// For HTTP actions.
    pub site: TcpListener,
    /// For gRPC; `None`: it is not served.
    pub grpc: Option<TcpListener>,
    /// `None`: all are served in plain text.
    pub tls: Option<EdgeTls>,
}

impl Service {
    /// Serves on the current runtime until `shutdown`. Then it closes the sessions (code 1013) and lets open requests end.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let Dependencies { services, http, is_ready, listeners } = dependencies;
        let edge = Arc::new(Edge::new(options, services, http, is_ready, shutdown));
        Service { handle: Handle(edge.clone()), serving: tokio::spawn(serve(edge, listeners)) }
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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
    let leading = edge.clone();
    let lead = move |request: Request<Incoming>| addressing::lead(&leading, Door::Api, request);
    let api_service = MapRequestLayer::new(lead).layer(router::router(edge.clone()));
    let leading = edge.clone();
    let lead = move |request: Request<Incoming>| addressing::lead(&leading, Door::Site, request);
    let site_service = MapRequestLayer::new(lead).layer(site::router(edge.clone()));
    let Listeners { api, site, grpc, tls } = listeners;
    let acceptor = |protocol| tls.as_ref().map(|tls| tls.acceptor(protocol));
    let api = accept(&edge, api, |stream, accepted| {
        let tls = acceptor(EdgeProtocol::Http1);
        serve_http(edge.clone(), stream, tls, accepted, api_service.clone())
    });
    let site = accept(&edge, site, |stream, accepted| {
        let tls = acceptor(EdgeProtocol::Http1);
        serve_http(edge.clone(), stream, tls, accepted, site_service.clone())
    });
    let grpc = async {
        let Some(listener) = grpc else { return };
        let router = grpc::router(edge.clone());
        accept(&edge, listener, |stream, accepted| {
            let tls = acceptor(EdgeProtocol::Grpc);
            serve_grpc(edge.clone(), stream, tls, accepted, router.clone())
        })
        .await
    };
    let following = edge.clone();
    edge.tasks.spawn(async move {
        following.served.follow(|deployment| following.tokens.forget(deployment)).await;
    });
    let serving = async {
        tokio::join!(api, site, grpc);
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
async fn accept<F>(
    edge: &SharedEdge,
    listener: TcpListener,
    serve: impl Fn(TcpStream, connections::Connection) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let limits = &edge.limits.gateway;
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
        let connection = serve(stream, edge.connections.accepted(peer.ip()));
        edge.tasks.spawn(async move {
            let _place = place;
            connection.await;
        });
    }
}

/// Serves one connection that speaks HTTP/1.1, until it ends or the server does.
async fn serve_http<S>(
    edge: SharedEdge,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    accepted: connections::Connection,
    service: S,
) where
    S: tower::Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    match tls {
        None => {
            let waiting_parts = WaitingParts::default();
            let stream = sendfile::Connection::new(stream, waiting_parts.clone());
            speak_http(edge, stream, Some(waiting_parts), accepted, service).await;
        }
        Some(tls) => {
            if let Some(stream) = shake_hands(&edge, stream, tls).await {
                speak_http(edge, TokioIo::new(stream), None, accepted, service).await;
            }
        }
    }
}

/// Parts of files wait at a connection only where it sends them in place.
async fn speak_http<I, S>(
    edge: SharedEdge,
    stream: I,
    waiting_parts: Option<WaitingParts>,
    accepted: connections::Connection,
    service: S,
) where
    I: Read + Write + Send + Unpin + 'static,
    S: tower::Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let limits = &edge.limits.gateway;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.head_ms_max))
        .max_buf_size(limits.head_bytes_max);
    let service = MapRequestLayer::new(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(accepted.clone());
        if let Some(waiting_parts) = &waiting_parts {
            request.extensions_mut().insert(waiting_parts.clone());
        }
        request
    })
    .layer(service);
    let shutdown = edge.shutdown.clone();
    let service = MapResponseLayer::new(move |mut response: Response| {
        if shutdown.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    })
    .layer(service);
    let connection = http.serve_connection(stream, TowerToHyperService::new(service)).with_upgrades();
    let mut connection = pin!(connection);
    // How a connection ends is its client's affair.
    let _ = tokio::select! {
        ended = connection.as_mut() => ended,
        () = last_requests_over(&edge) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

async fn last_requests_over(edge: &Edge) {
    edge.shutdown.cancelled().await;
    tokio::time::sleep(Duration::from_millis(edge.limits.gateway.last_request_ms)).await;
}

/// Serves one connection that speaks gRPC, until it ends or the server does.
async fn serve_grpc(
    edge: SharedEdge,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    accepted: connections::Connection,
    router: axum::Router,
) {
    match tls {
        None => grpc::serve(edge, TokioIo::new(stream), accepted, router).await,
        Some(tls) => {
            if let Some(stream) = shake_hands(&edge, stream, tls).await {
                grpc::serve(edge, TokioIo::new(stream), accepted, router).await;
            }
        }
    }
}

/// `None` if the client did not come to an agreement in time: one that knows no TLS, or not the certificate, sees why.
async fn shake_hands(edge: &Edge, stream: TcpStream, tls: TlsAcceptor) -> Option<TlsStream<TcpStream>> {
    let handshake_max = Duration::from_millis(edge.limits.gateway.handshake_ms_max);
    let handshake = tokio::time::timeout(handshake_max, tls.accept(stream));
    edge.shutdown.run_until_cancelled(handshake).await?.ok()?.ok()
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
