//! A transaction log in memory, for tests: the contract's meaning in the plainest way, with every version kept.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, Conflict, DeploymentRef, Epoch, Error,
    GroupId, Hold, HoldId, IndexId, Interval, Lookup, Order, Position, Read, ReadAt, ReadResult, Result, Row,
    StreamEvents, Timestamp, TransactionLog, Version,
};
use tokio::sync::watch;

type Key = (IndexId, Bytes);

#[derive(Default)]
struct State {
    published: Timestamp,
    /// Every version of every document, oldest first.
    documents: BTreeMap<Key, Vec<(Timestamp, Option<Bytes>)>>,
    /// Per index key which document lies there since when.
    entries: BTreeMap<Key, Vec<(Timestamp, Option<Key>)>>,
    /// Every key that was touched, with the commit that did it.
    touched: Vec<(Timestamp, Key)>,
    /// Which run committed, and when.
    committed: BTreeMap<[u8; 16], (u32, Timestamp)>,
}

pub struct MemoryLog {
    state: Mutex<State>,
    position: watch::Sender<Position>,
    /// The most documents and bytes in one answer to a range read.
    page: (usize, usize),
    /// Calls of `read`.
    pub reads: AtomicUsize,
}

impl Default for MemoryLog {
    fn default() -> MemoryLog {
        MemoryLog::with_pages(usize::MAX, usize::MAX)
    }
}

impl MemoryLog {
    pub fn with_pages(documents_max: usize, bytes_max: usize) -> MemoryLog {
        let position =
            Position { epoch: Epoch::default(), ready: true, published: Timestamp::ZERO, leader: None };
        MemoryLog {
            state: Mutex::default(),
            position: watch::Sender::new(position),
            page: (documents_max, bytes_max),
            reads: AtomicUsize::new(0),
        }
    }
}

fn at<T>(versions: &[(Timestamp, T)], timestamp: Timestamp) -> Option<&(Timestamp, T)> {
    versions.iter().rev().find(|(written, _)| *written <= timestamp)
}

impl State {
    fn document(&self, key: &Key, timestamp: Timestamp) -> Option<Version> {
        let (written, document) = at(self.documents.get(key)?, timestamp)?;
        Some(Version { timestamp: *written, document: document.clone()? })
    }

    fn range(&self, index: IndexId, interval: &Interval, timestamp: Timestamp) -> Vec<Row> {
        let mut rows = Vec::new();
        let from = (index, interval.start.clone());
        for ((of, key), versions) in self.entries.range(from..) {
            if *of != index || !interval.contains(key) {
                break;
            }
            if let Some((_, Some(document))) = at(versions, timestamp)
                && let Some(version) = self.document(document, timestamp)
            {
                rows.push(Row { key: key.clone(), version });
            }
        }
        rows
    }
}

#[async_trait]
impl TransactionLog for MemoryLog {
    fn position(&self, _: GroupId) -> Result<watch::Receiver<Position>> {
        Ok(self.position.subscribe())
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome> {
        let mut state = self.state.lock().unwrap();
        if let Some(&(run, timestamp)) = state.committed.get(&commit.id.0) {
            return Ok(match run == commit.run {
                true => CommitOutcome::Committed { timestamp },
                false => CommitOutcome::OtherRunCommitted { timestamp },
            });
        }
        let newer = |(written, _): &&(Timestamp, Key)| *written > commit.begin.timestamp;
        let conflict = state
            .touched
            .iter()
            .filter(newer)
            .find(|(_, (index, key))| commit.read_set.contains(*index, key));
        if let Some((_, write)) = conflict {
            let conflict =
                Conflict { write: Some(write.clone()), run_again_at: ReadAt::published(state.published) };
            return Ok(CommitOutcome::Conflict(conflict));
        }
        if commit.writes.is_empty() {
            return Ok(CommitOutcome::Committed { timestamp: state.published });
        }
        let timestamp = state.published.next().expect("tests commit rarely");
        for write in commit.writes {
            let document = (write.primary, write.key);
            state.touched.push((timestamp, document.clone()));
            let there = write.document.is_some().then(|| document.clone());
            state.documents.entry(document.clone()).or_default().push((timestamp, write.document));
            state.entries.entry(document.clone()).or_default().push((timestamp, there));
            for update in write.index_updates {
                for (key, entry) in [(update.old, None), (update.new, Some(&document))] {
                    let Some(key) = key else { continue };
                    state.touched.push((timestamp, (update.index, key.clone())));
                    state.entries.entry((update.index, key)).or_default().push((timestamp, entry.cloned()));
                }
            }
        }
        state.published = timestamp;
        state.committed.insert(commit.id.0, (commit.run, timestamp));
        self.position.send_modify(|position| position.published = timestamp);
        Ok(CommitOutcome::Committed { timestamp })
    }

    async fn lookup(&self, _: DeploymentRef, id: CommitId) -> Result<Lookup> {
        Ok(match self.state.lock().unwrap().committed.get(&id.0) {
            Some(&(run, timestamp)) => Lookup::Committed { timestamp, run },
            _ => Lookup::Absent { epoch: Epoch::default() },
        })
    }

    async fn read(&self, _: DeploymentRef, moment: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap();
        if moment.timestamp > state.published {
            return Err(Error::overloaded("NotYet", "not published yet"));
        }
        let result = |read: &Read| match read {
            Read::Point { index, key } => {
                ReadResult::Point(state.document(&(*index, key.clone()), moment.timestamp))
            }
            Read::Range { index, interval, order, rows_max, bytes_max } => {
                let mut all = state.range(*index, interval, moment.timestamp);
                if *order == Order::Descending {
                    all.reverse();
                }
                let (rows_max, bytes_max) = ((*rows_max).min(self.page.0), (*bytes_max).min(self.page.1));
                let (mut rows, mut bytes, total) = (Vec::new(), 0, all.len());
                for row in all {
                    if !rows.is_empty() && (rows.len() >= rows_max || bytes >= bytes_max) {
                        break;
                    }
                    bytes += row.version.document.len();
                    rows.push(row);
                }
                let more = rows.len() < total;
                ReadResult::Range { rows, more }
            }
        };
        Ok(reads.iter().map(result).collect())
    }

    async fn confirm_leadership(&self, _: GroupId) -> Result<Position> {
        Ok(self.position.borrow().clone())
    }

    async fn subscribe(&self, _: DeploymentRef, _: Timestamp) -> Result<StreamEvents> {
        Err(Error::internal("tests of transactions follow no stream"))
    }

    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        let fields: Vec<value::FieldPath> =
            step.fields.iter().map(|field| field.parse().expect("a legal path")).collect();
        let mut state = self.state.lock().unwrap();
        let timestamp = state.published;
        let rows = state.range(step.primary, &Interval::all(), timestamp);
        for row in &rows {
            let (json, _) = contract::document::decode(&row.version.document)?;
            let object = value::Object::from_json(json).expect("documents are JSON");
            let key = Bytes::from(value::key::encode_fields(&object, &fields));
            let entry = (row.version.timestamp, Some((step.primary, row.key.clone())));
            let versions = state.entries.entry((step.index, key)).or_default();
            if versions.is_empty() {
                versions.push(entry);
            }
        }
        Ok(BackfillProgress { documents: rows.len() as u64, next: None })
    }
    async fn hold(&self, _: GroupId, _: Hold) -> Result<Duration> {
        unreachable!("it forgets nothing")
    }
    async fn release(&self, _: GroupId, _: HoldId) -> Result<()> {
        unreachable!("it forgets nothing")
    }
}
