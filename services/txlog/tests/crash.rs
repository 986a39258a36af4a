//! What is left after a process dies: kill -9, around flushes and purges as well, a torn log, a damaged log, a disk that takes no more.
//!
//! The process that dies is this test program, started again as a writer. To repeat a seed or to go on for longer:
//! `CRASH_SEED=<seed> CRASH_ROUNDS=<rounds> cargo test -p txlog --test crash`.

use std::{
    io::{BufRead, BufReader, Write as _},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use contract::{
    Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, GroupId, IndexId, IndexUpdate, Interval,
    Order, Read, ReadAt, ReadResult, Timestamp, TransactionLog, Write,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;
use txlog::{EXIT_CODE_STORAGE_FAILED, Options, Service};

const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
const INDEX: IndexId = IndexId([1; 16]);
const FOLDER: &str = "TXLOG_CRASH_FOLDER";
const RESTLESS_FOLDER: &str = "TXLOG_CRASH_RESTLESS_FOLDER";
const FILE_BYTES_MAX: &str = "TXLOG_CRASH_FILE_BYTES_MAX";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn commit(log: &impl TransactionLog, number: u64) -> Commit {
    let position = log.position(DEV.group).expect("the group is there").borrow().clone();
    Commit {
        deployment: DEV,
        epoch: position.epoch,
        id: CommitId(u128::from(number).to_be_bytes()),
        run: 1,
        begin: ReadAt::published(position.published),
        read_set: Arc::default(),
        writes: vec![Write {
            primary: INDEX,
            key: Bytes::copy_from_slice(&number.to_be_bytes()),
            document: Some(contract::document::encode("{}", 2)),
            index_updates: Vec::new(),
        }],
    }
}

/// Not a test: the process that is killed. It prints each number once its commit is acknowledged.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    if let Ok(bytes) = std::env::var(FILE_BYTES_MAX) {
        limit_file_size(bytes.parse().expect("a number"));
    }
    runtime().block_on(async {
        let started = Service::start(Options::embedded(folder), CancellationToken::new()).await;
        let service = started.expect("the log starts");
        let log = service.handle();
        let begin = entries(&log).await.len() as u64;
        let mut writers = tokio::task::JoinSet::new();
        for lane in 0..4 {
            let log = log.clone();
            writers.spawn(async move {
                for number in (begin + lane..).step_by(4) {
                    let outcome = log.commit(commit(&log, number)).await.expect("it is decided");
                    let CommitOutcome::Committed { timestamp } = outcome else { panic!("{outcome:?}") };
                    acknowledge(number, timestamp);
                }
            });
        }
        writers.join_all().await;
    });
}

fn acknowledge(number: u64, timestamp: Timestamp) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {number} {timestamp}").and_then(|()| out.flush()).expect("somebody reads");
}

/// From here on no file of this process grows beyond `bytes`: the disk is full.
fn limit_file_size(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: both calls only change how this process' own writes fail.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

/// A log that flushes, purges and sweeps all the time, and has forgotten most entries before they are applied.
fn restless(folder: impl Into<PathBuf>) -> Options {
    let mut options = Options::embedded(folder);
    options.limits.retention_ms_min = 20;
    options.limits.hold_ms = 20;
    options.limits.window_age_ms_min = 20;
    options.store.unflushed_look_ms = 1;
    options.store.unflushed_ms_max = 2;
    options.store.unflushed_bytes_max = 1_000;
    options.store.sweep_look_ms = 2;
    options.store.sweep_keys_max = 3;
    options.store.log_entries_kept = 1;
    options.store.log_entry_cache_bytes_max = 1_000;
    options.store.log_write_buffer_bytes_max = 64 << 10;
    options
}

const LANES: u64 = 4;
/// What is there of each lane only once: in an index of its own as well.
const NEWEST: IndexId = IndexId([2; 16]);
const BY_NUMBER: IndexId = IndexId([3; 16]);
const NUMBER_MAX: u64 = u32::MAX as u64;

/// Leaves a document of its own for ever, and takes the place of the one before in its lane.
fn step(log: &impl TransactionLog, number: u64) -> Commit {
    let newest = |number: u64, document: Option<Bytes>| Write {
        primary: NEWEST,
        key: Bytes::copy_from_slice(&number.to_be_bytes()),
        index_updates: vec![IndexUpdate {
            index: BY_NUMBER,
            old: document.is_none().then(|| by_number(number)),
            new: document.is_some().then(|| by_number(number)),
        }],
        document,
    };
    let mut commit = commit(log, number);
    commit.writes.push(newest(number, commit.writes[0].document.clone()));
    if let Some(before) = number.checked_sub(LANES) {
        commit.writes.push(newest(before, None));
    }
    commit
}

/// In another order than the numbers.
/// The other way round, and never above what keys of an index begin with.
fn by_number(number: u64) -> Bytes {
    Bytes::copy_from_slice(&(NUMBER_MAX - number).to_be_bytes())
}

/// Not a test: the process that is killed. Each lane goes on from where it was.
#[test]
fn restless_writer() {
    let Some(folder) = std::env::var_os(RESTLESS_FOLDER) else { return };
    runtime().block_on(async {
        let started = Service::start(restless(folder), CancellationToken::new()).await;
        let service = started.expect("the log starts");
        let log = service.handle();
        let numbers = entries(&log).await;
        let mut writers = tokio::task::JoinSet::new();
        for lane in 0..LANES {
            let log = log.clone();
            let of_lane = numbers.iter().map(|(number, _)| *number).filter(|number| number % LANES == lane);
            let next = of_lane.max().map_or(lane, |last| last + LANES);
            writers.spawn(async move {
                for number in (next..).step_by(LANES as usize) {
                    let mut run = 0;
                    let timestamp = loop {
                        run += 1;
                        let commit = Commit { run, ..step(&log, number) };
                        match log.commit(commit).await.expect("it is decided") {
                            CommitOutcome::Committed { timestamp } => break timestamp,
                            // It took longer than the window reaches back.
                            CommitOutcome::Conflict(conflict) => assert_eq!(conflict.write, None),
                            other => panic!("{other:?}"),
                        }
                    };
                    acknowledge(number, timestamp);
                }
            });
        }
        writers.join_all().await;
    });
}

/// Opens the folder: of each lane everything acknowledged is there, at most one step more for each round, and nothing that
/// was deleted.
fn check_lanes(folder: &Path, acknowledged: &[(u64, u64)], rounds: u64) -> u64 {
    runtime().block_on(async {
        let token = CancellationToken::new();
        let service = Service::start(restless(folder), token.clone()).await.expect("it starts again");
        let log = service.handle();
        let there = entries(&log).await;
        let newest = entries_of(&log, NEWEST).await;
        let by_numbers = entries_of(&log, BY_NUMBER).await;
        for (number, timestamp) in acknowledged {
            let found = there.iter().find(|(entry, _)| entry == number);
            let found = found.map(|(_, timestamp)| timestamp.as_nanoseconds());
            assert_eq!(found, Some(*timestamp), "{number} is lost");
        }
        let mut last_ones = Vec::new();
        for lane in 0..LANES {
            let of_lane = |number: &u64| number % LANES == lane;
            let numbers: Vec<u64> = there.iter().map(|(number, _)| *number).filter(of_lane).collect();
            let last = numbers.last().copied();
            let told = acknowledged.iter().map(|(number, _)| *number).filter(of_lane).max();
            let last_max = told.unwrap_or(lane) + LANES * rounds;
            assert!(last <= Some(last_max), "lane {lane}: {last:?} after {told:?}");
            let all: Vec<u64> =
                last.map(|last| (lane..=last).step_by(LANES as usize).collect()).unwrap_or_default();
            assert_eq!(numbers, all, "lane {lane} has gaps");
            last_ones.extend(last);
        }
        last_ones.sort_unstable();
        let newest: Vec<u64> = newest.into_iter().map(|(number, _)| number).collect();
        assert_eq!(newest, last_ones, "what is deleted stays so, and nothing else goes");
        let mut by_numbers: Vec<u64> = by_numbers.into_iter().map(|(key, _)| NUMBER_MAX - key).collect();
        by_numbers.reverse();
        assert_eq!(by_numbers, last_ones, "the index has the same");
        let purged = log.measures(DEV.group).expect("the group is there").entries_purged_before;
        drop(log);
        token.cancel();
        service.stopped().await;
        purged
    })
}

#[test]
fn nothing_is_lost_and_nothing_comes_back_by_kill_9_around_flushes_and_purges() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("CRASH_SEED").unwrap_or_else(rand::random);
    let rounds = number("CRASH_ROUNDS").unwrap_or(10);
    eprintln!("CRASH_SEED={seed} cargo test --workspace --test crash -- nothing_is_lost");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    let mut purged = 0;
    for round in 0..rounds {
        let mut writer = spawn("restless_writer", RESTLESS_FOLDER, folder.path(), None);
        let kill_after = random.random_range(1..150);
        all.extend(acknowledged(&mut writer, Some(kill_after)));
        let ended_by = writer.wait().unwrap().signal();
        let said = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
        assert_eq!(ended_by, Some(libc::SIGKILL), "round {round} of CRASH_SEED={seed}: {said}");
        // Mostly the next writer finds what was left by the one before; sometimes somebody has looked at it.
        if random.random() || round + 1 == rounds {
            purged = check_lanes(folder.path(), &all, round + 1);
        }
    }
    assert!(purged > 0, "the log was purged meanwhile");
}

fn spawn_writer(folder: &Path, file_bytes_max: Option<u64>) -> Child {
    spawn("writer", FOLDER, folder, file_bytes_max)
}

fn spawn(what: &str, variable: &str, folder: &Path, file_bytes_max: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", what, "--nocapture"]).env(variable, folder);
    let said = std::fs::File::create(folder.join("stderr")).expect("its folder is there");
    command.stdout(Stdio::piped()).stderr(said);
    if let Some(bytes) = file_bytes_max {
        command.env(FILE_BYTES_MAX, bytes.to_string());
    }
    command.spawn().expect("it starts again")
}

/// What the writer acknowledged until it died; it is killed after `kill_after` of them.
fn acknowledged(writer: &mut Child, kill_after: Option<usize>) -> Vec<(u64, u64)> {
    let out = BufReader::new(writer.stdout.take().expect("it is piped"));
    let mut acknowledged = Vec::new();
    for line in out.lines() {
        let line = line.expect("it writes text");
        // The first line begins with what the test harness says.
        let Some((_, acknowledgement)) = line.split_once("ack ") else { continue };
        let mut words = acknowledgement.split(' ').map(|word| word.parse().expect("a number"));
        acknowledged.push((words.next().expect("a number"), words.next().expect("a timestamp")));
        if kill_after == Some(acknowledged.len()) {
            writer.kill().expect("it runs");
        }
    }
    acknowledged
}

async fn entries(log: &impl TransactionLog) -> Vec<(u64, Timestamp)> {
    entries_of(log, INDEX).await
}

async fn entries_of(log: &impl TransactionLog, index: IndexId) -> Vec<(u64, Timestamp)> {
    let published = log.position(DEV.group).expect("the group is there").borrow().published;
    let mut entries = Vec::new();
    let mut interval = Interval::all();
    loop {
        let order = Order::Ascending;
        let read = Read::Range { index, interval, order, rows_max: usize::MAX, bytes_max: usize::MAX };
        let results = log.read(DEV, ReadAt::published(published), &[read]).await.expect("it is read");
        let ReadResult::Range { rows, more } = &results[0] else { panic!("a range was asked for") };
        entries.extend(rows.iter().map(|row| {
            (u64::from_be_bytes(row.key[..].try_into().expect("a number")), row.version.timestamp)
        }));
        match rows.last() {
            Some(last) if *more => {
                interval = Interval { start: value::key::successor(&last.key).into(), end: None };
            }
            _ => return entries,
        }
    }
}

/// Opens the folder and sees that everything acknowledged is there, at its timestamp.
fn check(folder: &Path, acknowledged: &[(u64, u64)]) {
    runtime().block_on(async {
        let token = CancellationToken::new();
        let service =
            Service::start(Options::embedded(folder), token.clone()).await.expect("it starts again");
        let log = service.handle();
        let entries = entries(&log).await;
        for (number, timestamp) in acknowledged {
            let found = entries.iter().find(|(entry, _)| entry == number);
            assert_eq!(
                found.map(|(_, timestamp)| timestamp.as_nanoseconds()),
                Some(*timestamp),
                "{number} is lost"
            );
        }
        drop(log);
        token.cancel();
        service.stopped().await;
    });
}

/// The newest file of the log's own write-ahead log that has anything in it.
fn newest_wal(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder.join("log")).expect("the log's folder");
    let mut files: Vec<PathBuf> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| path.metadata().is_ok_and(|metadata| metadata.len() > 0))
        .collect();
    files.sort();
    files.pop().expect("it has a write-ahead log")
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for kill_after in [1, 40, 300] {
        let mut writer = spawn_writer(folder.path(), None);
        all.extend(acknowledged(&mut writer, Some(kill_after)));
        assert_eq!(writer.wait().unwrap().signal(), Some(libc::SIGKILL));
        check(folder.path(), &all);
    }
}

#[test]
fn a_torn_end_of_the_log_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = spawn_writer(folder.path(), None);
    let acknowledged = acknowledged(&mut writer, Some(50));
    writer.wait().unwrap();
    // As if the machine had died while the next record was written.
    let wal = newest_wal(folder.path());
    let mut torn = std::fs::OpenOptions::new().append(true).open(&wal).unwrap();
    torn.write_all(&[0x5a, 0x11, 0x03, 0x7c, 0xff]).unwrap();
    drop(torn);
    check(folder.path(), &acknowledged);
}

#[test]
fn a_log_that_is_damaged_in_the_middle_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = spawn_writer(folder.path(), None);
    acknowledged(&mut writer, Some(200));
    writer.wait().unwrap();
    let wal = newest_wal(folder.path());
    let bytes = std::fs::read(&wal).unwrap();
    // In the checksum, the length, the type or the content of a record, whichever lies there.
    for at in (0..bytes.len() - 2_000).step_by(bytes.len() / 50) {
        let mut damaged = bytes.clone();
        damaged[at..at + 3].iter_mut().for_each(|byte| *byte ^= 0xff);
        std::fs::write(&wal, damaged).unwrap();
        let started =
            runtime().block_on(Service::start(Options::embedded(folder.path()), CancellationToken::new()));
        let error = started.err().expect("it must not start with a part of its log").to_string();
        assert!(error.starts_with("StoreDamaged: ") && error.contains("corruption"), "at {at}: {error}");
    }
}

#[test]
fn a_disk_that_takes_no_more_ends_the_process_and_nothing_else_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = spawn_writer(folder.path(), Some(200_000));
    let acknowledged = acknowledged(&mut writer, None);
    assert_eq!(writer.wait().unwrap().code(), Some(EXIT_CODE_STORAGE_FAILED));
    assert!(!acknowledged.is_empty());
    check(folder.path(), &acknowledged);
}

#[test]
fn a_folder_of_an_unknown_format_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("state")).unwrap();
    std::fs::write(folder.path().join("state/format"), "tidemark state 999\n").unwrap();
    let started =
        runtime().block_on(Service::start(Options::embedded(folder.path()), CancellationToken::new()));
    let error = started.err().expect("it must not be opened").to_string();
    assert!(error.contains("tidemark state 999"), "{error}");
}
