//! The contract of the files service.

use std::ops::Range;

use bytes::Bytes;
use contract::{ErrorKind, FileName, FileUpload, NewFile, Result, StoredFile, Uploader};
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use crate::FilesSubject;

/// More than one piece of anything, and no multiple of one.
const LARGE_BYTES: usize = (5 << 20) + 3;

fn some_bytes(count: usize) -> Bytes {
    (0..count.div_ceil(4)).flat_map(|number| (number as u32).to_le_bytes()).take(count).collect()
}

impl FilesSubject {
    async fn begin(&self, sha256: Option<[u8; 32]>) -> Result<Box<dyn FileUpload>> {
        let (deployment, content_type) = (self.deployment, Some("text/plain".to_owned()));
        let by = Uploader::Function { component: String::new() };
        self.files.begin(NewFile { deployment, by, content_type, sha256 }).await
    }

    async fn store(&self, bytes: &Bytes) -> String {
        let mut upload = self.begin(Some(Sha256::digest(bytes).into())).await.expect("it begins");
        for piece in bytes.chunks(700_001) {
            upload.write(bytes.slice_ref(piece)).await.expect("it is taken");
        }
        upload.finish().await.expect("it is stored")
    }

    async fn find(&self, id: &str) -> StoredFile {
        let name = (self.name_of)(id.to_owned()).await.expect("its document is there");
        self.files.find(name).await.expect("it is looked for").expect("it is there")
    }

    async fn read(&self, file: &StoredFile, range: Range<u64>) -> Bytes {
        let bytes = self.files.read(file, range).await.expect("it is read");
        bytes.try_collect::<Vec<Bytes>>().await.expect("it is complete").concat().into()
    }
}

pub async fn a_file_is_read_as_it_was_stored(subject: FilesSubject) {
    for count in [0, 1, LARGE_BYTES] {
        let bytes = some_bytes(count);
        let file = subject.find(&subject.store(&bytes).await).await;
        assert_eq!((file.size_bytes, file.sha256), (count as u64, Sha256::digest(&bytes).into()));
        assert_eq!(file.content_type.as_deref(), Some("text/plain"));
        assert!(subject.read(&file, 0..count as u64).await == bytes, "{count} bytes");
        let middle = count / 3..count / 2;
        let part = subject.read(&file, middle.start as u64..middle.end as u64).await;
        assert!(part == bytes.slice(middle));
    }
}

pub async fn bytes_with_another_digest_are_no_file(subject: FilesSubject) {
    let mut upload = subject.begin(Some([7; 32])).await.expect("it begins");
    upload.write(Bytes::from_static(b"others")).await.expect("it is taken");
    assert_eq!(upload.finish().await.expect_err("it is refused").code, "Sha256Mismatch");
}

pub async fn a_token_that_is_none_is_refused_before_anything_is_sent(subject: FilesSubject) {
    let upload = NewFile {
        deployment: subject.deployment,
        by: Uploader::Token("none".to_owned()),
        content_type: None,
        sha256: None,
    };
    let error = subject.files.begin(upload).await.err().expect("it is refused");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Unauthenticated, "StorageTokenInvalid"));
}

pub async fn what_is_not_there_is_not_found(subject: FilesSubject) {
    let name = FileName {
        deployment: subject.deployment,
        component: String::new(),
        uuid: "00000000-0000-4000-8000-000000000000".to_owned(),
    };
    assert_eq!(subject.files.find(name).await, Ok(None));
}

pub async fn who_goes_away_in_the_middle_is_missed_by_nobody(subject: FilesSubject) {
    let bytes = some_bytes(LARGE_BYTES);
    let file = subject.find(&subject.store(&bytes).await).await;
    for _ in 0..8 {
        let mut upload = subject.begin(None).await.expect("it begins");
        upload.write(bytes.slice(..1_000_000)).await.expect("it is taken");
        drop(upload);
        let mut reading = subject.files.read(&file, 0..file.size_bytes).await.expect("it is read");
        assert!(reading.next().await.expect("there is a piece").is_ok());
    }
    // Many that are read slowly, over whatever leads to them, hold up no other.
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut reading = subject.files.read(&file, 0..file.size_bytes).await.expect("it is read");
        assert!(reading.next().await.expect("there is a piece").is_ok());
        slow.push(reading);
    }
    assert!(subject.read(&file, 0..file.size_bytes).await == bytes);
    for reading in slow {
        let rest = reading.try_collect::<Vec<Bytes>>().await.expect("it is complete").concat();
        assert!(bytes.ends_with(&rest) && !rest.is_empty());
    }
}
