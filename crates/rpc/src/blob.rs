//! The blob service over gRPC: a server over any store of blobs and of objects, and a client which is both.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    BlobDigest, BlobStore, ObjectBytes, ObjectName, ObjectStore, ObjectSummary, ObjectWriter, Result,
};
use futures::{StreamExt as _, future::BoxFuture};
use prost::Message;
use proto::{
    blob::v1::{self as wire, blob_client::BlobClient, blob_reply::Reply, blob_request::Call, blob_server},
    common::v1::{Nothing, Piece, Transfer},
};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    callers,
    calls::{Answers, Caller, Opened, opened, serve, within},
    convert::{Malformed, decoded, present},
    errors,
    limits::RpcLimits,
    transfer::{Body, Content, Pumps, answer_of, exchange, served},
    upload::Upload,
    version::{self, Checked, Line},
};

/// The gRPC service of the stores in this process.
pub struct BlobServer {
    stores: Stores,
    limits: RpcLimits,
}

#[derive(Clone)]
struct Stores {
    blobs: Arc<dyn BlobStore>,
    objects: Arc<dyn ObjectStore>,
}

impl BlobServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        blobs: Arc<dyn BlobStore>,
        objects: Arc<dyn ObjectStore>,
        limits: RpcLimits,
    ) -> Checked<blob_server::BlobServer<BlobServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = blob_server::BlobServer::new(BlobServer { stores: Stores { blobs, objects }, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }
}

fn digest(bytes: &[u8]) -> Result<BlobDigest, Malformed> {
    callers::sha256(bytes).map(BlobDigest)
}

async fn answer(stores: Stores, content: Bytes) -> Result<Reply> {
    let request: wire::BlobRequest = decoded(content).map_err(Malformed::request)?;
    let name = |name| callers::object_name(Some(name)).map_err(Malformed::request);
    Ok(match present(request.call, "the call").map_err(Malformed::request)? {
        Call::Put(bytes) => Reply::Put(Bytes::copy_from_slice(&stores.blobs.put(bytes).await?.0)),
        Call::Get(of) => {
            let blob = stores.blobs.get(digest(&of).map_err(Malformed::request)?).await?;
            Reply::Get(wire::GetReply { blob })
        }
        Call::Has(of) => Reply::Has(stores.blobs.has(digest(&of).map_err(Malformed::request)?).await?),
        Call::Size(of) => Reply::Size(wire::SizeReply { size_bytes: stores.objects.size(name(of)?).await? }),
        Call::Delete(of) => {
            stores.objects.delete(name(of)?).await?;
            Reply::Delete(Nothing {})
        }
    })
}

fn encode(result: Result<Reply>) -> Bytes {
    let reply = result.unwrap_or_else(|error| Reply::Error(errors::to_wire(error)));
    wire::BlobReply { reply: Some(reply) }.encode_to_vec().into()
}

async fn write(objects: Arc<dyn ObjectStore>, head: Bytes, mut body: Body) -> Result<Content> {
    let name = decoded(head).and_then(|name| callers::object_name(Some(name))).map_err(Malformed::request)?;
    let mut writer = objects.create(name).await?;
    // The first part is asked for only now, which tells the client that the object is begun.
    while let Some(part) = body.next().await {
        writer.write(part?).await?;
    }
    let summary = writer.finish().await?;
    let sha256 = Bytes::copy_from_slice(&summary.sha256);
    let summary = wire::ObjectSummary { size_bytes: summary.size_bytes, sha256 };
    Ok(Content { head: summary.encode_to_vec().into(), body: None })
}

async fn read(objects: Arc<dyn ObjectStore>, head: Bytes) -> Result<Content> {
    let request: wire::ReadRequest = decoded(head).map_err(Malformed::request)?;
    let name = callers::object_name(request.name).map_err(Malformed::request)?;
    let body = objects.read(name, request.start..request.end).await?;
    let answer = wire::ReadAnswer { found: body.is_some() };
    Ok(Content { head: answer.encode_to_vec().into(), body })
}

#[tonic::async_trait]
impl blob_server::Blob for BlobServer {
    type CallStream = Answers<Piece>;
    type WriteStream = Answers<Transfer>;
    type ReadStream = Answers<Transfer>;

    async fn call(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::CallStream>, Status> {
        let stores = self.stores.clone();
        let work = move |content| answer(stores.clone(), content);
        let answers = serve(calls.into_inner(), self.limits.of_pushes(), work, encode);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn write(
        &self,
        request: Request<Streaming<Transfer>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let objects = self.stores.objects.clone();
        let handle = move |head, body| write(objects, head, body);
        Ok(Response::new(Box::pin(served(request.into_inner(), self.limits, handle))))
    }

    async fn read(
        &self,
        request: Request<Streaming<Transfer>>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let objects = self.stores.objects.clone();
        let handle = move |head, _| read(objects, head);
        Ok(Response::new(Box::pin(served(request.into_inner(), self.limits, handle))))
    }
}

/// Calls stores over a channel. Its streams end with it.
pub struct GrpcBlobs {
    client: BlobClient<Line>,
    calls: Caller,
    pumps: Pumps,
    limits: RpcLimits,
}

impl GrpcBlobs {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcBlobs {
        let client = BlobClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        let for_calls = client.clone();
        let open = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = for_calls.clone();
            Box::pin(async move { opened(client.call(calls).await) })
        };
        let calls = Caller::new(Box::new(open), limits.of_pushes());
        GrpcBlobs { client, calls, pumps: Pumps::new(), limits }
    }

    async fn ask(&self, call: Call) -> Result<Reply> {
        let request = wire::BlobRequest { call: Some(call) };
        let answer = self.calls.call(request.encode_to_vec().into()).await?;
        let reply: wire::BlobReply = decoded(answer).map_err(Malformed::answer)?;
        match present(reply.reply, "the answer").map_err(Malformed::answer)? {
            Reply::Error(error) => Err(errors::from_wire(error)),
            reply => Ok(reply),
        }
    }
}

#[async_trait]
impl BlobStore for GrpcBlobs {
    async fn put(&self, bytes: Bytes) -> Result<BlobDigest> {
        match self.ask(Call::Put(bytes)).await? {
            Reply::Put(named) => digest(&named).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn get(&self, digest: BlobDigest) -> Result<Option<Bytes>> {
        match self.ask(Call::Get(Bytes::copy_from_slice(&digest.0))).await? {
            Reply::Get(reply) => Ok(reply.blob),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn has(&self, digest: BlobDigest) -> Result<bool> {
        match self.ask(Call::Has(Bytes::copy_from_slice(&digest.0))).await? {
            Reply::Has(has) => Ok(has),
            _ => Err(errors::of_another_call()),
        }
    }
}

#[async_trait]
impl ObjectStore for GrpcBlobs {
    async fn create(&self, name: ObjectName) -> Result<Box<dyn ObjectWriter>> {
        let head = callers::object_name_to_wire(name).encode_to_vec().into();
        let mut client = self.client.clone();
        let open = move |sent| async move { client.write(sent).await };
        Ok(Box::new(Upload::begin(&self.pumps, &self.limits, open, head).await?))
    }

    async fn size(&self, name: ObjectName) -> Result<Option<u64>> {
        match self.ask(Call::Size(callers::object_name_to_wire(name))).await? {
            Reply::Size(reply) => Ok(reply.size_bytes),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn read(&self, name: ObjectName, range: Range<u64>) -> Result<Option<ObjectBytes>> {
        let name = Some(callers::object_name_to_wire(name));
        let request = wire::ReadRequest { name, start: range.start, end: range.end };
        let content = Content { head: request.encode_to_vec().into(), body: None };
        let mut client = self.client.clone();
        let open = move |sent| async move { client.read(sent).await };
        let answered = exchange(&self.pumps, &self.limits, open, content).await?;
        let (head, body) = within(&self.limits, answer_of(answered)).await.and_then(|answer| answer)?;
        let answer: wire::ReadAnswer = decoded(head).map_err(Malformed::answer)?;
        Ok(answer.found.then_some(body))
    }

    async fn delete(&self, name: ObjectName) -> Result<()> {
        match self.ask(Call::Delete(callers::object_name_to_wire(name))).await? {
            Reply::Delete(_) => Ok(()),
            _ => Err(errors::of_another_call()),
        }
    }
}

#[async_trait]
impl ObjectWriter for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.send(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectSummary> {
        let summary: wire::ObjectSummary = decoded((*self).end().await?).map_err(Malformed::answer)?;
        let sha256 = callers::sha256(&summary.sha256).map_err(Malformed::answer)?;
        Ok(ObjectSummary { size_bytes: summary.size_bytes, sha256 })
    }
}
