//! Blobs and objects in a bucket of an S3-compatible store.
//!
//! A store takes an object of unknown length in parts, and keeps the parts of one that is never completed for ever, where nobody
//! sees them. So the id of such an upload is noted under `incoming/` and the object's name; deleting the object ends the upload too.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use contract::{BlobDigest, ObjectBytes, ObjectName, ObjectSummary, ObjectWriter};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{
    ClientOptions, GetOptions, ObjectStore as _, ObjectStoreExt as _, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    multipart::{MultipartStore as _, PartId},
    path::Path,
};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use url::Url;

use crate::{Error, folder::checked, names, service::Work};

/// One part of an object; a store takes 10,000 of at least 5 MiB, some only of one size. A writer holds two.
const PART_BYTES: usize = 8 << 20;
/// What answers nothing for so long is asked again.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Where a bucket is, and how it is reached.
#[derive(Clone)]
pub struct BucketOptions {
    /// `s3://bucket` or `s3://bucket/prefix`.
    pub url: String,
    /// Credentials, region and endpoint by the names of the usual variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_REGION`, `AWS_ENDPOINT_URL` and their like. Others are ignored.
    pub settings: BTreeMap<String, String>,
}

/// Secrets stay out of logs.
impl fmt::Debug for BucketOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BucketOptions({})", self.url)
    }
}

/// Blobs and objects in one bucket, below a prefix.
pub struct Bucket {
    store: AmazonS3,
    prefix: Path,
}

impl Bucket {
    pub async fn open(BucketOptions { url, settings }: BucketOptions) -> Result<Bucket, Error> {
        let invalid = || Error::BucketUrl { url: url.clone() };
        let parsed = Url::parse(&url).ok().filter(|url| url.scheme() == "s3").ok_or_else(invalid)?;
        let name = parsed.host_str().filter(|name| !name.is_empty()).ok_or_else(invalid)?;
        let prefix = Path::from_url_path(parsed.path()).map_err(|_| invalid())?;
        // The library takes its cryptography from what the process has chosen. If that is something already, it stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientOptions::new()
            // A large object takes as long as it takes.
            .with_timeout_disabled()
            .with_read_timeout(SILENCE_MAX)
            // An endpoint without encryption is one that the operator has named.
            .with_allow_http(true);
        let mut builder = AmazonS3Builder::new().with_client_options(client);
        for (name, value) in settings {
            if let Ok(setting) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(setting, value);
            }
        }
        let bucket = Bucket { store: builder.with_bucket_name(name).build()?, prefix };
        // Whether it is there, and lets us in, is better known now than when the first app is pushed.
        bucket.store.list(Some(&bucket.path("nothing"))).try_next().await?;
        Ok(bucket)
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    fn of_object(&self, name: ObjectName) -> Path {
        self.path(&names::of_object(name))
    }

    /// Where the id of an upload in parts is noted.
    fn of_upload(&self, name: ObjectName) -> Path {
        self.path(&format!("incoming/{}", names::of_object(name)))
    }

    pub async fn put(&self, bytes: Bytes) -> Result<BlobDigest, Error> {
        let digest = BlobDigest(hash(bytes.clone()).await);
        self.store.put(&self.path(&names::of_blob(digest)), bytes.into()).await?;
        Ok(digest)
    }

    pub async fn get(&self, digest: BlobDigest) -> Result<Option<Bytes>, Error> {
        match self.read_whole(&self.path(&names::of_blob(digest))).await? {
            Some(bytes) => {
                let checking = tokio::task::spawn_blocking(move || checked(digest, bytes));
                checking.await.expect("a panic ends the process").map(Some)
            }
            None => Ok(None),
        }
    }

    pub async fn has(&self, digest: BlobDigest) -> Result<bool, Error> {
        Ok(self.size_of(&self.path(&names::of_blob(digest))).await?.is_some())
    }

    pub async fn size(&self, name: ObjectName) -> Result<Option<u64>, Error> {
        self.size_of(&self.of_object(name)).await
    }

    async fn size_of(&self, path: &Path) -> Result<Option<u64>, Error> {
        Ok(if_there(self.store.head(path).await)?.map(|found| found.size))
    }

    async fn read_whole(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        match if_there(self.store.get(path).await)? {
            Some(found) => Ok(Some(found.bytes().await?)),
            None => Ok(None),
        }
    }

    pub async fn read(&self, name: ObjectName, range: Range<u64>) -> Result<Option<ObjectBytes>, Error> {
        let path = self.of_object(name);
        if range.is_empty() {
            // A store takes no such range.
            return match self.size_of(&path).await? {
                Some(size) if range.start == range.end && range.end <= size => {
                    Ok(Some(futures::stream::empty().boxed()))
                }
                Some(_) => Err(Error::RangeNotInObject),
                None => Ok(None),
            };
        }
        let options = GetOptions::new().with_range(Some(range.clone()));
        match if_there(self.store.get_opts(&path, options).await) {
            Ok(Some(found)) if found.range == range => {
                let pieces = found.into_stream().map_err(|error| Error::from(error).into());
                Ok(Some(pieces.boxed()))
            }
            Ok(Some(_)) => Err(Error::RangeNotInObject),
            Ok(None) => Ok(None),
            // Refused, perhaps because it begins behind the end.
            Err(error) => match self.size_of(&path).await? {
                Some(size) if range.end > size => Err(Error::RangeNotInObject),
                _ => Err(error),
            },
        }
    }

    pub async fn delete(&self, name: ObjectName) -> Result<(), Error> {
        let (object, noted) = (self.of_object(name), self.of_upload(name));
        if let Some(id) = self.read_whole(&noted).await? {
            let id = String::from_utf8_lossy(&id).into_owned();
            if_there(self.store.abort_multipart(&object, &id).await)?;
            if_there(self.store.delete(&noted).await)?;
        }
        if_there(self.store.delete(&object).await)?;
        Ok(())
    }
}

impl Bucket {
    async fn abandon(&self, name: ObjectName, upload: Upload) -> Result<(), Error> {
        // A part that arrives after the upload was ended would stay.
        if let Some(sending) = upload.sending {
            let _ = sending.await;
        }
        if_there(self.store.abort_multipart(&self.of_object(name), &upload.id).await)?;
        self.delete(name).await
    }
}

/// `None` if there is nothing.
fn if_there<T>(result: object_store::Result<T>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn hash(bytes: Bytes) -> [u8; 32] {
    let hashing = tokio::task::spawn_blocking(move || Sha256::digest(bytes).into());
    hashing.await.expect("a panic ends the process")
}

/// An object that is being written into a bucket.
pub struct BucketWriter {
    name: ObjectName,
    bucket: Arc<Bucket>,
    work: Work,
    /// The part that is being gathered.
    part: BytesMut,
    digest: Option<Sha256>,
    size_bytes: u64,
    /// There once the first part is full.
    upload: Option<Upload>,
    is_finished: bool,
}

/// An upload in parts.
struct Upload {
    id: String,
    parts: Vec<PartId>,
    /// The part that is on its way.
    sending: Option<JoinHandle<Result<PartId, Error>>>,
}

impl BucketWriter {
    pub fn new(name: ObjectName, bucket: Arc<Bucket>, work: Work) -> BucketWriter {
        BucketWriter {
            name,
            bucket,
            work,
            part: BytesMut::new(),
            digest: Some(Sha256::new()),
            size_bytes: 0,
            upload: None,
            is_finished: false,
        }
    }

    /// Takes what was gathered, and has it hashed.
    async fn take_part(&mut self) -> Result<Bytes, Error> {
        let part = std::mem::take(&mut self.part).freeze();
        let mut digest = self.digest.take().ok_or(Error::WriterFailed)?;
        let bytes = part.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            digest.update(&bytes);
            digest
        });
        self.digest = Some(hashing.await.expect("a panic ends the process"));
        Ok(part)
    }

    /// Sends what was gathered, after the part before it has arrived.
    async fn send_part(&mut self) -> Result<(), Error> {
        let part = self.take_part().await?;
        let (bucket, path) = (self.bucket.clone(), self.bucket.of_object(self.name));
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let id = bucket.store.create_multipart(&path).await?;
                let noted = bucket.of_upload(self.name);
                let upload = none.insert(Upload { id: id.clone(), parts: Vec::new(), sending: None });
                bucket.store.put(&noted, Bytes::from(id).into()).await?;
                upload
            }
        };
        upload.arrived().await?;
        let (id, number) = (upload.id.clone(), upload.parts.len());
        upload.sending = Some(tokio::spawn(async move {
            Ok(bucket.store.put_part(&path, &id, number, PutPayload::from(part)).await?)
        }));
        Ok(())
    }

    async fn complete(&mut self) -> Result<ObjectSummary, Error> {
        let path = self.bucket.of_object(self.name);
        match self.upload {
            None => {
                let whole = self.take_part().await?;
                self.bucket.store.put(&path, whole.into()).await?;
            }
            Some(_) => {
                if !self.part.is_empty() {
                    self.send_part().await?;
                }
                let upload = self.upload.as_mut().ok_or(Error::WriterFailed)?;
                upload.arrived().await?;
                let parts = std::mem::take(&mut upload.parts);
                self.bucket.store.complete_multipart(&path, &upload.id, parts).await?;
                // If this is lost, the note stays until the object is deleted, and says nothing that holds.
                if_there(self.bucket.store.delete(&self.bucket.of_upload(self.name)).await)?;
            }
        }
        let digest = self.digest.take().ok_or(Error::WriterFailed)?;
        Ok(ObjectSummary { size_bytes: self.size_bytes, sha256: digest.finalize().into() })
    }
}

impl Upload {
    async fn arrived(&mut self) -> Result<(), Error> {
        if let Some(sending) = self.sending.take() {
            self.parts.push(sending.await.expect("a panic ends the process")?);
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectWriter for BucketWriter {
    async fn write(&mut self, mut bytes: Bytes) -> contract::Result<()> {
        self.work.check()?;
        while !bytes.is_empty() {
            let taken = bytes.split_to(bytes.len().min(PART_BYTES - self.part.len()));
            self.part.extend_from_slice(&taken);
            self.size_bytes += taken.len() as u64;
            if self.part.len() == PART_BYTES {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> contract::Result<ObjectSummary> {
        let work = self.work.clone();
        let finished = work.finish(async move {
            let summary = self.complete().await?;
            self.is_finished = true;
            Ok(summary)
        });
        Ok(finished.await?)
    }
}

impl Drop for BucketWriter {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take().filter(|_| !self.is_finished) else { return };
        let (bucket, name) = (self.bucket.clone(), self.name);
        self.work.leave(async move {
            if let Err(error) = bucket.abandon(name, upload).await {
                tracing::warn!("an upload that was cut off could not be removed from the bucket: {error}");
            }
        });
    }
}
