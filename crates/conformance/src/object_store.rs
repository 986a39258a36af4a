//! The object store's contract.

use std::{ops::Range, os::unix::fs::FileExt as _};

use bytes::Bytes;
use contract::{DeploymentId, DeploymentRef, GroupId, ObjectName, ObjectPart, ObjectStore, ObjectSummary};
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use crate::ObjectSubject;

/// More than one piece of any store, and no multiple of one.
const LARGE_BYTES: usize = (17 << 20) + 3;

fn name(number: u8) -> ObjectName {
    let deployment = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
    ObjectName { deployment, component: None, id: [number; 16] }
}

/// Different at every place that anything could mistake for another.
fn some_bytes(count: usize) -> Bytes {
    (0..count.div_ceil(4)).flat_map(|number| (number as u32).to_le_bytes()).take(count).collect()
}

async fn store(objects: &dyn ObjectStore, name: ObjectName, bytes: &Bytes, piece: usize) -> ObjectSummary {
    let mut writer = objects.create(name).await.expect("it begins");
    for piece in bytes.chunks(piece) {
        writer.write(bytes.slice_ref(piece)).await.expect("it is taken");
    }
    writer.finish().await.expect("it is stored")
}

async fn read(objects: &dyn ObjectStore, name: ObjectName, range: Range<u64>) -> Option<Bytes> {
    let pieces = objects.read(name, range).await.expect("it is looked for")?;
    let pieces: Vec<Bytes> = pieces.try_collect().await.expect("it is read");
    Some(pieces.concat().into())
}

async fn is_there(objects: &dyn ObjectStore, name: ObjectName) -> bool {
    let size = objects.size(name).await.expect("it is looked for");
    let bytes = objects.read(name, 0..0).await.expect("it is looked for");
    assert_eq!(size.is_some(), bytes.is_some(), "both say the same");
    size.is_some()
}

pub async fn an_object_is_read_as_it_was_written_and_its_digest_and_size_are_told(subject: ObjectSubject) {
    let objects = &*subject.objects;
    for (number, (count, piece)) in (0..).zip([(0, 1), (1, 1), (100_000, 7_001), (LARGE_BYTES, 65_536)]) {
        let bytes = some_bytes(count);
        let summary = store(objects, name(number), &bytes, piece).await;
        let expected = ObjectSummary { size_bytes: count as u64, sha256: Sha256::digest(&bytes).into() };
        assert_eq!(summary, expected);
        assert_eq!(objects.size(name(number)).await, Ok(Some(count as u64)));
        assert!(read(objects, name(number), 0..count as u64).await == Some(bytes), "{count} bytes");
    }
}

pub async fn a_range_has_exactly_the_bytes_that_were_asked_for(subject: ObjectSubject) {
    let objects = &*subject.objects;
    let bytes = some_bytes(LARGE_BYTES);
    store(objects, name(1), &bytes, 1 << 20).await;
    let size = LARGE_BYTES as u64;
    for range in [0..1, 5..5, 300_000..900_001, size - 1..size, size..size, (8 << 20) - 1..(8 << 20) + 1] {
        let part = bytes.slice(range.start as usize..range.end as usize);
        assert!(read(objects, name(1), range.clone()).await == Some(part), "{range:?}");
    }
    for range in [0..size + 1, size..size + 1, size + 1..size + 1, size + 5..size + 9] {
        let error = objects.read(name(1), range.clone()).await.err().expect("it is refused");
        assert_eq!(error.code, "RangeNotInObject", "{range:?}");
    }
}

pub async fn until_it_is_finished_an_object_is_not_there_and_one_that_is_dropped_never_is(
    subject: ObjectSubject,
) {
    let objects = &*subject.objects;
    for (number, count) in [(1, 10), (2, LARGE_BYTES)] {
        let mut writer = objects.create(name(number)).await.expect("it begins");
        writer.write(some_bytes(count)).await.expect("it is taken");
        assert!(!is_there(objects, name(number)).await);
        drop(writer);
        assert!(!is_there(objects, name(number)).await);
    }
    // What is dropped is cleared away by and by.
    for _ in 0..200 {
        if (subject.leftovers)().await == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{} things are left", (subject.leftovers)().await);
}

pub async fn a_deleted_object_is_gone_and_what_is_not_there_can_be_deleted(subject: ObjectSubject) {
    let objects = &*subject.objects;
    let bytes = some_bytes(100);
    for number in [1, 2] {
        store(objects, name(number), &bytes, 100).await;
    }
    for _ in 0..2 {
        assert_eq!(objects.delete(name(1)).await, Ok(()));
        assert!(!is_there(objects, name(1)).await);
    }
    assert_eq!(objects.delete(name(3)).await, Ok(()));
    assert_eq!(read(objects, name(2), 0..100).await, Some(bytes));
}

pub async fn components_and_deployments_have_objects_of_their_own(subject: ObjectSubject) {
    let objects = &*subject.objects;
    let other = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };
    let names = [
        name(1),
        ObjectName { component: Some([1; 16]), ..name(1) },
        ObjectName { component: Some([2; 16]), ..name(1) },
        ObjectName { deployment: other, ..name(1) },
    ];
    for (number, name) in (10..).zip(names) {
        assert!(!is_there(objects, name).await);
        store(objects, name, &some_bytes(number), 100).await;
    }
    for (number, name) in (10..).zip(names) {
        assert_eq!(read(objects, name, 0..number as u64).await, Some(some_bytes(number)));
    }
    objects.delete(names[0]).await.expect("it is deleted");
    assert!(is_there(objects, names[1]).await && is_there(objects, names[3]).await);
}

pub async fn many_writers_and_readers_do_not_disturb_each_other(subject: ObjectSubject) {
    let objects = &*subject.objects;
    let uses = (0..24u8).map(|number| async move {
        let bytes = some_bytes(100_000 + usize::from(number));
        store(objects, name(number), &bytes, 10_007).await;
        assert!(read(objects, name(number), 0..bytes.len() as u64).await == Some(bytes));
    });
    futures::future::join_all(uses).await;
}

pub async fn a_reader_that_goes_away_is_missed_by_nobody(subject: ObjectSubject) {
    let objects = &*subject.objects;
    let bytes = some_bytes(LARGE_BYTES);
    store(objects, name(1), &bytes, 1 << 20).await;
    for _ in 0..8 {
        let mut pieces = objects.read(name(1), 0..LARGE_BYTES as u64).await.unwrap().expect("it is there");
        let first = pieces.next().await.expect("there is a piece").expect("it is read");
        assert_eq!(first, bytes[..first.len()]);
    }
    assert!(read(objects, name(1), 0..LARGE_BYTES as u64).await == Some(bytes));
}

pub async fn what_lies_in_place_is_what_is_read_even_if_it_is_deleted_meanwhile(subject: ObjectSubject) {
    let objects = &*subject.objects;
    let bytes = some_bytes(LARGE_BYTES);
    store(objects, name(1), &bytes, 1 << 20).await;
    let size = LARGE_BYTES as u64;
    let in_place = async |range: Range<u64>| objects.read_in_place(name(1), range).await;
    for range in [0..size + 1, size + 5..size + 9] {
        assert_eq!(in_place(range).await.err().expect("it is refused").code, "RangeNotInObject");
    }
    let mut begun = Vec::new();
    for range in [0..size, 5..5, 300_000..900_001, size - 1..size] {
        begun.push((in_place(range.clone()).await.expect("it is looked for").expect("it lies here"), range));
    }
    objects.delete(name(1)).await.expect("it is deleted");
    for (parts, range) in begun {
        let mut read = Vec::new();
        for part in parts.try_collect::<Vec<ObjectPart>>().await.expect("it is there") {
            assert!((1..=ObjectPart::BYTES_MAX).contains(&part.size_bytes()), "{:?}", part.range);
            let mut bytes = vec![0; part.size_bytes()];
            part.file.read_exact_at(&mut bytes, part.range.start).expect("it can be read");
            read.extend(bytes);
        }
        assert!(read == bytes[range.start as usize..range.end as usize], "{range:?}");
    }
    assert!(in_place(0..1).await.expect("it is looked for").is_none(), "it is deleted");
}

pub async fn nothing_that_is_elsewhere_lies_in_place(subject: ObjectSubject) {
    let objects = &*subject.objects;
    store(objects, name(1), &some_bytes(100), 100).await;
    assert!(objects.read_in_place(name(1), 0..100).await.expect("it is looked for").is_none());
}
