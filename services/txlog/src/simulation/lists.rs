//! Clients that append to lists, judged by the checker of histories: strict serializability by what they saw, and when.
//!
//! A list is a document. A second index has it by its length, so that a range of that index is a read of all lists. Some
//! lists are padded, so that a commit is too large for one entry.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use checker::{Operation, Outcome, Transaction};
use contract::{
    Commit, CommitId, IndexId, IndexUpdate, Interval, Order, Read, ReadAt, ReadResult, ReadSet, Timestamp,
    Write,
};
use parking_lot::Mutex;
use rand::{RngExt, seq::SliceRandom};

use super::{
    caller::{Caller, Fate, Runs},
    cluster::LISTS,
    runtime,
};

const BY_KEY: IndexId = IndexId([3; 16]);
const BY_LENGTH: IndexId = IndexId([4; 16]);
/// Both.
pub const INDEXES: [IndexId; 2] = [BY_KEY, BY_LENGTH];
const KEYS: u64 = 6;
const REQUESTS_AT_THE_END: u32 = 3;
const THINKING: Duration = Duration::from_millis(60);
/// More than goes into one entry.
const PADDING_BYTES: usize = 600;

/// A list, and whether it is padded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    values: Vec<u64>,
    padded: bool,
}

impl List {
    fn encode(&self) -> Bytes {
        let mut bytes = (self.values.len() as u32).to_be_bytes().to_vec();
        self.values.iter().for_each(|value| bytes.extend_from_slice(&value.to_be_bytes()));
        bytes.resize(bytes.len() + if self.padded { PADDING_BYTES } else { 0 }, 0);
        bytes.into()
    }

    fn decode(bytes: &[u8]) -> List {
        let (length, rest) = bytes.split_first_chunk::<4>().expect("the length");
        let (values, padding) = rest.split_at(u32::from_be_bytes(*length) as usize * 8);
        let value = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        List { values: values.chunks(8).map(value).collect(), padded: !padding.is_empty() }
    }

    /// As the checker has it.
    fn seen(&self) -> Vec<String> {
        self.values.iter().map(u64::to_string).collect()
    }
}

fn key(number: u64) -> Bytes {
    number.to_be_bytes().to_vec().into()
}

fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(*key.last_chunk::<8>().expect("a key ends with its number"))
}

fn key_by_length(list: &List, of: u64) -> Bytes {
    [&(list.values.len() as u32).to_be_bytes()[..], &of.to_be_bytes()].concat().into()
}

#[derive(Default)]
pub struct Past {
    transactions: Mutex<BTreeMap<u64, Transaction>>,
    told: Mutex<BTreeMap<(CommitId, u32), Timestamp>>,
    next: Mutex<u64>,
}

impl Past {
    fn number(&self) -> u64 {
        let mut next = self.next.lock();
        *next += 1;
        *next
    }

    fn ended(&self, id: u64, outcome: Outcome) {
        let now = now();
        if let Some(transaction) = self.transactions.lock().get_mut(&id) {
            transaction.outcome = outcome;
            transaction.end = Some(now);
            if outcome != Outcome::Committed {
                // What it read binds nobody.
                transaction.operations.retain(|operation| matches!(operation, Operation::Append { .. }));
            }
        }
    }

    fn committed(&self, id: CommitId, run: u32, timestamp: Timestamp) {
        runtime::note(format_args!("{id:?} run {run} at {timestamp}"));
        let before = self.told.lock().insert((id, run), timestamp);
        assert!(before.is_none_or(|before| before == timestamp), "{id:?} at {before:?} and at {timestamp}");
    }

    /// The newest commit that somebody was told of.
    pub fn newest(&self) -> Timestamp {
        self.told.lock().values().max().copied().unwrap_or(Timestamp::ZERO)
    }

    pub fn commits(&self) -> usize {
        self.told.lock().len()
    }

    pub fn judge(&self, recorded: &BTreeMap<Timestamp, (CommitId, u32)>) -> Result<(), String> {
        let told: BTreeMap<Timestamp, (CommitId, u32)> =
            self.told.lock().iter().map(|(run, at)| (*at, *run)).collect();
        if told != *recorded {
            let lost = told.iter().find(|(at, run)| recorded.get(at) != Some(run));
            let untold = recorded.iter().find(|(at, run)| told.get(at) != Some(run));
            return Err(format!("acknowledged and lost: {lost:?}; committed and not told: {untold:?}"));
        }
        let transactions: Vec<Transaction> = self.transactions.lock().values().cloned().collect();
        let summary = checker::judge(&transactions).map_err(|violation| violation.to_string())?;
        if summary.unknown > 0 {
            return Err(format!("{} transactions are undecided", summary.unknown));
        }
        Ok(())
    }
}

fn now() -> u64 {
    u64::try_from(runtime::time().as_nanos()).expect("a short while")
}

pub struct Client {
    caller: Caller,
    past: Arc<Past>,
    seen: Timestamp,
}

/// What a run has read.
#[derive(Default)]
struct Seen {
    lists: BTreeMap<u64, List>,
    read_set: ReadSet,
    operations: Vec<Operation>,
}

impl Seen {
    fn see(&mut self, of: u64, list: Option<List>) {
        let list = list.unwrap_or_default();
        self.operations.push(Operation::Read { key: of, values: list.seen() });
        self.lists.insert(of, list);
    }
}

impl Client {
    pub fn new(caller: Caller, past: Arc<Past>) -> Client {
        Client { caller, past, seen: Timestamp::ZERO }
    }

    pub async fn run(mut self, healed: Arc<AtomicBool>) {
        let mut at_the_end = 0;
        while at_the_end < REQUESTS_AT_THE_END {
            at_the_end += u32::from(healed.load(Ordering::Relaxed));
            match runtime::happens(250) {
                true => self.look().await,
                false => self.request().await,
            }
            runtime::sleep(runtime::up_to(THINKING)).await;
        }
    }

    /// Reads all lists as they are now, in which everything that was acknowledged before must be.
    async fn look(&mut self) {
        let start = now();
        let Some((leader, position)) = self.caller.confirmed().await else { return };
        let node = if runtime::happens(500) { self.caller.somebody().await } else { leader };
        let mut seen = Seen::default();
        let at = ReadAt::published(position.published);
        if self.read_all(node, at, &mut seen).await.is_err() {
            return;
        }
        let (id, end) = (self.past.number(), Some(now()));
        let transaction =
            Transaction { id, start, end, outcome: Outcome::Committed, operations: seen.operations };
        self.past.transactions.lock().insert(id, transaction);
        self.seen = self.seen.max(position.published);
    }

    /// Reads each list, by one of the indexes.
    async fn read_all(&mut self, node: u64, at: ReadAt, seen: &mut Seen) -> Result<(), String> {
        let index = if runtime::happens(500) { BY_KEY } else { BY_LENGTH };
        let order = if runtime::happens(500) { Order::Ascending } else { Order::Descending };
        let mut rest = Interval::all();
        let mut lists = BTreeMap::new();
        loop {
            let read = Read::Range { index, interval: rest.clone(), order, rows_max: 4, bytes_max: 1_000 };
            let results = self.caller.read(node, LISTS, at, vec![read]).await?;
            let Some(ReadResult::Range { rows, more }) = results.into_iter().next() else {
                panic!("a range is answered with a range")
            };
            let last = rows.last().map(|row| row.key.clone());
            for row in rows {
                let before = lists.insert(number(&row.key), List::decode(&row.version.document));
                assert!(before.is_none(), "a list is in an index once");
            }
            match (last, order) {
                (Some(last), Order::Ascending) if more => {
                    rest.start = value::key::successor(&last).into();
                }
                (Some(last), Order::Descending) if more => rest.end = Some(last),
                _ => break,
            }
        }
        seen.read_set.add(index, Interval::all());
        for of in 0..KEYS {
            seen.see(of, lists.remove(&of));
        }
        assert!(lists.is_empty(), "nobody has written other lists: {lists:?}");
        Ok(())
    }

    async fn request(&mut self) {
        let id = CommitId(runtime::random(|random| random.random()));
        let start = now();
        let mut runs = Runs::new();
        let mut run_again_at: Option<ReadAt> = None;
        // The transactions of the history, by their runs.
        let mut by_run: BTreeMap<u32, u64> = BTreeMap::new();
        let committed = loop {
            let run = runs.begin();
            let Some((node, position)) = self.caller.position().await else { continue };
            let begin = run_again_at.take().unwrap_or(ReadAt::published(position.published));
            if begin.epoch.is_none() && begin.timestamp < self.seen {
                runtime::sleep(runtime::up_to(Duration::from_millis(5))).await;
                continue;
            }
            let epoch = begin.epoch.unwrap_or(position.epoch);
            let mut seen = Seen::default();
            if let Err(code) = self.read_some(node, begin, &mut seen).await {
                if code == "EpochEnded" {
                    self.caller.epoch_ended(&mut runs);
                }
                continue;
            }
            let writes = self.append(&mut seen);
            let transaction = self.past.number();
            let outcome = Outcome::Unknown;
            let operations = seen.operations;
            self.past
                .transactions
                .lock()
                .insert(transaction, Transaction { id: transaction, start, end: None, outcome, operations });
            by_run.insert(run, transaction);
            let is_read_only = writes.is_empty();
            let read_set = Arc::new(seen.read_set);
            let commit = Commit { deployment: LISTS, epoch, id, run, begin, read_set, writes };
            match self.caller.settle(&mut runs, commit).await {
                Fate::Committed(timestamp) => {
                    self.seen = self.seen.max(timestamp);
                    if !is_read_only {
                        self.past.committed(id, run, timestamp);
                    } else if runs.may_have_written {
                        // What it saw was so all the same.
                        by_run.remove(&run);
                        self.past.ended(transaction, Outcome::Committed);
                        continue;
                    }
                    break run;
                }
                Fate::OtherRunCommitted(timestamp, run) => {
                    self.past.committed(id, run, timestamp);
                    self.seen = self.seen.max(timestamp);
                    break run;
                }
                Fate::Conflict(at) => run_again_at = Some(at),
                Fate::LostLeader | Fate::Refused => {}
            }
        };
        for (run, transaction) in by_run {
            let outcome = if run == committed { Outcome::Committed } else { Outcome::Failed };
            self.past.ended(transaction, outcome);
        }
    }

    async fn read_some(&mut self, leader: u64, at: ReadAt, seen: &mut Seen) -> Result<(), String> {
        let anywhere = at.epoch.is_none() && runtime::happens(300);
        let node = if anywhere { self.caller.somebody().await } else { leader };
        if runtime::happens(200) {
            return self.read_all(node, at, seen).await;
        }
        let mut keys: Vec<u64> = (0..KEYS).collect();
        let count = runtime::random(|random| {
            keys.shuffle(random);
            random.random_range(1..=3)
        });
        for of in keys.into_iter().take(count) {
            let read = Read::Point { index: BY_KEY, key: key(of) };
            let results = self.caller.read(node, LISTS, at, vec![read]).await?;
            let Some(ReadResult::Point(version)) = results.into_iter().next() else {
                panic!("a point is answered with a point")
            };
            seen.read_set.add(BY_KEY, Interval::point(&key(of)));
            seen.see(of, version.map(|version| List::decode(&version.document)));
        }
        Ok(())
    }

    /// Appends to some of the lists that were read, or to none.
    fn append(&self, seen: &mut Seen) -> Vec<Write> {
        let mut keys: Vec<u64> = seen.lists.keys().copied().collect();
        let (count, padded) = runtime::random(|random| {
            keys.shuffle(random);
            ([0, 1, 1, 1, 2, 2][random.random_range(0..6)], random.random_range(0..5) == 0)
        });
        let mut writes = Vec::new();
        for of in keys.into_iter().take(count) {
            let old = &seen.lists[&of];
            let mut new = List { values: old.values.clone(), padded };
            for _ in 0..runtime::random(|random| random.random_range(1..=2)) {
                let value = self.past.number();
                new.values.push(value);
                seen.operations.push(Operation::Append { key: of, value: value.to_string() });
            }
            let was = (!old.values.is_empty()).then(|| key_by_length(old, of));
            writes.push(Write {
                primary: BY_KEY,
                key: key(of),
                document: Some(new.encode()),
                index_updates: vec![IndexUpdate {
                    index: BY_LENGTH,
                    old: was,
                    new: Some(key_by_length(&new, of)),
                }],
            });
        }
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        for padded in [false, true] {
            let list = List { values: vec![1, u64::MAX], padded };
            assert_eq!(List::decode(&list.encode()), list);
        }
    }
}
