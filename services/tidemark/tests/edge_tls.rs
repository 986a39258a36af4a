//! Clients are served by TLS, and a new certificate is used without a restart.

mod server;

use std::{fs, path::Path, sync::Arc, time::Duration};

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use server::{PATIENCE, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    connector: TlsConnector,
}

impl Authority {
    fn new() -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Authority { issuer: Issuer::new(parameters, key), connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Writes a certificate of `localhost` and its key.
    fn issue(&self, folder: &Path) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(folder.join("key.pem"), key.serialize_pem()).expect("writes");
        fs::write(folder.join("certificate.pem"), certificate.pem()).expect("writes");
    }

    async fn connect(&self, server: &Server) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(&server.address).await.expect("it is accepted");
        let localhost = ServerName::try_from("localhost").expect("a name");
        self.connector.connect(localhost, stream).await.expect("a handshake")
    }

    async fn shown(&self, server: &Server) -> CertificateDer<'static> {
        let stream = self.connect(server).await;
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone()
    }
}

async fn answer(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("it is taken");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // A WebSocket stays open: its head is enough.
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read(&mut buffer)).await.expect("it answers") {
            Ok(read) if read > 0 => answer.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

const VERSION: &str = "GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const UPGRADE: &str = "GET /api/1.28.0/sync HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn clients_speak_tls_and_a_new_certificate_needs_no_restart() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    authority.issue(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let configuration = format!(
        "[edge_tls]\ncertificate = \"{}\"\nkey = \"{}\"\n[limits.tls]\nreload_ms = 50\n",
        path("certificate.pem"),
        path("key.pem")
    );
    let server = Server::start(&configuration);
    let served = answer(authority.connect(&server).await, VERSION).await;
    assert!(served.starts_with("HTTP/1.1 200 "), "{served}");
    let upgraded = answer(authority.connect(&server).await, UPGRADE).await;
    assert!(upgraded.starts_with("HTTP/1.1 101 "), "{upgraded}");
    let plain = answer(TcpStream::connect(&server.address).await.expect("it is accepted"), VERSION).await;
    assert!(!plain.contains("HTTP/1.1"), "{plain}");

    let before = authority.shown(&server).await;
    authority.issue(folder.path());
    let changed = async {
        while authority.shown(&server).await == before {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, changed).await.expect("the new one is shown");
    let served = answer(authority.connect(&server).await, VERSION).await;
    assert!(served.starts_with("HTTP/1.1 200 "), "{served}");
}
