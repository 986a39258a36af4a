//! Who is let in, who is not, and how each is told.

mod support;

use std::{sync::Arc, time::Duration};

use mtls::{Credentials, Error, Expected, Security, TlsLimits};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(20);
/// What a client of HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn the_right_role_is_served_and_another_one_is_told_so() {
    let authority = Authority::new("one");
    let node = Node::start(Security::Mutual(credentials(&authority, "all", 1)), TlsLimits::DEFAULT).await;
    for roles in ["txlog", "gateway+txlog", "all"] {
        let caller = Security::Mutual(credentials(&authority, roles, 2));
        call(&node, &caller, ANY_TXLOG).await.expect(roles);
    }
    for roles in ["gateway", "runner+deploy", "operator"] {
        let caller = Security::Mutual(credentials(&authority, roles, 2));
        let error = call(&node, &caller, ANY_TXLOG).await.expect_err(roles);
        assert_eq!(error.code, "RoleForbidden", "{roles}: {error}");
        assert!(error.message.contains(roles), "{error}");
    }
    node.stop().await;
}

#[tokio::test]
async fn certificates_that_do_not_hold_are_refused_in_the_handshake() {
    let (authority, stranger) = (Authority::new("one"), Authority::new("stranger"));
    let node = Node::start(Security::Mutual(credentials(&authority, "all", 1)), TlsLimits::DEFAULT).await;
    let shown = |pair| Security::Mutual(Files::new(&[&authority], &pair).load());
    for (what, caller) in [
        ("a stranger's", shown(stranger.issue(&name("all", 2), 30))),
        ("an expired one", shown(authority.issue(&name("all", 2), -1))),
    ] {
        let error = call(&node, &caller, ANY_TXLOG).await.expect_err(what);
        assert!(was_cut_off(&error), "{what}: {error}");
    }
    let mine = Security::Mutual(credentials(&authority, "txlog", 2));
    call(&node, &mine, ANY_TXLOG).await.expect("all others go on");
    node.stop().await;
}

#[tokio::test]
async fn another_cluster_of_the_same_authority_is_refused_on_both_sides() {
    let authority = Authority::new("one");
    let other = |folder: Files| Credentials::load(&folder.paths(), "other", &TlsLimits::DEFAULT);
    let pair = authority.issue("tidemark://other/all/1", 30);
    let other = Arc::new(other(Files::new(&[&authority], &pair)).expect("it is one of that cluster"));
    let mine = credentials(&authority, "all", 1);
    for (serves, calls) in [(mine.clone(), other.clone()), (other, mine)] {
        let node = Node::start(Security::Mutual(serves), TlsLimits::DEFAULT).await;
        let error = call(&node, &Security::Mutual(calls), ANY_TXLOG).await.expect_err("refused");
        assert!(was_cut_off(&error), "{error}");
        node.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_is_not_the_one_that_was_asked_for_is_not_called() {
    let (authority, stranger) = (Authority::new("one"), Authority::new("stranger"));
    let caller = Security::Mutual(credentials(&authority, "txlog", 1));
    let served = async |credentials| Node::start(Security::Mutual(credentials), TlsLimits::DEFAULT).await;
    let runner = served(credentials(&authority, "runner", 2)).await;
    let second = served(credentials(&authority, "txlog", 2)).await;
    // It believes the caller, and shows what the caller does not believe.
    let foreign = Files::new(&[&authority], &stranger.issue(&name("txlog", 2), 30)).load();
    let foreign = served(foreign).await;
    let third = Expected { roles: TXLOG, node: node(3) };
    for (what, node, expected) in
        [("role", &runner, ANY_TXLOG), ("node", &second, third), ("authority", &foreign, ANY_TXLOG)]
    {
        let error = call(node, &caller, expected).await.expect_err(what);
        assert!(was_cut_off(&error), "{what}: {error}");
    }
    let expected = Expected { roles: TXLOG, node: node(2) };
    call(&second, &caller, expected).await.expect("it is the one");
    for node in [runner, second, foreign] {
        node.stop().await;
    }
}

/// What a connection without a certificate of its own is told.
async fn reads_nothing(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    let _ = stream.write_all(PREFACE).await;
    let mut answer = Vec::new();
    // An alert, or the end; never a frame of HTTP/2, whose first would be of settings.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    assert!(answer.get(3) != Some(&4), "it was served: {answer:?}");
}

#[tokio::test]
async fn nobody_is_served_without_a_certificate_or_in_plain_text() {
    let authority = Authority::new("one");
    let node = Node::start(Security::Mutual(credentials(&authority, "all", 1)), TlsLimits::DEFAULT).await;

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("PEM")).expect("an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(node.address).await.expect("it listens");
    let localhost = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(localhost, stream).await.expect("half way");
    reads_nothing(&mut stream).await;

    let mut stream = TcpStream::connect(node.address).await.expect("it listens");
    reads_nothing(&mut stream).await;
    let error = call(&node, &Security::Loopback, ANY_TXLOG).await.expect_err("plain text");
    assert!(was_cut_off(&error), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn without_certificates_there_is_this_machine_and_nothing_else() {
    let node = Node::start(Security::Loopback, TlsLimits::DEFAULT).await;
    call(&node, &Security::Loopback, ANY_TXLOG).await.expect("it is this machine");
    node.stop().await;
    let security = Security::Loopback;
    for address in ["0.0.0.0:3213", "10.0.0.1:3213", "[::]:3213"] {
        let error = security.check_listened(address.parse().expect(address)).expect_err(address);
        assert!(
            matches!(error, Error::Required { .. }) && error.to_string().starts_with("TlsRequired: "),
            "{error}"
        );
    }
    security.check_listened("[::1]:3213".parse().expect("an address")).expect("it is this machine");
    for host in ["192.0.2.1", "[2001:db8::1]"] {
        let endpoint =
            rpc::endpoint(format!("http://{host}:1").parse().expect(host), &rpc::RpcLimits::DEFAULT);
        let refused = mtls::connect(endpoint, ANY_TXLOG, &security).map(|_| ());
        assert!(matches!(refused, Err(Error::Required { .. })), "{host}: {refused:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_takes_its_time_holds_up_nobody_for_long() {
    let authority = Authority::new("one");
    let limits = TlsLimits { handshakes_max: 2, handshake_ms_max: 300, ..TlsLimits::DEFAULT };
    let node = Node::start(Security::Mutual(credentials(&authority, "all", 1)), limits).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(node.address).await.expect("it listens"));
    }
    let caller = Security::Mutual(credentials(&authority, "txlog", 2));
    // Its own time limit is longer than that of six handshakes, two at a time.
    call(&node, &caller, ANY_TXLOG).await.expect("it comes to its turn");
    for mut stream in silent {
        let read = timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it is closed");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    node.stop().await;
}

#[test]
fn what_can_not_be_used_is_refused_when_it_is_read() {
    let authority = Authority::new("one");
    let own = authority.issue(&name("all", 1), 30);
    let other = authority.issue(&name("all", 1), 30);
    let refused = |files: &Files, cluster: &str| {
        Credentials::load(&files.paths(), cluster, &TlsLimits::DEFAULT).expect_err("refused").to_string()
    };
    let mixed = Pair { certificate: own.certificate.clone(), key: other.key };
    assert!(refused(&Files::new(&[&authority], &mixed), CLUSTER).starts_with("TlsFileUnusable: "));
    assert!(refused(&Files::new(&[], &own), CLUSTER).contains("it holds no certificate"));
    assert!(refused(&Files::new(&[&authority], &own), "other").starts_with("TlsIdentityWrong: "));
    for (name, why) in
        [("", "has no name"), ("tidemark://test/al/1", "`al` is no role"), ("https://test", "has no name")]
    {
        let error = refused(&Files::new(&[&authority], &authority.issue(name, 30)), CLUSTER);
        assert!(error.starts_with("TlsIdentityInvalid: ") && error.contains(why), "{error}");
    }
    let swapped = Pair { certificate: own.key.clone(), key: own.certificate.clone() };
    assert!(refused(&Files::new(&[&authority], &swapped), CLUSTER).starts_with("TlsFileUnusable: "));
    let days = days_from_now(Files::new(&[&authority], &own).load().expires_at());
    assert!((29.9..=30.0).contains(&days), "{days}");
}
