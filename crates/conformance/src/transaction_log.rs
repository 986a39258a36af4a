//! The transaction log's contract.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use contract::{
    BackfillStep, Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, Epoch, ErrorKind, GroupId,
    Hold, HoldId, IndexId, IndexUpdate, Interval, Lookup, Order, Position, Read, ReadAt, ReadResult, ReadSet,
    Row, StreamEvent, Timestamp, TransactionLog, Write, code, document,
};
use futures::StreamExt;
use value::{FieldPath, Object, key::encode_fields};

use crate::LogSubject;

const BY_KEY: IndexId = IndexId([1; 16]);
const BY_TEXT: IndexId = IndexId([2; 16]);
const NEW_INDEX: IndexId = IndexId([3; 16]);
/// No event of a test takes longer, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A table with a text in each document, and an index over it.
pub struct Writer<'s> {
    log: &'s dyn TransactionLog,
    deployment: DeploymentRef,
    ids: AtomicU64,
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn document_of(text: &str) -> Bytes {
    document::encode(&format!("{{\"text\":\"{text}\"}}"), text.len() as u32)
}

fn everything(index: IndexId) -> Read {
    let (interval, order) = (Interval::all(), Order::Ascending);
    Read::Range { index, interval, order, rows_max: usize::MAX, bytes_max: usize::MAX }
}

fn keys_of(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect()
}

impl<'s> Writer<'s> {
    pub fn new(subject: &'s LogSubject) -> Writer<'s> {
        Writer { log: &*subject.log, deployment: subject.deployment, ids: AtomicU64::new(1) }
    }

    fn position(&self) -> Position {
        self.log.position(self.deployment.group).expect("the group is there").borrow().clone()
    }

    fn published(&self) -> ReadAt {
        ReadAt::published(self.position().published)
    }

    fn new_id(&self) -> CommitId {
        CommitId(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)).to_be_bytes())
    }

    /// The write that changes a document's text; `None` is no document.
    fn write(key: &str, old: Option<&str>, new: Option<&str>) -> Write {
        Write {
            primary: BY_KEY,
            key: bytes(key),
            document: new.map(document_of),
            index_updates: vec![IndexUpdate { index: BY_TEXT, old: old.map(bytes), new: new.map(bytes) }],
        }
    }

    fn commit(&self, begin: ReadAt, read: &[(IndexId, Interval)], writes: Vec<Write>) -> Commit {
        let mut read_set = ReadSet::new();
        for (index, interval) in read {
            read_set.add(*index, interval.clone());
        }
        Commit {
            deployment: self.deployment,
            epoch: self.position().epoch,
            id: self.new_id(),
            run: 1,
            begin,
            read_set: Arc::new(read_set),
            writes,
        }
    }

    async fn outcome(&self, commit: Commit) -> CommitOutcome {
        self.log.commit(commit).await.expect("the commit is decided")
    }

    async fn committed(&self, writes: Vec<Write>) -> Timestamp {
        let timestamp = match self.outcome(self.commit(self.published(), &[], writes)).await {
            CommitOutcome::Committed { timestamp } => timestamp,
            other => panic!("not committed: {other:?}"),
        };
        // From elsewhere the position is seen to move a little later than the answer comes.
        let mut position = self.log.position(self.deployment.group).expect("the group is there");
        position.wait_for(|position| position.published >= timestamp).await.expect("the log goes on");
        timestamp
    }

    /// Puts a document, whatever was there, without its index.
    pub async fn put(&self, key: &str, text: &str) -> Timestamp {
        self.committed(vec![Write { index_updates: Vec::new(), ..Writer::write(key, None, Some(text)) }])
            .await
    }

    async fn point(&self, at: ReadAt, key: &str) -> Option<(Timestamp, Bytes)> {
        let read = Read::Point { index: BY_KEY, key: bytes(key) };
        match self.log.read(self.deployment, at, &[read]).await.expect("it is read").remove(0) {
            ReadResult::Point(version) => version.map(|version| (version.timestamp, version.document)),
            other => panic!("a point was asked for: {other:?}"),
        }
    }

    async fn range(&self, at: ReadAt, read: Read) -> (Vec<Row>, bool) {
        match self.log.read(self.deployment, at, &[read]).await.expect("it is read").remove(0) {
            ReadResult::Range { rows, more } => (rows, more),
            other => panic!("a range was asked for: {other:?}"),
        }
    }

    /// Every row of an index, by as many reads as the log takes for them.
    async fn all(&self, at: ReadAt, index: IndexId) -> Vec<Row> {
        let mut all: Vec<Row> = Vec::new();
        let mut interval = Interval::all();
        loop {
            let order = Order::Ascending;
            let read = Read::Range { index, interval, order, rows_max: usize::MAX, bytes_max: usize::MAX };
            let (rows, more) = self.range(at, read).await;
            all.extend(rows);
            match all.last() {
                Some(last) if more => {
                    interval = Interval { start: value::key::successor(&last.key).into(), end: None };
                }
                _ => return all,
            }
        }
    }
}

fn is_conflict(outcome: &CommitOutcome) -> bool {
    matches!(outcome, CommitOutcome::Conflict(_))
}

pub async fn an_acknowledged_commit_is_published(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let mut position = subject.log.position(subject.deployment.group).unwrap();
    for round in 0..20 {
        let timestamp = writer.put("key", &format!("{round}")).await;
        // Elsewhere the news takes a moment.
        let reached = position.wait_for(|position| position.published >= timestamp);
        tokio::time::timeout(PATIENCE, reached).await.expect("it is published").expect("the log is there");
        assert_eq!(writer.point(ReadAt::published(timestamp), "key").await.unwrap().0, timestamp);
    }
}

pub async fn a_read_sees_the_commits_up_to_its_timestamp_and_no_others(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let mut moments = Vec::new();
    for round in 0..10 {
        moments.push((writer.put("key", &format!("{round}")).await, document_of(&format!("{round}"))));
    }
    for (timestamp, document) in &moments {
        assert_eq!(
            writer.point(ReadAt::published(*timestamp), "key").await,
            Some((*timestamp, document.clone()))
        );
    }
    assert_eq!(writer.point(ReadAt::published(moments[9].0), "other").await, None);
}

pub async fn timestamps_grow_in_the_order_of_commits(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let mut last = Timestamp::ZERO;
    for _ in 0..50 {
        let timestamp = writer.put("key", "text").await;
        assert!(timestamp > last);
        last = timestamp;
    }
    let together = (0..50).map(|number| {
        let writer = &writer;
        async move { writer.put(&format!("key{number}"), "text").await }
    });
    let mut timestamps = futures::future::join_all(together).await;
    timestamps.sort_unstable();
    timestamps.dedup();
    assert_eq!(timestamps.len(), 50, "no two commits have the same");
    assert!(timestamps[0] > last);
}

pub async fn a_commit_is_refused_if_what_it_read_has_changed_since(subject: LogSubject) {
    let writer = Writer::new(&subject);
    writer
        .committed(vec![Writer::write("a", None, Some("one")), Writer::write("c", None, Some("three"))])
        .await;
    let begin = writer.published();
    // A change, a new document within a range, a deletion.
    writer.committed(vec![Writer::write("a", Some("one"), Some("uno"))]).await;
    writer.committed(vec![Writer::write("b", None, Some("two"))]).await;
    writer.committed(vec![Writer::write("c", Some("three"), None)]).await;
    let range = |from: &str, to: &str| Interval { start: bytes(from), end: Some(bytes(to)) };
    for read in [
        (BY_KEY, Interval::point(b"a")),
        (BY_KEY, range("aa", "bb")),
        (BY_KEY, Interval::point(b"c")),
        (BY_TEXT, Interval::point(b"one")),
        (BY_TEXT, Interval::point(b"uno")),
        (BY_TEXT, range("tw", "tx")),
        (BY_KEY, Interval::all()),
    ] {
        let commit =
            writer.commit(begin, std::slice::from_ref(&read), vec![Writer::write("z", None, Some("z"))]);
        match writer.outcome(commit).await {
            CommitOutcome::Conflict(conflict) => {
                let (index, key) = conflict.write.expect("the window remembers so much");
                assert!(index == read.0 && read.1.contains(&key), "{read:?} is not in conflict with {key:?}");
            }
            other => panic!("{read:?}: {other:?}"),
        }
    }
    assert_eq!(writer.point(writer.published(), "z").await, None, "a refused commit has no effect");
}

pub async fn a_deletion_is_a_conflict_for_readers_of_each_index(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let range = |from: &str, to: &str| Interval { start: bytes(from), end: Some(bytes(to)) };
    // Ranges that hold one document, in either index and together; and gaps beside it that hold nothing.
    let of_key = (BY_KEY, range("m", "n"));
    let of_text = (BY_TEXT, range("tex", "tey"));
    let gaps = [(BY_KEY, range("", "m")), (BY_KEY, range("n", "")), (BY_TEXT, range("", "tex"))];
    for (reads, touched) in [
        (vec![of_key.clone()], Some((BY_KEY, bytes("middle")))),
        (vec![of_text.clone()], Some((BY_TEXT, bytes("text")))),
        (vec![(BY_KEY, Interval::all())], Some((BY_KEY, bytes("middle")))),
        (vec![(BY_TEXT, Interval::all())], Some((BY_TEXT, bytes("text")))),
        (vec![gaps[0].clone(), of_text.clone()], Some((BY_TEXT, bytes("text")))),
        (gaps.to_vec(), None),
    ] {
        // With writes, and with none.
        for writes in [vec![Writer::write("z", None, Some("z"))], Vec::new()] {
            writer.committed(vec![Writer::write("middle", None, Some("text"))]).await;
            let begin = writer.published();
            writer.committed(vec![Writer::write("middle", Some("text"), None)]).await;
            let outcome = writer.outcome(writer.commit(begin, &reads, writes)).await;
            match (&outcome, &touched) {
                (CommitOutcome::Conflict(conflict), Some(_)) => assert_eq!(conflict.write, touched),
                (CommitOutcome::Committed { .. }, None) => {}
                _ => panic!("{reads:?}: {outcome:?}"),
            }
        }
    }
}

pub async fn a_range_at_the_head_has_what_is_not_published(subject: LogSubject) {
    const RUNS: usize = 24;
    const KEPT: usize = 3;
    let writer = Writer::new(&subject);
    let text = |number: usize| format!("text{number:03}");
    let first = (0..KEPT).map(|number| Writer::write(&text(number), None, Some(&text(number))));
    writer.committed(first.collect()).await;
    let read = |index, order, rows_max| {
        let interval = Interval { start: bytes("text"), end: Some(bytes("texu")) };
        Read::Range { index, interval, order, rows_max, bytes_max: usize::MAX }
    };
    // Many append one behind the last and take the first away, at once: a queue. Whoever ran again at the head and did not
    // see an insertion or a deletion there, in either index and either direction, would do what was done before.
    let runs = (0..RUNS).map(|_| async {
        let mut at = writer.published();
        let id = writer.new_id();
        loop {
            let reads = [
                read(BY_TEXT, Order::Ascending, 1),
                read(BY_TEXT, Order::Descending, 1),
                read(BY_KEY, Order::Ascending, usize::MAX),
                read(BY_KEY, Order::Descending, usize::MAX),
            ];
            let results = subject.log.read(subject.deployment, at, &reads).await.expect("the head is read");
            let found: Vec<Vec<String>> = results
                .iter()
                .map(|result| match result {
                    ReadResult::Range { rows, .. } => keys_of(rows),
                    other => panic!("a range was asked for: {other:?}"),
                })
                .collect();
            let (first, last) = (found[0][0].clone(), found[1][0].clone());
            let mut backwards = found[3].clone();
            backwards.reverse();
            assert_eq!(found[2], backwards, "at {at:?} both directions see the same");
            assert_eq!((found[2].first(), found[2].last()), (Some(&first), Some(&last)), "at {at:?}");
            assert_eq!(found[2].len(), KEPT, "at {at:?}");
            let next = text(last["text".len()..].parse::<usize>().expect("a number") + 1);
            let writes =
                vec![Writer::write(&next, None, Some(&next)), Writer::write(&first, Some(&first), None)];
            let everything = [(BY_TEXT, Interval::all()), (BY_KEY, Interval::all())];
            let commit = Commit { id, ..writer.commit(at, &everything, writes) };
            match writer.outcome(commit).await {
                CommitOutcome::Committed { .. } => return,
                CommitOutcome::Conflict(conflict) => at = conflict.run_again_at,
                other => panic!("neither committed nor in conflict: {other:?}"),
            }
        }
    });
    futures::future::join_all(runs).await;
    let last = writer.put("behind", "all").await;
    let left: Vec<String> = (RUNS..RUNS + KEPT).map(text).collect();
    for index in [BY_KEY, BY_TEXT] {
        let rows = writer.all(ReadAt::published(last), index).await;
        let keys: Vec<String> = keys_of(&rows).into_iter().filter(|key| key != "behind").collect();
        assert_eq!(keys, left, "each run has appended one and taken one away");
    }
}

pub async fn a_run_at_the_head_sees_what_was_in_the_way(subject: LogSubject) {
    let writer = Writer::new(&subject);
    writer.put("counter", "0").await;
    // Many increment at once; each runs again where its conflict says.
    let increments = (0..20).map(|_| async {
        let mut at = writer.published();
        let read = [(BY_KEY, Interval::point(b"counter"))];
        let id = writer.new_id();
        loop {
            let (_, document) = match subject
                .log
                .read(subject.deployment, at, &[Read::Point { index: BY_KEY, key: bytes("counter") }])
                .await
            {
                Ok(results) => match &results[0] {
                    ReadResult::Point(Some(version)) => (version.timestamp, version.document.clone()),
                    other => panic!("the counter is there: {other:?}"),
                },
                Err(error) => panic!("the head is read: {error}"),
            };
            let (json, _) = document::decode(&document).expect("it was put so");
            let count: u64 =
                json.trim_matches(|char: char| !char.is_ascii_digit()).parse().expect("a number");
            let text = (count + 1).to_string();
            let write = Write { index_updates: Vec::new(), ..Writer::write("counter", None, Some(&text)) };
            let commit = Commit { id, ..writer.commit(at, &read, vec![write]) };
            match writer.outcome(commit).await {
                CommitOutcome::Committed { .. } => return,
                CommitOutcome::Conflict(conflict) => at = conflict.run_again_at,
                other => panic!("neither committed nor in conflict: {other:?}"),
            }
        }
    });
    futures::future::join_all(increments).await;
    let mut position = subject.log.position(subject.deployment.group).unwrap();
    let confirmed = subject.log.confirm_leadership(subject.deployment.group).await.unwrap().published;
    position.wait_for(|position| position.published >= confirmed).await.unwrap();
    assert_eq!(writer.point(ReadAt::published(confirmed), "counter").await.unwrap().1, document_of("20"));
}

pub async fn a_range_reader_sees_a_change_of_any_field(subject: LogSubject) {
    let writer = Writer::new(&subject);
    writer.committed(vec![Writer::write("a", None, Some("same"))]).await;
    let begin = writer.published();
    // The indexed field stays as it is, the document does not.
    let changed =
        Write { document: Some(document_of("other")), ..Writer::write("a", Some("same"), Some("same")) };
    let changed_at = writer.committed(vec![changed]).await;
    let commit =
        writer.commit(begin, &[(BY_TEXT, Interval::all())], vec![Writer::write("b", None, Some("b"))]);
    assert!(is_conflict(&writer.outcome(commit).await));
    let rows = writer.all(ReadAt::published(changed_at), BY_TEXT).await;
    assert_eq!(rows[0].version.document, document_of("other"));
}

pub async fn a_commit_is_not_refused_for_what_it_did_not_read(subject: LogSubject) {
    let writer = Writer::new(&subject);
    writer.put("a", "one").await;
    let begin = writer.published();
    writer.put("a", "two").await;
    let beside = [(BY_KEY, Interval::point(b"aa")), (BY_TEXT, Interval::all())];
    let commit = writer.commit(begin, &beside, vec![Writer::write("b", None, Some("b"))]);
    assert!(matches!(writer.outcome(commit).await, CommitOutcome::Committed { .. }));
    let blind = writer.commit(begin, &[], vec![Writer::write("a", None, Some("three"))]);
    assert!(matches!(writer.outcome(blind).await, CommitOutcome::Committed { .. }), "it read nothing");
}

pub async fn the_same_commit_id_does_not_commit_twice(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let read = [(BY_KEY, Interval::point(b"a"))];
    let commit = writer.commit(writer.published(), &read, vec![Writer::write("a", None, Some("once"))]);
    let together = futures::future::join_all((0..10).map(|_| writer.outcome(commit.clone()))).await;
    let CommitOutcome::Committed { timestamp } = together[0] else { panic!("not committed: {together:?}") };
    assert!(together.iter().all(|outcome| *outcome == together[0]), "all hear of the same: {together:?}");
    let again =
        writer.commit(ReadAt::published(timestamp), &read, vec![Writer::write("a", None, Some("twice"))]);
    let again = Commit { id: commit.id, ..again };
    assert_eq!(writer.outcome(again).await, CommitOutcome::Committed { timestamp });
    let last = writer.put("b", "later").await;
    assert_eq!(writer.point(ReadAt::published(last), "a").await, Some((timestamp, document_of("once"))));
}

pub async fn a_commit_without_writes_is_validated_and_writes_nothing(subject: LogSubject) {
    let writer = Writer::new(&subject);
    writer.put("a", "one").await;
    let begin = writer.published();
    let read = [(BY_KEY, Interval::point(b"a"))];
    let first = writer.outcome(writer.commit(begin, &read, Vec::new())).await;
    assert_eq!(first, CommitOutcome::Committed { timestamp: begin.timestamp }, "nothing moves");
    let changed = writer.put("a", "two").await;
    assert!(is_conflict(&writer.outcome(writer.commit(begin, &read, Vec::new())).await));
    let unread = writer.outcome(writer.commit(begin, &[], Vec::new())).await;
    assert!(matches!(unread, CommitOutcome::Committed { timestamp } if timestamp >= begin.timestamp));
    assert_eq!(subject.log.confirm_leadership(subject.deployment.group).await.unwrap().published, changed);
}

pub async fn another_epoch_answers_not_leader(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let known = writer.position().epoch;
    for epoch in [
        Epoch { term: known.term + 1, reset: 0 },
        Epoch { term: known.term, reset: known.reset + 1 },
        Epoch { term: known.term - 1, reset: known.reset },
    ] {
        // Also where nothing is written: nobody may be told what it read by a leader that is none any more.
        for writes in [vec![Writer::write("a", None, Some("never"))], Vec::new()] {
            let read = [(BY_KEY, Interval::point(b"a"))];
            let commit = Commit { epoch, ..writer.commit(writer.published(), &read, writes) };
            assert!(matches!(writer.outcome(commit).await, CommitOutcome::NotLeader(_)));
        }
    }
    assert_eq!(writer.point(writer.published(), "a").await, None);
}

pub async fn a_begin_in_the_future_or_of_another_epoch_is_a_conflict(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let now = writer.put("a", "one").await;
    let epoch = writer.position().epoch;
    let write = || vec![Writer::write("b", None, Some("b"))];
    let other = Epoch { term: epoch.term, reset: epoch.reset + 1 };
    for begin in [ReadAt::published(Timestamp::MAX), ReadAt { timestamp: now, epoch: Some(other) }] {
        let read_only = writer.outcome(writer.commit(begin, &[], Vec::new())).await;
        assert!(is_conflict(&read_only), "{begin:?} without writes: {read_only:?}");
        let outcome = writer.outcome(writer.commit(begin, &[], write())).await;
        let CommitOutcome::Conflict(conflict) = outcome else { panic!("{begin:?}: {outcome:?}") };
        let again = writer.outcome(writer.commit(conflict.run_again_at, &[], write())).await;
        assert!(matches!(again, CommitOutcome::Committed { .. }), "it can run at the head: {again:?}");
    }
}

pub async fn lookup_tells_what_became_of_a_commit(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let commit = writer.commit(writer.published(), &[], vec![Writer::write("a", None, Some("a"))]);
    let lookup = async |id| subject.log.lookup(subject.deployment, id).await.unwrap();
    assert_eq!(lookup(commit.id).await, Lookup::Absent { epoch: writer.position().epoch });
    let id = commit.id;
    let CommitOutcome::Committed { timestamp } = writer.outcome(commit).await else {
        panic!("not committed")
    };
    assert_eq!(lookup(id).await, Lookup::Committed { timestamp, run: 1 });
}

pub async fn another_run_of_a_committed_request_is_told_so_and_writes_nothing(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let write = |text: &str| vec![Writer::write("a", None, Some(text))];
    let commit = Commit { run: 2, ..writer.commit(writer.published(), &[], write("second")) };
    let CommitOutcome::Committed { timestamp } = writer.outcome(commit.clone()).await else {
        panic!("not committed")
    };
    for run in [1, 3] {
        let other = Commit { run, writes: write("other"), ..commit.clone() };
        assert_eq!(writer.outcome(other).await, CommitOutcome::OtherRunCommitted { timestamp });
    }
    assert_eq!(writer.outcome(commit.clone()).await, CommitOutcome::Committed { timestamp });
    let lookup = subject.log.lookup(subject.deployment, commit.id).await.unwrap();
    assert_eq!(lookup, Lookup::Committed { timestamp, run: 2 });
    let published = writer.published();
    assert_eq!(published.timestamp, timestamp);
    assert_eq!(writer.point(published, "a").await, Some((timestamp, document_of("second"))));
}

pub async fn results_are_in_the_order_of_the_reads(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let timestamp = writer
        .committed(vec![Writer::write("a", None, Some("x")), Writer::write("b", None, Some("y"))])
        .await;
    let point = |key: &str| Read::Point { index: BY_KEY, key: bytes(key) };
    let reads = [point("b"), everything(BY_TEXT), point("none"), point("a")];
    let results = subject.log.read(subject.deployment, ReadAt::published(timestamp), &reads).await.unwrap();
    match &results[..] {
        [
            ReadResult::Point(Some(b)),
            ReadResult::Range { rows, more: false },
            ReadResult::Point(None),
            ReadResult::Point(Some(a)),
        ] => {
            assert_eq!((&a.document, &b.document), (&document_of("x"), &document_of("y")));
            assert_eq!(keys_of(rows), ["x", "y"]);
        }
        other => panic!("not in the order of the reads: {other:?}"),
    }
}

pub async fn a_range_is_in_the_order_of_its_keys_and_stops_at_its_limits(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let names: Vec<String> = (0..30).map(|number| format!("n{number:02}")).collect();
    let timestamp =
        writer.committed(names.iter().map(|name| Writer::write(name, None, Some(name))).collect()).await;
    let at = ReadAt::published(timestamp);
    let read = |start: &str, end: Option<&str>, order, rows_max, bytes_max| {
        let interval = Interval { start: bytes(start), end: end.map(bytes) };
        Read::Range { index: BY_TEXT, interval, order, rows_max, bytes_max }
    };
    let mut backwards = names.clone();
    backwards.reverse();
    let (rows, more) = writer.range(at, read("", None, Order::Descending, usize::MAX, usize::MAX)).await;
    assert_eq!((keys_of(&rows), more), (backwards, false));
    let (rows, more) = writer.range(at, read("n05", Some("n08"), Order::Ascending, 100, usize::MAX)).await;
    assert_eq!((keys_of(&rows), more), (names[5..8].to_vec(), false), "the start is in it, the end is not");
    let (rows, more) = writer.range(at, read("n05", Some("n08"), Order::Ascending, 3, usize::MAX)).await;
    assert_eq!((rows.len(), more), (3, false), "there is nothing behind the limit");
    let (rows, more) = writer.range(at, read("n05", None, Order::Descending, 2, usize::MAX)).await;
    assert_eq!((keys_of(&rows), more), (vec!["n29".to_owned(), "n28".to_owned()], true));
    let one = rows[0].version.document.len();
    let (rows, more) = writer.range(at, read("", None, Order::Ascending, 100, 3 * one)).await;
    assert_eq!((keys_of(&rows), more), (names[..3].to_vec(), true));
    let (rows, more) = writer.range(at, read("", None, Order::Ascending, 100, 0)).await;
    assert_eq!((rows.len(), more), (1, true), "not before one row");
    let (rows, more) = writer.range(at, read("n05", Some("n05"), Order::Ascending, 9, 9)).await;
    assert_eq!((rows.len(), more), (0, false), "an empty interval");
    // What follows begins behind the last row's key.
    let mut seen = Vec::new();
    let mut start = Bytes::new();
    loop {
        let interval = Interval { start: start.clone(), end: None };
        let page = Read::Range {
            index: BY_TEXT,
            interval,
            order: Order::Ascending,
            rows_max: 7,
            bytes_max: usize::MAX,
        };
        let (rows, more) = writer.range(at, page).await;
        seen.extend(keys_of(&rows));
        if !more {
            break;
        }
        start = Interval::point(&rows.last().unwrap().key).end.unwrap();
    }
    assert_eq!(seen, names);
}

pub async fn a_deleted_document_is_gone_from_every_index(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let there = writer.committed(vec![Writer::write("a", None, Some("text"))]).await;
    let gone = writer.committed(vec![Writer::write("a", Some("text"), None)]).await;
    for index in [BY_KEY, BY_TEXT] {
        assert_eq!(writer.range(ReadAt::published(there), everything(index)).await.0.len(), 1);
        assert_eq!(writer.range(ReadAt::published(gone), everything(index)).await.0.len(), 0);
    }
}

pub async fn a_changed_document_has_moved_in_every_index(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let others = [Writer::write("0", None, Some("l")), Writer::write("9", None, Some("n"))];
    writer.committed(others.to_vec()).await;
    let mut moments = vec![(writer.committed(vec![Writer::write("a", None, Some("b"))]).await, "b")];
    // Away, back, and away again: what was deleted from the index is there anew.
    for (old, new) in [("b", "y"), ("y", "b"), ("b", "z")] {
        moments.push((writer.committed(vec![Writer::write("a", Some(old), Some(new))]).await, new));
    }
    for (moment, text) in moments {
        let at = ReadAt::published(moment);
        let rows = writer.all(at, BY_TEXT).await;
        let expected = if text == "b" { ["b", "l", "n"] } else { ["l", "n", text] };
        assert_eq!(keys_of(&rows), expected);
        let interval = Interval { start: bytes("m"), end: None };
        let read = Read::Range {
            index: BY_TEXT,
            interval,
            order: Order::Descending,
            rows_max: 1,
            bytes_max: usize::MAX,
        };
        let (rows, more) = writer.range(at, read).await;
        assert_eq!((keys_of(&rows), more), (vec![expected[2].to_owned()], text != "b"));
    }
}

pub async fn what_is_written_by_commit_lies_in_the_order_of_the_commits(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let note = |text: &str| Write {
        primary: IndexId::BY_COMMIT,
        key: bytes("k"),
        document: Some(document_of(text)),
        index_updates: Vec::new(),
    };
    let mut commits = Vec::new();
    for text in ["one", "two", "three"] {
        commits.push(writer.committed(vec![Writer::write(text, None, Some(text)), note(text)]).await);
        writer.put("another", text).await;
    }
    let keys = |rows: &[Row]| rows.iter().map(|row| row.key.to_vec()).collect::<Vec<_>>();
    let expected: Vec<Vec<u8>> = commits.iter().map(|commit| IndexId::by_commit_key(*commit, b"k")).collect();
    let rows = writer.all(writer.published(), IndexId::BY_COMMIT).await;
    assert_eq!(keys(&rows), expected);
    let written: Vec<_> =
        rows.iter().map(|row| (row.version.timestamp, row.version.document.clone())).collect();
    let texts = ["one", "two", "three"].map(document_of);
    assert_eq!(written, commits.iter().copied().zip(texts).collect::<Vec<_>>());
    // What goes is named as it lies there.
    let gone = Write { document: None, key: expected[1].clone().into(), ..note("") };
    let deleted = writer.committed(vec![gone]).await;
    let left = writer.all(ReadAt::published(deleted), IndexId::BY_COMMIT).await;
    assert_eq!(keys(&left), [expected[0].clone(), expected[2].clone()]);
}

pub async fn a_moment_that_is_not_published_is_not_yet(subject: LogSubject) {
    let read = [everything(BY_KEY)];
    let future = ReadAt::published(Timestamp::MAX);
    let error = subject.log.read(subject.deployment, future, &read).await.expect_err("it is the end of time");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Overloaded, "NotYet"));
}

pub async fn a_speculative_read_of_another_epoch_fails(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let timestamp = writer.put("a", "one").await;
    let epoch = writer.position().epoch;
    assert!(writer.point(ReadAt { timestamp, epoch: Some(epoch) }, "a").await.is_some());
    let others = [
        Epoch { term: epoch.term - 1, reset: 0 },
        Epoch { term: epoch.term, reset: epoch.reset + 1 },
        Epoch { term: epoch.term + 1, reset: 0 },
    ];
    for other in others {
        for read in [everything(BY_KEY), Read::Point { index: BY_KEY, key: bytes("a") }] {
            let at = ReadAt { timestamp, epoch: Some(other) };
            let error = subject.log.read(subject.deployment, at, &[read]).await.expect_err("another epoch");
            assert_eq!((error.kind, &*error.code), (ErrorKind::Conflict, code::EPOCH_ENDED));
        }
    }
    // What nobody has validated yet can't be read at all.
    let future = ReadAt { timestamp: Timestamp::MAX, epoch: Some(epoch) };
    assert!(subject.log.read(subject.deployment, future, &[everything(BY_KEY)]).await.is_err());
}

pub async fn confirmed_leadership_holds_every_acknowledged_commit(subject: LogSubject) {
    let writer = Writer::new(&subject);
    for round in 0..20 {
        let timestamp = writer.put("key", &format!("{round}")).await;
        let position = subject.log.confirm_leadership(subject.deployment.group).await.unwrap();
        assert!(position.ready && position.published >= timestamp);
    }
}

async fn next(events: &mut contract::StreamEvents) -> StreamEvent {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("an event comes").expect("the stream goes on")
}

pub async fn the_stream_gives_every_commit_above_its_start_in_order(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let start = writer.put("key", "before").await;
    let mut early = subject.log.subscribe(subject.deployment, start).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..100 {
        expected.push(writer.put("key", &format!("{round}")).await);
    }
    let middle = expected[49];
    let mut late = subject.log.subscribe(subject.deployment, middle).await.unwrap();
    for (events, expected) in [(&mut early, &expected[..]), (&mut late, &expected[50..])] {
        let mut seen = Vec::new();
        let mut promised = Timestamp::ZERO;
        while seen.len() < expected.len() {
            match next(events).await {
                StreamEvent::Commit(notice) => {
                    assert!(notice.timestamp > promised, "a heartbeat had passed it");
                    seen.push(notice.timestamp);
                }
                StreamEvent::Heartbeat { published, .. } => promised = published,
                StreamEvent::Lagged { .. } => panic!("a hundred commits are kept"),
            }
        }
        assert_eq!(seen, expected);
    }
}

pub async fn the_stream_names_each_key_old_and_new_in_every_index(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let start = writer.committed(vec![Writer::write("a", None, Some("one"))]).await;
    let mut events = subject.log.subscribe(subject.deployment, start).await.unwrap();
    for (old, new) in [("one", Some("two")), ("two", Some("two")), ("two", None)] {
        writer.committed(vec![Writer::write("a", Some(old), new)]).await;
        let notice = loop {
            if let StreamEvent::Commit(notice) = next(&mut events).await {
                break notice;
            }
        };
        let mut keys: Vec<_> =
            notice.keys.iter().map(|touched| (touched.index, touched.key.clone())).collect();
        keys.sort();
        keys.dedup();
        let mut expected = vec![(BY_KEY, bytes("a")), (BY_TEXT, bytes(old))];
        expected.extend(new.filter(|new| *new != old).map(|new| (BY_TEXT, bytes(new))));
        assert_eq!(keys, expected);
    }
}

pub async fn a_quiet_stream_has_heartbeats(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let start = writer.put("a", "one").await;
    let mut events = subject.log.subscribe(subject.deployment, start).await.unwrap();
    for _ in 0..3 {
        match next(&mut events).await {
            StreamEvent::Heartbeat { epoch, published } => {
                assert_eq!((epoch, published), (writer.position().epoch, start));
            }
            other => panic!("nothing was committed: {other:?}"),
        }
    }
}

/// Not among those that every subject is given to: only whoever made it knows how `cut_off` takes its leader away, and how it
/// can `come_back`. `heartbeat` is how often a quiet stream beats.
pub async fn a_replica_that_is_cut_off_has_no_heartbeats(
    subject: LogSubject,
    heartbeat: Duration,
    cut_off: impl AsyncFnOnce(),
    come_back: impl AsyncFnOnce(),
) {
    let writer = Writer::new(&subject);
    let before = writer.put("a", "zero").await;
    let start = writer.put("a", "one").await;
    let mut events = subject.log.subscribe(subject.deployment, start).await.unwrap();
    let led = writer.position().epoch;
    for _ in 0..3 {
        assert!(matches!(next(&mut events).await, StreamEvent::Heartbeat { epoch, .. } if epoch == led));
    }
    cut_off().await;
    // One may have been on its way.
    let mut silence = async || tokio::time::timeout(20 * heartbeat, events.next()).await;
    let _ = silence().await;
    let beat = silence().await;
    assert!(beat.is_err(), "nobody can say that it is current: {beat:?}");
    // Nor if it is asked again, though it has more to say than is known.
    let mut again = subject.log.subscribe(subject.deployment, before).await.unwrap();
    let begun = tokio::time::timeout(20 * heartbeat, again.next()).await;
    assert!(begun.is_err(), "nobody can say that nothing is missing: {begun:?}");
    come_back().await;
    let begun = next(&mut again).await;
    assert!(matches!(&begun, StreamEvent::Commit(notice) if notice.timestamp == start), "{begun:?}");
    let last = writer.put("a", "two").await;
    let mut seen = Vec::new();
    loop {
        match next(&mut events).await {
            StreamEvent::Commit(notice) => seen.push(notice.timestamp),
            StreamEvent::Heartbeat { epoch, published } if published == last => {
                assert!(epoch > led, "it is led anew");
                break;
            }
            StreamEvent::Heartbeat { published, .. } => assert_eq!(published, start),
            StreamEvent::Lagged { .. } => panic!("one commit is kept"),
        }
    }
    assert_eq!(seen, [last], "the stream goes on where it was");
}

pub async fn a_large_commit_is_whole_or_not_there(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let begin = writer.published();
    let text = "x".repeat(200_000);
    let write = |tag: &str, number: usize| Write {
        document: Some(document_of(&format!("{tag}{number}{text}"))),
        ..Writer::write(&format!("large{number}"), None, Some(&format!("{number}")))
    };
    let writes = |tag: &str| -> Vec<Write> { (0..20).map(|number| write(tag, number)).collect() };
    let timestamp = writer.committed(writes("first")).await;
    let rows = writer.all(ReadAt::published(timestamp), BY_KEY).await;
    assert_eq!(rows.len(), 20);
    for row in &rows {
        let number = &keys_of(std::slice::from_ref(row))[0]["large".len()..];
        assert_eq!(row.version.document, document_of(&format!("first{number}{text}")));
    }
    let refused = writer.commit(begin, &[(BY_KEY, Interval::all())], writes("second"));
    assert!(is_conflict(&writer.outcome(refused).await));
    let later = writer.put("small", "small").await;
    let rows = writer.all(ReadAt::published(later), BY_KEY).await;
    assert!(rows.iter().filter(|row| row.key != "small").all(|row| row.version.timestamp == timestamp));
}

pub async fn backfill_completes_an_index_while_writes_go_on(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let field: FieldPath = "n".parse().expect("a field");
    let json = |number: usize| format!("{{\"n\":\"{number:05}\"}}");
    let index_key = |number: usize| {
        let object = Object::from_json(&json(number)).expect("an object");
        Bytes::from(encode_fields(&object, [&field]))
    };
    let put = |id: usize, old: Option<usize>, new: Option<usize>, maintained: bool| Write {
        primary: BY_KEY,
        key: bytes(&format!("id{id:05}")),
        document: new.map(|number| document::encode(&json(number), 10)),
        index_updates: maintained
            .then(|| IndexUpdate { index: NEW_INDEX, old: old.map(&index_key), new: new.map(&index_key) })
            .into_iter()
            .collect(),
    };
    const OLD: usize = 1_300;
    writer.committed((0..OLD).map(|id| put(id, None, Some(id), false)).collect()).await;
    // From here on writes maintain the index: before the first step, and between the steps.
    let mut from = None;
    let mut documents = 0;
    let mut steps = 0;
    loop {
        writer
            .committed(vec![
                put(steps, Some(steps), None, true),
                put(OLD - 1 - steps, Some(OLD - 1 - steps), Some(5_000 + steps), true),
                put(OLD + steps, None, Some(OLD + steps), true),
            ])
            .await;
        let step = BackfillStep {
            deployment: subject.deployment,
            primary: BY_KEY,
            index: NEW_INDEX,
            fields: vec!["n".into()],
            from: from.clone(),
        };
        // A step may be sent again.
        let progress = subject.log.backfill(step.clone()).await.expect("the leader is there");
        assert_eq!(subject.log.backfill(step).await.expect("it may come twice"), progress);
        assert!(progress.documents <= 512);
        documents += progress.documents;
        steps += 1;
        from = progress.next;
        if from.is_none() {
            break;
        }
    }
    assert!(steps > 1 && documents >= 1_000, "{documents} documents in {steps} steps");
    let last = writer.put("zzz", "end").await;
    let at = ReadAt::published(last);
    let rows = writer.all(at, NEW_INDEX).await;
    let mut expected: Vec<usize> =
        (steps..OLD - steps).chain(OLD..OLD + steps).chain(5_000..5_000 + steps).collect();
    expected.sort_unstable();
    let found: Vec<Bytes> = rows.iter().map(|row| row.key.clone()).collect();
    assert_eq!(found, expected.iter().map(|number| index_key(*number)).collect::<Vec<_>>());
}

pub async fn deployments_and_groups_that_are_not_there_are_refused(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let group = subject.deployment.group;
    let nowhere = [
        DeploymentRef { group, deployment: DeploymentId(4_000_000) },
        DeploymentRef { group: GroupId(4_000_000), deployment: subject.deployment.deployment },
    ];
    for deployment in nowhere {
        let commit = Commit {
            deployment,
            ..writer.commit(writer.published(), &[], vec![Writer::write("a", None, Some("a"))])
        };
        let refused = [
            subject.log.commit(commit).await.err(),
            subject.log.read(deployment, writer.published(), &[everything(BY_KEY)]).await.err(),
            subject.log.subscribe(deployment, Timestamp::ZERO).await.err(),
            subject.log.lookup(deployment, CommitId([1; 16])).await.err(),
        ];
        for error in refused {
            let error = error.expect("it is refused");
            assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
        }
    }
    assert!(subject.log.position(GroupId(4_000_000)).is_err());
}

/// A text that makes a commit a large one, which goes through several entries.
fn large_text() -> String {
    "x".repeat(700_000)
}

pub async fn a_commit_tells_once_whatever_becomes_of_it(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let begin = writer.published();
    writer.put("a", "one").await;
    let large = large_text();
    let write =
        |text: &str| vec![Write { index_updates: Vec::new(), ..Writer::write("a", None, Some(text)) }];
    let everything = [(BY_KEY, Interval::all())];
    let epoch = writer.position().epoch;
    let nowhere = DeploymentRef { deployment: DeploymentId(4_000_000), ..subject.deployment };
    let commits = [
        writer.commit(writer.published(), &[], write("small")),
        writer.commit(writer.published(), &[], write(&large)),
        writer.commit(writer.published(), &[], Vec::new()),
        writer.commit(begin, &everything, write("in conflict")),
        writer.commit(begin, &everything, write(&large)),
        Commit {
            epoch: Epoch { term: epoch.term + 1, ..epoch },
            ..writer.commit(begin, &[], write("of another epoch"))
        },
        Commit { deployment: nowhere, ..writer.commit(begin, &[], write("nowhere")) },
    ];
    let mut ends = Vec::new();
    for commit in commits {
        let mut told = 0;
        let outcome = subject.log.commit_and_tell(commit, &mut || told += 1).await;
        assert_eq!(told, 1, "{outcome:?}");
        ends.push(match outcome {
            Ok(CommitOutcome::Committed { .. }) => "committed",
            Ok(CommitOutcome::Conflict(_)) => "conflict",
            Ok(CommitOutcome::NotLeader(_)) => "not the leader",
            Ok(_) => "another outcome",
            Err(_) => "error",
        });
    }
    let expected = ["committed", "committed", "committed", "conflict", "conflict", "not the leader", "error"];
    assert_eq!(ends, expected);
}

pub async fn the_head_has_a_commit_as_soon_as_it_is_told(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let group = subject.deployment.group;
    let (small, large) = ("small".to_owned(), large_text());
    for text in [small, large] {
        let write = Write { index_updates: Vec::new(), ..Writer::write("a", None, Some(&text)) };
        let commit = writer.commit(writer.published(), &[], vec![write]);
        let mut head = None;
        let outcome = subject.log.commit_and_tell(commit, &mut || head = subject.log.head(group)).await;
        let Ok(CommitOutcome::Committed { timestamp }) = outcome else { panic!("{outcome:?}") };
        let head = head.expect("it leads");
        assert_eq!(head.epoch, Some(writer.position().epoch));
        assert_eq!(writer.point(head, "a").await, Some((timestamp, document_of(&text))));
    }
    assert_eq!(subject.log.head(GroupId(4_000_000)), None);
}

pub async fn what_was_read_holds_until_something_touches_it(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let (log, deployment) = (&subject.log, subject.deployment);
    writer.put("read", "one").await;
    let published = writer.published();
    let head = log.head(deployment.group).expect("it leads");
    let mut read_set = ReadSet::new();
    read_set.add(BY_KEY, Interval::point(b"read"));
    let beside = writer.put("beside", "one").await;
    for seen in [published, head] {
        let until = log.unchanged_until(deployment, seen, &read_set).expect("nothing has touched it");
        assert!(until.timestamp >= beside);
        assert!(writer.point(until, "beside").await.is_some());
    }
    let other = Epoch { reset: writer.position().epoch.reset + 1, ..writer.position().epoch };
    let of_another_epoch = ReadAt { epoch: Some(other), ..published };
    let nowhere = DeploymentRef { deployment: DeploymentId(4_000_000), ..deployment };
    assert_eq!(log.unchanged_until(deployment, of_another_epoch, &read_set), None);
    assert_eq!(log.unchanged_until(nowhere, published, &read_set), None);

    // What is validated counts, though nobody else sees it yet.
    let write = Write { index_updates: Vec::new(), ..Writer::write("read", None, Some("two")) };
    let commit = writer.commit(writer.published(), &[], vec![write]);
    let mut told = Vec::new();
    let outcome = log
        .commit_and_tell(commit, &mut || {
            told = [published, head].map(|seen| log.unchanged_until(deployment, seen, &read_set)).to_vec();
        })
        .await;
    assert!(matches!(outcome, Ok(CommitOutcome::Committed { .. })), "{outcome:?}");
    assert_eq!(told, [None, None]);
    let now = log.head(deployment.group).expect("it leads");
    assert!(log.unchanged_until(deployment, now, &read_set).is_some(), "who has seen it begins anew");
}

pub async fn nobody_tells_the_head_from_elsewhere(subject: LogSubject) {
    let writer = Writer::new(&subject);
    writer.put("a", "one").await;
    assert_eq!(subject.log.head(subject.deployment.group), None);
    let (seen, nothing) = (writer.published(), ReadSet::new());
    assert_eq!(subject.log.unchanged_until(subject.deployment, seen, &nothing), None);
}

/// How long a log keeps moments whose holds are tested.
pub const RETENTION: Duration = Duration::from_millis(1_000);
/// How long it holds one that is not renewed.
pub const HELD: Duration = Duration::from_millis(2_000);
/// How many it holds.
pub const HOLDS_MAX: usize = 3;

const BETWEEN_COMMITS: Duration = Duration::from_millis(20);

fn hold_of(id: u8, at: Timestamp) -> Hold {
    Hold { id: HoldId([id; 16]), at }
}

impl Writer<'_> {
    async fn hold(&self, hold: Hold) -> contract::Result<Duration> {
        self.log.hold(self.deployment.group, hold).await
    }

    /// Commits for so long, at least; calls `meanwhile` in between.
    async fn go_on(&self, time: Duration, mut meanwhile: impl AsyncFnMut(u32)) {
        let rounds = time.as_millis() / BETWEEN_COMMITS.as_millis();
        for round in 0..u32::try_from(rounds).expect("a few") {
            self.put("other", "text").await;
            meanwhile(round).await;
            tokio::time::sleep(BETWEEN_COMMITS).await;
        }
    }

    async fn can_read(&self, at: Timestamp) -> bool {
        let read = Read::Point { index: BY_KEY, key: bytes("key") };
        match self.log.read(self.deployment, ReadAt::published(at), &[read]).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::OutOfRetention, "{error}");
                false
            }
        }
    }

    /// Commits until a moment can't be read any more.
    async fn until_gone(&self, at: Timestamp) {
        let gone = async {
            while self.can_read(at).await {
                self.put("other", "text").await;
                tokio::time::sleep(BETWEEN_COMMITS).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("it goes");
    }
}

pub async fn a_held_moment_stays_readable_until_it_is_let_go(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let before = writer.put("key", "before").await;
    let at = writer.put("key", "held").await;
    assert_eq!(writer.hold(hold_of(1, at)).await, Ok(HELD));
    writer.put("key", "after").await;
    writer
        .go_on(3 * HELD, async |round| {
            // Several times within the time for which it is held.
            if round % 5 == 0 {
                writer.hold(hold_of(1, at)).await.expect("it is there");
            }
            let read = writer.point(ReadAt::published(at), "key").await;
            assert_eq!(read, Some((at, document_of("held"))));
        })
        .await;
    assert!(!writer.can_read(before).await, "nobody holds what was before it");
    let refused = writer.hold(hold_of(2, before)).await.expect_err("it can't be read");
    assert_eq!((refused.kind, &*refused.code), (ErrorKind::OutOfRetention, "OutOfRetention"));
    subject.log.release(subject.deployment.group, HoldId([1; 16])).await.expect("it is let go");
    writer.until_gone(at).await;
    assert_eq!(writer.hold(hold_of(1, at)).await.expect_err("it has gone").code, "OutOfRetention");
    // Nothing is held by it any more.
    subject.log.release(subject.deployment.group, HoldId([1; 16])).await.expect("there is nothing to do");
}

pub async fn a_hold_that_is_not_renewed_ends(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let at = writer.put("key", "held").await;
    writer.hold(hold_of(1, at)).await.expect("it is held");
    // Not before; a little less, since it was asked for before that was answered.
    let gone = tokio::time::timeout(HELD * 3 / 4, writer.until_gone(at)).await;
    assert!(gone.is_err(), "it is held for {HELD:?}");
    writer.until_gone(at).await;
}

pub async fn too_many_holds_are_refused_and_those_of_others_stay(subject: LogSubject) {
    let writer = Writer::new(&subject);
    let at = writer.put("key", "held").await;
    let all = 1..=HOLDS_MAX as u8;
    for id in all.clone() {
        writer.hold(hold_of(id, at)).await.expect("there is room");
    }
    let refused = writer.hold(hold_of(9, at)).await.expect_err("there is none");
    assert_eq!((refused.kind, &*refused.code), (ErrorKind::Overloaded, "TooManyHolds"));
    for id in all {
        writer.hold(hold_of(id, at)).await.expect("it is one of them");
    }
    subject.log.release(subject.deployment.group, HoldId([1; 16])).await.expect("it is let go");
    writer.hold(hold_of(9, at)).await.expect("there is room");
    assert!(writer.can_read(at).await);
}

pub async fn in_groups_that_are_not_there_nothing_is_held(subject: LogSubject) {
    let nowhere = GroupId(4_000_000);
    let held = subject.log.hold(nowhere, hold_of(1, Timestamp::ZERO)).await.expect_err("it is not there");
    let released = subject.log.release(nowhere, HoldId([1; 16])).await.expect_err("it is not there");
    assert_eq!([&*held.code, &*released.code], [code::GROUP_NOT_FOUND; 2]);
}
