//! The blob store's contract.

use bytes::Bytes;
use contract::BlobDigest;
use sha2::{Digest as _, Sha256};

use crate::BlobSubject;

fn digest_of(bytes: &[u8]) -> BlobDigest {
    BlobDigest(Sha256::digest(bytes).into())
}

/// Nothing, a text, more than one piece of anything.
fn some_bytes() -> [Bytes; 3] {
    [Bytes::new(), Bytes::from_static(b"export default 1;"), Bytes::from(vec![7; 3_000_000])]
}

pub async fn a_blob_is_named_by_its_digest_and_returned_as_it_was_stored(subject: BlobSubject) {
    let blobs = &subject.blobs;
    for bytes in some_bytes() {
        assert_eq!(blobs.put(bytes.clone()).await, Ok(digest_of(&bytes)));
    }
    for bytes in some_bytes() {
        let digest = digest_of(&bytes);
        assert_eq!(blobs.has(digest).await, Ok(true));
        assert_eq!(blobs.get(digest).await, Ok(Some(bytes)));
    }
}

pub async fn what_was_never_stored_is_not_there(subject: BlobSubject) {
    let blobs = &subject.blobs;
    blobs.put(Bytes::from_static(b"another")).await.expect("it is stored");
    for bytes in some_bytes() {
        assert_eq!(blobs.has(digest_of(&bytes)).await, Ok(false));
        assert_eq!(blobs.get(digest_of(&bytes)).await, Ok(None));
    }
}

pub async fn storing_the_same_bytes_again_is_harmless(subject: BlobSubject) {
    let blobs = &subject.blobs;
    for bytes in some_bytes() {
        let digest = blobs.put(bytes.clone()).await.expect("it is stored");
        assert_eq!(blobs.put(bytes.clone()).await, Ok(digest));
        assert_eq!(blobs.get(digest).await, Ok(Some(bytes)));
    }
}

pub async fn a_damaged_blob_is_an_error_until_it_is_stored_again(subject: BlobSubject) {
    let blobs = &subject.blobs;
    let (bytes, other) = (Bytes::from_static(b"whole"), Bytes::from_static(b"beside it"));
    let digest = blobs.put(bytes.clone()).await.expect("it is stored");
    let undamaged = blobs.put(other.clone()).await.expect("it is stored");
    (subject.damage)(digest);
    assert!(blobs.get(digest).await.is_err(), "other bytes are never an answer, nor is that there were none");
    assert_eq!(blobs.get(undamaged).await, Ok(Some(other)));
    assert_eq!(blobs.put(bytes.clone()).await, Ok(digest));
    assert_eq!(blobs.get(digest).await, Ok(Some(bytes)));
}

pub async fn many_writers_do_not_disturb_each_other(subject: BlobSubject) {
    let blobs = &subject.blobs;
    // Some store the same, some something else.
    let writers = (0..32u8).map(|number| async move {
        let bytes = Bytes::from(vec![number % 4; 10_000]);
        let digest = blobs.put(bytes.clone()).await.expect("it is stored");
        assert_eq!(blobs.get(digest).await, Ok(Some(bytes)));
    });
    futures::future::join_all(writers).await;
}
