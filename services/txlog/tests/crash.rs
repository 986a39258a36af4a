//! What is left after a process dies: kill -9, a torn log, a damaged log, a disk that takes no more.
//!
//! The process that dies is this test program, started again as a writer.

use std::{
    io::{BufRead, BufReader, Write as _},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use contract::{
    Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, GroupId, IndexId, Interval, Order, Read,
    ReadAt, ReadResult, Timestamp, TransactionLog, Write,
};
use tokio_util::sync::CancellationToken;
use txlog::{EXIT_CODE_STORAGE_FAILED, Options, Service};

const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
const INDEX: IndexId = IndexId([1; 16]);
const FOLDER: &str = "TXLOG_CRASH_FOLDER";
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
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {number} {timestamp}")
                        .and_then(|()| out.flush())
                        .expect("somebody reads");
                }
            });
        }
        writers.join_all().await;
    });
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

fn spawn_writer(folder: &Path, file_bytes_max: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "writer", "--nocapture"]).env(FOLDER, folder);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
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
    let published = log.position(DEV.group).expect("the group is there").borrow().published;
    let mut entries = Vec::new();
    let mut interval = Interval::all();
    loop {
        let order = Order::Ascending;
        let read = Read::Range { index: INDEX, interval, order, rows_max: usize::MAX, bytes_max: usize::MAX };
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
    let mut bytes = std::fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&wal, bytes).unwrap();
    let started =
        runtime().block_on(Service::start(Options::embedded(folder.path()), CancellationToken::new()));
    let error = started.err().expect("it must not start with a part of its log").to_string();
    assert!(error.contains("log") && error.to_lowercase().contains("corruption"), "{error}");
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
