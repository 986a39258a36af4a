//! Gathers validated commits into batches, and knows which of them are on their way.

use std::collections::VecDeque;

use contract::Timestamp;

use crate::{entry::StampedCommit, planted};

/// Numbers the batches of a process, so that the fate of one can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchNumber(pub u64);

/// Why what was proposed is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalError {
    /// Refused before it was appended: it had no effect and never will.
    Refused,
    /// Appended, and then leadership was lost: it may still be applied.
    Unknown,
}

/// A batch closes when the one before was handed over, or when it is full. Pure.
#[derive(Debug)]
pub struct Batcher {
    limits: BatchLimits,
    open: VecDeque<StampedCommit>,
    on_their_way: VecDeque<HandedOver>,
    /// The last timestamp of the last batch that was handed over: what the next one must follow.
    previous: Timestamp,
    /// The last timestamp of the last batch that is known to be applied.
    settled: Timestamp,
    next_number: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    pub bytes_max: usize,
    pub commits_max: usize,
    pub in_flight_max: usize,
}

#[derive(Debug)]
struct HandedOver {
    number: BatchNumber,
    last: Timestamp,
}

#[derive(Debug, PartialEq)]
pub struct ClosedBatch {
    pub number: BatchNumber,
    pub previous: Timestamp,
    pub commits: Vec<StampedCommit>,
}

impl Batcher {
    /// Begins after `last`, the store's last timestamp.
    pub fn new(limits: BatchLimits, last: Timestamp) -> Batcher {
        Batcher {
            limits,
            open: VecDeque::new(),
            on_their_way: VecDeque::new(),
            previous: last,
            settled: last,
            next_number: 0,
        }
    }

    /// Takes a commit that was just validated; they come in the order of their timestamps.
    pub fn push(&mut self, commit: StampedCommit) {
        let last = self.open.back().map_or(self.previous, |last| last.timestamp);
        assert!(last < commit.timestamp, "{} comes after {last}", commit.timestamp);
        self.open.push_back(commit);
    }

    /// Commits that wait to be handed over.
    pub fn waiting(&self) -> usize {
        self.open.len()
    }

    /// The batch to hand over now, if there is one and another may be on its way.
    pub fn close(&mut self) -> Option<ClosedBatch> {
        if self.open.is_empty() || self.on_their_way.len() >= self.limits.in_flight_max {
            return None;
        }
        if self.open.front().is_some_and(|first| first.timestamp <= self.previous) {
            // Another leader's batch is in the store: this one has lost its lead, and will hear of it.
            return None;
        }
        let mut bytes = 0;
        let mut commits = Vec::new();
        while let Some(next) = self.open.front() {
            bytes += next.writes.entry_bytes();
            let full = bytes > self.limits.bytes_max || commits.len() >= self.limits.commits_max;
            if full && !commits.is_empty() {
                break;
            }
            commits.extend(self.open.pop_front());
        }
        if planted::is(planted::Bug::BatcherReorders) {
            commits.reverse();
        }
        let number = BatchNumber(self.next_number);
        self.next_number += 1;
        let previous = self.previous;
        let last =
            commits.iter().map(|commit| commit.timestamp).max().expect("a batch has at least one commit");
        assert!(previous < last, "a batch follows the one before");
        assert!(self.on_their_way.back().is_none_or(|before| before.number < number));
        self.previous = last;
        self.on_their_way.push_back(HandedOver { number, last });
        Some(ClosedBatch { number, previous, commits })
    }

    /// Whether there are commits that wait or are on their way.
    pub fn is_busy(&self) -> bool {
        !self.open.is_empty() || !self.on_their_way.is_empty()
    }

    /// A batch without commits, if nothing is on its way.
    pub fn close_empty(&mut self) -> Option<ClosedBatch> {
        if self.is_busy() {
            return None;
        }
        let number = BatchNumber(self.next_number);
        self.next_number += 1;
        Some(ClosedBatch { number, previous: self.previous, commits: Vec::new() })
    }

    /// The store has come to `last`: every batch up to it is done.
    pub fn applied(&mut self, last: Timestamp) {
        while self.on_their_way.front().is_some_and(|batch| batch.last <= last) {
            self.on_their_way.pop_front();
        }
        self.settled = self.settled.max(last);
        // Entries of an older leader may still come in before this one has handed over anything.
        self.previous = self.previous.max(last);
    }

    /// The batch was refused before it was appended. Everything after the last batch that was not dies with it; that
    /// one's last timestamp is returned, unless the batch died before.
    pub fn refused(&mut self, number: BatchNumber) -> Option<Timestamp> {
        let at = self.on_their_way.iter().position(|batch| batch.number == number)?;
        self.on_their_way.truncate(at);
        self.open.clear();
        self.previous = self.on_their_way.back().map_or(self.settled, |batch| batch.last);
        assert!(self.settled <= self.previous, "what is applied was not refused");
        Some(self.previous)
    }

    /// Leadership is lost: forgets everything. Returns the last timestamp that was handed over.
    pub fn give_up(&mut self) -> Timestamp {
        self.open.clear();
        self.on_their_way.clear();
        std::mem::replace(&mut self.previous, self.settled)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use contract::{CommitId, DeploymentId};

    use super::*;
    use crate::entry::CommitWrites;

    fn timestamp(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).unwrap()
    }

    fn commit(at: u64, bytes: usize) -> StampedCommit {
        StampedCommit {
            timestamp: timestamp(at),
            deployment: DeploymentId(1),
            run: 1,
            id: CommitId([at as u8; 16]),
            writes: CommitWrites::Inlined(Bytes::from(vec![0; bytes])),
        }
    }

    fn batcher() -> Batcher {
        Batcher::new(BatchLimits { bytes_max: 100, commits_max: 10, in_flight_max: 2 }, timestamp(10))
    }

    fn timestamps(batch: &ClosedBatch) -> Vec<u64> {
        batch.commits.iter().map(|commit| commit.timestamp.as_nanoseconds()).collect()
    }

    #[test]
    fn a_batch_closes_when_full_and_follows_the_one_before() {
        let mut batcher = batcher();
        for (at, bytes) in [(11, 60), (12, 30), (13, 30), (14, 500), (15, 1)] {
            batcher.push(commit(at, bytes));
        }
        let first = batcher.close().unwrap();
        assert_eq!((first.previous, timestamps(&first)), (timestamp(10), vec![11, 12]));
        let second = batcher.close().unwrap();
        assert_eq!((second.previous, timestamps(&second)), (timestamp(12), vec![13]));
        assert!(batcher.close().is_none(), "two are on their way");
        batcher.applied(timestamp(12));
        let third = batcher.close().unwrap();
        assert_eq!(
            (third.previous, timestamps(&third)),
            (timestamp(13), vec![14]),
            "one is too large, and alone"
        );
    }

    #[test]
    fn a_refusal_takes_everything_behind_it_along() {
        let mut batcher = batcher();
        batcher.push(commit(11, 100));
        batcher.push(commit(12, 100));
        batcher.push(commit(13, 100));
        let first = batcher.close().unwrap();
        let second = batcher.close().unwrap();
        assert_eq!(batcher.refused(second.number), Some(timestamp(11)));
        assert_eq!(batcher.waiting(), 0);
        batcher.push(commit(20, 1));
        assert_eq!(batcher.close().unwrap().previous, timestamp(11));
        // The news about the first comes late: the batch that followed it dies as well.
        assert_eq!(batcher.refused(first.number), Some(timestamp(10)));
        assert_eq!(batcher.on_their_way.len(), 0);
        assert_eq!(batcher.refused(second.number), None);
    }
}
