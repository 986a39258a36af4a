//! The files of a deployment on a real log and a real folder.

#[path = "../../../crates/rpc/tests/support/loopback.rs"]
mod loopback;

use std::{fs, ops::Range, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Deployment, DeploymentId, DeploymentRef, ErrorKind, FileName, FileUpload, Files as _, GroupId, NewFile,
    ObjectBytes, ObjectName, ObjectStore, ObjectSummary, ObjectWriter, Result, Sequencer, StoredFile,
    TransactionLog, Uploader,
};
use files::{FileLimits, Handle};
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use system_transaction::{SystemTransactions, Work};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use transaction::{ComponentRow, FileObjectRow, Transaction, component_id};
use value::ComponentId;

const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

/// Never sweeps by itself within a test.
const LIMITS: FileLimits = FileLimits { sweep_ms: 3_600_000, ..FileLimits::DEFAULT };

/// A deployment as the directory would tell it.
fn known(reference: DeploymentRef) -> Deployment {
    let name = format!("d{}", reference.deployment.0);
    Deployment { reference, name, cloud_url: String::new(), site_url: String::new() }
}

struct Harness {
    files: Handle,
    service: files::Service,
    transactions: SystemTransactions,
    objects: Arc<dyn ObjectStore>,
    shutdown: CancellationToken,
    folder: tempfile::TempDir,
    log: txlog::Service,
}

impl Harness {
    async fn start(limits: FileLimits) -> Harness {
        Harness::start_over(limits, |blobs| Arc::new(blobs)).await
    }

    /// With what `objects` makes of the blobs.
    async fn start_over(
        limits: FileLimits,
        objects: impl FnOnce(blob::Handle) -> Arc<dyn ObjectStore>,
    ) -> Harness {
        let folder = tempfile::tempdir().expect("a folder");
        let shutdown = CancellationToken::new();
        let options = txlog::Options::embedded(folder.path().join("log"));
        let service = txlog::Service::start(options, shutdown.child_token()).await.expect("the log starts");
        let log: Arc<dyn TransactionLog> = Arc::new(service.handle());
        let dependencies = sequencer::Dependencies { log: log.clone() };
        let sequencer: Arc<dyn Sequencer> =
            Arc::new(sequencer::Service::start(dependencies, CancellationToken::new()).handle());
        let limits_of_transactions = transaction::Limits::DEFAULT;
        let transactions = SystemTransactions::new(log, sequencer, 1 << 20, &[7; 32], limits_of_transactions);
        let options = blob::Options { folder: folder.path().join("blobs"), is_shared: false };
        let blobs = blob::Service::start(options, CancellationToken::new()).await.expect("the blobs open");
        let objects = objects(blobs.handle());
        let options = files::Options { limits, swept: Deployment::fixed([known(DEPLOYMENT)]) };
        let dependencies =
            files::Dependencies { transactions: transactions.clone(), objects: objects.clone() };
        let files_service = files::Service::start(options, dependencies, shutdown.child_token());
        Harness {
            files: files_service.handle(),
            service: files_service,
            transactions,
            objects,
            shutdown,
            folder,
            log: service,
        }
    }

    /// As a mutation gives it to a client.
    async fn token(&self) -> String {
        let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later");
        self.transactions
            .snapshot(DEPLOYMENT)
            .await
            .expect("a snapshot")
            .upload_token(now_ms.as_millis() as u64)
    }

    async fn begin(&self, sha256: Option<[u8; 32]>) -> Result<Box<dyn FileUpload>> {
        let (deployment, token) = (DEPLOYMENT, self.token().await);
        let content_type = Some("text/plain".to_owned());
        self.files.begin(NewFile { deployment, by: Uploader::Token(token), content_type, sha256 }).await
    }

    async fn store(&self, bytes: &'static [u8]) -> String {
        let mut upload = self.begin(Some(Sha256::digest(bytes).into())).await.expect("it begins");
        for piece in bytes.chunks(3) {
            upload.write(Bytes::from_static(piece)).await.expect("it is taken");
        }
        upload.finish().await.expect("it is stored")
    }

    async fn find(&self, id: &str) -> Option<StoredFile> {
        let mut transaction = self.transactions.snapshot(DEPLOYMENT).await.expect("a snapshot");
        let file = transaction.file(id).await.expect("it is looked for")?;
        let name = FileName { deployment: DEPLOYMENT, component: String::new(), uuid: file.uuid };
        self.files.find(name).await.expect("it is looked for")
    }

    async fn read(&self, file: &StoredFile) -> Vec<u8> {
        let bytes = self.files.read(file, 0..file.size_bytes).await.expect("it is read");
        bytes.try_collect::<Vec<Bytes>>().await.expect("it is read").concat()
    }

    async fn noted_objects(&self) -> usize {
        let mut transaction = self.transactions.snapshot(DEPLOYMENT).await.expect("a snapshot");
        transaction.rows::<FileObjectRow>("by_state_and_since", &[]).await.expect("they are read").len()
    }

    fn stored_objects(&self) -> usize {
        files_below(&self.folder.path().join("blobs"))
    }

    /// Until nothing is noted and nothing stored.
    async fn becomes_empty(&self) {
        for _ in 0..4_000 {
            if self.noted_objects().await == 0 && self.stored_objects() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} objects are noted and {} stored", self.noted_objects().await, self.stored_objects());
    }

    /// Until nobody knows of any object.
    async fn becomes_noted_nowhere(&self) {
        for _ in 0..4_000 {
            if self.noted_objects().await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} objects are noted", self.noted_objects().await);
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.service.stopped().await;
        drop((self.files, self.transactions));
        self.log.stopped().await;
    }
}

fn files_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("it lists").path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

struct Delete<'i>(&'i str);

#[async_trait]
impl Work for Delete<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        Ok(transaction.delete_file(self.0).await?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_found_and_read_as_it_was_stored() {
    let harness = Harness::start(LIMITS).await;
    for bytes in [&b""[..], b"some bytes of a file"] {
        let id = harness.store(bytes).await;
        let file = harness.find(&id).await.expect("it is there");
        assert_eq!(file.size_bytes, bytes.len() as u64);
        assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(bytes)));
        assert_eq!(file.content_type.as_deref(), Some("text/plain"));
        assert_eq!(harness.read(&file).await, bytes);
    }
    let metrics = harness.files.metrics();
    assert_eq!((metrics.uploads_begun, metrics.uploads_kept, metrics.uploads_cut_off), (2, 2, 0));
    assert_eq!((metrics.bytes_stored, metrics.bytes_read), (20, 20));
    let unknown = FileName {
        deployment: DEPLOYMENT,
        component: "no component".to_owned(),
        uuid: "0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d".to_owned(),
    };
    assert_eq!(harness.files.find(unknown.clone()).await, Ok(None));
    assert_eq!(harness.files.find(FileName { component: String::new(), ..unknown }).await, Ok(None));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_or_cut_off_leaves_nothing() {
    let limits = FileLimits { file_bytes_max: 10, content_type_bytes_max: 20, ..LIMITS };
    let harness = Harness::start(limits).await;
    let token = harness.token().await;
    let new = |token: &str, content_type: &str| NewFile {
        deployment: DEPLOYMENT,
        by: Uploader::Token(token.to_owned()),
        content_type: Some(content_type.to_owned()),
        sha256: None,
    };
    for (token, content_type, kind, code) in [
        ("", "text/plain", ErrorKind::Unauthenticated, "StorageTokenInvalid"),
        (&token[1..], "text/plain", ErrorKind::Unauthenticated, "StorageTokenInvalid"),
        (&token, "text/plain\r\nX: y", ErrorKind::BadRequest, "InvalidContentType"),
        (&token, "a/aaaaaaaaaaaaaaaaaaa", ErrorKind::BadRequest, "InvalidContentType"),
    ] {
        let error = harness.files.begin(new(token, content_type)).await.err().expect("it is refused");
        assert_eq!((error.kind, &*error.code), (kind, code));
    }
    assert_eq!(harness.noted_objects().await, 0);

    // Cut off, before its first byte and after it.
    drop(harness.begin(None).await.expect("it begins"));
    let mut upload = harness.begin(None).await.expect("it begins");
    upload.write(Bytes::from_static(b"0123456789")).await.expect("it fits");
    assert!(harness.noted_objects().await > 0);
    drop(upload);

    let mut upload = harness.begin(None).await.expect("it begins");
    upload.write(Bytes::from_static(b"0123456789")).await.expect("it fits");
    assert_eq!(
        upload.write(Bytes::from_static(b"0")).await.expect_err("it is too large").code,
        "FileTooLarge"
    );
    drop(upload);

    let mut upload = harness.begin(Some([1; 32])).await.expect("it begins");
    upload.write(Bytes::from_static(b"0123456789")).await.expect("it fits");
    let error = upload.finish().await.expect_err("it has another digest");
    assert_eq!(error.code, "Sha256Mismatch");
    assert!(error.message.starts_with("Sha256 mismatch. Expected: AQEB"), "{error}");
    assert!(error.message.contains("= Actual: "), "{error}");
    harness.becomes_empty().await;
    assert_eq!(harness.files.metrics().uploads_cut_off, 4);
    harness.stop().await;
}

/// Objects that get their names when a test says so, also when nobody waits for it any more.
struct Slow {
    blobs: blob::Handle,
    finish: Arc<Notify>,
}

struct SlowWriter {
    writer: Box<dyn ObjectWriter>,
    finish: Arc<Notify>,
}

#[async_trait]
impl ObjectStore for Slow {
    async fn create(&self, name: ObjectName) -> Result<Box<dyn ObjectWriter>> {
        let (writer, finish) = (self.blobs.create(name).await?, self.finish.clone());
        Ok(Box::new(SlowWriter { writer, finish }))
    }

    async fn size(&self, name: ObjectName) -> Result<Option<u64>> {
        self.blobs.size(name).await
    }

    async fn read(&self, name: ObjectName, range: Range<u64>) -> Result<Option<ObjectBytes>> {
        self.blobs.read(name, range).await
    }

    async fn delete(&self, name: ObjectName) -> Result<()> {
        self.blobs.delete(name).await
    }
}

#[async_trait]
impl ObjectWriter for SlowWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectSummary> {
        let SlowWriter { writer, finish } = *self;
        let finishing = tokio::spawn(async move {
            finish.notified().await;
            writer.finish().await
        });
        finishing.await.expect("no panic")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_client_goes_while_it_ends_leaves_nothing() {
    let finish = Arc::new(Notify::new());
    let opens = finish.clone();
    let harness = Harness::start_over(LIMITS, |blobs| Arc::new(Slow { blobs, finish })).await;
    let mut upload = harness.begin(None).await.expect("it begins");
    upload.write(Bytes::from_static(b"bytes")).await.expect("it is taken");
    let mut finishing = upload.finish();
    assert!(futures::poll!(&mut finishing).is_pending());
    drop(finishing);
    // Longer than it would take to clear what is not there yet.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(harness.noted_objects().await, 1, "as long as it may get its name");
    opens.notify_one();
    harness.becomes_empty().await;
    assert_eq!(harness.files.metrics().uploads_cut_off, 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_file_can_be_read_on_until_it_is_swept_and_others_stay() {
    let limits = FileLimits { grace_ms: 5_000, sweep_ms: 100, ..LIMITS };
    let harness = Harness::start(limits).await;
    let (kept, deleted) = (harness.store(b"kept").await, harness.store(b"deleted").await);
    let file = harness.find(&deleted).await.expect("it is there");
    harness.transactions.transact(DEPLOYMENT, &Delete(&deleted)).await.expect("it is deleted");
    assert_eq!(harness.find(&deleted).await, None);
    assert_eq!(harness.read(&file).await, b"deleted", "whoever has found it reads it to its end");
    for _ in 0..4_000 {
        if harness.stored_objects() == 1 && harness.noted_objects().await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!((harness.stored_objects(), harness.noted_objects().await), (1, 1));
    let error = harness.files.read(&file, 0..1).await.err().expect("it is gone");
    assert_eq!((error.kind, &*error.code), (ErrorKind::NotFound, "FileNotFound"));
    let file = harness.find(&kept).await.expect("it is there");
    assert_eq!(harness.read(&file).await, b"kept");
    // It is counted after its commit.
    while harness.files.metrics().objects_swept == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(harness.files.metrics().objects_swept, 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_takes_longer_than_the_grace_time_is_refused_and_leaves_nothing() {
    let limits = FileLimits { grace_ms: 300, sweep_ms: 50, ..LIMITS };
    let harness = Harness::start(limits).await;
    let mut upload = harness.begin(None).await.expect("it begins");
    upload.write(Bytes::from_static(b"slow")).await.expect("it is taken");
    harness.becomes_noted_nowhere().await;
    assert_eq!(upload.finish().await.expect_err("it was given up").code, "UploadTooSlow");
    harness.becomes_empty().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_has_left_is_swept_by_the_next() {
    let limits = FileLimits { grace_ms: 3_000, sweep_ms: 50, ..LIMITS };
    let harness = Harness::start(limits).await;
    let mut upload = harness.begin(None).await.expect("it begins");
    upload.write(Bytes::from(vec![7; 2 << 20])).await.expect("it is taken");
    // As after a kill: nothing is cleared away; and as if the object had just got its name.
    std::mem::forget(upload);
    let mut transaction = harness.transactions.snapshot(DEPLOYMENT).await.expect("a snapshot");
    let rows = transaction.rows::<FileObjectRow>("by_state_and_since", &[]).await.expect("they are read");
    let id = *rows[0].id.internal_id.as_bytes();
    let name = contract::ObjectName { deployment: DEPLOYMENT, component: None, id };
    let mut writer = harness.objects.create(name).await.expect("it begins");
    writer.write(Bytes::from_static(b"whole")).await.expect("it is taken");
    writer.finish().await.expect("it is stored");
    assert_eq!(rows[0].row.component, ComponentId::ROOT);
    for _ in 0..4_000 {
        if harness.objects.size(name).await == Ok(None) && harness.noted_objects().await == 0 {
            harness.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_bytes_are_damaged_is_a_defect_and_not_an_answer() {
    let harness = Harness::start(LIMITS).await;
    let id = harness.store(b"some bytes").await;
    let file = harness.find(&id).await.expect("it is there");
    let name = StoredFile { size_bytes: 11, ..file };
    let error = harness.files.read(&name, 0..11).await.err().expect("they are fewer");
    assert_eq!(error.kind, ErrorKind::Internal);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_stores_files_of_its_component() {
    let harness = Harness::start(LIMITS).await;
    let new = |component: &str| NewFile {
        deployment: DEPLOYMENT,
        by: Uploader::Function { component: component.to_owned() },
        content_type: None,
        sha256: None,
    };
    let mut upload = harness.files.begin(new("")).await.expect("it begins");
    upload.write("by a function".into()).await.expect("it is taken");
    let id = upload.finish().await.expect("it is kept");
    let mut transaction = harness.transactions.snapshot(DEPLOYMENT).await.expect("a snapshot");
    let file = transaction.file(&id).await.expect("it can be read").expect("it is there");
    assert_eq!((file.file.row.size_bytes, file.file.row.content_type), (13, None));
    let error = harness.files.begin(new("nonsense")).await.err().expect("it is refused");
    assert_eq!(error.kind, ErrorKind::Internal);
    drop(transaction);
    harness.stop().await;
}

/// Mounts the component `notes`, or unmounts it; its id.
struct Mount(bool);

#[async_trait]
impl Work for Mount {
    type Output = ComponentId;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<ComponentId> {
        let path = "notes".parse().expect("a path");
        let id = component_id(&path);
        let row = ComponentRow {
            path,
            definition: "notes".into(),
            is_mounted: self.0,
            variables: Vec::new(),
            http_prefix: None,
        };
        let known = transaction.deployment_catalog().instance(id).map(|stored| stored.id);
        match known {
            Some(known) => transaction.replace_row(known, &row).await?,
            None => _ = transaction.insert_instance(&row).await?,
        }
        Ok(id)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stored_for_a_component_that_is_not_mounted() {
    let harness = Harness::start(LIMITS).await;
    let mount = async |is_mounted| {
        harness.transactions.transact(DEPLOYMENT, &Mount(is_mounted)).await.expect("it is written")
    };
    let notes = mount(true).await;
    let mut transaction = harness.transactions.snapshot(DEPLOYMENT).await.expect("a snapshot");
    transaction.enter(notes);
    let token = transaction.upload_token(transaction.now_ms());
    let begin = async |by: Uploader| {
        let new = NewFile { deployment: DEPLOYMENT, by, content_type: None, sha256: None };
        harness.files.begin(new).await
    };
    let by_token = || Uploader::Token(token.clone());
    let by_function = || Uploader::Function { component: notes.to_string() };
    let mut under_way = Vec::new();
    for by in [by_token(), by_function()] {
        let mut upload = begin(by).await.expect("it begins");
        upload.write("some bytes".into()).await.expect("it is taken");
        under_way.push(upload);
    }
    mount(false).await;
    for by in [by_token(), by_function()] {
        assert_eq!(begin(by).await.err().expect("it is refused").code, "UnmountedComponent");
    }
    for upload in under_way {
        assert_eq!(upload.finish().await.expect_err("it is refused").code, "UnmountedComponent");
    }
    harness.becomes_empty().await;
    let elsewhere =
        Uploader::Function { component: component_id(&"other".parse().expect("a path")).to_string() };
    assert_eq!(begin(elsewhere).await.err().expect("it is refused").code, "ComponentNotFound");
    mount(true).await;
    begin(by_token()).await.expect("it begins").finish().await.expect("it is stored");
    drop(transaction);
    harness.stop().await;
}

/// The contract's suite against the service in this process, and against the same service over gRPC on loopback.
mod conformance_suite {
    use conformance::FilesSubject;
    use contract::Files;
    use rpc::{FilesServer, GrpcFiles, RpcLimits};
    use tokio::task::JoinSet;

    use super::*;

    const LIMITS_OF_CALLS: RpcLimits = RpcLimits::DEFAULT;

    fn subject(files: Arc<dyn Files>, harness: Harness, servers: JoinSet<()>) -> FilesSubject {
        let transactions = harness.transactions.clone();
        let name_of = Box::new(move |id: String| {
            let transactions = transactions.clone();
            Box::pin(async move {
                let mut transaction = transactions.snapshot(DEPLOYMENT).await.expect("a snapshot");
                let file = transaction.file(&id).await.expect("it is looked for")?;
                Some(FileName { deployment: DEPLOYMENT, component: String::new(), uuid: file.uuid })
            }) as _
        });
        let ends = harness.shutdown.clone().drop_guard();
        FilesSubject { files, deployment: DEPLOYMENT, name_of, kept: Box::new((servers, ends, harness)) }
    }

    mod direct {
        use super::*;

        async fn files() -> FilesSubject {
            let harness = Harness::start(LIMITS).await;
            subject(Arc::new(harness.files.clone()), harness, JoinSet::new())
        }

        conformance::files!(files);
    }

    mod over_grpc {
        use super::*;

        async fn files() -> FilesSubject {
            let harness = Harness::start(LIMITS).await;
            let mut servers = JoinSet::new();
            let service = FilesServer::service(Arc::new(harness.files.clone()), LIMITS_OF_CALLS);
            let server = rpc::server(&LIMITS_OF_CALLS).add_service(service);
            let channel = loopback::channel_to(server, &LIMITS_OF_CALLS, &mut servers).await;
            subject(Arc::new(GrpcFiles::new(channel, LIMITS_OF_CALLS)), harness, servers)
        }

        conformance::files!(files);
    }
}
