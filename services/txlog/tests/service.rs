//! The whole service on a folder: what is committed is read, streamed, and there after a restart.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use contract::{
    Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, GroupId, IndexId, IndexUpdate, Interval,
    Lookup, Order, Position, Read, ReadAt, ReadResult, ReadSet, StreamEvent, Timestamp, TransactionLog,
    Write,
};
use futures::StreamExt;
use rand::RngExt;
use tokio_util::sync::CancellationToken;
use txlog::{Options, Service};

const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
const BY_ID: IndexId = IndexId([1; 16]);
const BY_NAME: IndexId = IndexId([2; 16]);

struct Running {
    service: Service,
    token: CancellationToken,
}

impl Running {
    async fn start(folder: &Path) -> Running {
        Running::start_with(Options::embedded(folder)).await
    }

    async fn start_with(options: Options) -> Running {
        let token = CancellationToken::new();
        let service = Service::start(options, token.clone()).await.expect("the service starts");
        Running { service, token }
    }

    fn log(&self) -> txlog::Handle {
        self.service.handle()
    }

    async fn stop(self) {
        self.token.cancel();
        self.service.stopped().await;
    }
}

fn position(log: &impl TransactionLog) -> Position {
    log.position(DEV.group).unwrap().borrow().clone()
}

fn document(text: &str) -> Bytes {
    contract::document::encode(&format!("{{\"text\":\"{text}\"}}"), text.len() as u32)
}

fn write(key: &str, text: Option<&str>) -> Write {
    Write {
        primary: BY_ID,
        key: Bytes::copy_from_slice(key.as_bytes()),
        document: text.map(document),
        index_updates: Vec::new(),
    }
}

fn commit(log: &impl TransactionLog, id: u8, writes: Vec<Write>) -> Commit {
    let position = position(log);
    Commit {
        deployment: DEV,
        epoch: position.epoch,
        id: CommitId([id; 16]),
        run: 1,
        begin: ReadAt::published(position.published),
        read_set: Arc::new(ReadSet::new()),
        writes,
    }
}

async fn committed(log: &impl TransactionLog, commit: Commit) -> Timestamp {
    match log.commit(commit).await.unwrap() {
        CommitOutcome::Committed { timestamp } => timestamp,
        other => panic!("not committed: {other:?}"),
    }
}

async fn text_at(log: &impl TransactionLog, at: ReadAt, key: &str) -> Option<Bytes> {
    let read = Read::Point { index: BY_ID, key: Bytes::copy_from_slice(key.as_bytes()) };
    match &log.read(DEV, at, &[read]).await.unwrap()[..] {
        [ReadResult::Point(version)] => version.as_ref().map(|version| version.document.clone()),
        other => panic!("one point was asked for: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_read_streamed_and_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;
    let log = running.log();
    let begin = position(&log).published;
    let mut events = log.subscribe(DEV, begin).await.unwrap();
    let first =
        committed(&log, commit(&log, 1, vec![write("a", Some("one")), write("b", Some("two"))])).await;
    let second = committed(&log, commit(&log, 2, vec![write("a", None)])).await;
    assert!(first > begin && second > first);
    assert_eq!(position(&log).published, second, "an acknowledged commit is published");
    assert_eq!(text_at(&log, ReadAt::published(begin), "a").await, None);
    assert_eq!(text_at(&log, ReadAt::published(first), "a").await, Some(document("one")));
    assert_eq!(text_at(&log, ReadAt::published(second), "a").await, None);
    let mut streamed = Vec::new();
    while streamed.len() < 2 {
        match events.next().await {
            Some(StreamEvent::Commit(notice)) => streamed.push((notice.timestamp, notice.keys.len())),
            Some(StreamEvent::Heartbeat { .. }) => {}
            other => panic!("the stream ended: {other:?}"),
        }
    }
    assert_eq!(streamed, [(first, 2), (second, 1)]);
    let epoch = position(&log).epoch;
    drop((log, events));
    running.stop().await;

    let running = Running::start(folder.path()).await;
    let log = running.log();
    assert_eq!(position(&log).published, second);
    assert!(position(&log).epoch > epoch, "another process leads another term");
    assert_eq!(text_at(&log, ReadAt::published(second), "b").await, Some(document("two")));
    assert_eq!(text_at(&log, ReadAt::published(first), "a").await, Some(document("one")));
    let again = committed(&log, commit(&log, 1, vec![write("a", Some("again"))])).await;
    assert_eq!(again, first, "the record answers");
    assert_eq!(
        log.lookup(DEV, CommitId([2; 16])).await.unwrap(),
        Lookup::Committed { timestamp: second, run: 1 }
    );
    drop(log);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_lose_none() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;
    let log = running.log();
    let zero = Bytes::from(0u64.to_be_bytes().to_vec());
    let key = Bytes::from_static(b"counter");
    let put = |value: Bytes| Write {
        primary: BY_ID,
        key: Bytes::from_static(b"counter"),
        document: Some(value),
        index_updates: Vec::new(),
    };
    committed(&log, commit(&log, 255, vec![put(zero)])).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8u8 {
        let (log, key) = (log.clone(), key.clone());
        tasks.spawn(async move {
            let mut conflicts = 0;
            for round in 0..25u8 {
                let mut begin = ReadAt::published(position(&log).published);
                loop {
                    let read = Read::Point { index: BY_ID, key: key.clone() };
                    let results = log.read(DEV, begin, &[read]).await.unwrap();
                    let ReadResult::Point(Some(version)) = &results[0] else {
                        panic!("the counter is there")
                    };
                    let value = u64::from_be_bytes(version.document[..].try_into().unwrap());
                    let mut read_set = ReadSet::new();
                    read_set.add(BY_ID, Interval::point(&key));
                    let mut id = [task; 16];
                    id[0] = round;
                    let commit = Commit {
                        deployment: DEV,
                        epoch: position(&log).epoch,
                        id: CommitId(id),
                        run: 1,
                        begin,
                        read_set: Arc::new(read_set),
                        writes: vec![Write {
                            primary: BY_ID,
                            key: key.clone(),
                            document: Some(Bytes::from((value + 1).to_be_bytes().to_vec())),
                            index_updates: Vec::new(),
                        }],
                    };
                    match log.commit(commit).await.unwrap() {
                        CommitOutcome::Committed { .. } => break,
                        CommitOutcome::Conflict(conflict) => {
                            conflicts += 1;
                            begin = conflict.run_again_at;
                        }
                        other => panic!("unexpected: {other:?}"),
                    }
                }
            }
            conflicts
        });
    }
    let conflicts: i32 = tasks.join_all().await.into_iter().sum();
    let last = text_at(&log, ReadAt::published(position(&log).published), "counter").await.unwrap();
    assert_eq!(u64::from_be_bytes(last[..].try_into().unwrap()), 200, "after {conflicts} conflicts");
    drop(log);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_commits_after_a_pause_longer_than_any_lease() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;
    let log = running.log();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    committed(&log, commit(&log, 1, vec![write("a", Some("late"))])).await;
    drop(log);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_of_a_secondary_index_resolve_to_documents() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;
    let log = running.log();
    let named = |id: &str, old: Option<&str>, new: Option<&str>| Write {
        primary: BY_ID,
        key: Bytes::copy_from_slice(id.as_bytes()),
        document: new.map(document),
        index_updates: vec![IndexUpdate {
            index: BY_NAME,
            old: old.map(|name| Bytes::copy_from_slice(name.as_bytes())),
            new: new.map(|name| Bytes::copy_from_slice(name.as_bytes())),
        }],
    };
    let names = ["ada", "bob", "cyd", "dee", "eve"];
    let writes = names.iter().map(|name| named(&format!("id-{name}"), None, Some(name))).collect();
    let before = committed(&log, commit(&log, 1, writes)).await;
    // Many versions of one, one gone, one moved.
    for round in 0..20 {
        committed(&log, commit(&log, 10 + round, vec![named("id-bob", Some("bob"), Some("bob"))])).await;
    }
    let writes = vec![named("id-cyd", Some("cyd"), None), named("id-eve", Some("eve"), Some("abe"))];
    let after = committed(&log, commit(&log, 2, writes)).await;
    let range = async |at: Timestamp, interval: Interval, order: Order, rows_max: usize| {
        let read = Read::Range { index: BY_NAME, interval, order, rows_max, bytes_max: usize::MAX };
        match log.read(DEV, ReadAt::published(at), &[read]).await.unwrap().remove(0) {
            ReadResult::Range { rows, more } => {
                for row in &rows {
                    let name = String::from_utf8(row.key.to_vec()).unwrap();
                    assert_eq!(row.version.document, document(&name), "the document as of then");
                }
                let keys: Vec<_> =
                    rows.iter().map(|row| String::from_utf8(row.key.to_vec()).unwrap()).collect();
                (keys.join(" "), more)
            }
            other => panic!("a range was asked for: {other:?}"),
        }
    };
    let all = Interval::all();
    assert_eq!(range(before, all.clone(), Order::Ascending, 9).await, ("ada bob cyd dee eve".into(), false));
    assert_eq!(range(after, all.clone(), Order::Ascending, 9).await, ("abe ada bob dee".into(), false));
    assert_eq!(range(after, all.clone(), Order::Descending, 9).await, ("dee bob ada abe".into(), false));
    assert_eq!(range(before, all.clone(), Order::Descending, 9).await, ("eve dee cyd bob ada".into(), false));
    assert_eq!(range(after, all.clone(), Order::Ascending, 3).await, ("abe ada bob".into(), true));
    assert_eq!(range(after, all, Order::Ascending, 4).await, ("abe ada bob dee".into(), false));
    let some = Interval { start: Bytes::from_static(b"ada"), end: Some(Bytes::from_static(b"dee")) };
    assert_eq!(range(after, some.clone(), Order::Ascending, 9).await, ("ada bob".into(), false));
    assert_eq!(range(after, some, Order::Descending, 1).await, ("bob".into(), true));
    drop(log);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_store_gives_back_what_was_overwritten_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::embedded(folder.path());
    options.limits.retention_ms_min = 100;
    options.limits.hold_ms = 100;
    options.store.unflushed_ms_max = 20;
    options.store.unflushed_look_ms = 5;
    options.store.sweep_look_ms = 5;
    let running = Running::start_with(options).await;
    let log = running.log();
    // Texts that don't compress.
    let mut random = rand::rng();
    let mut text = || (0..1_000).map(|_| random.random_range('!'..='~')).collect::<String>();
    let mut last = Timestamp::ZERO;
    for round in 0..4u8 {
        for part in 0..10u8 {
            let writes = (0..200).map(|at| write(&format!("{part}-{at}"), Some(&text()))).collect();
            last = committed(&log, commit(&log, round * 10 + part, writes)).await;
        }
    }
    let written = running.service.handle().measures(DEV.group).unwrap();
    assert!(written.horizon < last);
    for part in 1..10u8 {
        let writes = (0..200).map(|at| write(&format!("{part}-{at}"), None)).collect();
        last = committed(&log, commit(&log, 100 + part, writes)).await;
    }
    // 200 documents of 1 KB are left of 8,000.
    let given_back = async {
        loop {
            let measures = log.measures(DEV.group).unwrap();
            if measures.swept == last && measures.unflushed_bytes == 0 && measures.store_bytes < 400_000 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let given_back = tokio::time::timeout(Duration::from_secs(120), given_back).await;
    assert!(given_back.is_ok(), "{:?}, published {last}", log.measures(DEV.group));
    assert!(text_at(&log, ReadAt::published(last), "0-7").await.is_some());
    assert_eq!(text_at(&log, ReadAt::published(last), "1-7").await, None);
    drop(log);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_commit_is_staged_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;
    let log = running.log();
    let large: HashMap<String, Bytes> =
        (0..30).map(|at| (format!("large-{at}"), document(&"x".repeat(100_000 + at)))).collect();
    let writes = large
        .iter()
        .map(|(key, document)| Write { document: Some(document.clone()), ..write(key, None) })
        .collect::<Vec<_>>();
    let begin = position(&log).published;
    let timestamp = committed(&log, commit(&log, 1, writes.clone())).await;
    for (key, document) in &large {
        assert_eq!(text_at(&log, ReadAt::published(timestamp), key).await.as_ref(), Some(document));
        assert_eq!(text_at(&log, ReadAt::published(begin), key).await, None);
    }
    // A large one that conflicts leaves nothing.
    let mut conflicting = Commit { begin: ReadAt::published(begin), ..commit(&log, 2, writes) };
    let mut read_set = ReadSet::new();
    read_set.add(BY_ID, Interval::all());
    conflicting.read_set = Arc::new(read_set);
    assert!(matches!(log.commit(conflicting).await.unwrap(), CommitOutcome::Conflict(_)));
    assert_eq!(position(&log).published, timestamp);
    drop(log);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_commits_whose_callers_have_gone_leave_no_parts() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;
    let log = running.log();
    let large: Vec<Write> = (0..30)
        .map(|at| Write {
            document: Some(document(&"x".repeat(100_000))),
            ..write(&format!("large-{at}"), None)
        })
        .collect();
    let begin = position(&log).published;
    let mut read_set = ReadSet::new();
    read_set.add(BY_ID, Interval::all());
    let read_set = Arc::new(read_set);
    for id in 0..20 {
        // All but the first conflict once they are staged.
        let mut commit = commit(&log, id, large.clone());
        commit.begin = ReadAt::published(begin);
        commit.read_set = read_set.clone();
        let committing = tokio::spawn({
            let log = log.clone();
            async move { log.commit(commit).await }
        });
        // Its caller goes once the first part is there, or when all is over.
        while !committing.is_finished() && log.measures(DEV.group).unwrap().parts_staged == 0 {
            tokio::task::yield_now().await;
        }
        committing.abort();
    }
    let gone = async {
        while log.measures(DEV.group).unwrap().parts_staged > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
    assert!(gone.is_ok(), "{:?}", log.measures(DEV.group));
    drop(log);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_under_way_are_bounded_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::embedded(folder.path());
    options.limits.commits_queued_bytes_max = 300_000;
    let running = Running::start_with(options).await;
    let log = running.log();
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..100 {
        let commit = commit(&log, id, vec![write(&format!("key-{id}"), Some(&"x".repeat(100_000)))]);
        let log = log.clone();
        tasks.spawn(async move { log.commit(commit).await });
    }
    let mut refused = 0;
    for result in tasks.join_all().await {
        match result {
            Ok(outcome) => assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}"),
            Err(error) => {
                assert_eq!(error.code, "CommitterFullError");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "two of them fill the room, and a hundred came at once");
    assert_eq!(log.measures(DEV.group).unwrap().commits_undecided_bytes, 0);
    drop(log);
    running.stop().await;
}

/// Makes `to` what `from` is. Without `from` only its identity stays.
fn put_back(from: Option<&Path>, to: &Path) {
    for file in std::fs::read_dir(to).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().is_some_and(|name| name != "identity" && name != "format") {
            std::fs::remove_file(path).unwrap();
        }
    }
    for file in from.into_iter().flat_map(|from| std::fs::read_dir(from).unwrap()) {
        let path = file.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_and_a_state_of_different_times_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let mut options = Options::embedded(folder.path());
    options.store.unflushed_look_ms = 5;
    options.store.unflushed_ms_max = 10;
    options.store.log_entries_kept = 1;
    let running = Running::start_with(options.clone()).await;
    committed(&running.log(), commit(&running.log(), 1, vec![write("a", Some("one"))])).await;
    running.stop().await;
    for part in ["log", "state"] {
        std::fs::create_dir(copies.path().join(format!("{part}-before"))).unwrap();
        put_back(Some(&folder.path().join(part)), &copies.path().join(format!("{part}-before")));
    }
    let running = Running::start_with(options.clone()).await;
    let log = running.log();
    // Until entries are gone from the log that the older state has not.
    let mut id = 2;
    while running.log().measures(DEV.group).unwrap().entries_purged_before < 12 {
        committed(&log, commit(&log, id, vec![write("a", Some("two"))])).await;
        id += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(log);
    running.stop().await;
    for part in ["log", "state"] {
        std::fs::create_dir(copies.path().join(part)).unwrap();
        put_back(Some(&folder.path().join(part)), &copies.path().join(part));
    }
    for part in ["log", "state"] {
        let before = copies.path().join(format!("{part}-before"));
        for of_another_time in [None, Some(&*before)] {
            put_back(of_another_time, &folder.path().join(part));
            let started = Service::start(options.clone(), CancellationToken::new()).await;
            let error = started.err().expect("commits or votes would be forgotten").to_string();
            assert!(error.starts_with("StoresDiffer: "), "{part}: {error}");
            put_back(Some(&copies.path().join(part)), &folder.path().join(part));
        }
    }
    let running = Running::start_with(options).await;
    let published = position(&running.log()).published;
    assert_eq!(text_at(&running.log(), ReadAt::published(published), "a").await, Some(document("two")));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_alone_is_one_fsync_and_many_at_once_share_theirs() {
    const CONCURRENT: u8 = 64;
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;
    let log = running.log();
    let fsyncs = || log.measures(DEV.group).unwrap().fsyncs;
    committed(&log, commit(&log, 0, vec![write("a", Some("first"))])).await;
    for id in 1..=20 {
        let before = fsyncs();
        committed(&log, commit(&log, id, vec![write("a", Some("alone"))])).await;
        assert_eq!(fsyncs() - before, 1, "the {id}. commit");
    }
    let before = fsyncs();
    for id in 21..=30 {
        committed(&log, commit(&log, id, Vec::new())).await;
    }
    assert_eq!(fsyncs() - before, 0, "who writes nothing waits for no disk");

    let before = fsyncs();
    let mut commits = tokio::task::JoinSet::new();
    for id in 100..100 + CONCURRENT {
        let commit = commit(&log, id, vec![write(&format!("key-{id}"), Some("at once"))]);
        let log = log.clone();
        commits.spawn(async move { committed(&log, commit).await });
    }
    let committed: std::collections::BTreeSet<Timestamp> = commits.join_all().await.into_iter().collect();
    assert_eq!(committed.len(), usize::from(CONCURRENT));
    let taken = fsyncs() - before;
    assert!((1..=u64::from(CONCURRENT)).contains(&taken), "{taken} for {CONCURRENT} commits");
    drop(log);
    running.stop().await;
}

/// The reasons for which a process would have ended.
fn fatal(options: &mut Options) -> Arc<std::sync::Mutex<Vec<String>>> {
    let reasons = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = reasons.clone();
    options.fatal = txlog::FatalHandler::new(move |reason| kept.lock().unwrap().push(reason.to_owned()));
    reasons
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_block_that_a_reader_meets_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path()).await;
    let log = running.log();
    let mut random = rand::rng();
    let mut text = || (0..1_000).map(|_| random.random_range('a'..='z')).collect::<String>();
    let writes = (0..400).map(|at| write(&format!("key-{at:03}"), Some(&text()))).collect();
    let last = committed(&log, commit(&log, 1, writes)).await;
    drop(log);
    // What is applied is flushed.
    running.stop().await;
    let files = std::fs::read_dir(folder.path().join("state")).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    let largest = tables.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&largest, bytes).unwrap();

    let mut options = Options::embedded(folder.path());
    let reasons = fatal(&mut options);
    let running = Running::start_with(options).await;
    let log = running.log();
    let read = Read::Range {
        index: BY_ID,
        interval: Interval::all(),
        order: Order::Ascending,
        rows_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    assert!(log.read(DEV, ReadAt::published(last), &[read]).await.is_err());
    let reasons = reasons.lock().unwrap().clone();
    assert!(reasons.iter().any(|reason| reason.contains("damaged")), "{reasons:?}");
    drop(log);
    running.stop().await;
}
