//! What callers hear when the other side is silent, gone, or says what can't be right. Over loopback.

mod support;

use std::sync::{Arc, atomic::Ordering};

use contract::{
    CommitId, CommitOutcome, ErrorKind, IndexId, Read, ReadAt, ReadResult, Retry, Sequencer, StreamEvent,
    Timestamp, TransactionLog,
};
use futures::StreamExt;
use rpc::{GrpcSequencer, GrpcTransactionLog, RpcLimits};
use support::{DEV, PATIENCE, Scripted, Wire, commit, in_time, serve, wire};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::transport::Channel;

/// Whoever is silent is found out soon, and on a busy machine nobody else.
const LIMITS: RpcLimits =
    RpcLimits { keep_alive_ms: 20, keep_alive_answer_ms_max: 500, watch_retry_ms: 5, ..RpcLimits::DEFAULT };
/// Whoever answers does so sooner.
const IMPATIENT: RpcLimits = RpcLimits { call_ms_max: 500, ..RpcLimits::DEFAULT };

async fn channel(address: std::net::SocketAddr, limits: &RpcLimits) -> Channel {
    let node = format!("http://{address}").parse().expect("an address");
    rpc::endpoint(node, limits).connect().await.expect("the server is there")
}

async fn client(address: std::net::SocketAddr, limits: RpcLimits) -> GrpcTransactionLog {
    let channel = channel(address, &limits).await;
    in_time(GrpcTransactionLog::connect(channel, &[DEV.group], limits)).await.expect("it connects")
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_answers_holds_no_caller_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    let channel = channel(address, &IMPATIENT).await;
    let connected = in_time(GrpcTransactionLog::connect(channel.clone(), &[DEV.group], IMPATIENT)).await;
    let latest = in_time(GrpcSequencer::new(channel, IMPATIENT).latest(DEV.group)).await;
    for error in [connected.err(), latest.err()] {
        let error = error.expect("nobody answers");
        assert_eq!((error.kind, &*error.code), (ErrorKind::Overloaded, "CallTimedOut"));
    }
}

#[tokio::test]
async fn a_commit_that_is_not_answered_in_time_is_unknown_and_every_other_call_fails() {
    let mut tasks = JoinSet::new();
    // One of the two sides gives up first, each in its turn.
    for (of_server, of_client) in [(IMPATIENT, LIMITS), (LIMITS, IMPATIENT)] {
        let address = serve(Arc::new(Scripted::default()), of_server, &mut tasks).await;
        let log = client(address, of_client).await;
        assert_eq!(in_time(log.commit(commit())).await, Ok(CommitOutcome::Unknown));
        let errors = [
            in_time(log.lookup(DEV, CommitId([1; 16]))).await.err(),
            in_time(log.confirm_leadership(DEV.group)).await.err(),
        ];
        for error in errors {
            let error = error.expect("nobody answers");
            assert_eq!((&*error.code, error.retry), ("CallTimedOut", Retry::Later));
        }
    }
}

#[tokio::test]
async fn a_commit_whose_line_breaks_is_unknown_and_the_next_goes_over_another() {
    let mut tasks = JoinSet::new();
    let scripted = Arc::new(Scripted::default());
    let mut commits = scripted.commits.subscribe();
    let server = serve(scripted, LIMITS, &mut tasks).await;
    for cut in [Wire::Broken, Wire::Silent] {
        let (address, state) = wire(server, &mut tasks).await;
        let log = Arc::new(client(address, LIMITS).await);
        for _ in 0..2 {
            let seen = *commits.borrow_and_update();
            let log = log.clone();
            let committed = tokio::spawn(async move { log.commit(commit()).await });
            in_time(commits.wait_for(|commits| *commits > seen)).await.expect("it arrives");
            state.send_replace(cut);
            assert_eq!(in_time(committed).await.unwrap(), Ok(CommitOutcome::Unknown), "{cut:?}");
            state.send_replace(Wire::Passes);
        }
    }
}

#[tokio::test]
async fn a_silent_line_ends_streams_on_both_sides_and_the_position_comes_back() {
    let mut tasks = JoinSet::new();
    let scripted = Arc::new(Scripted::default());
    let server = serve(scripted.clone(), LIMITS, &mut tasks).await;
    let (address, state) = wire(server, &mut tasks).await;
    let log = client(address, LIMITS).await;
    let from = Timestamp::new(7).unwrap();
    let mut events = in_time(log.subscribe(DEV, from)).await.expect("it subscribes");
    let first = in_time(events.next()).await;
    assert!(matches!(first, Some(StreamEvent::Heartbeat { published, .. }) if published == from));
    let mut position = log.position(DEV.group).unwrap();
    assert!(position.borrow_and_update().ready);

    state.send_replace(Wire::Silent);
    // Nothing is missing up to here: whoever followed it resumes.
    assert!(in_time(events.next()).await.is_none());
    in_time(position.wait_for(|position| !position.ready)).await.unwrap();
    let server_lets_go = async {
        loop {
            let changed = scripted.streams_changed.notified();
            if scripted.streams.load(Ordering::SeqCst) == 0 {
                return;
            }
            changed.await;
        }
    };
    in_time(server_lets_go).await;

    let published = Timestamp::new(9).unwrap();
    scripted.position.send_modify(|position| position.published = published);
    state.send_replace(Wire::Passes);
    let back = position.wait_for(|position| position.ready && position.published == published);
    tokio::time::timeout(PATIENCE, back).await.expect("it is followed again").unwrap();
}

#[tokio::test]
async fn answers_that_do_not_fit_their_reads_are_not_understood() {
    let point = Read::Point { index: IndexId([1; 16]), key: bytes::Bytes::new() };
    let range = ReadResult::Range { rows: Vec::new(), more: false };
    for results in [vec![], vec![range], vec![ReadResult::Point(None), ReadResult::Point(None)]] {
        let mut tasks = JoinSet::new();
        let scripted = Scripted { results, ..Scripted::default() };
        let address = serve(Arc::new(scripted), LIMITS, &mut tasks).await;
        let log = client(address, LIMITS).await;
        let at = ReadAt::published(Timestamp::ZERO);
        let error = in_time(log.read(DEV, at, std::slice::from_ref(&point))).await.unwrap_err();
        assert_eq!((error.kind, &*error.code), (ErrorKind::Internal, "AnswerNotUnderstood"));
    }
}
