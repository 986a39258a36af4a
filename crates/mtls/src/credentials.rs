//! What a process shows to others, and whom it believes.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::{ParsedCertificate, WebPkiClientVerifier},
    version::TLS13,
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    identity::Identity,
    limits::TlsLimits,
    validity::expires_at,
    watched::{Contents, Watched},
};

/// The only protocol between processes.
const HTTP_2: &[u8] = b"h2";

/// Where the certificates of a process lie, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The authorities that are believed, one or several.
    pub authorities: PathBuf,
    /// The process's own certificate, and what leads from it to an authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A process's certificate and those whom it believes, as the files say it now.
pub struct Credentials {
    watched: Arc<Watched<Loaded>>,
}

struct Loaded {
    identity: Identity,
    expires: SystemTime,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Credentials {
    /// Reads the files. The certificate must name a process of this cluster.
    ///
    /// # Errors
    /// They can't be read, don't go together, or name something else.
    pub fn load(files: &CredentialFiles, cluster: &str, limits: &TlsLimits) -> Result<Credentials, Error> {
        let paths = vec![files.authorities.clone(), files.certificate.clone(), files.key.clone()];
        let cluster = cluster.to_owned();
        let make = move |contents: &Contents, before: Option<&Loaded>| {
            let loaded = loaded(contents)?;
            let (found, before) = (&loaded.identity, before.map(|before| &before.identity));
            let is_wanted = match before {
                Some(before) => before == found,
                None => found.cluster == cluster,
            };
            if !is_wanted {
                let wanted = before.map_or_else(|| format!("one of cluster {cluster}"), Identity::to_string);
                return Err(Error::WrongIdentity { found: found.to_string(), wanted });
            }
            Ok(loaded)
        };
        Ok(Credentials { watched: Arc::new(Watched::load(paths, limits.file_bytes_max, make)?) })
    }

    /// Who this process is.
    pub fn identity(&self) -> Identity {
        self.watched.current().identity.clone()
    }

    /// When its certificate expires.
    pub fn expires_at(&self) -> SystemTime {
        self.watched.current().expires
    }

    /// Takes changed files into use, until the token. A certificate of somebody else is not.
    pub async fn follow(&self, limits: &TlsLimits, shutdown: CancellationToken) {
        self.watched.clone().follow(Duration::from_millis(limits.reload_ms), shutdown).await;
    }

    /// Looks at the files now.
    pub fn look(&self) {
        self.watched.look();
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.watched.current().server.clone()
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.watched.current().client.clone()
    }
}

/// Keys stay out of logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credentials({})", self.identity())
    }
}

fn loaded(contents: &Contents) -> Result<Loaded, Error> {
    let provider = Arc::new(ring::default_provider());
    let (path, pem) = contents.file(0);
    let mut roots = RootCertStore::empty();
    for authority in certificates(path, pem)? {
        roots.add(authority).map_err(|error| unusable(path, error))?;
    }
    let roots = Arc::new(roots);
    let (path, pem) = contents.file(1);
    let chain = certificates(path, pem)?;
    let identity = Identity::of_certificate(&chain[0])?;
    let expires =
        expires_at(&chain[0]).ok_or_else(|| unusable(path, "its time of validity can't be read"))?;
    let (path, pem) = contents.file(2);
    let key = key(path, pem)?;

    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
    let verifier = verifier.build().map_err(|error| unusable(contents.file(0).0, error))?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())?;
    server.alpn_protocols = vec![HTTP_2.to_vec()];
    // Who resumes a session shows no certificate: all are looked at each time.
    server.send_tls13_tickets = 0;

    let verifier = NodeVerifier { roots, provider: provider.clone() };
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![HTTP_2.to_vec()];
    client.enable_sni = false;
    client.resumption = rustls::client::Resumption::disabled();
    Ok(Loaded { identity, expires, server: Arc::new(server), client: Arc::new(client) })
}

/// At least one.
pub(crate) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, format!("it is no PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(unusable(path, "it holds no certificate"));
    }
    Ok(certificates)
}

pub(crate) fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| unusable(path, format!("it holds no key: {error}")))
}

pub(crate) fn unusable(path: &Path, reason: impl fmt::Display) -> Error {
    Error::File { path: path.to_owned(), reason: reason.to_string() }
}

/// Believes a node by its authority. Its name is looked at when the handshake is over, and is not that of a host.
#[derive(Debug)]
struct NodeVerifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// How a process's connections to others are kept.
#[derive(Clone, Debug)]
pub enum Security {
    /// By certificates on both sides.
    Mutual(Arc<Credentials>),
    /// By nothing, and only within this machine, whose processes are believed.
    Loopback,
}

impl Security {
    /// Whether this may be listened on.
    ///
    /// # Errors
    /// [`Error::Required`]: others would reach it.
    pub fn check_listened(&self, address: SocketAddr) -> Result<(), Error> {
        self.check_ip(address.ip(), "the internal address", &address.to_string())
    }

    /// Whether this may be called.
    ///
    /// # Errors
    /// [`Error::Required`]: it is not of this machine. Names are looked at once they are resolved.
    pub fn check_called(&self, host: &str, port: u16) -> Result<(), Error> {
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => self.check_ip(ip, "the address of a peer", &format!("{host}:{port}")),
            Err(_) => Ok(()),
        }
    }

    fn check_ip(&self, ip: IpAddr, what: &'static str, address: &str) -> Result<(), Error> {
        match self {
            Security::Loopback if !ip.is_loopback() => {
                Err(Error::Required { what, address: address.to_owned() })
            }
            _ => Ok(()),
        }
    }
}
