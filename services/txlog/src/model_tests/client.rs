//! What a client of the model does: one request after the other, each in as many runs as it takes.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use contract::{
    CommitId, DeploymentId, Epoch, IndexId, IndexUpdate, Interval, Order, Read, ReadAt, ReadResult, ReadSet,
    Timestamp, Write,
};
use rand::{Rng, RngExt};

use crate::{
    commit_queue::{Checked, Request},
    entry::{CommitWrites, encode_writes, touched_keys},
};

pub const DEPLOYMENT: DeploymentId = DeploymentId(1);
pub const BY_ID: IndexId = IndexId([1; 16]);
pub const BY_NAME: IndexId = IndexId([2; 16]);

/// The documents of a moment: by id the name, and the number of the attempt that wrote it.
pub type Documents = BTreeMap<Bytes, (Bytes, u64)>;

/// The ids and names of one world: few, of 0 to 40 bytes, many with the same beginning, some the beginning of others.
#[derive(Clone, Debug)]
pub struct Keys {
    pub ids: Vec<Bytes>,
    pub names: Vec<Bytes>,
}

impl Keys {
    pub fn choose(random: &mut impl Rng) -> Keys {
        let mut some = |count: usize| {
            let byte = |random: &mut dyn FnMut() -> u8| [0u8, 1, 0xff, b'k'][usize::from(random() % 4)];
            let mut next = || random.random::<u8>();
            let base: Vec<u8> = (0..40).map(|_| byte(&mut next)).collect();
            let mut keys: Vec<Bytes> = Vec::new();
            while keys.len() < count {
                let length = [0, 1, 2, 3, 16, 17, 39, 40][usize::from(next() % 8)];
                let mut key = base[..length].to_vec();
                if next() % 2 == 0
                    && let Some(last) = key.last_mut()
                {
                    *last = byte(&mut next);
                }
                let key = Bytes::from(key);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            keys
        };
        Keys { ids: some(6), names: some(4) }
    }

    fn id(&self, random: &mut impl Rng) -> Bytes {
        self.ids[random.random_range(0..self.ids.len())].clone()
    }

    fn name(&self, random: &mut impl Rng) -> Bytes {
        self.names[random.random_range(0..self.names.len())].clone()
    }

    /// Something to read: a document, a part of an index, or all of it.
    pub fn read(&self, random: &mut impl Rng) -> Read {
        if random.random_range(0..3) == 0 {
            return Read::Point { index: BY_ID, key: self.id(random) };
        }
        let by_name = random.random();
        let bound = |random: &mut _| if by_name { self.name(random) } else { self.id(random) };
        let interval = match random.random_range(0..5) {
            0 => Interval::all(),
            1 => Interval::point(&bound(random)),
            2 => Interval { start: bound(random), end: None },
            // Now and then it is empty.
            _ => Interval { start: bound(random), end: Some(bound(random)) },
        };
        Read::Range {
            index: if by_name { BY_NAME } else { BY_ID },
            interval,
            order: if random.random() { Order::Ascending } else { Order::Descending },
            rows_max: random.random_range(1..5),
            bytes_max: usize::MAX,
        }
    }
}

/// A document's key in the index of names: as an index key does, it begins with the kind of its value, and ends with the id, so
/// that no two documents share one.
pub fn name_key(name: &Bytes, id: &Bytes) -> Bytes {
    [b"\x10", &name[..], b"\x00\x05", id].concat().into()
}

fn document(number: u64, name: &Bytes) -> Bytes {
    [&number.to_be_bytes()[..], name].concat().into()
}

/// The number and the name in a document.
pub fn parts(document: &Bytes) -> (u64, Bytes) {
    let (number, name) = document.split_first_chunk::<8>().expect("the model writes numbers");
    (u64::from_be_bytes(*number), Bytes::copy_from_slice(name))
}

/// What a read gave, as keys and numbers of attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    rows: Vec<(Bytes, u64)>,
    more: bool,
}

impl Given {
    pub fn new(read: &Read, result: &ReadResult) -> Given {
        match (read, result) {
            (Read::Point { key, .. }, ReadResult::Point(version)) => {
                let row = version.iter().map(|version| (key.clone(), parts(&version.document).0));
                Given { rows: row.collect(), more: false }
            }
            (_, ReadResult::Range { rows, more }) => {
                let row = |row: &contract::Row| (row.key.clone(), parts(&row.version.document).0);
                Given { rows: rows.iter().map(row).collect(), more: *more }
            }
            other => panic!("a point is answered with a point: {other:?}"),
        }
    }

    /// What it must be among these documents.
    pub fn expected(read: &Read, documents: &Documents) -> Given {
        match read {
            Read::Point { key, .. } => {
                let row = documents.get(key).map(|(_, number)| (key.clone(), *number));
                Given { rows: row.into_iter().collect(), more: false }
            }
            Read::Range { index, interval, order, rows_max, .. } => {
                let key = |id: &Bytes, name: &Bytes| match *index == BY_NAME {
                    true => name_key(name, id),
                    false => id.clone(),
                };
                let mut rows: Vec<(Bytes, u64)> = documents
                    .iter()
                    .map(|(id, (name, number))| (key(id, name), *number))
                    .filter(|(key, _)| interval.contains(key))
                    .collect();
                rows.sort();
                if *order == Order::Descending {
                    rows.reverse();
                }
                let more = rows.len() > *rows_max;
                rows.truncate(*rows_max);
                Given { rows, more }
            }
        }
    }

    /// Whether a transaction that has consumed this has seen what is expected. That there was more it has not consumed: it
    /// would have to read on.
    pub fn holds_as(&self, expected: &Given) -> bool {
        self.rows == expected.rows && (self.more || !expected.more)
    }

    /// Adds to a read set what was consumed to get this, and no more.
    fn consumed(&self, read: &Read, read_set: &mut ReadSet) {
        match read {
            Read::Point { index, key } => read_set.add(*index, Interval::point(key)),
            Read::Range { index, interval, order, .. } => {
                let mut consumed = interval.clone();
                if self.more
                    && let Some((last, _)) = self.rows.last()
                {
                    match order {
                        Order::Ascending => consumed.end = Some(value::key::successor(last).into()),
                        Order::Descending => consumed.start = last.clone(),
                    }
                }
                read_set.add(*index, consumed);
            }
        }
    }
}

/// One run of a request's function.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: CommitId,
    /// Which run of the request it is.
    pub run: u32,
    pub epoch: Epoch,
    pub begin: ReadAt,
    /// The replica that it is sent to.
    pub replica: usize,
    /// Where it reads.
    pub read_from: usize,
    /// What is left to read; the ids that it writes come last.
    pub to_read: Vec<Read>,
    /// The ids that it will write.
    pub to_write: Vec<Bytes>,
    pub reads: Vec<(Read, Given)>,
    /// The names of the documents that it will write, as it has read them.
    pub names: BTreeMap<Bytes, Bytes>,
    /// Its writes go in parts.
    pub large: bool,
    /// What it made of each document: its new name, or nothing.
    pub made: Vec<(Bytes, Option<Bytes>)>,
    /// Once all is read.
    pub request: Option<Request>,
    /// The client was told that it had no effect: it must not be in the history.
    pub never: bool,
    /// The client was told that it has no writes and that its reads hold at this moment.
    pub held_at: Option<Timestamp>,
}

impl Attempt {
    /// One that has read nothing, at the only replica.
    pub fn new(id: CommitId, run: u32, epoch: Epoch, begin: ReadAt) -> Attempt {
        Attempt {
            id,
            run,
            epoch,
            begin,
            replica: 0,
            read_from: 0,
            to_read: Vec::new(),
            to_write: Vec::new(),
            reads: Vec::new(),
            names: BTreeMap::new(),
            large: false,
            made: Vec::new(),
            request: None,
            never: false,
            held_at: None,
        }
    }

    /// Chooses what to read and to write.
    pub fn plan(&mut self, keys: &Keys, random: &mut impl Rng) {
        self.to_read = (0..random.random_range(0..3)).map(|_| keys.read(random)).collect();
        for _ in 0..[0, 1, 1, 1, 2, 3][random.random_range(0..6)] {
            let id = keys.id(random);
            if !self.to_write.contains(&id) {
                self.to_read.push(Read::Point { index: BY_ID, key: id.clone() });
                self.to_write.push(id);
            }
        }
        self.large = !self.to_write.is_empty() && random.random_range(0..8) == 0;
        // The last comes first.
        self.to_read.reverse();
    }

    /// Something was read.
    pub fn has_read(&mut self, read: Read, result: &ReadResult) {
        let given = Given::new(&read, result);
        if let (Read::Point { key, .. }, ReadResult::Point(Some(version))) = (&read, result)
            && self.to_write.contains(key)
        {
            self.names.insert(key.clone(), parts(&version.document).1);
        }
        self.reads.push((read, given));
    }

    /// All is read: what it writes. `number` is in each document.
    pub fn decide(&mut self, number: u64, keys: &Keys, random: &mut impl Rng) {
        let mut read_set = ReadSet::new();
        self.reads.iter().for_each(|(read, given)| given.consumed(read, &mut read_set));
        let mut writes = Vec::new();
        for id in &self.to_write {
            let old = self.names.get(id);
            let new = match (old, random.random_range(0..5)) {
                (Some(_), 0 | 1) => None,
                (Some(old), 2) => Some(old.clone()),
                _ => Some(keys.name(random)),
            };
            writes.push(Write {
                primary: BY_ID,
                key: id.clone(),
                document: new.as_ref().map(|name| document(number, name)),
                index_updates: vec![IndexUpdate {
                    index: BY_NAME,
                    old: old.map(|name| name_key(name, id)),
                    new: new.as_ref().map(|name| name_key(name, id)),
                }],
            });
            self.made.push((id.clone(), new));
        }
        self.request = Some(Request {
            deployment: DEPLOYMENT,
            epoch: self.epoch,
            id: self.id,
            run: self.run,
            begin: self.begin,
            read_set: Arc::new(read_set),
            keys: touched_keys(&writes),
            waits_for_timestamp: false,
            encoded: CommitWrites::Inlined(encode_writes(&writes)),
            bytes: 1,
            writes: writes.into(),
        });
    }
}

#[derive(Clone, Debug)]
pub enum Stage {
    Idle,
    /// The attempt reads.
    Read,
    /// The parts of a large commit go to the log, one after the other; the one on its way, and those behind it.
    Part {
        stage: u64,
        parts: Vec<Bytes>,
        sent: usize,
        fate: Option<PartFate>,
    },
    /// The attempt is to be delivered.
    Send,
    /// It passed the part of validation that needs no turn.
    Checked(Checked),
    /// An answer will come.
    Wait,
    /// Without writes: published and leadership are waited for.
    Unchanged {
        timestamp: Timestamp,
    },
    /// The answer was unknown or lost.
    AskLookup,
}

/// What became of the part of a large commit that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartFate {
    Proposed,
    Refused,
    /// At this place of the log, in this term.
    Appended(usize, u64),
}

#[derive(Clone, Debug)]
pub struct Client {
    pub id: CommitId,
    /// The attempt under way, as a number in the world's list.
    pub attempt: usize,
    pub stage: Stage,
    /// How often the request was run.
    pub runs: u32,
    /// Where to run again after a conflict.
    pub run_again_at: Option<ReadAt>,
    /// Answers to an older connection are lost.
    pub connection: u64,
    pub requests_left: u32,
    /// Nothing older than what was seen is shown to it again.
    pub seen: Timestamp,
}
