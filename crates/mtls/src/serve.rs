//! Serving other processes.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

use crate::{
    connection::Connection,
    credentials::{Credentials, Security},
    error::Error,
    identity::{Identity, InvalidIdentity},
    limits::TlsLimits,
};

/// The pause after the system could give no connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves what is behind `routes` until `shutdown`, and lets calls that go on end then, for the limit's time. A service that not
/// everybody may call stands behind [`crate::AllowRoles`].
///
/// # Errors
/// The library gave up.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    routes: Routes,
    security: Security,
    limits: TlsLimits,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (connections, accepted) = mpsc::channel(1);
    let served = server
        // Then the other side is told to take another one for what it begins. With a grace of the library's it would not be told, and
        // all would be cut at once after it.
        .max_connection_age(Duration::from_millis(limits.connection_age_ms_max))
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(accepted), shutdown.clone().cancelled_owned());
    let accepting = accept(listener, security, limits, connections, shutdown.clone());
    let both = async { tokio::join!(served, accepting).0 };
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(Duration::from_millis(limits.shutdown_ms_max)).await;
    };
    tokio::select! {
        served = both => served,
        () = overdue => {
            tracing::debug!("calls of other nodes were still under way when the time for stopping was over");
            Ok(())
        }
    }
}

/// Accepts connections until shutdown. Handshakes go on beside each other, so that a slow one holds up nobody.
async fn accept(
    listener: TcpListener,
    security: Security,
    limits: TlsLimits,
    connections: mpsc::Sender<io::Result<Connection>>,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.handshakes_max));
    let handshake_max = Duration::from_millis(limits.handshake_ms_max);
    let life =
        Duration::from_millis(limits.connection_age_ms_max.saturating_add(limits.connection_grace_ms_max));
    // Dropped, they end.
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place.expect("the semaphore is never closed"), listener.accept().await)
        };
        let Some((place, accepted)) = shutdown.run_until_cancelled(next).await else { return };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no connection of another node can be accepted for now");
                shutdown.run_until_cancelled(tokio::time::sleep(ACCEPT_RETRY)).await;
                continue;
            }
        };
        let (security, connections) = (security.clone(), connections.clone());
        handshakes.spawn(async move {
            let _place = place;
            let known = match timeout(handshake_max, known(stream, address, &security, life)).await {
                Ok(known) => known,
                Err(_) => Err(Refused::Slow),
            };
            match known {
                Ok(connection) => {
                    // Nobody takes it when the server has ended.
                    let _ = connections.send(Ok(connection)).await;
                }
                Err(refused) => tracing::info!(%address, %refused, "a connection of another node is refused"),
            }
        });
    }
}

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the handshake took too long")]
    Slow,
    #[error("{0}")]
    Handshake(#[from] io::Error),
    #[error("its certificate is not of a process: {0}")]
    Identity(#[from] InvalidIdentity),
    #[error("it is of the cluster {0}")]
    OtherCluster(String),
    #[error(transparent)]
    Security(#[from] Error),
}

async fn known(
    stream: TcpStream,
    address: SocketAddr,
    security: &Security,
    life: Duration,
) -> Result<Connection, Refused> {
    stream.set_nodelay(true)?;
    match security {
        Security::Loopback => {
            security.check_called(&address.ip().to_string(), address.port())?;
            Ok(Connection::plain(stream, address, life))
        }
        Security::Mutual(credentials) => {
            let stream = TlsAcceptor::from(credentials.server()).accept(stream).await?;
            let identity = identity_of(stream.get_ref().1.peer_certificates(), credentials)?;
            Ok(Connection::tls(stream, address, identity, life))
        }
    }
}

fn identity_of(
    certificates: Option<&[rustls::pki_types::CertificateDer<'_>]>,
    own: &Credentials,
) -> Result<Identity, Refused> {
    let certificate = certificates.and_then(|chain| chain.first()).ok_or(InvalidIdentity::Missing)?;
    let identity = Identity::of_certificate(certificate)?;
    if identity.cluster != own.identity().cluster {
        return Err(Refused::OtherCluster(identity.cluster));
    }
    Ok(identity)
}
