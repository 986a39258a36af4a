//! What a client of the model does: one request after the other, each in as many attempts as it takes.

use std::sync::Arc;

use bytes::Bytes;
use contract::{CommitId, DeploymentId, Epoch, IndexId, Interval, ReadAt, ReadSet, Timestamp, Write};
use rand::{Rng, RngExt};

use crate::{
    commit_queue::{Checked, Request},
    entry::{CommitWrites, encode_writes, touched_keys},
};

pub const DEPLOYMENT: DeploymentId = DeploymentId(1);
pub const INDEX: IndexId = IndexId([1; 16]);
pub const KEYS: u8 = 5;

pub fn key(number: u8) -> Bytes {
    Bytes::copy_from_slice(&[number])
}

/// One run of a request's function: what it read and wants to write.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub request: Request,
    /// What it saw: the number of the attempt that wrote each key.
    pub reads: Vec<(u8, Option<u64>)>,
    /// The replica that it was sent to.
    pub replica: usize,
    /// The client was told that it had no effect: it must not be in the history.
    pub never: bool,
    /// The client was told that it has no writes and that its reads hold at this moment.
    pub held_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Idle,
    /// The last attempt is to be delivered.
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

#[derive(Clone, Debug)]
pub struct Client {
    pub id: CommitId,
    /// The attempt under way, as a number in the world's list.
    pub attempt: usize,
    pub stage: Stage,
    /// Where to run again after a conflict.
    pub run_again_at: Option<ReadAt>,
    /// Answers to an older connection are lost.
    pub connection: u64,
    pub requests_left: u32,
    /// Nothing older than what was seen is shown to it again.
    pub seen: Timestamp,
}

/// The keys that a run reads and writes.
pub struct Plan {
    pub read: Vec<u8>,
    pub read_set: ReadSet,
    pub written: Vec<u8>,
}

impl Plan {
    pub fn choose(random: &mut impl Rng) -> Plan {
        let mut read_set = ReadSet::new();
        let mut read = Vec::new();
        for _ in 0..random.random_range(0..3) {
            let first = random.random_range(0..KEYS);
            let last = (first + random.random_range(0..2)).min(KEYS - 1);
            let end = last.checked_add(1).map(key);
            read_set.add(INDEX, Interval { start: key(first), end });
            read.extend(first..=last);
        }
        read.sort_unstable();
        read.dedup();
        let written = match random.random_range(0..5) {
            0 => Vec::new(),
            // Mostly what was read, as an increment does.
            1..4 if !read.is_empty() => vec![read[random.random_range(0..read.len())]],
            _ => vec![random.random_range(0..KEYS)],
        };
        Plan { read, read_set, written }
    }

    /// The request of the attempt with this number, which it leaves in everything that it writes.
    pub fn request(self, id: CommitId, epoch: Epoch, begin: ReadAt, number: u64) -> Request {
        let document = Some(Bytes::copy_from_slice(&number.to_be_bytes()));
        let writes: Vec<Write> = self
            .written
            .iter()
            .map(|number| Write {
                primary: INDEX,
                key: key(*number),
                document: document.clone(),
                index_updates: Vec::new(),
            })
            .collect();
        Request {
            deployment: DEPLOYMENT,
            epoch,
            id,
            begin,
            read_set: Arc::new(self.read_set),
            keys: touched_keys(&writes),
            encoded: CommitWrites::Inlined(encode_writes(&writes)),
            bytes: 1,
            writes: writes.into(),
        }
    }
}
