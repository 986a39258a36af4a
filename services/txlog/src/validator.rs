//! Decides which commits may be: the window, the head, and the rule between them.

use std::sync::Arc;

use bytes::Bytes;
use contract::{CommitNotice, DeploymentId, IndexId, ReadSet, Timestamp, TouchedKey};

use recent_writes::Window;

use crate::planted;

/// Validates commits one after the other and gives them their timestamps. Pure: the clock is passed in.
#[derive(Debug)]
pub struct Validator {
    /// Published and in-flight writes alike; those that die with their epoch are dropped again.
    window: Window<DeploymentId>,
    /// The newest timestamp ever given or applied; never lowered, so that no timestamp is given twice.
    head: Timestamp,
}

/// Why a commit may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This write changed something that was read.
    Written(IndexId, Bytes),
    /// The begin timestamp is older than what the window remembers, or not of this history.
    Untellable,
    /// There is no timestamp left above the head.
    EndOfTime,
}

/// What a transaction read, up to which moment that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    pub deployment: DeploymentId,
    /// Everything at or below it was seen by the transaction, or was checked already.
    pub seen: Timestamp,
    pub read_set: &'a ReadSet,
}

impl Validator {
    /// `last` is the store's last timestamp: what is older is unknown here.
    pub fn new(last: Timestamp) -> Validator {
        Validator { window: Window::new(last), head: last }
    }

    pub fn head(&self) -> Timestamp {
        self.head
    }

    pub fn floor(&self) -> Timestamp {
        self.window.floor()
    }

    pub fn window_bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Whether anything that was read has changed since. The answer stands up to the head of this moment, so that a
    /// caller can check most of it without holding others up, and only what came since when its turn comes.
    pub fn check(&self, reading: Reading<'_>) -> Result<Timestamp, Refusal> {
        if reading.seen < self.window.floor() || reading.seen > self.head {
            return Err(Refusal::Untellable);
        }
        if cfg!(validation_off) {
            return Ok(self.head);
        }
        match self.window.find(reading.deployment, reading.seen, reading.read_set) {
            Some(write) => Err(Refusal::Written(write.index, write.key)),
            None => Ok(self.head),
        }
    }

    /// Checks what is left to check and gives the commit its timestamp: `max(head + 1, clock)`. From here on others are
    /// validated against its writes.
    pub fn validate(
        &mut self,
        reading: Reading<'_>,
        keys: Vec<TouchedKey>,
        clock: Timestamp,
    ) -> Result<Arc<CommitNotice>, Refusal> {
        self.check(reading)?;
        let timestamp = self.head.next().ok_or(Refusal::EndOfTime)?.max(clock);
        let notice = Arc::new(CommitNotice { timestamp, keys });
        self.head = timestamp;
        if !planted::is(planted::Bug::ValidatorIgnoresInFlight) {
            self.window.add(reading.deployment, notice.clone());
        }
        Ok(notice)
    }

    /// Every replica remembers what it applies, so that each of them can lead. What this leader validated itself is
    /// known already.
    pub fn applied(&mut self, deployment: DeploymentId, notice: &Arc<CommitNotice>) {
        self.head = self.head.max(notice.timestamp);
        if notice.timestamp > self.window.newest() {
            self.window.add(deployment, notice.clone());
        }
        assert!(self.window.newest() <= self.head, "no write is newer than the head");
    }

    /// The commits above `last` died with their epoch. The head stays: their timestamps are not given again.
    pub fn drop_above(&mut self, last: Timestamp) {
        self.window.drop_above(last);
        if planted::is(planted::Bug::RecoveryLowersHead) {
            self.head = last;
        }
    }

    /// Forgets what no running transaction can have begun before.
    pub fn trim(&mut self, keep_above: Timestamp, published: Timestamp, bytes_max: usize) {
        self.window.trim(keep_above, published, bytes_max);
    }
}
