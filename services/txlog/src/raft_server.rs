//! What other nodes' replicas say to those of this node.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use contract::{GroupId, NodeId};
use futures::{Stream, StreamExt, TryStreamExt, future::ready, stream};
use openraft::{
    alias::SnapshotOf,
    async_runtime::WatchReceiver,
    base::BoxStream,
    raft::{AppendEntriesResponse, FlushPoint, ReadPolicy, StreamAppendError, StreamAppendResult},
};
use parking_lot::RwLock;
use proto::txlog::v1::{self as wire, raft_server, snapshot_piece::Piece};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    apply::AppliedState,
    entry::EntryVersion,
    group::Group,
    network::until,
    proposer::GroupRaft,
    raft_codec::{disk_from_wire, disk_to_wire, vote_to_wire},
    raft_messages::{
        append_from_wire, appended_to_wire, last_of, transfer_from_wire, transferred_to_wire, vote,
        vote_request_from_wire, vote_response_to_wire,
    },
    raft_types::{LogId, Node, RaftTypes, Vote},
    runtime,
    snapshot::{self, SnapshotData},
    state_machine::meta_of,
};

/// The gRPC service of all groups of a node. Cheap to clone.
#[derive(Clone)]
pub struct RaftService(Arc<Shared>);

struct Shared {
    cluster: String,
    node: NodeId,
    place: Node,
    groups: RwLock<HashMap<GroupId, Served>>,
    /// Snapshots that come in.
    tasks: TaskTracker,
    /// What others have asked and were not answered.
    calls: TaskTracker,
    /// From then on nothing is taken.
    closed: CancellationToken,
    /// Messages that were not for this node.
    refused: AtomicU64,
}

#[derive(Clone)]
struct Served {
    group: Arc<Group>,
    raft: GroupRaft,
    /// One snapshot comes in at a time.
    receives: Arc<Semaphore>,
}

impl RaftService {
    /// `place` is where this node stands and its disk. Whoever makes it waits for `tasks` after `closed`.
    pub fn new(
        cluster: String,
        node: NodeId,
        place: Node,
        tasks: TaskTracker,
        closed: CancellationToken,
    ) -> RaftService {
        let groups = RwLock::default();
        let refused = AtomicU64::new(0);
        let calls = TaskTracker::new();
        RaftService(Arc::new(Shared { cluster, node, place, groups, tasks, calls, closed, refused }))
    }

    /// From here on messages to the group are taken.
    pub fn add(&self, group: Arc<Group>, raft: GroupRaft) {
        let id = group.id;
        let served = Served { group, raft, receives: Arc::new(Semaphore::new(1)) };
        self.0.groups.write().insert(id, served);
    }

    /// Once nothing is taken any more: waits until what was asked before is answered, no longer than anybody waits for that,
    /// and lets go of the groups.
    pub async fn ended(&self, answer_max: Duration) {
        self.0.calls.close();
        // Whoever does not read its answers is not waited for.
        let _ = runtime::timeout(answer_max, self.0.calls.wait()).await;
        self.0.groups.write().clear();
    }

    /// As a server takes it.
    pub fn service(&self, message_bytes_max: usize) -> raft_server::RaftServer<RaftService> {
        raft_server::RaftServer::new(self.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(message_bytes_max)
    }

    /// The group that a message is for, if it is for this node and from its cluster.
    fn served(&self, route: Option<&wire::Route>) -> Result<Served, Status> {
        let shared = &self.0;
        let route = route.ok_or_else(|| Status::invalid_argument("a message has no route"))?;
        if shared.closed.is_cancelled() {
            return Err(Status::unavailable("this node stops"));
        }
        let disk =
            disk_from_wire(&route.to_disk).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let wrong = if route.cluster != shared.cluster {
            Some(format!("cluster {:?} is meant, and this is {:?}", route.cluster, shared.cluster))
        } else if route.to != 0 && route.to != shared.node.0 {
            Some(format!("node {} is meant, and this is {}", route.to, shared.node))
        } else if disk.is_some() && disk != shared.place.disk {
            Some(format!(
                "node {} is known with another disk: one that has lost its disk must come back as another node",
                shared.node
            ))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let before = shared.refused.fetch_add(1, Ordering::Relaxed);
            // Whoever is wrong tries again and again.
            if (before + 1).is_power_of_two() {
                tracing::warn!(from = route.from, wrong, "a message of Raft was refused");
            }
            return Err(Status::failed_precondition(wrong));
        }
        let groups = shared.groups.read();
        groups.get(&GroupId(route.group)).cloned().ok_or_else(|| {
            // Also for a moment while it starts.
            Status::unavailable(format!("group {} is not on this node", route.group))
        })
    }
}

fn malformed(error: crate::entry::EntryError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Whether the leader by `vote` has had everything up to `last` written here already: by entries that overtook a snapshot of
/// its. The snapshot is not needed then, and openraft takes it for granted that one is ahead of what its leader had written.
fn holds(raft: &GroupRaft, vote: &Vote, last: &LogId) -> bool {
    let written = raft.data_metrics().borrow_watched().last_log;
    let of_this_leader =
        written.is_some_and(|written| written.leader_id.term == vote.leader_id.term && written >= *last);
    of_this_leader
        || raft.watch_log_progress().get().is_some_and(|at| at.vote == *vote && at.last_log_id >= Some(*last))
}

/// Waits until what [`holds`] has found is durable: the leader counts it as that once it is answered.
async fn durable(raft: &GroupRaft, vote: &Vote, last: LogId) -> Result<(), Status> {
    let point = Some(FlushPoint::new(*vote, Some(last)));
    let mut progress = raft.watch_log_progress();
    let at = progress.wait_until_ge(&point).await.map_err(|_| Status::unavailable("this node stops"))?;
    match at {
        Some(at) if at.vote == *vote => Ok(()),
        _ => Err(Status::unavailable("another one leads meanwhile")),
    }
}

/// Whether the answer to a message is one to the leader: to anybody else a newer vote is told.
fn is_of_leader(answer: &StreamAppendResult<RaftTypes>) -> bool {
    !matches!(answer, Err(StreamAppendError::HigherVote(_)))
}

fn ended(error: impl ToString) -> Status {
    Status::unavailable(error.to_string())
}

type Answers = Pin<Box<dyn Stream<Item = Result<wire::AppendReply, Status>> + Send>>;

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    type AppendStream = Answers;

    /// Answers at once, and says what it has to say on the stream: the first request may be long in coming.
    async fn append(
        &self,
        request: Request<Streaming<wire::AppendRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (this, closed, call) = (self.clone(), self.0.closed.clone(), self.0.calls.token());
        let answers = stream::once(async move {
            let mut messages = Box::pin(until(request.into_inner(), closed));
            let Some(first) = messages.next().await else { return Ok(stream::empty().left_stream()) };
            let first = first?;
            let route = first.route.clone();
            let served = this.served(route.as_ref())?;
            let first = append_from_wire(first).map_err(malformed)?;
            // It ends with the first message that can't be taken: none may be skipped.
            let rest = messages.scan((), move |(), message| {
                let message = message.ok().filter(|message| message.route == route);
                ready(message.and_then(|message| append_from_wire(message).ok()))
            });
            let requests = stream::iter([first]).chain(rest);
            // It keeps nothing of the handle, but only its box says so.
            let answers: BoxStream<'static, _> = Box::pin(served.raft.stream_append(requests));
            let leader_heard = served.group.leader_heard.clone();
            let answers = answers.map(move |answer| match answer {
                Ok(answer) => {
                    if is_of_leader(&answer) {
                        leader_heard.now();
                    }
                    Ok(appended_to_wire(answer))
                }
                Err(fatal) => Err(ended(fatal)),
            });
            Ok::<_, Status>(answers.right_stream())
        });
        let answers = answers.try_flatten().inspect(move |_| {
            let _until_it_ends = &call;
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::AppendRequest>,
    ) -> Result<Response<wire::AppendReply>, Status> {
        let _call = self.0.calls.token();
        let message = request.into_inner();
        let served = self.served(message.route.as_ref())?;
        let request = append_from_wire(message).map_err(malformed)?;
        let (previous, last) = (request.prev_log_id, last_of(&request));
        let result = match served.raft.append_entries(request).await.map_err(ended)? {
            AppendEntriesResponse::Success => Ok(last),
            AppendEntriesResponse::PartialSuccess(up_to) => Ok(up_to),
            AppendEntriesResponse::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
            AppendEntriesResponse::Conflict => match previous {
                Some(previous) => Err(StreamAppendError::Conflict(previous)),
                None => return Err(Status::internal("nothing conflicts with nothing")),
            },
        };
        if is_of_leader(&result) {
            served.group.leader_heard.now();
        }
        Ok(Response::new(appended_to_wire(result)))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteReply>, Status> {
        let _call = self.0.calls.token();
        let message = request.into_inner();
        let served = self.served(message.route.as_ref())?;
        let request = vote_request_from_wire(message).map_err(malformed)?;
        let response = served.raft.vote(request).await.map_err(ended)?;
        Ok(Response::new(vote_response_to_wire(&response)))
    }

    async fn pre_vote(
        &self,
        request: Request<wire::VoteRequest>,
    ) -> Result<Response<wire::VoteReply>, Status> {
        let _call = self.0.calls.token();
        let message = request.into_inner();
        let served = self.served(message.route.as_ref())?;
        let request = vote_request_from_wire(message).map_err(malformed)?;
        let response = served.raft.pre_vote(request).await.map_err(ended)?;
        Ok(Response::new(vote_response_to_wire(&response)))
    }

    async fn transfer_leader(
        &self,
        request: Request<wire::TransferLeaderRequest>,
    ) -> Result<Response<wire::TransferLeaderReply>, Status> {
        let _call = self.0.calls.token();
        let message = request.into_inner();
        let served = self.served(message.route.as_ref())?;
        let request = transfer_from_wire(message).map_err(malformed)?;
        let response = served.raft.handle_transfer_leader(request).await.map_err(ended)?;
        Ok(Response::new(transferred_to_wire(response)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotPiece>>,
    ) -> Result<Response<wire::SnapshotReply>, Status> {
        let _call = self.0.calls.token();
        let mut pieces = request.into_inner();
        let first = pieces.message().await?.and_then(|message| message.piece);
        let Some(Piece::Begin(begin)) = first else {
            return Err(Status::invalid_argument("a snapshot does not begin with its beginning"));
        };
        let served = self.served(begin.route.as_ref())?;
        let vote = vote(begin.vote).map_err(malformed)?;
        let state = AppliedState::decode(begin.state).map_err(malformed)?;
        // The library takes it for granted.
        if !vote.committed || state.last.is_none_or(|last| last.term > vote.leader_id.term) {
            return Err(Status::invalid_argument("a snapshot is newer than its leader"));
        }
        let own = served.raft.server_metrics().borrow_watched().vote;
        if own > vote {
            return Ok(Response::new(wire::SnapshotReply { vote: Some(vote_to_wire(&own)) }));
        }
        let permit = served.receives.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Status::unavailable("another snapshot comes in"))?;
        let meta = meta_of(&state).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let store = served.group.store.clone();
        let received = tokio::select! {
            biased;
            () = self.0.closed.cancelled() => return Err(Status::unavailable("this node stops")),
            received = snapshot::receive(store, state, pieces, &self.0.tasks, permit) => received?,
        };
        if let Some(last) = meta.last_log_id.filter(|last| holds(&served.raft, &vote, last)) {
            tokio::select! {
                biased;
                () = self.0.closed.cancelled() => return Err(Status::unavailable("this node stops")),
                durable = durable(&served.raft, &vote, last) => durable?,
            }
            return Ok(Response::new(wire::SnapshotReply { vote: Some(vote_to_wire(&vote)) }));
        }
        let snapshot =
            SnapshotOf::<RaftTypes, SnapshotData> { meta, snapshot: SnapshotData::Received(received) };
        let response = served.raft.install_full_snapshot(vote, snapshot).await.map_err(ended)?;
        Ok(Response::new(wire::SnapshotReply { vote: Some(vote_to_wire(&response.vote)) }))
    }

    async fn introduce(
        &self,
        request: Request<wire::IntroduceRequest>,
    ) -> Result<Response<wire::IntroduceReply>, Status> {
        let _call = self.0.calls.token();
        let message = request.into_inner();
        let served = self.served(message.route.as_ref())?;
        let Shared { node, place, .. } = &*self.0;
        let begun = served.raft.is_initialized().await.map_err(ended)?;
        Ok(Response::new(wire::IntroduceReply {
            node: node.0,
            disk: disk_to_wire(place.disk),
            address: place.address.clone(),
            zone: place.zone.clone(),
            entry_version: EntryVersion::OWN.number(),
            begun,
            now: served.group.clock.now().as_nanoseconds(),
        }))
    }

    async fn confirm(
        &self,
        request: Request<wire::ConfirmRequest>,
    ) -> Result<Response<wire::ConfirmReply>, Status> {
        let _call = self.0.calls.token();
        let message = request.into_inner();
        let served = self.served(message.route.as_ref())?;
        served.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.map_err(ended)?;
        let published = served.group.published().as_nanoseconds();
        Ok(Response::new(wire::ConfirmReply { published }))
    }
}
