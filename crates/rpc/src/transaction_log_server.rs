//! Serves any [`TransactionLog`] over gRPC.

use std::{pin::Pin, sync::Arc};

use crate::limits::RpcLimits;
use bytes::Bytes;
use contract::{CommitOutcome, GroupId, ReadResult, Result, TransactionLog};
use futures::{Stream, StreamExt, stream};
use prost::Message;
use proto::{
    common::v1::{Piece, Position as WirePosition},
    txlog::v1::{self as wire, transaction_log_server},
};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    calls::{pieces, serve},
    convert,
    errors::to_status,
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
    ) -> transaction_log_server::TransactionLogServer<TransactionLogServer> {
        let bytes_max = limits.message_bytes_max;
        transaction_log_server::TransactionLogServer::new(TransactionLogServer { log, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

async fn commit(log: Arc<dyn TransactionLog>, content: Bytes) -> Result<CommitOutcome> {
    let request =
        wire::CommitRequest::decode(content).map_err(|error| convert::malformed(&error.to_string()))?;
    log.commit(convert::commit(request)?).await
}

async fn read(log: Arc<dyn TransactionLog>, content: Bytes) -> Result<Vec<ReadResult>> {
    let request =
        wire::ReadRequest::decode(content).map_err(|error| convert::malformed(&error.to_string()))?;
    let reads: Vec<_> = request.reads.into_iter().map(convert::read).collect::<Result<_>>()?;
    log.read(convert::deployment(request.deployment)?, convert::read_at(request.at)?, &reads).await
}

#[tonic::async_trait]
impl transaction_log_server::TransactionLog for TransactionLogServer {
    type CommitStream = Answers<Piece>;
    type ReadStream = Answers<Piece>;
    type SubscribeStream = Answers<Piece>;
    type WatchPositionStream = Answers<WirePosition>;

    async fn commit(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::CommitStream>, Status> {
        let log = self.log.clone();
        let answers = serve(calls.into_inner(), self.limits, move |content| {
            let log = log.clone();
            async move { convert::outcome_to_wire(commit(log, content).await).encode_to_vec().into() }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn read(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::ReadStream>, Status> {
        let log = self.log.clone();
        let answers = serve(calls.into_inner(), self.limits, move |content| {
            let log = log.clone();
            async move { convert::results_to_wire(read(log, content).await).encode_to_vec().into() }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn subscribe(
        &self,
        request: Request<wire::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let deployment = convert::deployment(request.deployment).map_err(to_status)?;
        let from = convert::timestamp(request.from).map_err(to_status)?;
        let events = self.log.subscribe(deployment, from).await.map_err(to_status)?;
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
        let at = convert::deployment(request.deployment).map_err(to_status)?;
        let id = convert::commit_id(&request.id).map_err(to_status)?;
        let lookup = self.log.lookup(at, id).await.map_err(to_status)?;
        Ok(Response::new(convert::lookup_to_wire(lookup)))
    }

    async fn confirm_leadership(
        &self,
        request: Request<wire::ConfirmLeadershipRequest>,
    ) -> Result<Response<WirePosition>, Status> {
        let position =
            self.log.confirm_leadership(GroupId(request.into_inner().group)).await.map_err(to_status)?;
        Ok(Response::new(convert::position_to_wire(position)))
    }

    async fn backfill_step(
        &self,
        request: Request<wire::BackfillStepRequest>,
    ) -> Result<Response<wire::BackfillStepReply>, Status> {
        let step = convert::backfill_step(request.into_inner()).map_err(to_status)?;
        let progress = self.log.backfill(step).await.map_err(to_status)?;
        Ok(Response::new(wire::BackfillStepReply { documents: progress.documents, next: progress.next }))
    }
}
