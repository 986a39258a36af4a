//! A [`TransactionLog`] in another process.

use std::{collections::HashMap, time::Duration};

use crate::limits::RpcLimits;
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, DeploymentRef, Error, ErrorKind,
    GroupId, Lookup, Position, Read, ReadAt, ReadResult, Result, StreamEvent, StreamEvents, Timestamp,
    TransactionLog,
};
use futures::{StreamExt, future::BoxFuture, stream};
use prost::Message;
use proto::{
    common::v1::Piece,
    txlog::v1::{self as wire, transaction_log_client::TransactionLogClient},
};
use tokio::{sync::watch, task::JoinSet};
use tonic::{Streaming, transport::Channel};

use crate::{
    calls::{Arriving, CallFailed, Caller, Opened},
    convert, errors,
};

/// Calls a log over a channel. Its streams and tasks end with it.
pub struct GrpcTransactionLog {
    client: TransactionLogClient<Channel>,
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
        let bytes_max = limits.message_bytes_max;
        let retry = Duration::from_millis(limits.watch_retry_ms);
        let client = TransactionLogClient::new(channel)
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        let mut watchers = JoinSet::new();
        let mut positions = HashMap::new();
        for group in groups {
            let mut updates = watch_position(client.clone(), *group).await?;
            let Some(first) = updates.next().await else {
                return Err(Error::overloaded("NodeUnreachable", "the position's stream ended at once"));
            };
            let (sender, receiver) = watch::channel(convert::position(first.map_err(errors::from_status)?)?);
            watchers.spawn(follow_position(client.clone(), *group, updates, sender, retry));
            positions.insert(*group, receiver);
        }
        let (for_commits, for_reads) = (client.clone(), client.clone());
        let open_commits = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = for_commits.clone();
            Box::pin(async move { client.commit(calls).await })
        };
        let open_reads = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = for_reads.clone();
            Box::pin(async move { client.read(calls).await })
        };
        Ok(GrpcTransactionLog {
            client,
            commits: Caller::new(Box::new(open_commits), limits),
            reads: Caller::new(Box::new(open_reads), limits),
            limits,
            positions,
            _watchers: watchers,
        })
    }
}

type PositionUpdates = Streaming<proto::common::v1::Position>;

async fn watch_position(
    mut client: TransactionLogClient<Channel>,
    group: GroupId,
) -> Result<PositionUpdates> {
    let request = wire::WatchPositionRequest { group: group.0 };
    Ok(client.watch_position(request).await.map_err(errors::from_status)?.into_inner())
}

/// Passes positions on until nobody wants them. `published` never goes back, also when another process answers.
async fn follow_position(
    client: TransactionLogClient<Channel>,
    group: GroupId,
    mut updates: PositionUpdates,
    position: watch::Sender<Position>,
    retry: Duration,
) {
    loop {
        while let Some(Ok(update)) = updates.next().await {
            let Ok(update) = convert::position(update) else { break };
            position.send_modify(|known| {
                *known = Position { published: update.published.max(known.published), ..update };
            });
        }
        position.send_modify(|known| known.ready = false);
        updates = loop {
            tokio::time::sleep(retry).await;
            if position.is_closed() {
                return;
            }
            if let Ok(updates) = watch_position(client.clone(), group).await {
                break updates;
            }
        };
    }
}

fn decoded<M: Message + Default>(content: Bytes) -> Result<M> {
    M::decode(content).map_err(|error| convert::malformed(&error.to_string()))
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
            Ok(answer) => convert::outcome(decoded(answer)?),
            // It may have arrived, and may be committed: the caller asks what became of it.
            Err(CallFailed::Lost) => Ok(CommitOutcome::Unknown),
            Err(failed) => Err(failed.into()),
        }
    }

    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup> {
        let request = wire::LookupRequest {
            deployment: Some(convert::deployment_to_wire(at)),
            id: Bytes::copy_from_slice(&id.0),
        };
        convert::lookup(self.client.clone().lookup(request).await.map_err(errors::from_status)?.into_inner())
    }

    async fn read(&self, deployment: DeploymentRef, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        let request = wire::ReadRequest {
            deployment: Some(convert::deployment_to_wire(deployment)),
            at: Some(convert::read_at_to_wire(at)),
            reads: reads.iter().map(convert::read_to_wire).collect(),
        };
        let answer = self.reads.call(request.encode_to_vec().into()).await?;
        convert::results(decoded(answer)?)
    }

    async fn confirm_leadership(&self, group: GroupId) -> Result<Position> {
        let request = wire::ConfirmLeadershipRequest { group: group.0 };
        convert::position(
            self.client.clone().confirm_leadership(request).await.map_err(errors::from_status)?.into_inner(),
        )
    }

    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        let request = wire::SubscribeRequest {
            deployment: Some(convert::deployment_to_wire(deployment)),
            from: from.as_nanoseconds(),
        };
        let pieces = self.client.clone().subscribe(request).await.map_err(errors::from_status)?.into_inner();
        let subscription = Subscription { pieces, arriving: Arriving::new(&self.limits), at: from };
        Ok(Box::pin(stream::unfold(Some(subscription), |subscription| async {
            let mut subscription = subscription?;
            let event = subscription.next().await;
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
        let reply =
            self.client.clone().backfill_step(request).await.map_err(errors::from_status)?.into_inner();
        Ok(BackfillProgress { documents: reply.documents, next: reply.next })
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
    async fn next(&mut self) -> StreamEvent {
        match self.arrived().await {
            Some(event) => {
                match &event {
                    StreamEvent::Commit(notice) => self.at = notice.timestamp,
                    StreamEvent::Heartbeat { published, .. } => self.at = self.at.max(*published),
                    StreamEvent::Lagged { .. } => {}
                }
                event
            }
            // A broken stream can't be told from one that has missed something.
            None => StreamEvent::Lagged { from: self.at },
        }
    }

    async fn arrived(&mut self) -> Option<StreamEvent> {
        loop {
            let piece = self.pieces.next().await?.ok()?;
            if let Some((_, content)) = self.arriving.add(piece).ok()? {
                return convert::event(wire::StreamEvent::decode(content).ok()?).ok();
            }
        }
    }
}
