//! Calling other processes.

use std::{future::ready, io, net::SocketAddr, sync::Arc};

use contract::NodeId;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::{
    codegen::http::Uri,
    transport::{Channel, Endpoint},
};

use crate::{
    credentials::{Credentials, Security},
    error::Error,
    identity::{Identity, Roles},
};

/// Who must answer at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// One of these roles must be its.
    pub roles: Roles,
    /// It must be this node; `None` if any will do.
    pub node: Option<NodeId>,
}

/// A channel to a process of this cluster at `host:port`, which connects when it is first used, and again when the
/// connection has ended. `endpoint` says how long what may take.
///
/// # Errors
/// [`Error::Required`]: without certificates it would leave this machine.
pub fn connect(endpoint: Endpoint, expected: Expected, security: &Security) -> Result<Channel, Error> {
    let uri = endpoint.uri();
    let (host, port) = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or_default());
    security.check_called(&host, port)?;
    Ok(connect_to(endpoint, expected, security, move || ready(Some((host.clone(), port)))))
}

/// The same to whichever process `choose` names, as host and port, each time that it connects; `None` if there is none. It
/// may take a part of the time for the connection.
pub fn connect_to<F>(
    endpoint: Endpoint,
    expected: Expected,
    security: &Security,
    choose: impl Fn() -> F + Send + Sync + 'static,
) -> Channel
where
    F: Future<Output = Option<(String, u16)>> + Send + 'static,
{
    let security = security.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let (chosen, security) = (choose(), security.clone());
        async move {
            let nobody = || io::Error::new(io::ErrorKind::NotConnected, "no process is known that does this");
            let (host, port) = chosen.await.ok_or_else(nobody)?;
            let stream = opened(host.trim_matches(['[', ']']), port, &security).await?;
            let stream: Box<dyn Stream> = match &security {
                Security::Loopback => Box::new(stream),
                Security::Mutual(credentials) => Box::new(proven(stream, expected, credentials).await?),
            };
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    endpoint.connect_with_connector_lazy(connector)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn opened(host: &str, port: u16, security: &Security) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    for address in addresses {
        let opened = match security.check_called(&address.ip().to_string(), port) {
            Ok(()) => TcpStream::connect(address).await,
            Err(error) => Err(io::Error::new(io::ErrorKind::PermissionDenied, error)),
        };
        match opened {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Shakes hands, and looks who it is.
async fn proven(
    stream: TcpStream,
    expected: Expected,
    credentials: &Arc<Credentials>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let refused = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, why);
    // Names of hosts are neither sent nor looked at.
    let host = ServerName::from(stream.peer_addr()?.ip());
    let stream = TlsConnector::from(credentials.client()).connect(host, stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identity = match certificate.map(Identity::of_certificate) {
        Some(Ok(identity)) => identity,
        Some(Err(error)) => return Err(refused(error.to_string())),
        None => return Err(refused("it has shown no certificate".into())),
    };
    let own = credentials.identity();
    if identity.cluster != own.cluster {
        return Err(refused(format!("{identity} is of another cluster than {own}")));
    }
    if !identity.roles.meets(expected.roles) {
        return Err(refused(format!("{identity} is none of {}", expected.roles)));
    }
    if let Some(node) = expected.node.filter(|node| *node != identity.node) {
        return Err(refused(format!("{identity} is not node {node}")));
    }
    Ok(stream)
}
