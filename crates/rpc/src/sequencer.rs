//! The sequencer over gRPC: a server over any [`Sequencer`], and a client which is one.

use std::{pin::Pin, sync::Arc};

use crate::limits::RpcLimits;
use async_trait::async_trait;
use bytes::Bytes;
use contract::{GroupId, Position, Result, Sequencer};
use futures::{Stream, future::BoxFuture};
use prost::Message;
use proto::{
    common::v1::Piece,
    sequencer::v1::{self as wire, latest_reply, sequencer_client::SequencerClient, sequencer_server},
};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    calls::{Caller, Opened, opened, serve},
    convert::{self, Malformed},
    errors,
    version::{self, Checked},
};

/// The gRPC service of a sequencer in this process.
pub struct SequencerServer {
    sequencer: Arc<dyn Sequencer>,
    limits: RpcLimits,
}

impl SequencerServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        sequencer: Arc<dyn Sequencer>,
        limits: RpcLimits,
    ) -> Checked<sequencer_server::SequencerServer<SequencerServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = sequencer_server::SequencerServer::new(SequencerServer { sequencer, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }
}

async fn latest(sequencer: Arc<dyn Sequencer>, content: Bytes) -> Result<Position> {
    let request: wire::LatestRequest = convert::decoded(content).map_err(Malformed::request)?;
    sequencer.latest(GroupId(request.group)).await
}

#[tonic::async_trait]
impl sequencer_server::Sequencer for SequencerServer {
    type LatestStream = Pin<Box<dyn Stream<Item = Result<Piece, Status>> + Send>>;

    async fn latest(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::LatestStream>, Status> {
        let sequencer = self.sequencer.clone();
        let work = move |content| latest(sequencer.clone(), content);
        let answers = serve(calls.into_inner(), self.limits, work, |result| {
            let result = match result {
                Ok(position) => latest_reply::Result::Position(convert::position_to_wire(position)),
                Err(error) => latest_reply::Result::Error(errors::to_wire(error)),
            };
            wire::LatestReply { result: Some(result) }.encode_to_vec().into()
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Calls a sequencer over a channel. Its stream ends with it.
pub struct GrpcSequencer {
    calls: Caller,
}

impl GrpcSequencer {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcSequencer {
        let client = SequencerClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        let open = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = client.clone();
            Box::pin(async move { opened(client.latest(calls).await) })
        };
        GrpcSequencer { calls: Caller::new(Box::new(open), limits) }
    }
}

#[async_trait]
impl Sequencer for GrpcSequencer {
    async fn latest(&self, group: GroupId) -> Result<Position> {
        let content = wire::LatestRequest { group: group.0 }.encode_to_vec();
        let answer = self.calls.call(content.into()).await?;
        let reply: wire::LatestReply = convert::decoded(answer).map_err(Malformed::answer)?;
        match reply.result {
            Some(latest_reply::Result::Position(position)) => {
                convert::position(position).map_err(Malformed::answer)
            }
            Some(latest_reply::Result::Error(error)) => Err(errors::from_wire(error)),
            None => Err(errors::answer_not_understood("there is nothing in it")),
        }
    }
}
