//! The public API for app servers, over gRPC and gRPC-Web, on a port of its own.
//!
//! A call passes through [`calls`], which finds out whom it is for, keeps its deadline and makes room for its message; [`service`] has it
//! run, as the HTTP API does, and says what came of it; an answer that takes long to be taken goes by [`handover`]. Values are read and
//! written by [`values`], failures have the form that [`failure`] gives them. A live query is a [`subscription`]. Whoever asks how the server
//! does is answered by [`health`].

mod calls;
mod deadline;
mod failure;
mod handover;
mod health;
mod service;
mod subscription;
mod values;

use std::{sync::Arc, time::Duration};

use axum::{Router, http::Method, middleware};
use hyper::rt::{Read, Write};
use hyper_util::{rt::TokioTimer, server::conn::auto, service::TowerToHyperService};
use proto::deployment::v1::{FILE_DESCRIPTOR_SET, deployment_server::DeploymentServer};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, server::NamedService};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, util::MapRequestLayer};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

pub use health::IsReady;

use crate::{addressing, bodies::PIECE_BYTES, connections::Connection, edge::SharedEdge};

/// What is served on the port.
pub(crate) fn router(edge: SharedEdge) -> Router {
    let deployment = DeploymentServer::new(service::Service::new(edge.clone()))
        .max_decoding_message_size(edge.limits.gateway.api_body_bytes_max);
    let calls = Router::new()
        .route_service(&paths_of(&deployment), deployment)
        .layer(middleware::from_fn_with_state(edge.clone(), calls::call));
    let places = Arc::new(Semaphore::new(edge.limits.grpc.probes_in_flight_max));
    let health = health::Health::new(
        edge.is_ready.clone(),
        DeploymentServer::<service::Service>::NAME,
        Duration::from_millis(edge.limits.grpc.health_watch_ms),
    );
    let health = health.into_server(edge.limits.gateway.small_body_bytes_max);
    let questions = Router::new()
        .route_service("/grpc.health.v1.Health/Check", health.clone())
        .layer(middleware::from_fn_with_state(edge.clone(), calls::question));
    let describing = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    const OWN: &str = "our own descriptions can be read";
    let description = describing().build_v1().expect(OWN);
    // Older clients know nothing else.
    let older_description = describing().build_v1alpha().expect(OWN);
    let probes = Router::new()
        .route_service(&paths_of(&health), health)
        .route_service(&paths_of(&description), description)
        .route_service(&paths_of(&older_description), older_description)
        .layer(middleware::from_fn_with_state((edge, places), calls::probe));
    calls.merge(questions).merge(probes).fallback(calls::not_served).layer(GrpcWebLayer::new()).layer(cors())
}

/// The paths of a service's methods.
fn paths_of<S: NamedService>(_: &S) -> String {
    format!("/{}/{{*method}}", S::NAME)
}

/// Pages of any origin may call, as with the HTTP API.
fn cors() -> CorsLayer {
    const MAX_AGE: Duration = Duration::from_secs(86_400);
    let exposed = [Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS];
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .allow_methods([Method::POST])
        .allow_credentials(true)
        .expose_headers(ExposeHeaders::list(exposed))
        .max_age(MAX_AGE)
}

/// Serves one connection, HTTP/2 or, for gRPC-Web, HTTP/1.1, until it ends or the server does.
pub(crate) async fn serve<I>(edge: SharedEdge, stream: I, accepted: Connection, router: Router)
where
    I: Read + Write + Send + Unpin + 'static,
{
    let (gateway, grpc) = (&edge.limits.gateway, &edge.limits.grpc);
    let milliseconds = Duration::from_millis;
    let mut http = auto::Builder::new(Tasks(edge.tasks.clone()));
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(milliseconds(gateway.head_ms_max))
        .max_buf_size(gateway.head_bytes_max);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(at_most(gateway.head_bytes_max))
        .max_concurrent_streams(at_most(grpc.streams_per_connection_max))
        .max_send_buf_size(PIECE_BYTES)
        .keep_alive_interval(milliseconds(grpc.ping_interval_ms))
        .keep_alive_timeout(milliseconds(grpc.ping_answer_ms_max));
    let begun = CancellationToken::new();
    let service = {
        let (begun, leading) = (begun.clone(), edge.clone());
        let mark = move |mut request: hyper::Request<hyper::body::Incoming>| {
            begun.cancel();
            request.extensions_mut().insert(accepted.clone());
            addressing::lead_call(&leading, request)
        };
        TowerToHyperService::new(MapRequestLayer::new(mark).layer(router))
    };
    let connection = http.serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    // Before the first request nothing else would notice that none comes.
    let silent = async {
        if timeout(milliseconds(gateway.head_ms_max), begun.cancelled()).await.is_ok() {
            std::future::pending().await
        }
    };
    // How a connection ends is its client's affair.
    let _ = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => return,
        () = edge.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

fn at_most(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// Where the calls of a connection run: the server waits for them.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, call: F) {
        self.0.spawn(call);
    }
}
