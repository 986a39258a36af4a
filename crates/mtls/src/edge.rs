//! The certificate that clients see.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{ServerConfig, crypto::ring};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    credentials::{certificates, key, unusable},
    error::Error,
    limits::TlsLimits,
    validity::expires_at,
    watched::{Contents, Watched},
};

/// Where the certificate for clients lies, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeFiles {
    /// The certificate, and what leads from it to an authority that clients know.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeProtocol {
    /// HTTP/1.1, which becomes a WebSocket on request.
    Http1,
    /// HTTP/2, as gRPC has it, and HTTP/1.1 for what browsers make of it.
    Grpc,
}

/// TLS at the edge, by what the files say now. Cheap to clone.
#[derive(Clone)]
pub struct EdgeTls {
    watched: Arc<Watched<Loaded>>,
}

struct Loaded {
    expires: SystemTime,
    http1: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
}

impl EdgeTls {
    /// Reads the files.
    ///
    /// # Errors
    /// They can't be read, or don't go together.
    pub fn load(files: &EdgeFiles, limits: &TlsLimits) -> Result<EdgeTls, Error> {
        let paths = vec![files.certificate.clone(), files.key.clone()];
        let make = |contents: &Contents, _: Option<&Loaded>| loaded(contents);
        Ok(EdgeTls { watched: Arc::new(Watched::load(paths, limits.file_bytes_max, make)?) })
    }

    /// For the next connection.
    pub fn acceptor(&self, protocol: EdgeProtocol) -> TlsAcceptor {
        let loaded = self.watched.current();
        TlsAcceptor::from(match protocol {
            EdgeProtocol::Http1 => loaded.http1.clone(),
            EdgeProtocol::Grpc => loaded.grpc.clone(),
        })
    }

    /// When the certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.watched.current().expires
    }

    /// Takes changed files into use, until the token.
    pub async fn follow(&self, limits: &TlsLimits, shutdown: CancellationToken) {
        self.watched.clone().follow(Duration::from_millis(limits.reload_ms), shutdown).await;
    }

    /// Looks at the files now.
    pub fn look(&self) {
        self.watched.look();
    }
}

fn loaded(contents: &Contents) -> Result<Loaded, Error> {
    let (path, pem) = contents.file(0);
    let chain = certificates(path, pem)?;
    let expires =
        expires_at(&chain[0]).ok_or_else(|| unusable(path, "its time of validity can't be read"))?;
    let (path, pem) = contents.file(1);
    let key = key(path, pem)?;
    let mut http1 = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut grpc = http1.clone();
    grpc.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { expires, http1: Arc::new(http1), grpc: Arc::new(grpc) })
}
