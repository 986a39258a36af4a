//! Serves any [`TransactionLog`] over gRPC.

use std::sync::Arc;

use crate::limits::RpcLimits;
use bytes::Bytes;
use contract::{CommitOutcome, GroupId, Hold, ReadResult, Result, TransactionLog, code};
use futures::{StreamExt, stream};
use prost::Message;
use proto::{
    common::v1::{Piece, Position as WirePosition},
    txlog::v1::{self as wire, transaction_log_server},
};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    calls::{Answers, serve, within},
    convert::{self, Malformed},
    errors::to_status,
    pieces::pieces,
    version::{self, Checked},
};

/// The gRPC service of a log in this process.
pub struct TransactionLogServer {
    log: Arc<dyn TransactionLog>,
    limits: RpcLimits,
}

impl TransactionLogServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        log: Arc<dyn TransactionLog>,
        limits: RpcLimits,
    ) -> Checked<transaction_log_server::TransactionLogServer<TransactionLogServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = transaction_log_server::TransactionLogServer::new(TransactionLogServer { log, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }

    /// The output of a call of the log, as a unary call is answered.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T, Status> {
        within(&self.limits, call).await.and_then(|result| result).map_err(to_status)
    }
}

fn refused(malformed: Malformed) -> Status {
    to_status(malformed.request())
}

async fn commit(log: Arc<dyn TransactionLog>, content: Bytes) -> Result<CommitOutcome> {
    let commit = convert::decoded(content).and_then(convert::commit).map_err(Malformed::request)?;
    log.commit(commit).await
}

/// As it crosses. A commit that was begun and took too long is under way.
fn outcome(result: Result<CommitOutcome>) -> Bytes {
    let result = match result {
        Err(error) if error.code == code::CALL_TIMED_OUT => Ok(CommitOutcome::Unknown),
        result => result,
    };
    convert::outcome_to_wire(result).encode_to_vec().into()
}

async fn read(log: Arc<dyn TransactionLog>, content: Bytes) -> Result<Vec<ReadResult>> {
    let request = convert::decoded(content).and_then(convert::read_request);
    let (deployment, at, reads) = request.map_err(Malformed::request)?;
    log.read(deployment, at, &reads).await
}

#[tonic::async_trait]
impl transaction_log_server::TransactionLog for TransactionLogServer {
    type CommitStream = Answers<Piece>;
    type ReadStream = Answers<Piece>;
    type SubscribeStream = Answers<Piece>;
    type WatchPositionStream = Answers<WirePosition>;

    async fn commit(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::CommitStream>, Status> {
        let log = self.log.clone();
        let work = move |content| commit(log.clone(), content);
        let answers = serve(calls.into_inner(), self.limits, work, outcome);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn read(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::ReadStream>, Status> {
        let log = self.log.clone();
        let work = move |content| read(log.clone(), content);
        let answers = serve(calls.into_inner(), self.limits, work, |results| {
            convert::results_to_wire(results).encode_to_vec().into()
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn subscribe(
        &self,
        request: Request<wire::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let deployment = convert::deployment(request.deployment).map_err(refused)?;
        let from = convert::timestamp(request.from).map_err(refused)?;
        let events = self.in_time(self.log.subscribe(deployment, from)).await?;
        let limits = self.limits;
        let pieces = events.enumerate().flat_map(move |(number, event)| {
            let content = convert::event_to_wire(event).encode_to_vec();
            stream::iter(pieces(number as u64, content.into(), &limits).map(Ok))
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn watch_position(
        &self,
        request: Request<wire::WatchPositionRequest>,
    ) -> Result<Response<Self::WatchPositionStream>, Status> {
        let position = self.log.position(GroupId(request.into_inner().group)).map_err(to_status)?;
        let positions = WatchStream::new(position).map(|position| Ok(convert::position_to_wire(position)));
        Ok(Response::new(Box::pin(positions)))
    }

    async fn lookup(
        &self,
        request: Request<wire::LookupRequest>,
    ) -> Result<Response<wire::LookupReply>, Status> {
        let request = request.into_inner();
        let at = convert::deployment(request.deployment).map_err(refused)?;
        let id = convert::commit_id(&request.id).map_err(refused)?;
        let lookup = self.in_time(self.log.lookup(at, id)).await?;
        Ok(Response::new(convert::lookup_to_wire(lookup)))
    }

    async fn confirm_leadership(
        &self,
        request: Request<wire::ConfirmLeadershipRequest>,
    ) -> Result<Response<WirePosition>, Status> {
        let group = GroupId(request.into_inner().group);
        let position = self.in_time(self.log.confirm_leadership(group)).await?;
        Ok(Response::new(convert::position_to_wire(position)))
    }

    async fn backfill_step(
        &self,
        request: Request<wire::BackfillStepRequest>,
    ) -> Result<Response<wire::BackfillStepReply>, Status> {
        let step = convert::backfill_step(request.into_inner()).map_err(refused)?;
        let progress = self.in_time(self.log.backfill(step)).await?;
        Ok(Response::new(wire::BackfillStepReply { documents: progress.documents, next: progress.next }))
    }

    async fn hold(&self, request: Request<wire::HoldRequest>) -> Result<Response<wire::HoldReply>, Status> {
        let request = request.into_inner();
        let hold = Hold {
            id: convert::hold_id(&request.id).map_err(refused)?,
            at: convert::timestamp(request.at).map_err(refused)?,
        };
        let held = self.in_time(self.log.hold(GroupId(request.group), hold)).await?;
        Ok(Response::new(wire::HoldReply { held_ms: held.as_millis().try_into().unwrap_or(u64::MAX) }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseReply>, Status> {
        let request = request.into_inner();
        let id = convert::hold_id(&request.id).map_err(refused)?;
        self.in_time(self.log.release(GroupId(request.group), id)).await?;
        Ok(Response::new(wire::ReleaseReply {}))
    }
}
