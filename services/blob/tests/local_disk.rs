//! The contracts of the blob store and of the object store on a local disk, and what a disk can do to them.

#[path = "../../../crates/rpc/tests/support/loopback.rs"]
mod loopback;

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use blob::{Handle, Options, Service};
use bytes::Bytes;
use conformance::{BlobSubject, ObjectSubject};
use contract::{
    BlobDigest, BlobStore, DeploymentId, DeploymentRef, GroupId, ObjectName, ObjectStore, ObjectWriter,
};
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

fn file_of(folder: &Path, digest: BlobDigest) -> PathBuf {
    let name = hex::encode(digest.0);
    folder.join(&name[..2]).join(name)
}

async fn open(folder: &Path) -> Handle {
    let options = Options { folder: folder.to_owned(), is_shared: false };
    Service::start(options, CancellationToken::new()).await.expect("it opens").handle()
}

async fn subject() -> BlobSubject {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = Arc::new(open(folder.path()).await);
    let path = folder.path().to_owned();
    let damage = move |digest| fs::write(file_of(&path, digest), b"whol").expect("it is damaged");
    BlobSubject { blobs, damage: Box::new(damage), kept: Box::new(folder) }
}

conformance::blob_store!(subject);

#[tokio::test]
async fn blobs_are_there_after_a_restart_and_leftovers_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let digest = open(folder.path()).await.put(Bytes::from_static(b"kept")).await.expect("it is stored");
    let leftover = folder.path().join("incoming").join("17");
    fs::write(&leftover, b"half a blo").expect("it is written");
    let blobs = open(folder.path()).await;
    assert_eq!(blobs.get(digest).await, Ok(Some(Bytes::from_static(b"kept"))));
    assert!(!leftover.exists(), "what a crash left half-written is removed");
}

#[tokio::test]
async fn a_damaged_blob_is_named_in_the_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = open(folder.path()).await;
    let digest = blobs.put(Bytes::from_static(b"whole")).await.expect("it is stored");
    fs::write(file_of(folder.path(), digest), b"whol").expect("it is damaged");
    let error = blobs.get(digest).await.expect_err("it is damaged");
    assert!(error.message.contains("damaged") && error.message.contains(&hex::encode(digest.0)), "{error}");
}

#[tokio::test]
async fn what_was_written_on_the_way_is_gone_once_it_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = open(folder.path()).await;
    for number in 0..8u8 {
        blobs.put(Bytes::from(vec![number % 2; 10_000])).await.expect("it is stored");
    }
    assert_eq!(fs::read_dir(folder.path().join("incoming")).expect("it lists").count(), 0);
}

#[tokio::test]
async fn a_blob_that_could_not_be_stored_is_not_promised() {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = open(folder.path()).await;
    let bytes = Bytes::from_static(b"in the way");
    let digest = BlobDigest(Sha256::digest(&bytes).into());
    // A file where the folder of the first two digits must be.
    fs::write(folder.path().join(&hex::encode(digest.0)[..2]), b"").expect("it is written");
    assert!(blobs.put(bytes.clone()).await.is_err());
    assert!(!matches!(blobs.get(digest).await, Ok(Some(_))));
    assert!(!matches!(blobs.has(digest).await, Ok(true)));
}

#[tokio::test]
async fn what_was_begun_before_the_end_is_done_and_nothing_is_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = CancellationToken::new();
    let options = Options { folder: folder.path().to_owned(), is_shared: false };
    let service = Service::start(options, token.clone()).await.expect("it opens");
    let blobs = service.handle();
    // Begun, and its caller goes away.
    let mut begun = Box::pin(blobs.put(Bytes::from(vec![1; 3_000_000])));
    assert!(futures::poll!(&mut begun).is_pending());
    drop(begun);
    token.cancel();
    service.stopped().await;
    let digest = BlobDigest(Sha256::digest(vec![1; 3_000_000]).into());
    assert!(file_of(folder.path(), digest).exists(), "it is there once the service has stopped");
    let error = blobs.put(Bytes::from_static(b"late")).await.expect_err("it has stopped");
    assert_eq!(error.code, "ShuttingDown");
}

/// How many files there are, in all folders.
fn files_below(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let count = |entry: fs::DirEntry| match entry.file_type().expect("it has a type").is_dir() {
        true => files_below(&entry.path()),
        false => 1,
    };
    entries.map(|entry| count(entry.expect("it lists"))).sum()
}

async fn object_subject() -> ObjectSubject {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = Arc::new(open(folder.path()).await);
    let path = folder.path().to_owned();
    let leftovers = move || {
        let count = files_below(&path.join("incoming")) + files_below(&path.join("objects"));
        Box::pin(std::future::ready(count)) as _
    };
    ObjectSubject { objects, leftovers: Box::new(leftovers), kept: Box::new(folder) }
}

mod objects {
    conformance::object_store!(super::object_subject);
    conformance::local_object_store!(super::object_subject);
}

/// The same stores, from another process.
mod over_grpc {
    use rpc::{BlobServer, GrpcBlobs, RpcLimits};
    use tokio::task::JoinSet;

    use super::*;

    const LIMITS: RpcLimits = RpcLimits::DEFAULT;

    async fn remote(blobs: Arc<dyn BlobStore>, objects: Arc<dyn ObjectStore>) -> (GrpcBlobs, JoinSet<()>) {
        let mut servers = JoinSet::new();
        let server = rpc::server(&LIMITS).add_service(BlobServer::service(blobs, objects, LIMITS));
        let channel = loopback::channel_to(server, &LIMITS, &mut servers).await;
        (GrpcBlobs::new(channel, LIMITS), servers)
    }

    /// For what a test does not look at.
    async fn others() -> (Handle, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        (open(folder.path()).await, folder)
    }

    async fn blobs() -> BlobSubject {
        let BlobSubject { blobs, damage, kept } = subject().await;
        let (objects, folder) = others().await;
        let (remote, servers) = remote(blobs, Arc::new(objects)).await;
        BlobSubject { blobs: Arc::new(remote), damage, kept: Box::new((servers, folder, kept)) }
    }

    async fn objects() -> ObjectSubject {
        let ObjectSubject { objects, leftovers, kept } = object_subject().await;
        let (blobs, folder) = others().await;
        let (remote, servers) = remote(Arc::new(blobs), objects).await;
        ObjectSubject { objects: Arc::new(remote), leftovers, kept: Box::new((servers, folder, kept)) }
    }

    conformance::blob_store!(blobs);

    mod objects {
        conformance::object_store!(super::objects);
        conformance::remote_object_store!(super::objects);
    }
}

const NAME: ObjectName = ObjectName {
    deployment: DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) },
    component: None,
    id: [9; 16],
};

fn file_of_object(folder: &Path) -> PathBuf {
    let name = hex::encode(NAME.id);
    folder.join("objects/1-1/app").join(&name[..2]).join(name)
}

async fn write(objects: &Handle, bytes: &'static [u8]) -> Box<dyn ObjectWriter> {
    let mut writer = objects.create(NAME).await.expect("it begins");
    writer.write(Bytes::from_static(bytes)).await.expect("it is taken");
    writer
}

#[tokio::test]
async fn an_object_is_there_after_a_restart_and_a_half_written_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = open(folder.path()).await;
    write(&objects, b"whole").await.finish().await.expect("it is stored");
    // As after a kill: nothing of it is cleared away.
    std::mem::forget(write(&objects, b"half").await);
    assert_eq!(files_below(&folder.path().join("incoming")), 1);
    let objects = open(folder.path()).await;
    assert_eq!(objects.size(NAME).await, Ok(Some(5)));
    assert_eq!(files_below(&folder.path().join("incoming")), 0);
    assert_eq!(files_below(folder.path()), 1);
}

#[tokio::test]
async fn an_object_that_was_cut_short_behind_the_stores_back_is_not_read_as_if_it_were_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = open(folder.path()).await;
    write(&objects, b"whole").await.finish().await.expect("it is stored");
    fs::write(file_of_object(folder.path()), b"who").expect("it is damaged");
    let error = objects.read(NAME, 0..5).await.err().expect("it is refused");
    assert_eq!(error.code, "RangeNotInObject");
    let error = objects.read_in_place(NAME, 0..5).await.err().expect("it is refused");
    assert_eq!(error.code, "RangeNotInObject");
}

/// Where the system can do so, it gives up the memory of the file before each read; so both ways of reading wait for the disk.
#[tokio::test]
async fn what_the_system_has_not_in_memory_is_read_from_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = open(folder.path()).await;
    let bytes: Vec<u8> = (0..1_000_003u32).map(|number| (number % 251) as u8).collect();
    let size = bytes.len() as u64;
    let mut writer = objects.create(NAME).await.expect("it begins");
    writer.write(Bytes::from(bytes.clone())).await.expect("it is taken");
    writer.finish().await.expect("it is stored");
    let file = fs::File::open(file_of_object(folder.path())).expect("it is there");
    let forget = || rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("it is advice");
    forget();
    let pieces = objects.read(NAME, 0..size).await.expect("it is read").expect("it is there");
    let read: Vec<Bytes> = pieces.try_collect().await.expect("all of it is there");
    assert!(read.concat() == bytes);
    forget();
    let mut parts = objects.read_in_place(NAME, 0..size).await.expect("it is read").expect("it is there");
    let mut end = 0;
    while let Some(part) = parts.try_next().await.expect("all of it is there") {
        assert_eq!(part.range.start, end);
        end = part.range.end;
        let mut read = vec![0; part.size_bytes()];
        part.file.read_exact_at(&mut read, part.range.start).expect("it can be read");
        assert!(read == bytes[part.range.start as usize..end as usize]);
    }
    assert_eq!(end, size);
}

#[tokio::test]
async fn after_the_end_nothing_is_written_or_read_any_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = CancellationToken::new();
    let options = Options { folder: folder.path().to_owned(), is_shared: false };
    let service = Service::start(options, token.clone()).await.expect("it opens");
    let objects = service.handle();
    write(&objects, b"whole").await.finish().await.expect("it is stored");
    let mut writer = write(&objects, b"half").await;
    token.cancel();
    assert_eq!(writer.write(Bytes::new()).await.expect_err("it stops").code, "ShuttingDown");
    drop(writer);
    assert_eq!(objects.read(NAME, 0..1).await.err().expect("it stops").code, "ShuttingDown");
    service.stopped().await;
    assert_eq!(files_below(&folder.path().join("incoming")), 0, "what was dropped is cleared away by then");
}

async fn open_shared(folder: &Path) -> Handle {
    let options = Options { folder: folder.to_owned(), is_shared: true };
    Service::start(options, CancellationToken::new()).await.expect("it opens").handle()
}

#[tokio::test]
async fn processes_that_share_a_folder_leave_each_others_work_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open_shared(folder.path()).await;
    let mut half = first.create(NAME).await.expect("it begins");
    half.write(Bytes::from_static(b"one")).await.expect("it is written");
    let second = open_shared(folder.path()).await;
    let digest = second.put(Bytes::from_static(b"two")).await.expect("it is stored");
    half.finish().await.expect("what had begun goes on");
    assert_eq!(second.size(NAME).await, Ok(Some(3)));
    assert_eq!(first.get(digest).await, Ok(Some(Bytes::from_static(b"two"))));
}

/// Makes a file or a folder look as if it had been written to last so many hours ago.
fn age(path: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3_600);
    fs::File::open(path).expect("it opens").set_modified(then).expect("its age is changed");
}

#[tokio::test]
async fn what_a_process_that_shared_the_folder_has_left_goes_after_a_day() {
    let folder = tempfile::tempdir().expect("a folder");
    let leave = |process: &str, hours: u64| {
        let left = folder.path().join(process);
        fs::create_dir(&left).expect("it is made");
        fs::write(left.join("0"), b"half a blo").expect("it is written");
        age(&left.join("0"), hours);
        age(&left, hours);
        left
    };
    let (long_ago, lately) = (leave("incoming-7", 25), leave("incoming-8", 23));
    // A file of it is still being written, though the folder has not changed for long.
    let at_work = leave("incoming-9", 25);
    fs::write(at_work.join("1"), b"half a blo").expect("it is written");
    age(&at_work, 25);
    let not_ours = leave("other", 25);
    open_shared(folder.path()).await;
    assert!(!long_ago.exists(), "nobody writes there any more");
    assert!(lately.join("0").exists() && at_work.join("1").exists() && not_ours.join("0").exists());
    assert!(!at_work.join("0").exists(), "this file is left over");
}

#[tokio::test]
async fn a_process_that_was_taken_for_gone_goes_on_writing() {
    let folder = tempfile::tempdir().expect("a folder");
    let idle = open_shared(folder.path()).await;
    for entry in fs::read_dir(folder.path()).expect("it lists") {
        age(&entry.expect("it lists").path(), 25);
    }
    open_shared(folder.path()).await;
    let incoming = fs::read_dir(folder.path()).expect("it lists").count();
    assert_eq!(incoming, 1, "that of the second");
    let digest = idle.put(Bytes::from_static(b"kept")).await.expect("it is stored");
    assert_eq!(idle.get(digest).await, Ok(Some(Bytes::from_static(b"kept"))));
}
