//! What operators and orchestrators ask of the process: `/metrics`, `/livez` and `/readyz`, on a port of its own that nobody
//! but them needs to reach.
//!
//! It has a thread and a runtime of its own: it answers however busy the process is, and can tell when that runs nothing
//! any more. It is started before every service and stopped after all of them.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    health::Health,
    limits::MonitoringLimits,
    metrics::{self, Metrics},
};

/// What is served, and filled by what is started. Cheap to clone.
#[derive(Clone)]
pub struct Monitored {
    pub metrics: Metrics,
    pub health: Health,
}

/// Serves until it is told to stop.
pub struct Service {
    serving: thread::JoinHandle<()>,
    beating: JoinHandle<()>,
}

impl Service {
    /// Serves on a thread of its own until `shutdown`, and watches the current runtime.
    pub fn start(
        listener: TcpListener,
        monitored: Monitored,
        limits: MonitoringLimits,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Service> {
        let listener = listener.into_std().context("take the port for monitoring")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let beating = tokio::spawn(monitored.health.clone().beat(shutdown.clone()));
        let serve = async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!("the port for monitoring can't be served: {error}"),
            };
            let router = Router::new()
                .route("/metrics", get(metrics))
                .route("/livez", get(live))
                .route("/readyz", get(ready))
                .with_state(monitored);
            tokio::select! {
                () = accept(listener, router, limits) => {}
                // A scrape that is not answered yet holds nobody up.
                () = shutdown.cancelled() => {}
            }
        };
        let serving =
            thread::Builder::new().name("monitoring".to_owned()).spawn(move || runtime.block_on(serve))?;
        Ok(Service { serving, beating })
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        self.beating.await.expect("a panic ends the process");
        let joined = tokio::task::spawn_blocking(move || self.serving.join()).await;
        joined.expect("a panic ends the process").expect("a panic ends the process");
    }
}

/// Serves connections, without an end.
async fn accept(listener: TcpListener, router: Router, limits: MonitoringLimits) {
    const RETRY: Duration = Duration::from_secs(1);
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = serve(stream, router.clone(), limits);
                tokio::spawn(async move {
                    let _place = place;
                    serving.await;
                });
            }
            Err(error) => {
                tracing::info!("no connection for monitoring can be accepted for now: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, limits: MonitoringLimits) {
    let stall_ms = u32::try_from(limits.write_stall_ms_max).unwrap_or(u32::MAX);
    if let Err(error) = set_tcp_user_timeout(&stream, stall_ms) {
        tracing::debug!("setting TCP_USER_TIMEOUT: {error}");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(limits.head_ms_max));
    // How a connection ends is its client's affair.
    let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}

async fn metrics(State(Monitored { metrics, .. }): State<Monitored>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text())
}

async fn live(State(Monitored { health, .. }): State<Monitored>) -> impl IntoResponse {
    said(health.live())
}

async fn ready(State(Monitored { health, .. }): State<Monitored>) -> impl IntoResponse {
    said(health.ready())
}

fn said((yes, text): (bool, String)) -> (StatusCode, String) {
    (if yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}
