//! A [`TransactionLog`] in another process.

use std::{collections::HashMap, time::Duration};

use crate::limits::RpcLimits;
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, DeploymentRef, Epoch, Error, ErrorKind,
    GroupId, Hold, HoldId, Lookup, Position, Read, ReadAt, ReadResult, Result, StreamEvent, StreamEvents,
    Timestamp, TransactionLog,
};
use futures::{StreamExt, future::BoxFuture, stream};
use prost::Message;
use proto::{
    common::v1::Piece,
    txlog::v1::{self as wire, transaction_log_client::TransactionLogClient},
};
use tokio::{sync::watch, task::JoinSet};
use tonic::{Response, Status, Streaming, transport::Channel};

use crate::{
    calls::{CallFailed, Caller, Opened, opened, within},
    convert::{self, Malformed, decoded},
    errors,
    pieces::{Arriving, TooLarge},
    version::{self, Line},
};

/// Calls a log over a channel. Its streams and tasks end with it.
pub struct GrpcTransactionLog {
    client: TransactionLogClient<Line>,
    streams: TransactionLogClient<Line>,
    commits: Caller,
    reads: Caller,
    limits: RpcLimits,
    positions: HashMap<GroupId, watch::Receiver<Position>>,
    _watchers: JoinSet<()>,
}

impl GrpcTransactionLog {
    /// Knows the positions of `groups` when it returns, and follows them from then on.
    pub async fn connect(
        channel: Channel,
        groups: &[GroupId],
        limits: RpcLimits,
    ) -> Result<GrpcTransactionLog> {
        let client = client_of(channel, &limits);
        let mut followed = Vec::new();
        for group in groups {
            let known = within(&limits, watch_position(client.clone(), *group));
            let (first, updates) = known.await.and_then(|known| known)?;
            followed.push((*group, first, Some(updates)));
        }
        Ok(GrpcTransactionLog::of(client.clone(), client, followed, limits))
    }

    /// A client of a node that need not be there yet: nothing is published in its groups until it is reached, and nobody is known to
    /// lead them. `streams` is for the streams of commits, so that a subscriber that falls behind holds up no commit. Must be called on
    /// a runtime.
    pub fn lazy(
        channel: Channel,
        streams: Channel,
        groups: &[GroupId],
        limits: RpcLimits,
    ) -> GrpcTransactionLog {
        let nothing =
            Position { epoch: Epoch::default(), ready: false, published: Timestamp::ZERO, leader: None };
        let followed = groups.iter().map(|group| (*group, nothing.clone(), None)).collect();
        let (client, streams) = (client_of(channel, &limits), client_of(streams, &limits));
        GrpcTransactionLog::of(client, streams, followed, limits)
    }

    fn of(
        client: TransactionLogClient<Line>,
        streams: TransactionLogClient<Line>,
        followed: Vec<(GroupId, Position, Option<PositionUpdates>)>,
        limits: RpcLimits,
    ) -> GrpcTransactionLog {
        let mut watchers = JoinSet::new();
        let mut positions = HashMap::new();
        for (group, first, updates) in followed {
            let (sender, receiver) = watch::channel(first);
            watchers.spawn(follow_position(client.clone(), group, updates, sender, limits));
            positions.insert(group, receiver);
        }
        let (for_commits, for_reads) = (client.clone(), client.clone());
        let open_commits = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = for_commits.clone();
            Box::pin(async move { opened(client.commit(calls).await) })
        };
        let open_reads = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = for_reads.clone();
            Box::pin(async move { opened(client.read(calls).await) })
        };
        GrpcTransactionLog {
            client,
            streams,
            commits: Caller::new(Box::new(open_commits), limits),
            reads: Caller::new(Box::new(open_reads), limits),
            limits,
            positions,
            _watchers: watchers,
        }
    }
}

fn client_of(channel: Channel, limits: &RpcLimits) -> TransactionLogClient<Line> {
    TransactionLogClient::new(version::line(channel))
        .max_decoding_message_size(limits.message_bytes_max)
        .max_encoding_message_size(limits.message_bytes_max)
}

type PositionUpdates = Streaming<proto::common::v1::Position>;

/// The position now, and its changes.
async fn watch_position(
    mut client: TransactionLogClient<Line>,
    group: GroupId,
) -> Result<(Position, PositionUpdates)> {
    let request = wire::WatchPositionRequest { group: group.0 };
    let mut updates = client.watch_position(request).await.map_err(errors::from_status)?.into_inner();
    match updates.next().await {
        Some(first) => {
            let first = first.map_err(errors::from_status)?;
            Ok((convert::position(first).map_err(Malformed::answer)?, updates))
        }
        None => Err(errors::unreachable("the position's stream ended at once")),
    }
}

/// Passes positions on until nobody wants them. `published` never goes back, also when another process answers.
async fn follow_position(
    client: TransactionLogClient<Line>,
    group: GroupId,
    mut updates: Option<PositionUpdates>,
    position: watch::Sender<Position>,
    limits: RpcLimits,
) {
    let show = |update: Position| {
        position.send_modify(|known| {
            *known = Position { published: update.published.max(known.published), ..update };
        });
    };
    loop {
        if let Some(mut updates) = updates.take() {
            let why = loop {
                match updates.next().await {
                    Some(Ok(update)) => match convert::position(update) {
                        Ok(update) => show(update),
                        Err(malformed) => break malformed.answer(),
                    },
                    Some(Err(status)) => break errors::from_status(status),
                    None => break errors::unreachable("the position's stream has ended"),
                }
            };
            tracing::info!(group = group.0, error = %why, "a position is not followed; it is asked for again");
            position.send_modify(|known| known.ready = false);
            tokio::time::sleep(Duration::from_millis(limits.watch_retry_ms)).await;
        }
        if position.is_closed() {
            return;
        }
        match within(&limits, watch_position(client.clone(), group)).await.and_then(|known| known) {
            Ok((first, followed)) => {
                show(first);
                updates = Some(followed);
            }
            Err(error) => {
                tracing::debug!(group = group.0, %error, "the position is not known yet");
                tokio::time::sleep(Duration::from_millis(limits.watch_retry_ms)).await;
            }
        }
    }
}

impl GrpcTransactionLog {
    /// The answer to a unary call, until the deadline.
    async fn in_time<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T> {
        let response = within(&self.limits, call).await?;
        Ok(response.map_err(errors::from_status)?.into_inner())
    }
}

#[async_trait]
impl TransactionLog for GrpcTransactionLog {
    fn position(&self, group: GroupId) -> Result<watch::Receiver<Position>> {
        self.positions.get(&group).cloned().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "GroupNotFound",
                format!("group {} is not followed here", group.0),
            )
        })
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome> {
        let content = convert::commit_to_wire(&commit, &self.limits).encode_to_vec();
        match self.commits.call(content.into()).await {
            Ok(answer) => decoded(answer).and_then(convert::outcome).map_err(Malformed::answer)?,
            // It may have arrived, and may be committed: the caller asks what became of it.
            Err(CallFailed::Lost | CallFailed::TimedOut) => Ok(CommitOutcome::Unknown),
            Err(failed @ (CallFailed::NotSent(_) | CallFailed::AnswerTooLarge(_))) => Err(failed.into()),
        }
    }

    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup> {
        let request = wire::LookupRequest {
            deployment: Some(convert::deployment_to_wire(at)),
            id: Bytes::copy_from_slice(&id.0),
        };
        let reply = self.in_time(self.client.clone().lookup(request)).await?;
        convert::lookup(reply).map_err(Malformed::answer)
    }

    async fn read(&self, deployment: DeploymentRef, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        let request = wire::ReadRequest {
            deployment: Some(convert::deployment_to_wire(deployment)),
            at: Some(convert::read_at_to_wire(at)),
            reads: reads.iter().map(convert::read_to_wire).collect(),
        };
        let answer = self.reads.call(request.encode_to_vec().into()).await?;
        decoded(answer).and_then(|reply| convert::results(reply, reads)).map_err(Malformed::answer)?
    }

    async fn confirm_leadership(&self, group: GroupId) -> Result<Position> {
        let request = wire::ConfirmLeadershipRequest { group: group.0 };
        let position = self.in_time(self.client.clone().confirm_leadership(request)).await?;
        convert::position(position).map_err(Malformed::answer)
    }

    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        let request = wire::SubscribeRequest {
            deployment: Some(convert::deployment_to_wire(deployment)),
            from: from.as_nanoseconds(),
        };
        let pieces = self.in_time(self.streams.clone().subscribe(request)).await?;
        let subscription = Subscription { pieces, arriving: Arriving::new(&self.limits), at: from };
        Ok(Box::pin(stream::unfold(Some(subscription), |subscription| async {
            let mut subscription = subscription?;
            let event = subscription.next().await?;
            let ends = matches!(event, StreamEvent::Lagged { .. });
            Some((event, (!ends).then_some(subscription)))
        })))
    }

    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        let request = wire::BackfillStepRequest {
            deployment: Some(convert::deployment_to_wire(step.deployment)),
            primary: convert::index_bytes(step.primary),
            index: convert::index_bytes(step.index),
            fields: step.fields,
            from: step.from,
        };
        let reply = self.in_time(self.client.clone().backfill_step(request)).await?;
        Ok(BackfillProgress { documents: reply.documents, next: reply.next })
    }

    async fn hold(&self, group: GroupId, hold: Hold) -> Result<Duration> {
        let request = wire::HoldRequest {
            group: group.0,
            id: Bytes::copy_from_slice(&hold.id.0),
            at: hold.at.as_nanoseconds(),
        };
        let reply = self.in_time(self.client.clone().hold(request)).await?;
        Ok(Duration::from_millis(reply.held_ms))
    }

    async fn release(&self, group: GroupId, id: HoldId) -> Result<()> {
        let request = wire::ReleaseRequest { group: group.0, id: Bytes::copy_from_slice(&id.0) };
        self.in_time(self.client.clone().release(request)).await?;
        Ok(())
    }
}

/// The events of a stream, put together from its pieces.
struct Subscription {
    pieces: Streaming<Piece>,
    arriving: Arriving,
    /// Everything up to here was given.
    at: Timestamp,
}

impl Subscription {
    /// `None` if the stream broke: up to [`Subscription::at`] nothing is missing, so it can be resumed there. An event that
    /// is not understood may have been a commit, and whoever resumed would meet it again.
    async fn next(&mut self) -> Option<StreamEvent> {
        let event = match self.arrived().await? {
            Ok(event) => event,
            Err(malformed) => {
                tracing::warn!(error = %malformed.answer(), "a stream of commits is given up");
                StreamEvent::Lagged { from: self.at }
            }
        };
        match &event {
            StreamEvent::Commit(notice) => self.at = notice.timestamp,
            StreamEvent::Heartbeat { published, .. } => self.at = self.at.max(*published),
            StreamEvent::Lagged { .. } => {}
        }
        Some(event)
    }

    async fn arrived(&mut self) -> Option<Result<StreamEvent, Malformed>> {
        loop {
            let piece = match self.pieces.next().await? {
                Ok(piece) => piece,
                Err(status) => {
                    let error = errors::from_status(status);
                    if error.kind == ErrorKind::Internal {
                        return Some(Err(Malformed::new(error.message)));
                    }
                    tracing::debug!(%error, "a stream of commits broke");
                    return None;
                }
            };
            return Some(match self.arriving.add(piece) {
                Ok(None) => continue,
                Ok(Some((_, Ok(content)))) => decoded(content).and_then(convert::event),
                Ok(Some((_, Err(TooLarge { bytes_max, .. })))) => {
                    Err(Malformed::new(format!("an event has more than {bytes_max} bytes")))
                }
                Err(error) => Err(Malformed::new(error.to_string())),
            });
        }
    }
}
