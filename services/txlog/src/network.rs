//! How a group's replica calls the others.
//!
//! Entries go as one stream per replica and session of the consensus library; answers come back in order. What that takes
//! of a transport is written down where it is done: see [`Line::stream_append`].

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use contract::{GroupId, NodeId, Timestamp};
use futures::{Stream, StreamExt, stream};
use openraft::{
    OptionalSend, RaftNetworkFactory,
    alias::{SnapshotOf, VoteOf},
    base::{BoxFuture, BoxStream},
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, stream_append_sequential, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use parking_lot::Mutex;
use proto::txlog::v1::{self as wire, raft_client::RaftClient};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Response, Status, Streaming};

use crate::{
    channels::{Channels, Purpose, Wire},
    group::Group,
    limits::StoreLimits,
    raft_codec::{disk_from_wire, disk_to_wire},
    raft_messages::{
        append_to_wire, appended_from_wire, last_of, response, transfer_to_wire, transferred_from_wire,
        vote_request_to_wire, vote_response_from_wire,
    },
    raft_types::{DiskId, LogId, Node, RaftTypes},
    runtime,
    snapshot::{self, SnapshotData},
};

/// What all groups of a node call others by.
pub struct Peers {
    cluster: String,
    node: NodeId,
    channels: Channels,
    /// The newest channel to each node, and the address that it goes to.
    open: Mutex<HashMap<(u64, Purpose), (String, Wire)>>,
    message_bytes_max: usize,
    /// How long requests on a stream may be unanswered.
    answer_max: Duration,
    /// How long the other side may need for a piece of a snapshot, and to install it.
    snapshot_answer_max: Duration,
    snapshot_limits: snapshot::Limits,
}

/// Who answers at an address.
#[derive(Clone, Debug)]
pub struct Introduction {
    pub node: NodeId,
    pub place: Node,
    /// The newest version of entries that it can read.
    pub entry_version: u32,
    /// Whether the group has begun there.
    pub begun: bool,
    /// What its clock says.
    pub now: Timestamp,
}

impl Peers {
    pub fn new(cluster: String, node: NodeId, channels: Channels, limits: &StoreLimits) -> Peers {
        Peers {
            cluster,
            node,
            channels,
            open: Mutex::default(),
            message_bytes_max: limits.raft_message_bytes_max,
            answer_max: Duration::from_millis(limits.raft_answer_ms_max),
            snapshot_answer_max: Duration::from_millis(limits.snapshot_answer_ms_max),
            snapshot_limits: snapshot::Limits::of(limits),
        }
    }

    fn route(&self, group: GroupId, to: Option<NodeId>, disk: Option<DiskId>) -> wire::Route {
        wire::Route {
            cluster: self.cluster.clone(),
            group: group.0,
            from: self.node.0,
            to: to.map_or(0, |node| node.0),
            to_disk: disk_to_wire(disk),
        }
    }

    fn client(&self, node: NodeId, address: &str, purpose: Purpose) -> io::Result<RaftClient<Wire>> {
        let mut open = self.open.lock();
        let channel = match open.get(&(node.0, purpose)) {
            Some((known, channel)) if known == address => channel.clone(),
            _ => {
                let channel = self.channels.connect(Some(node), address, purpose)?;
                open.insert((node.0, purpose), (address.to_owned(), channel.clone()));
                channel
            }
        };
        Ok(self.limited(channel))
    }

    fn limited(&self, channel: Wire) -> RaftClient<Wire> {
        RaftClient::new(channel)
            .max_decoding_message_size(self.message_bytes_max)
            .max_encoding_message_size(self.message_bytes_max)
    }

    /// Asks who answers at an address, for a group that it may or may not have begun.
    pub async fn introduce(&self, group: GroupId, address: &str) -> io::Result<Introduction> {
        let channel = self.channels.connect(None, address, Purpose::Entries)?;
        let request = wire::IntroduceRequest { route: Some(self.route(group, None, None)) };
        let mut client = self.limited(channel);
        let reply = within(self.answer_max, client.introduce(request)).await?;
        introduction(reply)
    }

    /// The same, of a member of the group.
    pub async fn introduce_member(
        &self,
        group: GroupId,
        node: NodeId,
        place: &Node,
    ) -> io::Result<Introduction> {
        let mut client = self.client(node, &place.address, Purpose::Heartbeats)?;
        let route = self.route(group, Some(node), place.disk);
        let request = wire::IntroduceRequest { route: Some(route) };
        introduction(within(self.answer_max, client.introduce(request)).await?)
    }

    /// What the group's leader had published when a quorum confirmed that it leads, not before it was asked.
    pub async fn confirm(&self, group: GroupId, leader: NodeId, place: &Node) -> io::Result<Timestamp> {
        let mut client = self.client(leader, &place.address, Purpose::Heartbeats)?;
        let route = self.route(group, Some(leader), place.disk);
        let request = wire::ConfirmRequest { route: Some(route) };
        let reply = within(self.answer_max, client.confirm(request)).await?;
        Timestamp::new(reply.published).ok_or_else(|| invalid("a timestamp is out of range"))
    }
}

fn introduction(reply: wire::IntroduceReply) -> io::Result<Introduction> {
    let disk = disk_from_wire(&reply.disk).map_err(invalid)?;
    Ok(Introduction {
        node: NodeId(reply.node),
        place: Node { address: reply.address, zone: reply.zone, disk },
        entry_version: reply.entry_version,
        begun: reply.begun,
        now: Timestamp::new(reply.now).ok_or_else(|| invalid("a timestamp is out of range"))?,
    })
}

fn invalid(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> io::Result<T> {
    match runtime::timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(io::Error::other(status)),
        Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
    }
}

/// Makes a group's lines to its other replicas.
pub struct Network {
    peers: Arc<Peers>,
    group: Arc<Group>,
}

impl Network {
    pub fn new(peers: Arc<Peers>, group: Arc<Group>) -> Network {
        Network { peers, group }
    }

    fn line(&self, target: u64, node: &Node, purpose: Purpose) -> Line {
        let (peers, group) = (self.peers.clone(), self.group.clone());
        Line { peers, group, target: NodeId(target), node: node.clone(), purpose }
    }
}

impl RaftNetworkFactory<RaftTypes> for Network {
    type Network = Line;

    async fn new_client(&mut self, target: u64, node: &Node) -> Line {
        self.line(target, node, Purpose::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Node) -> Line {
        self.line(target, node, Purpose::Heartbeats)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Node) -> Line {
        self.line(target, node, Purpose::Snapshots)
    }
}

/// From a group's replica here to another one.
pub struct Line {
    peers: Arc<Peers>,
    group: Arc<Group>,
    target: NodeId,
    /// Where it was when the line was made.
    node: Node,
    purpose: Purpose,
}

type Failed = RPCError<RaftTypes>;

/// The library waits before it tries again; with any other error it would try at once.
fn unreachable(why: impl ToString) -> Failed {
    RPCError::Unreachable(Unreachable::from_string(why))
}

impl Line {
    /// Where the target is now. A leader keeps its lines when a member's address changes.
    fn place(&self) -> Node {
        self.group.member(self.target).unwrap_or_else(|| self.node.clone())
    }

    fn client(&self) -> Result<RaftClient<Wire>, Failed> {
        self.peers.client(self.target, &self.place().address, self.purpose).map_err(unreachable)
    }

    fn route(&self) -> wire::Route {
        self.peers.route(self.group.id, Some(self.target), self.place().disk)
    }

    async fn call<T>(
        &self,
        option: &RPCOption,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failed> {
        within(option.soft_ttl(), call).await.map_err(unreachable)
    }
}

impl RaftNetworkV2<RaftTypes> for Line {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftTypes>, Failed> {
        let last = last_of(&request);
        let mut client = self.client()?;
        let message = append_to_wire(self.route(), request);
        let reply = self.call(&option, client.heartbeat(message)).await?;
        Ok(response(appended_from_wire(reply).map_err(unreachable)?, last))
    }

    /// A session of replication.
    ///
    /// * The stream of requests ends with that of the answers. The library's part in it holds a lock while it waits for what
    ///   to send next, and the transport goes on polling it when nobody reads the answers any more.
    /// * Each request goes out as it comes: an empty one tells the replica what is committed.
    /// * The library sets no limit to how long an answer takes. A replica that leaves requests unanswered is given up here.
    /// * The library's time for a call is less than a heartbeat. A session may take longer until it stands: else a replica
    ///   that is further away, or busy, would never get an entry, while its leader's heartbeats keep others from leading.
    /// * A heartbeat is a session of one request. It goes as a single call, on a connection of its own.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<RaftTypes>, Failed>>, Failed>>
    where
        S: Stream<Item = AppendEntriesRequest<RaftTypes>> + OptionalSend + Unpin + 'static,
    {
        if self.purpose == Purpose::Heartbeats {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            // The library's pause after a failure lies in front of the first request: who fails before asking for it is called again
            // at once, thousands of times a second while a replica is not there.
            let mut input = input;
            let Some(first) = input.next().await else {
                return Ok(Box::pin(stream::empty()) as BoxStream<'s, _>);
            };
            let input = stream::iter([first]).chain(input);
            let mut client = self.client()?;
            let unanswered = Arc::new(Mutex::new(VecDeque::new()));
            let ended = CancellationToken::new();
            let (route, sent) = (self.route(), unanswered.clone());
            let requests = until(input, ended.clone()).map(move |request| {
                sent.lock().push_back(Sent { previous: request.prev_log_id, last: last_of(&request) });
                append_to_wire(route.clone(), request)
            });
            let answers = Answers {
                _ends_requests: ended.drop_guard(),
                stream: within(self.peers.answer_max, client.append(requests)).await.map_err(unreachable)?,
                unanswered,
                answer_max: self.peers.answer_max,
            };
            Ok(Box::pin(answers.stream()) as BoxStream<'s, _>)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, Failed> {
        let mut client = self.client()?;
        let message = vote_request_to_wire(self.route(), &request);
        let reply = self.call(&option, client.vote(message)).await?;
        vote_response_from_wire(reply).map_err(unreachable)
    }

    /// The library's default would grant it.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, Failed> {
        let mut client = self.client()?;
        let message = vote_request_to_wire(self.route(), &request);
        let reply = self.call(&option, client.pre_vote(message)).await?;
        vote_response_from_wire(reply).map_err(unreachable)
    }

    /// Sends the state as it is now, which is not older than `_snapshot`.
    async fn full_snapshot(
        &mut self,
        vote: VoteOf<RaftTypes>,
        _snapshot: SnapshotOf<RaftTypes, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes>, StreamingError<RaftTypes>> {
        let _keeps_log = self.group.sends_snapshot();
        let mut client = self.client()?;
        let sending = snapshot::Sending::start(
            self.group.store.clone(),
            self.group.incarnation(),
            self.route(),
            &vote,
            self.peers.snapshot_limits,
        );
        let sent = sending.send(&mut client, self.peers.snapshot_answer_max, cancel).await;
        match sent {
            snapshot::Sent::Answered(vote) => Ok(SnapshotResponse::new(vote)),
            snapshot::Sent::Cancelled(closed) => Err(StreamingError::Closed(closed)),
            snapshot::Sent::Failed(why) => {
                tracing::warn!(group = self.group.id.0, node = self.target.0, why, "a snapshot was not sent");
                Err(StreamingError::Unreachable(Unreachable::from_string(why)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<RaftTypes>, Failed> {
        let mut client = self.client()?;
        let message = transfer_to_wire(self.route(), &request);
        let reply = self.call(&option, client.transfer_leader(message)).await?;
        transferred_from_wire(reply).map_err(unreachable)
    }
}

/// A stream that ends, and lets go of what it stands on, when the token says so: also while it waits.
pub fn until<S>(input: S, ended: CancellationToken) -> impl Stream<Item = S::Item> + Send + 'static
where
    S: Stream + Send + Unpin + 'static,
    S::Item: Send,
{
    stream::unfold((input, ended), |(mut input, ended)| async move {
        let item = tokio::select! {
            biased;
            () = ended.cancelled() => None,
            item = input.next() => item,
        };
        Some((item?, (input, ended)))
    })
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Sent {
    /// The entry before those that it brings, and the last of them.
    previous: Option<LogId>,
    last: Option<LogId>,
}

impl Sent {
    /// Whether it can be answered so. The library takes that for granted.
    fn may_be(&self, answer: &StreamAppendResult<RaftTypes>) -> bool {
        match answer {
            Ok(up_to) => self.previous <= *up_to && *up_to <= self.last,
            Err(StreamAppendError::Conflict(id)) => self.previous == Some(*id),
            Err(StreamAppendError::HigherVote(_)) => true,
        }
    }
}

/// The answers of a session.
struct Answers {
    _ends_requests: DropGuard,
    stream: Streaming<wire::AppendReply>,
    unanswered: Arc<Mutex<VecDeque<Sent>>>,
    answer_max: Duration,
}

impl Answers {
    fn stream(self) -> impl Stream<Item = Result<StreamAppendResult<RaftTypes>, Failed>> + Send {
        stream::unfold(Some(self), |answers| async move {
            let mut answers = answers?;
            let answer = answers.next().await?;
            let goes_on = matches!(answer, Ok(Ok(_)));
            Some((answer, goes_on.then_some(answers)))
        })
    }

    /// `None` when the other side has ended the session.
    async fn next(&mut self) -> Option<Result<StreamAppendResult<RaftTypes>, Failed>> {
        loop {
            tokio::select! {
                biased;
                answer = self.stream.next() => {
                    let answer = match answer? {
                        Ok(message) => appended_from_wire(message).map_err(unreachable),
                        Err(status) => Err(unreachable(status)),
                    };
                    let sent = self.unanswered.lock().pop_front();
                    return Some(match answer {
                        Ok(answer) if sent.is_none_or(|sent| !sent.may_be(&answer)) => {
                            Err(unreachable("an answer is not to what was sent"))
                        }
                        answer => answer,
                    });
                }
                () = runtime::sleep(self.answer_max) => {
                    if !self.unanswered.lock().is_empty() {
                        return Some(Err(unreachable(format!("no answer for {:?}", self.answer_max))));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        pin::Pin,
        sync::atomic::{AtomicBool, Ordering},
    };

    use contract::DeploymentId;
    use proto::txlog::v1::raft_server;
    use tokio::net::TcpListener;
    use tonic::{
        Request,
        transport::{Endpoint, Server},
    };

    use super::*;
    use crate::{
        apply::AppliedState,
        clock::Clock,
        keys::Incarnation,
        limits::LogLimits,
        raft_messages::appended_to_wire,
        raft_types::{Membership, StoredMembership, Vote, log_id},
        state_store::NodeStore,
    };

    /// A replica that does to appends what it is told, and nothing else.
    #[derive(Clone, Copy, PartialEq)]
    enum Replica {
        /// Answers each request, and never ends.
        Answers,
        /// Reads them and says nothing.
        Silent,
        /// Ends without an error after one answer.
        Ends,
        Conflicts,
        /// Says that it has what it was not sent.
        Boasts,
    }

    fn no<T>() -> Result<Response<T>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    #[tonic::async_trait]
    impl raft_server::Raft for Replica {
        type AppendStream = Pin<Box<dyn Stream<Item = Result<wire::AppendReply, Status>> + Send>>;

        async fn append(
            &self,
            request: Request<Streaming<wire::AppendRequest>>,
        ) -> Result<Response<Self::AppendStream>, Status> {
            let replica = *self;
            let answers = request.into_inner().filter_map(move |request| async move {
                let last = request.ok()?.previous.map(crate::raft_codec::log_id_from_wire);
                match replica {
                    Replica::Silent => None,
                    Replica::Conflicts => Some(Err(StreamAppendError::Conflict(last?))),
                    Replica::Boasts => Some(Ok(Some(log_id(99, 99)))),
                    Replica::Answers | Replica::Ends => Some(Ok(last)),
                }
            });
            let answers = answers.map(|answer| Ok(appended_to_wire(answer)));
            let answers: Self::AppendStream = match replica {
                Replica::Ends => Box::pin(answers.take(1)),
                _ => Box::pin(answers),
            };
            Ok(Response::new(answers))
        }

        async fn heartbeat(
            &self,
            request: Request<wire::AppendRequest>,
        ) -> Result<Response<wire::AppendReply>, Status> {
            let last = request.into_inner().previous.map(crate::raft_codec::log_id_from_wire);
            Ok(Response::new(appended_to_wire(Ok(last))))
        }

        async fn vote(&self, _: Request<wire::VoteRequest>) -> Result<Response<wire::VoteReply>, Status> {
            no()
        }

        async fn pre_vote(&self, _: Request<wire::VoteRequest>) -> Result<Response<wire::VoteReply>, Status> {
            no()
        }

        async fn transfer_leader(
            &self,
            _: Request<wire::TransferLeaderRequest>,
        ) -> Result<Response<wire::TransferLeaderReply>, Status> {
            no()
        }

        async fn install_snapshot(
            &self,
            _: Request<Streaming<wire::SnapshotPiece>>,
        ) -> Result<Response<wire::SnapshotReply>, Status> {
            no()
        }

        async fn introduce(
            &self,
            _: Request<wire::IntroduceRequest>,
        ) -> Result<Response<wire::IntroduceReply>, Status> {
            no()
        }

        async fn confirm(
            &self,
            _: Request<wire::ConfirmRequest>,
        ) -> Result<Response<wire::ConfirmReply>, Status> {
            no()
        }
    }

    /// What a test stands on.
    struct Lines {
        network: Network,
        node: Node,
        opened: Arc<Mutex<Vec<Purpose>>>,
        _folder: tempfile::TempDir,
    }

    impl Lines {
        async fn to(replica: Replica) -> Lines {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let connections = stream::unfold(listener, |listener| async {
                Some((listener.accept().await.map(|(connection, _)| connection), listener))
            });
            let service = raft_server::RaftServer::new(replica);
            tokio::spawn(Server::builder().add_service(service).serve_with_incoming(connections));
            let opened = Arc::new(Mutex::new(Vec::new()));
            let kept = opened.clone();
            let channels = Channels::new(move |_, address, purpose| {
                kept.lock().push(purpose);
                Ok(Endpoint::from_shared(format!("http://{address}"))
                    .map_err(io::Error::other)?
                    .connect_lazy())
            });
            let limits = StoreLimits { raft_answer_ms_max: 200, ..StoreLimits::DEFAULT };
            let peers = Arc::new(Peers::new("test".into(), NodeId(1), channels, &limits));
            let folder = tempfile::tempdir().unwrap();
            let store = Arc::new(NodeStore::open(folder.path(), &limits).unwrap());
            let group = Group::new(
                GroupId(1),
                Incarnation(1),
                [DeploymentId(1)],
                LogLimits::DEFAULT,
                Clock::system(),
                store,
                &AppliedState::default(),
            );
            let network = Network::new(peers, Arc::new(group));
            Lines { network, node: Node { address, ..Node::default() }, opened, _folder: folder }
        }
    }

    /// Requests, then nothing for ever; says when it is let go of.
    struct Requests {
        left: u64,
        gone: Arc<AtomicBool>,
    }

    impl Stream for Requests {
        type Item = AppendEntriesRequest<RaftTypes>;

        fn poll_next(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            if self.left == 0 {
                return std::task::Poll::Pending;
            }
            self.left -= 1;
            std::task::Poll::Ready(Some(AppendEntriesRequest {
                vote: Vote::new_committed(3, 1),
                prev_log_id: Some(log_id(3, 7)),
                entries: Vec::new(),
                leader_commit: None,
            }))
        }
    }

    impl Drop for Requests {
        fn drop(&mut self) {
            self.gone.store(true, Ordering::Release);
        }
    }

    fn requests(left: u64) -> (Requests, Arc<AtomicBool>) {
        let gone = Arc::new(AtomicBool::new(false));
        (Requests { left, gone: gone.clone() }, gone)
    }

    fn option() -> RPCOption {
        RPCOption::new(Duration::from_secs(10))
    }

    async fn is_gone(gone: &AtomicBool) -> bool {
        for _ in 0..500 {
            if gone.load(Ordering::Acquire) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn the_requests_of_a_session_go_with_its_answers_also_while_they_wait() {
        for replica in [Replica::Answers, Replica::Ends, Replica::Conflicts] {
            let mut lines = Lines::to(replica).await;
            let mut line = lines.network.new_client(2, &lines.node).await;
            let (input, gone) = requests(1);
            let mut answers = line.stream_append(input, option()).await.expect("it is opened");
            let answer = answers.next().await.expect("it answers").expect("it is there");
            match replica {
                Replica::Conflicts => {
                    assert_eq!(answer, Err(StreamAppendError::Conflict(log_id(3, 7))));
                    assert!(answers.next().await.is_none(), "it is over");
                }
                Replica::Ends => {
                    assert_eq!(answer, Ok(Some(log_id(3, 7))));
                    assert!(answers.next().await.is_none(), "the other side has ended it");
                }
                _ => {
                    assert_eq!(answer, Ok(Some(log_id(3, 7))));
                    assert!(!gone.load(Ordering::Acquire), "more may come");
                }
            }
            drop(answers);
            assert!(is_gone(&gone).await, "what the requests hold is free for the next session");
        }
    }

    #[tokio::test]
    async fn a_replica_that_leaves_requests_unanswered_is_given_up_and_a_quiet_one_is_not() {
        let mut lines = Lines::to(Replica::Silent).await;
        let mut line = lines.network.new_client(2, &lines.node).await;
        let (input, gone) = requests(1);
        let mut answers = line.stream_append(input, option()).await.expect("it is opened");
        let answer = tokio::time::timeout(Duration::from_secs(10), answers.next()).await.expect("it ends");
        assert!(matches!(answer, Some(Err(RPCError::Unreachable(_)))));
        assert!(answers.next().await.is_none());
        drop(answers);
        assert!(is_gone(&gone).await);
        let (input, _) = requests(0);
        let quiet = async { line.stream_append(input, option()).await.expect("it is opened").next().await };
        let quiet = tokio::time::timeout(Duration::from_millis(600), quiet).await;
        assert!(quiet.is_err(), "nothing is unanswered");
    }

    #[tokio::test]
    async fn an_answer_to_something_else_ends_the_session() {
        let mut lines = Lines::to(Replica::Boasts).await;
        let mut line = lines.network.new_client(2, &lines.node).await;
        let mut answers = line.stream_append(requests(1).0, option()).await.expect("it is opened");
        assert!(matches!(answers.next().await, Some(Err(RPCError::Unreachable(_)))));
        assert!(answers.next().await.is_none());
    }

    #[tokio::test]
    async fn heartbeats_have_a_connection_of_their_own_and_channels_are_kept() {
        let mut lines = Lines::to(Replica::Answers).await;
        for _ in 0..3 {
            let mut heartbeats = lines.network.new_heartbeat_client(2, &lines.node).await;
            let (input, _) = requests(1);
            let mut answers = heartbeats.stream_append(input, option()).await.expect("it is opened");
            assert_eq!(answers.next().await.unwrap().unwrap(), Ok(Some(log_id(3, 7))));
            drop(answers);
            let mut entries = lines.network.new_client(2, &lines.node).await;
            let (input, _) = requests(1);
            let mut answers = entries.stream_append(input, option()).await.expect("it is opened");
            assert_eq!(answers.next().await.unwrap().unwrap(), Ok(Some(log_id(3, 7))));
        }
        assert_eq!(*lines.opened.lock(), [Purpose::Heartbeats, Purpose::Entries]);
        // Another address is another channel.
        let there = lines.node.clone();
        lines.node.address = "127.0.0.1:1".into();
        let mut line = lines.network.new_client(2, &lines.node).await;
        let (input, _) = requests(1);
        assert!(line.stream_append(input, option()).await.is_err(), "nobody is there");
        assert_eq!(lines.opened.lock().len(), 3);
        // A line that is there goes to where the membership has it by now.
        let members = Membership::new(vec![[2].into()], BTreeMap::from([(2, there)])).expect("it is one");
        lines.network.group.set_membership(Arc::new(StoredMembership::new(None, members)));
        let (input, _) = requests(1);
        let mut answers = line.stream_append(input, option()).await.expect("it is opened");
        assert_eq!(answers.next().await.unwrap().unwrap(), Ok(Some(log_id(3, 7))));
    }
}
