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

    /// The timestamp that the next commit gets; `None` at the end of time.
    pub fn next(&self, clock: Timestamp) -> Option<Timestamp> {
        Some(self.head.next()?.max(clock))
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
        let timestamp = self.next(clock).ok_or(Refusal::EndOfTime)?;
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

    /// What commits are validated against has the same commit that was applied, if this leader validated it: then that is
    /// given, so that it is kept once.
    pub fn remembered(&self, applied: Arc<CommitNotice>) -> Arc<CommitNotice> {
        match self.window.notice_at(applied.timestamp) {
            Some(known) if *known == applied => Arc::clone(known),
            _ => applied,
        }
    }

    /// The commits above `last` died with their epoch. The head stays: their timestamps are not given again.
    pub fn drop_above(&mut self, last: Timestamp) {
        self.window.drop_above(last);
        if planted::is(planted::Bug::RecoveryLowersHead) {
            self.head = last;
        }
    }

    /// The store has other data, up to `last`: what was written before is not known any more.
    pub fn replaced(&mut self, last: Timestamp) {
        self.window = Window::new(last);
        self.head = self.head.max(last);
    }

    /// Forgets what no running transaction can have begun before.
    pub fn trim(&mut self, keep_above: Timestamp, published: Timestamp, bytes_max: usize) {
        self.window.trim(keep_above, published, bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: DeploymentId = DeploymentId(1);

    fn timestamp(at: u64) -> Timestamp {
        Timestamp::new(at).expect("in range")
    }

    fn notice(at: u64) -> Arc<CommitNotice> {
        let keys = vec![TouchedKey { index: IndexId([1; 16]), key: Bytes::from_static(b"key") }];
        Arc::new(CommitNotice { timestamp: timestamp(at), keys })
    }

    #[test]
    fn what_was_validated_here_is_kept_once_when_it_is_applied() {
        let mut validator = Validator::new(timestamp(5));
        let reading = Reading { deployment: DEPLOYMENT, seen: timestamp(5), read_set: &ReadSet::new() };
        let validated =
            validator.validate(reading, notice(9).keys.clone(), timestamp(9)).expect("it read nothing");
        validator.applied(DEPLOYMENT, &notice(9));
        assert!(Arc::ptr_eq(&validator.remembered(notice(9)), &validated));

        let of_another = notice(11);
        validator.applied(DEPLOYMENT, &of_another);
        assert!(Arc::ptr_eq(&validator.remembered(of_another.clone()), &of_another));
        validator.trim(timestamp(11), timestamp(11), usize::MAX);
        let forgotten = notice(9);
        assert!(Arc::ptr_eq(&validator.remembered(forgotten.clone()), &forgotten));
    }
}
