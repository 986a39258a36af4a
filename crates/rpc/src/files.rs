//! The files of applications over gRPC: a server over any [`Files`], and a client which is one.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{FileName, FileUpload, Files, NewFile, ObjectBytes, Result, StoredFile, Uploader};
use futures::{StreamExt as _, future::BoxFuture};
use prost::Message;
use proto::{
    common::v1::{Nothing, Piece, Transfer},
    files::v1::{self as wire, files_client::FilesClient, files_server, find_reply::Reply, new_file::By},
};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    callers,
    calls::{Answers, Caller, Opened, opened, serve, within},
    convert::{self, Decoded, Malformed, decoded, present},
    errors,
    limits::RpcLimits,
    transfer::{Body, Content, Pumps, answer_of, exchange, served},
    upload::Upload,
    version::{self, Checked, Line},
};

/// The gRPC service of the files of this process.
pub struct FilesServer {
    files: Arc<dyn Files>,
    limits: RpcLimits,
}

impl FilesServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        files: Arc<dyn Files>,
        limits: RpcLimits,
    ) -> Checked<files_server::FilesServer<FilesServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = files_server::FilesServer::new(FilesServer { files, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }
}

fn file_to_wire(file: StoredFile) -> wire::StoredFile {
    wire::StoredFile {
        object: Some(callers::object_name_to_wire(file.object)),
        size_bytes: file.size_bytes,
        sha256: Bytes::copy_from_slice(&file.sha256),
        content_type: file.content_type,
    }
}

fn file(file: wire::StoredFile) -> Decoded<StoredFile> {
    Ok(StoredFile {
        object: callers::object_name(file.object)?,
        size_bytes: file.size_bytes,
        sha256: callers::sha256(&file.sha256)?,
        content_type: file.content_type,
    })
}

fn new_file_to_wire(new: NewFile) -> wire::NewFile {
    wire::NewFile {
        deployment: Some(convert::deployment_to_wire(new.deployment)),
        by: Some(match new.by {
            Uploader::Token(token) => By::Token(token),
            Uploader::Function { component } => By::Component(component),
        }),
        content_type: new.content_type,
        sha256: new.sha256.map(|sha256| Bytes::copy_from_slice(&sha256)),
    }
}

fn new_file(new: wire::NewFile) -> Decoded<NewFile> {
    Ok(NewFile {
        deployment: convert::deployment(new.deployment)?,
        by: match present(new.by, "who stores a file")? {
            By::Token(token) => Uploader::Token(token),
            By::Component(component) => Uploader::Function { component },
        },
        content_type: new.content_type,
        sha256: new.sha256.map(|sha256| callers::sha256(&sha256)).transpose()?,
    })
}

fn file_name(name: wire::FileName) -> Decoded<FileName> {
    let deployment = convert::deployment(name.deployment)?;
    Ok(FileName { deployment, component: name.component, uuid: name.uuid })
}

async fn find(files: Arc<dyn Files>, content: Bytes) -> Result<Reply> {
    let name = decoded(content).and_then(file_name).map_err(Malformed::request)?;
    Ok(match files.find(name).await? {
        Some(found) => Reply::Found(file_to_wire(found)),
        None => Reply::NotFound(Nothing {}),
    })
}

async fn write(files: Arc<dyn Files>, head: Bytes, mut body: Body) -> Result<Content> {
    let new = decoded(head).and_then(new_file).map_err(Malformed::request)?;
    let mut upload = files.begin(new).await?;
    while let Some(part) = body.next().await {
        upload.write(part?).await?;
    }
    let reply = wire::NewFileReply { id: upload.finish().await? };
    Ok(Content { head: reply.encode_to_vec().into(), body: None })
}

async fn read(files: Arc<dyn Files>, head: Bytes) -> Result<Content> {
    let request: wire::ReadRequest = decoded(head).map_err(Malformed::request)?;
    let file = present(request.file, "the file").and_then(file).map_err(Malformed::request)?;
    let body = files.read(&file, request.start..request.end).await?;
    Ok(Content { head: Bytes::new(), body: Some(body) })
}

#[tonic::async_trait]
impl files_server::Files for FilesServer {
    type FindStream = Answers<Piece>;
    type WriteStream = Answers<Transfer>;
    type ReadStream = Answers<Transfer>;

    async fn find(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::FindStream>, Status> {
        let files = self.files.clone();
        let work = move |content| find(files.clone(), content);
        let answers = serve(calls.into_inner(), self.limits, work, |result| {
            let reply = result.unwrap_or_else(|error| Reply::Error(errors::to_wire(error)));
            wire::FindReply { reply: Some(reply) }.encode_to_vec().into()
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn write(
        &self,
        request: Request<Streaming<Transfer>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let files = self.files.clone();
        let handle = move |head, body| write(files, head, body);
        Ok(Response::new(Box::pin(served(request.into_inner(), self.limits, handle))))
    }

    async fn read(
        &self,
        request: Request<Streaming<Transfer>>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let files = self.files.clone();
        let handle = move |head, _| read(files, head);
        Ok(Response::new(Box::pin(served(request.into_inner(), self.limits, handle))))
    }
}

/// Calls the files service over a channel. Its streams end with it.
pub struct GrpcFiles {
    client: FilesClient<Line>,
    finds: Caller,
    pumps: Pumps,
    limits: RpcLimits,
}

impl GrpcFiles {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcFiles {
        let client = FilesClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        let for_finds = client.clone();
        let open = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = for_finds.clone();
            Box::pin(async move { opened(client.find(calls).await) })
        };
        GrpcFiles { client, finds: Caller::new(Box::new(open), limits), pumps: Pumps::new(), limits }
    }
}

#[async_trait]
impl Files for GrpcFiles {
    async fn begin(&self, upload: NewFile) -> Result<Box<dyn FileUpload>> {
        let head = new_file_to_wire(upload).encode_to_vec().into();
        let mut client = self.client.clone();
        let open = move |sent| async move { client.write(sent).await };
        Ok(Box::new(Upload::begin(&self.pumps, &self.limits, open, head).await?))
    }

    async fn find(&self, name: FileName) -> Result<Option<StoredFile>> {
        let deployment = Some(convert::deployment_to_wire(name.deployment));
        let name = wire::FileName { deployment, component: name.component, uuid: name.uuid };
        let answer = self.finds.call(name.encode_to_vec().into()).await?;
        let reply: wire::FindReply = decoded(answer).map_err(Malformed::answer)?;
        match present(reply.reply, "the answer").map_err(Malformed::answer)? {
            Reply::Error(error) => Err(errors::from_wire(error)),
            Reply::Found(found) => file(found).map(Some).map_err(Malformed::answer),
            Reply::NotFound(_) => Ok(None),
        }
    }

    async fn read(&self, file: &StoredFile, range: Range<u64>) -> Result<ObjectBytes> {
        let file = Some(file_to_wire(file.clone()));
        let request = wire::ReadRequest { file, start: range.start, end: range.end };
        let content = Content { head: request.encode_to_vec().into(), body: None };
        let mut client = self.client.clone();
        let open = move |sent| async move { client.read(sent).await };
        let answered = exchange(&self.pumps, &self.limits, open, content).await?;
        let (_, body) = within(&self.limits, answer_of(answered)).await.and_then(|answer| answer)?;
        Ok(body)
    }
}

#[async_trait]
impl FileUpload for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.send(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        let reply: wire::NewFileReply = decoded((*self).end().await?).map_err(Malformed::answer)?;
        Ok(reply.id)
    }
}
