//! How many commits, reads and conflicts a second one log takes, on this machine, now: compare only figures of one run.
//!
//! `cargo run -p txlog --example throughput [seconds] [clients] [keys]`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use contract::{
    Commit, CommitId, CommitOutcome, IndexId, Interval, Read, ReadAt, ReadSet, TransactionLog, Write,
};
use tokio_util::sync::CancellationToken;
use txlog::{Handle, Options, Service};

const INDEX: IndexId = IndexId([1; 16]);

#[derive(Default)]
struct Counts {
    commits: AtomicU64,
    conflicts: AtomicU64,
    elapsed_us: AtomicU64,
}

fn argument(at: usize, default: u64) -> u64 {
    std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Reads two keys and writes both, as a transfer does, until the time is over.
async fn transfers(log: Handle, client: u64, keys: u64, until: Instant, counts: Arc<Counts>) {
    let at = log.deployments()[0].at;
    let position = log.position(at.group).expect("the group is there");
    let mut random = client.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    while Instant::now() < until {
        let pair = [next() % keys, next() % keys];
        let id = CommitId((u128::from(next()) << 64 | u128::from(next())).to_be_bytes());
        let started = Instant::now();
        let mut begin = ReadAt::published(position.borrow().published);
        loop {
            let reads = pair.map(|number| Read::Point { index: INDEX, key: key(number) });
            let Ok(_) = log.read(at, begin, &reads).await else { break };
            let mut read_set = ReadSet::new();
            pair.iter().for_each(|number| read_set.add(INDEX, Interval::point(&key(*number))));
            let writes = pair.map(|number| Write {
                primary: INDEX,
                key: key(number),
                document: Some(Bytes::from_static(&[b'x'; 120])),
                index_updates: Vec::new(),
            });
            let commit = Commit {
                deployment: at,
                epoch: position.borrow().epoch,
                id,
                run: 1,
                begin,
                read_set: Arc::new(read_set),
                writes: writes.into(),
            };
            match log.commit(commit).await {
                Ok(CommitOutcome::Committed { .. }) => {
                    counts.commits.fetch_add(1, Ordering::Relaxed);
                    counts.elapsed_us.fetch_add(started.elapsed().as_micros() as u64, Ordering::Relaxed);
                    break;
                }
                Ok(CommitOutcome::Conflict(conflict)) => {
                    counts.conflicts.fetch_add(1, Ordering::Relaxed);
                    begin = conflict.run_again_at;
                }
                _ => break,
            }
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "it is a program for people")]
async fn main() {
    let (seconds, clients, keys) = (argument(1, 5), argument(2, 64), argument(3, 100_000));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = CancellationToken::new();
    let service =
        Service::start(Options::embedded(folder.path()), token.clone()).await.expect("the log starts");
    let log = service.handle();
    let group = log.deployments()[0].at.group;
    let counts = Arc::new(Counts::default());
    let fsyncs = log.measures(group).expect("the group is there").fsyncs;
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for client in 1..=clients {
        tasks.spawn(transfers(log.clone(), client, keys, until, counts.clone()));
    }
    tasks.join_all().await;
    let elapsed = started.elapsed().as_secs_f64();
    let commits = counts.commits.load(Ordering::Relaxed) as f64;
    let fsyncs = (log.measures(group).expect("the group is there").fsyncs - fsyncs) as f64;
    println!(
        "{clients} clients on {keys} keys: {:.0} commits/s, {:.0} conflicts/s, {:.0} fsyncs/s, {:.1} commits per fsync, mean {:.0} µs",
        commits / elapsed,
        counts.conflicts.load(Ordering::Relaxed) as f64 / elapsed,
        fsyncs / elapsed,
        commits / fsyncs,
        counts.elapsed_us.load(Ordering::Relaxed) as f64 / commits,
    );
    drop(log);
    token.cancel();
    service.stopped().await;
}
