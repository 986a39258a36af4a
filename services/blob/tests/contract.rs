//! The sentences of the blob store's contract, and what a disk can do to it.

use std::{fs, sync::Arc};

use blob::LocalBlobs;
use bytes::Bytes;
use contract::{BlobDigest, BlobStore};
use sha2::{Digest as _, Sha256};

fn digest_of(bytes: &[u8]) -> BlobDigest {
    BlobDigest(Sha256::digest(bytes).into())
}

fn file_of(folder: &tempfile::TempDir, digest: BlobDigest) -> std::path::PathBuf {
    let name = hex::encode(digest.0);
    folder.path().join(&name[..2]).join(name)
}

/// For any implementation.
async fn keeps_the_contract(blobs: &dyn BlobStore) {
    let texts = [Bytes::new(), Bytes::from_static(b"export default 1;"), Bytes::from(vec![7; 3_000_000])];
    for bytes in &texts {
        assert_eq!(blobs.get(digest_of(bytes)).await, Ok(None), "never stored is None");
        let digest = blobs.put(bytes.clone()).await.expect("stores");
        assert_eq!(digest, digest_of(bytes), "named by the SHA-256 of its bytes");
        assert_eq!(blobs.put(bytes.clone()).await, Ok(digest), "storing again is harmless");
    }
    for bytes in &texts {
        assert_eq!(blobs.get(digest_of(bytes)).await, Ok(Some(bytes.clone())), "returns what was stored");
    }
}

#[tokio::test]
async fn local_blobs_keep_the_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    keeps_the_contract(&LocalBlobs::open(folder.path()).expect("opens")).await;
}

#[tokio::test]
async fn blobs_are_there_after_a_restart_and_leftovers_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let digest = LocalBlobs::open(folder.path())
        .expect("opens")
        .put(Bytes::from_static(b"kept"))
        .await
        .expect("stores");
    let leftover = folder.path().join("incoming").join("17");
    fs::write(&leftover, b"half a blo").expect("writes");
    let blobs = LocalBlobs::open(folder.path()).expect("opens again");
    assert_eq!(blobs.get(digest).await, Ok(Some(Bytes::from_static(b"kept"))));
    assert!(!leftover.exists(), "what a crash left half-written is removed");
}

#[tokio::test]
async fn a_damaged_blob_is_an_error_and_storing_it_again_mends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = LocalBlobs::open(folder.path()).expect("opens");
    let digest = blobs.put(Bytes::from_static(b"whole")).await.expect("stores");
    fs::write(file_of(&folder, digest), b"whol").expect("damages");
    let error = blobs.get(digest).await.expect_err("damaged");
    assert!(error.message.contains("damaged") && error.message.contains(&hex::encode(digest.0)), "{error}");
    assert_eq!(blobs.put(Bytes::from_static(b"whole")).await, Ok(digest));
    assert_eq!(blobs.get(digest).await, Ok(Some(Bytes::from_static(b"whole"))));
}

#[tokio::test]
async fn many_writers_of_the_same_and_of_other_blobs_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = Arc::new(LocalBlobs::open(folder.path()).expect("opens"));
    let writers: Vec<_> = (0..32u8)
        .map(|number| {
            let blobs = blobs.clone();
            tokio::spawn(async move { blobs.put(Bytes::from(vec![number % 4; 10_000])).await })
        })
        .collect();
    for writer in writers {
        let digest = writer.await.expect("no panic").expect("stores");
        assert!(blobs.get(digest).await.expect("reads").is_some());
    }
    assert_eq!(fs::read_dir(folder.path().join("incoming")).expect("lists").count(), 0);
}

#[tokio::test]
async fn a_blob_that_could_not_be_stored_is_not_promised() {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = LocalBlobs::open(folder.path()).expect("opens");
    let bytes = Bytes::from_static(b"in the way");
    let name = hex::encode(digest_of(&bytes).0);
    // A file where the folder of the first two digits must be.
    fs::write(folder.path().join(&name[..2]), b"").expect("writes");
    assert!(blobs.put(bytes.clone()).await.is_err());
    assert!(!matches!(blobs.get(digest_of(&bytes)).await, Ok(Some(_))));
}
