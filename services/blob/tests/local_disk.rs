//! The blob store's contract on a local disk, and what a disk can do to it.

use std::{fs, path::Path, sync::Arc};

use blob::{Handle, Options, Service};
use bytes::Bytes;
use conformance::BlobSubject;
use contract::{BlobDigest, BlobStore};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

fn file_of(folder: &Path, digest: BlobDigest) -> std::path::PathBuf {
    let name = hex::encode(digest.0);
    folder.join(&name[..2]).join(name)
}

async fn open(folder: &Path) -> Handle {
    let options = Options { folder: folder.to_owned() };
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
    let options = Options { folder: folder.path().to_owned() };
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
