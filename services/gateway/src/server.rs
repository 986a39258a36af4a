//! Listening and stopping.

use std::{io, sync::Arc, time::Duration};

use axum::{ServiceExt as _, serve::ListenerExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, util::MapRequestLayer};

use crate::{
    edge::{Edge, Options, Services, SharedEdge},
    router, site,
};

/// The edge of a deployment.
pub struct Gateway {
    edge: SharedEdge,
}

impl Gateway {
    /// It stops when `shutdown` is cancelled.
    pub fn new(options: Options, services: Services, shutdown: CancellationToken) -> Gateway {
        Gateway { edge: Arc::new(Edge::new(options, services, shutdown)) }
    }

    /// Serves the API and the site address until shutdown, then closes the sessions (code 1001), lets open requests end,
    /// and returns once nothing that it started runs any more, or after the limit's time.
    pub async fn serve(self, api: TcpListener, site: TcpListener) -> io::Result<()> {
        let shutdown = &self.edge.shutdown;
        let api_service =
            MapRequestLayer::new(router::without_double_slashes).layer(router::router(self.edge.clone()));
        let api = axum::serve(api.tap_io(send_at_once), api_service.into_make_service())
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let site = axum::serve(site.tap_io(send_at_once), site::router())
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let serving = async {
            tokio::try_join!(api, site)?;
            self.edge.tasks.close();
            self.edge.tasks.wait().await;
            io::Result::Ok(())
        };
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(Duration::from_millis(self.edge.options.limits.gateway.shutdown_ms_max)).await;
        };
        tokio::select! {
            result = serving => result,
            () = overdue => {
                tracing::warn!("some requests had not ended when the time for stopping was over");
                Ok(())
            }
        }
    }
}

/// Answers are small and awaited: they don't wait for more bytes to send along.
fn send_at_once(stream: &mut TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("setting TCP_NODELAY: {error}");
    }
}
