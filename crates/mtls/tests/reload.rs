//! Certificates change while connections are open.

mod support;

use std::{sync::Arc, time::Duration};

use contract::{GroupId, Sequencer as _};
use futures::StreamExt as _;
use mtls::{EdgeFiles, EdgeProtocol, EdgeTls, Security, TlsLimits};
use prost::Message as _;
use proto::{
    common::v1::Piece,
    sequencer::v1::{LatestRequest, sequencer_client::SequencerClient},
};
use rpc::{GrpcSequencer, RpcLimits};
use support::*;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, transport::Channel};

const PATIENCE: Duration = Duration::from_secs(20);

/// A stream that stays open.
struct Open {
    questions: mpsc::Sender<Piece>,
    answers: Streaming<Piece>,
    asked: u64,
}

impl Open {
    async fn new(channel: Channel) -> Open {
        let (questions, receiver) = mpsc::channel(4);
        let mut client = SequencerClient::new(channel);
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert("tidemark-versions", "1-1".parse().expect("ASCII"));
        let answers = client.latest(request).await.expect("it opens").into_inner();
        Open { questions, answers, asked: 0 }
    }

    /// Whether it still answers.
    async fn goes_on(&mut self) -> bool {
        self.asked += 1;
        let content = LatestRequest { group: 1 }.encode_to_vec().into();
        let question = Piece { call: self.asked, content, last: true, ..Piece::default() };
        let asked = async {
            self.questions.send(question).await.ok()?;
            self.answers.next().await?.ok()
        };
        timeout(PATIENCE, asked)
            .await
            .expect("it answers or ends")
            .is_some_and(|piece| piece.call == self.asked)
    }
}

#[tokio::test]
async fn an_authority_is_replaced_in_three_steps_and_no_stream_notices() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (of_server, of_client) = (name("all", 1), name("txlog", 2));
    let server = Files::new(&[&old], &old.issue(&of_server, 30));
    let client = Files::new(&[&old], &old.issue(&of_client, 30));
    let (served, called) = (server.load(), client.load());
    let node = Node::start(Security::Mutual(served.clone()), TlsLimits::DEFAULT).await;
    let caller = Security::Mutual(called.clone());
    let mut open = Open::new(channel(&node, &caller, ANY_TXLOG)).await;
    assert!(open.goes_on().await);

    // 1. Everybody believes both.
    server.write(&[&old, &new], &old.issue(&of_server, 30));
    served.look();
    call(&node, &caller, ANY_TXLOG).await.expect("one believes both, the other the old one");
    client.write(&[&old, &new], &old.issue(&of_client, 30));
    called.look();
    // 2. New certificates, one after the other.
    server.write(&[&old, &new], &new.issue(&of_server, 40));
    served.look();
    call(&node, &caller, ANY_TXLOG).await.expect("one new certificate, one old one");
    client.write(&[&old, &new], &new.issue(&of_client, 40));
    called.look();
    call(&node, &caller, ANY_TXLOG).await.expect("two new certificates");
    // 3. The old one is believed no more.
    for (files, credentials, name) in [(&server, &served, &of_server), (&client, &called, &of_client)] {
        files.write(&[&new], &new.issue(name, 40));
        credentials.look();
    }
    call(&node, &caller, ANY_TXLOG).await.expect("the new authority alone");
    assert!(open.goes_on().await, "what was open goes on");
    assert!(days_from_now(served.expires_at()) > 39.0);

    let late = Security::Mutual(Files::new(&[&old, &new], &old.issue(&of_client, 30)).load());
    let error = call(&node, &late, ANY_TXLOG).await.expect_err("of the old authority");
    assert!(was_cut_off(&error), "{error}");
    drop(open);
    node.stop().await;
}

#[tokio::test]
async fn files_that_can_not_be_used_leave_what_was_there() {
    let authority = Authority::new("one");
    let own = name("all", 1);
    let files = Files::new(&[&authority], &authority.issue(&own, 30));
    let credentials = files.load();
    let node = Node::start(Security::Mutual(credentials.clone()), TlsLimits::DEFAULT).await;
    let caller = Security::Mutual(support::credentials(&authority, "txlog", 2));
    let other = authority.issue(&own, 10);
    for (what, pair) in [
        (
            "a key of another certificate",
            Pair { certificate: other.certificate, key: authority.issue(&own, 10).key },
        ),
        ("another node", authority.issue(&name("all", 2), 10)),
        ("other roles", authority.issue(&name("gateway", 1), 10)),
        ("no PEM", Pair { certificate: "-----BEGIN".into(), key: String::new() }),
    ] {
        files.write(&[&authority], &pair);
        credentials.look();
        assert!(days_from_now(credentials.expires_at()) > 29.0, "{what} was taken");
        call(&node, &caller, ANY_TXLOG).await.expect(what);
    }
    node.stop().await;
}

#[tokio::test]
async fn files_are_looked_at_in_time() {
    let authority = Authority::new("one");
    let files = Files::new(&[&authority], &authority.issue(&name("all", 1), 30));
    let credentials = files.load();
    let limits = TlsLimits { reload_ms: 20, ..TlsLimits::DEFAULT };
    let token = tokio_util::sync::CancellationToken::new();
    let following = credentials.follow(&limits, token.clone());
    let changing = async {
        files.write(&[&authority], &authority.issue(&name("all", 1), 60));
        while days_from_now(credentials.expires_at()) < 59.0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        token.cancel();
    };
    timeout(PATIENCE, async { tokio::join!(following, changing) }).await.expect("it is seen");
}

#[tokio::test]
async fn a_connection_that_is_old_is_replaced() {
    let authority = Authority::new("one");
    let limits = TlsLimits { connection_age_ms_max: 300, connection_grace_ms_max: 300, ..TlsLimits::DEFAULT };
    let node = Node::start(Security::Mutual(credentials(&authority, "all", 1)), limits).await;
    let caller = Security::Mutual(credentials(&authority, "txlog", 2));
    let channel = channel(&node, &caller, ANY_TXLOG);
    let mut open = Open::new(channel.clone()).await;
    let ended = async {
        while open.goes_on().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("it is cut");
    assert!(Open::new(channel).await.goes_on().await, "the same channel has another connection");
    node.stop().await;
}

/// Connections grow old soon, and nothing on them is cut.
const OLD_SOON: TlsLimits = TlsLimits { connection_age_ms_max: 300, ..TlsLimits::DEFAULT };

#[tokio::test]
async fn what_begins_after_the_age_of_a_connection_comes_by_another_and_its_streams_go_on() {
    let authority = Authority::new("one");
    let node = Node::start(Security::Mutual(credentials(&authority, "all", 1)), OLD_SOON).await;
    let caller = Security::Mutual(credentials(&authority, "txlog", 2));
    let channel = channel(&node, &caller, ANY_TXLOG);
    let mut open = Open::new(channel.clone()).await;
    assert!(open.goes_on().await);
    let first = node.streams()[0];
    let moved = async {
        while node.streams().iter().all(|from| *from == first) {
            // Each has a stream of its own, over the channel that all share.
            let sequencer = GrpcSequencer::new(channel.clone(), PATIENT);
            sequencer.latest(GroupId(1)).await.expect("no call fails meanwhile");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, moved).await.expect("there is another connection");
    assert!(open.goes_on().await, "what was open goes on");
    drop(open);
    node.stop().await;
}

#[tokio::test]
async fn a_call_that_is_under_way_over_the_age_of_its_connection_is_answered() {
    let authority = Authority::new("one");
    let node = Node::start(Security::Mutual(credentials(&authority, "all", 1)), OLD_SOON).await;
    let caller = Security::Mutual(credentials(&authority, "txlog", 2));
    let limits = RpcLimits { line_ms_max: 50, ..PATIENT };
    let sequencer = Arc::new(GrpcSequencer::new(channel(&node, &caller, ANY_TXLOG), limits));
    let holding = sequencer.clone();
    let under_way = tokio::spawn(async move { holding.latest(HELD).await });
    let moved = async {
        while node.streams().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let first = node.streams()[0];
        while node.streams().iter().all(|from| *from == first) {
            sequencer.latest(GroupId(1)).await.expect("no call fails meanwhile");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, moved).await.expect("there is another connection");
    assert!(!under_way.is_finished());
    node.held.notify_one();
    let answer = timeout(PATIENCE, under_way).await.expect("it is answered").expect("no panic");
    answer.expect("by the connection on which it was asked");
    drop(sequencer);
    node.stop().await;
}

#[test]
fn the_edge_has_its_own_certificate() {
    let authority = Authority::new("one");
    let folder = tempfile::tempdir().expect("a folder");
    let files = EdgeFiles { certificate: folder.path().join("certificate"), key: folder.path().join("key") };
    let write = |pair: &Pair| {
        std::fs::write(&files.certificate, &pair.certificate).expect("written");
        std::fs::write(&files.key, &pair.key).expect("written");
    };
    assert!(EdgeTls::load(&files, &TlsLimits::DEFAULT).is_err(), "there is nothing");
    write(&authority.issue("", 30));
    let edge = EdgeTls::load(&files, &TlsLimits::DEFAULT).expect("it is one");
    let offered = |protocol| edge.acceptor(protocol).config().alpn_protocols.clone();
    assert_eq!(offered(EdgeProtocol::Http1), [b"http/1.1"]);
    assert_eq!(offered(EdgeProtocol::Grpc), [&b"h2"[..], b"http/1.1"]);
    write(&authority.issue("", 60));
    edge.look();
    assert!(days_from_now(edge.expires_at()) > 59.0);
}
