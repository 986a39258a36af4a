//! What a replica decides about commits: which it takes, what becomes of those on their way when proposals are refused
//! or leadership changes, and what it answers about them.
//!
//! Pure: clock, log and store are outside; the time that has passed is counted from whatever moment. Every replica has one; only the one that leads and is ready takes commits.

use std::{sync::Arc, time::Duration};

use contract::{
    CommitId, CommitNotice, CommitOutcome, Conflict, DeploymentId, Epoch, Hold, HoldId, LeaderHint, Lookup,
    ReadAt, ReadSet, Timestamp, TouchedKey, Write, document,
};

use crate::{
    ages::Ages,
    apply::{Applied, AppliedCommit},
    batcher::{BatchLimits, BatchNumber, Batcher, ProposalError},
    entry::{Batch, CommitWrites, StampedCommit, encode_writes, touched_keys},
    holds::{HoldOptions, Holds, NotHeld},
    overlay::Overlay,
    planted,
    undecided::{Committed, Known, OpenCommit, Taken, Undecided},
    validator::{Reading, Refusal, Validator},
};

/// The commits of a group on their way from validation to the store. `W` is whoever waits for an outcome.
#[derive(Debug)]
pub struct CommitQueue<W> {
    epoch: Epoch,
    standing: Standing,
    /// The epoch of the last batch that was applied: a follower's only source for its leader's resets.
    told: Epoch,
    /// Who leads, as far as it is known here.
    leader: Option<Arc<LeaderHint>>,
    /// To whom the lead is being handed over: no commit is taken any more.
    handed_to: Option<Arc<LeaderHint>>,
    /// The epoch began by a reset of which no batch has told the followers yet.
    reset_untold: bool,
    /// The term whose blank entry was applied last: everything older is decided here.
    decided_term: u64,
    validator: Validator,
    batcher: Batcher,
    undecided: Undecided<W>,
    overlay: Overlay,
    ages: Ages,
    retention: Duration,
    records_age: Duration,
    holds: Holds,
    /// Up to here this leader has said that nothing can be read any more, whether or not it is applied yet.
    chosen_horizon: Timestamp,
    /// The group has been idle for so long that the floors must go on.
    floors_are_due: bool,
    /// The last applied timestamp.
    published: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub struct CommitQueueOptions {
    pub batches: BatchLimits,
    /// How long it is asked at least what was the newest moment so long ago.
    pub window_age: Duration,
    /// How long a moment stays readable after it was the newest.
    pub retention: Duration,
    /// How long a commit can be looked up.
    pub records_age: Duration,
    pub holds: HoldOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Follows,
    /// Elected; older entries may still be undecided.
    Leads,
    Ready,
}

/// A commit as it comes in, with its writes encoded.
#[derive(Clone, Debug)]
pub struct Request {
    pub deployment: DeploymentId,
    pub epoch: Epoch,
    pub id: CommitId,
    /// Which run of the request it is.
    pub run: u32,
    pub begin: ReadAt,
    pub read_set: Arc<ReadSet>,
    pub writes: Arc<[Write]>,
    /// Each key that the writes touch.
    pub keys: Vec<TouchedKey>,
    pub encoded: CommitWrites,
    /// Whether its timestamp is to be put into documents that it writes.
    pub waits_for_timestamp: bool,
    /// Memory that it takes until it is decided.
    pub bytes: usize,
}

impl Request {
    /// Puts the timestamp into what waits for it.
    fn stamp(&mut self, timestamp: Timestamp) -> contract::Result<()> {
        let stamped = self.writes.iter().map(|write| document::stamp(write, timestamp));
        self.writes = stamped.collect::<contract::Result<_>>()?;
        self.keys = touched_keys(&self.writes);
        self.encoded = CommitWrites::Inlined(encode_writes(&self.writes));
        Ok(())
    }
}

/// What [`CommitQueue::check`] has already done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Nothing in the read set was written up to here.
    pub up_to: Timestamp,
    /// The request's id had no record in a store that had published this.
    pub no_record_at: Timestamp,
}

/// What became of a request that came in.
#[derive(Debug, PartialEq)]
pub enum Received<W> {
    /// It is on its way, or joined one that is: the waiter hears later.
    OnItsWay,
    /// The answer is known.
    Answered(W, CommitOutcome),
    /// It has no writes; nothing it read had changed up to `checked`. The answer stands once `published` has come to
    /// its begin timestamp and a quorum has confirmed that this leader still leads.
    Unchanged { waiter: W, checked: Timestamp },
    /// Its record may have come into the store since that was asked: ask again, then come again.
    AskStoreAgain(W),
}

/// Somebody's outcome.
#[derive(Debug, PartialEq)]
pub struct Answer<W> {
    pub waiter: W,
    pub outcome: CommitOutcome,
}

impl<W> CommitQueue<W> {
    /// `last` is the store's last timestamp, `epoch` that of its last batch.
    pub fn new(
        options: CommitQueueOptions,
        last: Timestamp,
        epoch: Epoch,
        passed: Duration,
    ) -> CommitQueue<W> {
        let CommitQueueOptions { batches, window_age, retention, records_age, holds } = options;
        let shortest = window_age.min(retention).min(records_age);
        let longest = window_age.max(retention).max(records_age);
        CommitQueue {
            epoch,
            told: epoch,
            standing: Standing::Follows,
            leader: None,
            handed_to: None,
            reset_untold: false,
            decided_term: 0,
            validator: Validator::new(last),
            batcher: Batcher::new(batches, last),
            undecided: Undecided::default(),
            overlay: Overlay::default(),
            ages: Ages::new(last, passed, (shortest, longest)),
            retention,
            records_age,
            holds: Holds::new(holds, last, passed),
            chosen_horizon: Timestamp::ZERO,
            floors_are_due: false,
            published: last,
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Who leads the epoch, as far as it is known here.
    pub fn leader(&self) -> Option<Arc<LeaderHint>> {
        self.leader.clone()
    }

    pub fn is_ready(&self) -> bool {
        self.standing == Standing::Ready
    }

    /// Takes no further commits, and says who will, until leadership ends; with `None` it takes them again.
    pub fn hand_over(&mut self, to: Option<Arc<LeaderHint>>) {
        self.handed_to = to.filter(|_| self.standing != Standing::Follows);
    }

    pub fn published(&self) -> Timestamp {
        self.published
    }

    /// What holds between any two calls.
    fn assert_holds(&self) {
        let head = self.validator.head();
        assert!(self.published <= head, "published {} is above the head {head}", self.published);
        assert_eq!(self.overlay.commits(), self.undecided.len(), "the overlay has what is undecided");
        assert!(self.batcher.waiting() <= self.undecided.len(), "what waits for a batch is undecided");
        self.undecided.assert_holds();
        let follows = self.standing == Standing::Follows;
        assert!(!follows || self.undecided.len() == 0, "whoever follows has no commits of its own");
        assert!(!self.is_ready() || self.decided_term >= self.epoch.term, "older entries are decided");
        let of_this_term = self.told.term == self.epoch.term;
        assert!(!of_this_term || self.told <= self.epoch, "nobody knows of a reset that is not shown");
    }

    /// The overlay as it must be: exactly what is undecided.
    #[cfg(test)]
    pub fn assert_overlay_is_exact(&self) {
        let mut expected = Overlay::default();
        for (timestamp, commit) in self.undecided.iter() {
            expected.add(commit.deployment, timestamp, &commit.writes);
        }
        assert_eq!(self.overlay, expected);
    }

    pub fn head(&self) -> Timestamp {
        self.validator.head()
    }

    /// Memory that the window takes.
    pub fn window_bytes(&self) -> usize {
        self.validator.window_bytes()
    }

    /// What the commits take that are validated and not decided.
    pub fn undecided(&self) -> Taken {
        self.undecided.taken()
    }

    /// What those of a deployment take.
    pub fn undecided_of(&self, deployment: DeploymentId) -> Taken {
        self.undecided.taken_by(deployment)
    }

    /// Commits that wait for a batch.
    pub fn waiting(&self) -> usize {
        self.batcher.waiting()
    }

    /// What was written above the store, if `epoch` still stands.
    pub fn overlay(&self, epoch: Epoch) -> Option<&Overlay> {
        (self.is_ready() && epoch == self.epoch).then_some(&self.overlay)
    }

    /// The newest state that can be read here.
    pub fn newest(&self) -> Option<ReadAt> {
        self.is_ready().then(|| ReadAt { timestamp: self.head(), epoch: Some(self.epoch) })
    }

    /// The newest state, if everything that was read at `seen` is there as it was.
    pub fn unchanged_until(
        &self,
        deployment: DeploymentId,
        seen: ReadAt,
        read_set: &ReadSet,
    ) -> Option<ReadAt> {
        let newest = self.newest()?;
        if seen.epoch.is_some_and(|epoch| epoch != self.epoch) {
            return None;
        }
        let reading = Reading { deployment, seen: seen.timestamp, read_set };
        self.validator.check(reading).is_ok().then_some(newest)
    }

    /// The part of validation that needs no turn: the window as it is now. `no_record_at` is what the store had published
    /// when it was asked for the request's record and had none.
    pub fn check(&self, request: &Request, no_record_at: Timestamp) -> Result<Checked, CommitOutcome> {
        self.admit(request)?;
        if self.undecided.known(request.deployment, request.id) != Known::No {
            // Whatever it read: the answer is that of the commit under way.
            return Ok(Checked { up_to: request.begin.timestamp, no_record_at });
        }
        let reading = Reading {
            deployment: request.deployment,
            seen: request.begin.timestamp,
            read_set: &request.read_set,
        };
        let up_to = self.validator.check(reading).map_err(|refusal| self.refuse(refusal))?;
        Ok(Checked { up_to, no_record_at })
    }

    fn admit(&self, request: &Request) -> Result<(), CommitOutcome> {
        if let Some(to) = &self.handed_to {
            return Err(CommitOutcome::NotLeader(Some(to.clone())));
        }
        if !self.is_ready() || request.epoch != self.epoch {
            return Err(CommitOutcome::NotLeader(self.leader()));
        }
        if request.begin.epoch.is_some_and(|epoch| epoch != self.epoch) {
            return Err(self.refuse(Refusal::Untellable));
        }
        Ok(())
    }

    fn refuse(&self, refusal: Refusal) -> CommitOutcome {
        let write = match refusal {
            Refusal::Written(index, key) => Some((index, key)),
            Refusal::Untellable | Refusal::EndOfTime => None,
        };
        let run_again_at = ReadAt { timestamp: self.validator.head(), epoch: Some(self.epoch) };
        CommitOutcome::Conflict(Conflict { write, run_again_at })
    }

    /// Takes a commit, in its turn. A request that is on its way has given away its keys and its encoded writes.
    pub fn receive(
        &mut self,
        request: &mut Request,
        checked: Checked,
        waiter: W,
        clock: Timestamp,
    ) -> Received<W> {
        if let Err(outcome) = self.admit(request) {
            return Received::Answered(waiter, outcome);
        }
        match self.undecided.known(request.deployment, request.id) {
            Known::Undecided(timestamp) => {
                self.undecided.join(timestamp, request.run, waiter);
                return Received::OnItsWay;
            }
            Known::Committed(committed) => {
                return Received::Answered(waiter, committed.outcome_for(request.run));
            }
            // What was decided up to the floor is known by the store alone.
            Known::No
                if checked.no_record_at < self.validator.floor()
                    && !planted::is(planted::Bug::RecordIsNotAskedAgain) =>
            {
                return Received::AskStoreAgain(waiter);
            }
            Known::No => {}
        }
        // The same message may have come twice and been refused the other time, because nobody could tell any more: then its
        // caller has been told that it has no effect.
        if request.begin.timestamp < self.validator.floor() && !planted::is(planted::Bug::ReceiveIgnoresFloor)
        {
            return Received::Answered(waiter, self.refuse(Refusal::Untellable));
        }
        let seen = match planted::is(planted::Bug::ReceiveTrustsCheck) {
            true => self.validator.head(),
            false => checked.up_to,
        };
        if request.writes.is_empty() {
            let reading = Reading { deployment: request.deployment, seen, read_set: &request.read_set };
            return match self.validator.check(reading) {
                Ok(checked) => Received::Unchanged { waiter, checked },
                Err(refusal) => Received::Answered(waiter, self.refuse(refusal)),
            };
        }
        self.assert_holds();
        if request.waits_for_timestamp {
            // It names the timestamp in its documents and keys, so that it is encoded anew: few commits do.
            match self.validator.next(clock).map(|timestamp| request.stamp(timestamp)) {
                Some(Ok(())) => {}
                _ => return Received::Answered(waiter, self.refuse(Refusal::EndOfTime)),
            }
        }
        let reading = Reading { deployment: request.deployment, seen, read_set: &request.read_set };
        let keys = std::mem::take(&mut request.keys);
        let notice = match self.validator.validate(reading, keys, clock) {
            Ok(notice) => notice,
            Err(refusal) => return Received::Answered(waiter, self.refuse(refusal)),
        };
        let timestamp = notice.timestamp;
        self.overlay.add(request.deployment, timestamp, &request.writes);
        self.batcher.push(StampedCommit {
            timestamp,
            deployment: request.deployment,
            id: request.id,
            run: request.run,
            writes: std::mem::take(&mut request.encoded),
        });
        self.undecided.add(
            timestamp,
            OpenCommit {
                deployment: request.deployment,
                id: request.id,
                writes: request.writes.clone(),
                run: request.run,
                bytes: request.bytes,
                waiters: vec![(request.run, waiter)],
            },
        );
        Received::OnItsWay
    }

    /// The batch to propose now, if any.
    pub fn close_batch(&mut self, passed: Duration) -> Option<(BatchNumber, Batch)> {
        if !self.is_ready() {
            return None;
        }
        let floors_are_due = std::mem::take(&mut self.floors_are_due);
        let closed = match self.batcher.close() {
            Some(closed) => closed,
            None if floors_are_due || self.reset_untold => self.batcher.close_empty()?,
            None => return None,
        };
        self.reset_untold = false;
        let last = closed.commits.iter().map(|commit| commit.timestamp).max().unwrap_or(closed.previous);
        let oldest_held = self.holds.oldest(passed);
        let passed = Ages::at(last, passed);
        let batch = Batch {
            epoch: self.epoch,
            previous: closed.previous,
            commits: closed.commits,
            horizon: self.horizon(passed, oldest_held),
            records_floor: self.records_floor(passed),
        };
        assert!(batch.horizon <= self.published, "the horizon is a published moment");
        self.chosen_horizon = self.chosen_horizon.max(batch.horizon);
        Some((closed.number, batch))
    }

    /// What was the newest moment within the retention stays readable, and what is held.
    fn horizon(&self, passed: Duration, oldest_held: Timestamp) -> Timestamp {
        self.ages.newest(self.retention, passed).unwrap_or_default().min(oldest_held)
    }

    /// Holds a moment from now on, or goes on holding it. `horizon` stands where it was applied.
    pub fn hold(&mut self, hold: Hold, horizon: Timestamp, passed: Duration) -> Result<(), NotHeld> {
        if !self.is_ready() {
            return Err(NotHeld::NotLeader);
        }
        let gone = match planted::is(planted::Bug::HoldIgnoresChosenHorizon) {
            true => horizon,
            false => horizon.max(self.chosen_horizon),
        };
        self.holds.hold(hold, gone, passed)
    }

    /// Whether a moment is held by this id, and has been since [`CommitQueue::hold`] said so.
    pub fn holds(&self, id: HoldId, passed: Duration) -> bool {
        self.is_ready() && self.holds.has(id, passed)
    }

    /// How many moments are held here, and the oldest of them.
    pub fn held(&self, passed: Duration) -> (usize, Option<Timestamp>) {
        if self.is_ready() { self.holds.count(passed) } else { (0, None) }
    }

    /// Lets go of what is held by this id; whether this replica leads.
    pub fn release(&mut self, id: HoldId) -> bool {
        self.holds.release(id);
        self.is_ready()
    }

    /// Records below it don't count: those of commits that are so old.
    fn records_floor(&self, passed: Duration) -> Timestamp {
        let newest = self.ages.newest(self.records_age, passed);
        newest.map_or(Timestamp::ZERO, |newest| newest.next().unwrap_or(Timestamp::MAX))
    }

    /// The moment that was the newest one so long ago, or one before it; the first of all if that is not known. Not for a
    /// longer time than the longest of the options.
    pub fn newest_then(&self, ago: Duration, passed: Duration) -> Timestamp {
        self.ages.newest(ago, Ages::at(self.head(), passed)).unwrap_or_default()
    }

    /// While nothing is published, an empty batch moves `horizon` and `records_floor`, which stand where they were applied, if
    /// they are due. Whether there is one to propose now.
    pub fn idle(&mut self, passed: Duration, horizon: Timestamp, records_floor: Timestamp) -> bool {
        if !self.is_ready() || self.batcher.is_busy() {
            return false;
        }
        // Not for every moment that it goes on: once what was published last is reached.
        let next = self.horizon(passed, self.holds.oldest(passed));
        let settles = horizon < self.published && next == self.published;
        let records_end = records_floor <= self.published && self.records_floor(passed) > self.published;
        self.floors_are_due |= settles || records_end;
        self.floors_are_due
    }

    /// A batch will not be applied in its turn. Of one that was appended nothing is known: whoever waits for it is told so
    /// when the loss of leadership is heard of.
    pub fn failed(&mut self, number: BatchNumber, error: ProposalError) -> Vec<Answer<W>> {
        match error {
            ProposalError::Refused => self.refused(number),
            ProposalError::Unknown if planted::is(planted::Bug::UnknownIsRefused) => self.refused(number),
            ProposalError::Unknown => Vec::new(),
        }
    }

    /// The log refused a batch before it was appended. A new epoch begins: what was validated after the last batch that
    /// was not refused will never be.
    fn refused(&mut self, number: BatchNumber) -> Vec<Answer<W>> {
        let Some(last_accepted) = self.batcher.refused(number) else { return Vec::new() };
        self.epoch.reset += 1;
        self.reset_untold = true;
        self.validator.drop_above(last_accepted);
        let dropped = self.undecided.drop_above(last_accepted);
        self.answer_dropped(dropped, |_| CommitOutcome::NotCommitted)
    }

    /// The election of this replica, in `term`; `leader` says where it is.
    pub fn elected(
        &mut self,
        term: u64,
        leader: Option<Arc<LeaderHint>>,
        passed: Duration,
    ) -> Vec<Answer<W>> {
        if self.epoch.term == term && self.standing != Standing::Follows {
            self.leader = leader;
            return Vec::new();
        }
        let answers = self.follow(term, leader);
        if self.epoch.term > term {
            // A batch has told of a later leader before this election was heard of.
            return answers;
        }
        self.standing = Standing::Leads;
        // In the same term it begins behind what followers know of it.
        self.reset_untold = self.epoch.reset > 0;
        self.become_ready(passed);
        answers
    }

    /// Another replica leads, or nobody. What was appended may still be committed; nothing else will.
    pub fn follow(&mut self, term: u64, leader: Option<Arc<LeaderHint>>) -> Vec<Answer<W>> {
        let led = self.standing != Standing::Follows;
        self.standing = Standing::Follows;
        self.handed_to = None;
        self.reset_untold = false;
        if term > self.epoch.term {
            self.epoch = Epoch { term, reset: 0 };
        } else if led {
            // A term that is led again by the same replica is another epoch.
            self.epoch.reset += 1;
        }
        self.epoch = self.epoch.max(self.told);
        // A batch may have told of a newer term before this.
        self.leader = leader.filter(|_| self.epoch.term == term);
        let handed_over = self.batcher.give_up();
        self.validator.drop_above(self.published);
        // All of them: those of the next leader may have been applied already, above what is dropped.
        let dropped = self.undecided.drop_above(Timestamp::ZERO);
        self.answer_dropped(dropped, |timestamp| {
            if timestamp <= handed_over { CommitOutcome::Unknown } else { CommitOutcome::NotCommitted }
        })
    }

    fn answer_dropped(
        &mut self,
        dropped: Vec<(Timestamp, OpenCommit<W>)>,
        outcome: impl Fn(Timestamp) -> CommitOutcome,
    ) -> Vec<Answer<W>> {
        let mut answers = Vec::new();
        for (timestamp, commit) in dropped {
            self.overlay.remove(commit.deployment, timestamp, &commit.writes);
            let outcome = outcome(timestamp);
            answers.extend(
                commit.waiters.into_iter().map(|(_, waiter)| Answer { waiter, outcome: outcome.clone() }),
            );
        }
        self.assert_holds();
        answers
    }

    /// The blank entry that begins a term was applied: everything older is decided.
    fn applied_blank(&mut self, term: u64, passed: Duration) {
        self.decided_term = self.decided_term.max(term);
        self.become_ready(passed);
    }

    fn become_ready(&mut self, passed: Duration) {
        if self.standing == Standing::Leads && self.decided_term == self.epoch.term {
            self.standing = Standing::Ready;
            self.holds.lead(passed);
            // All that older leaders have chosen is applied.
            self.chosen_horizon = Timestamp::ZERO;
        }
    }

    /// Takes notice of what was applied, in its order. The changes are in the store.
    pub fn publish(&mut self, applied: &[Applied], passed: Duration) -> Vec<Answer<W>> {
        let mut answers = Vec::new();
        for applied in applied {
            match applied {
                Applied::Commits(epoch, commits) => answers.extend(self.applied(*epoch, commits, passed)),
                Applied::Skipped(epoch, timestamps) => answers.extend(self.skipped(*epoch, timestamps)),
                Applied::TermBegan(term) => self.applied_blank(*term, passed),
                Applied::Nothing | Applied::Backfilled(_) => {}
            }
        }
        answers
    }

    /// A batch of this epoch is in the store: its commits, in order.
    fn applied(&mut self, epoch: Epoch, commits: &[AppliedCommit], passed: Duration) -> Vec<Answer<W>> {
        self.learn(epoch);
        let mut answers = Vec::new();
        for AppliedCommit { deployment, id, run, notice } in commits {
            let timestamp = notice.timestamp;
            if !self.undecided.is_open(timestamp, *deployment, *id) {
                // Another leader's commit. Whatever this one has on its way will never be, even before it hears that it
                // has lost; its timestamps may be above those that come now.
                self.validator.drop_above(self.published);
            }
            self.validator.applied(*deployment, notice);
            self.published = self.published.max(timestamp);
            self.ages.applied(timestamp, passed);
            self.holds.applied(timestamp, passed);
            let committed = Committed { timestamp, run: *run };
            let Some(commit) = self.undecided.committed(committed, *deployment, *id) else { continue };
            self.overlay.remove(*deployment, timestamp, &commit.writes);
            answers.extend(
                commit
                    .waiters
                    .into_iter()
                    .map(|(run, waiter)| Answer { waiter, outcome: committed.outcome_for(run) }),
            );
        }
        self.batcher.applied(self.published);
        self.assert_holds();
        answers
    }

    /// Only what is appended tells a follower of its leader's resets. Without them every commit that names the epoch which
    /// this replica shows would be refused once.
    fn learn(&mut self, epoch: Epoch) {
        if planted::is(planted::Bug::FollowerIgnoresResets) {
            return;
        }
        self.told = self.told.max(epoch);
        if self.standing == Standing::Follows && epoch > self.epoch {
            if epoch.term > self.epoch.term {
                self.leader = None;
            }
            self.epoch = epoch;
        }
    }

    /// Every replica has skipped a batch: it followed one that is not there. One of another epoch says nothing of what is on
    /// its way here, though both may have given the same timestamps.
    fn skipped(&mut self, epoch: Epoch, timestamps: &[Timestamp]) -> Vec<Answer<W>> {
        if epoch != self.epoch {
            return Vec::new();
        }
        let dropped = timestamps
            .iter()
            .filter_map(|timestamp| Some((*timestamp, self.undecided.drop_one(*timestamp)?)))
            .collect();
        self.answer_dropped(dropped, |_| CommitOutcome::NotCommitted)
    }

    /// The store has other data, up to `last`, whose last batch was of epoch `told`; the term of its last entry is `decided`.
    /// Of what is older nobody can tell here what was written.
    pub fn replaced(
        &mut self,
        last: Timestamp,
        told: Epoch,
        decided: u64,
        passed: Duration,
    ) -> Vec<Answer<W>> {
        let answers = self.follow(self.epoch.term, self.leader.clone());
        self.validator.replaced(last);
        self.batcher.applied(last);
        self.undecided.trim(last);
        self.ages.replaced(last, passed);
        self.holds.replaced(last, passed);
        self.published = self.published.max(last);
        self.decided_term = self.decided_term.max(decided);
        self.learn(told);
        self.assert_holds();
        answers
    }

    /// What became of a commit; `recorded` is the store's record of it.
    pub fn lookup(&self, deployment: DeploymentId, id: CommitId, recorded: Option<Committed>) -> Lookup {
        if !self.is_ready() {
            return Lookup::NotLeader(self.leader());
        }
        match (self.undecided.known(deployment, id), recorded) {
            (Known::Committed(committed), _) | (Known::No, Some(committed)) => committed.lookup(),
            (Known::Undecided(_), _) => Lookup::Pending,
            (Known::No, None) => Lookup::Absent { epoch: self.epoch },
        }
    }

    /// An applied commit as it is kept here, if it is.
    pub fn remembered(&self, applied: Arc<CommitNotice>) -> Arc<CommitNotice> {
        self.validator.remembered(applied)
    }

    /// Forgets what is older than any running transaction, and more if it takes too much.
    pub fn trim(&mut self, keep_above: Timestamp, bytes_max: usize) {
        self.validator.trim(keep_above, self.published, bytes_max);
        self.undecided.trim(self.validator.floor());
        assert!(
            self.validator.floor() <= self.published,
            "whoever begins at what is published can be validated"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{Bug, plant};

    const DEPLOYMENT: DeploymentId = DeploymentId(1);
    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn timestamp(at: u64) -> Timestamp {
        Timestamp::new(at).expect("in range")
    }

    /// Whose leader knows at once what is held.
    fn queue() -> CommitQueue<&'static str> {
        queue_with_leases_of(Duration::ZERO)
    }

    fn queue_with_leases_of(lease: Duration) -> CommitQueue<&'static str> {
        let options = CommitQueueOptions {
            batches: BatchLimits { bytes_max: 300, commits_max: 3, in_flight_max: 3 },
            window_age: SECOND,
            retention: MINUTE,
            records_age: MINUTE * 2,
            holds: HoldOptions { lease, age_max: MINUTE * 20, count_max: 9 },
        };
        CommitQueue::new(options, Timestamp::ZERO, Epoch::default(), Duration::ZERO)
    }

    fn queue_that_leads() -> CommitQueue<&'static str> {
        let mut queue = queue();
        queue.elected(1, None, Duration::ZERO);
        queue.publish(&[Applied::TermBegan(1)], Duration::ZERO);
        queue
    }

    fn applied(id: u8, at: u64) -> AppliedCommit {
        let notice = Arc::new(CommitNotice { timestamp: timestamp(at), keys: Vec::new() });
        AppliedCommit { deployment: DEPLOYMENT, id: CommitId([id; 16]), run: 1, notice }
    }

    fn request(epoch: Epoch) -> Request {
        let write = Write {
            primary: contract::IndexId([1; 16]),
            key: bytes::Bytes::from_static(b"key"),
            document: None,
            index_updates: Vec::new(),
        };
        Request {
            deployment: DEPLOYMENT,
            epoch,
            id: CommitId([1; 16]),
            run: 1,
            begin: ReadAt::published(Timestamp::ZERO),
            read_set: Arc::default(),
            writes: Arc::new([write]),
            keys: Vec::new(),
            encoded: CommitWrites::default(),
            waits_for_timestamp: false,
            bytes: 0,
        }
    }

    /// One copy of a message is checked in time. Then the window forgets the moment at which it began, so that the other copy is
    /// refused. What the first one is told when its turn comes.
    fn one_of_two_is_refused_as_too_old() -> Received<&'static str> {
        let mut queue = queue_that_leads();
        let epoch = queue.epoch();
        queue.publish(&[Applied::Commits(epoch, vec![applied(2, 13)])], Duration::ZERO);
        let mut request = request(epoch);
        let checked = queue.check(&request, queue.published()).unwrap();
        queue.trim(timestamp(13), usize::MAX);
        let refused = queue.check(&request, queue.published()).unwrap_err();
        assert!(matches!(refused, CommitOutcome::Conflict(_)), "{refused:?}");
        queue.receive(&mut request, checked, "first", timestamp(15))
    }

    #[test]
    fn what_one_copy_of_a_message_was_refused_for_refuses_the_other() {
        let received = one_of_two_is_refused_as_too_old();
        assert!(matches!(received, Received::Answered("first", CommitOutcome::Conflict(_))), "{received:?}");
        let received = plant(Bug::ReceiveIgnoresFloor, one_of_two_is_refused_as_too_old);
        assert_eq!(received, Received::OnItsWay, "it could not be seen otherwise");
    }

    #[test]
    fn a_skipped_batch_of_another_leader_says_nothing_of_the_same_timestamp() {
        let mut queue = queue_that_leads();
        let mut request = request(queue.epoch());
        let checked = queue.check(&request, queue.published()).unwrap();
        assert_eq!(queue.receive(&mut request, checked, "first", timestamp(15)), Received::OnItsWay);
        // It has lost its lead, and has not heard of it; what the next leader proposes is applied.
        let of_the_next = Epoch { term: 2, reset: 1 };
        assert_eq!(queue.publish(&[Applied::Skipped(of_the_next, vec![timestamp(15)])], Duration::ZERO), []);
        assert_eq!(queue.undecided().commits, 1);
        let (_, batch) = queue.close_batch(Duration::ZERO).expect("it is proposed");
        assert_eq!(batch.commits[0].timestamp, timestamp(15));

        let answers = queue.publish(&[Applied::Skipped(batch.epoch, vec![timestamp(15)])], Duration::ZERO);
        assert_eq!(answers, [Answer { waiter: "first", outcome: CommitOutcome::NotCommitted }]);
        assert_eq!(queue.undecided().commits, 0);
    }

    /// The floors of the batch of a commit that comes `passed`, when the clock says `clock`.
    fn floors(
        queue: &mut CommitQueue<&'static str>,
        clock: Timestamp,
        passed: Duration,
    ) -> (Timestamp, Timestamp) {
        let mut request = request(queue.epoch());
        request.id = CommitId([255; 16]);
        request.begin = ReadAt::published(queue.published());
        let checked = queue.check(&request, queue.published()).unwrap();
        assert_eq!(queue.receive(&mut request, checked, "waits", clock), Received::OnItsWay);
        let (_, batch) = queue.close_batch(passed).expect("it is proposed");
        (batch.horizon, batch.records_floor)
    }

    /// Commits at 13 and, a second later, at 17; then the clock says that a year has gone by, where it was another second.
    fn floors_after_a_jump() -> (Timestamp, Timestamp) {
        let mut queue = queue_that_leads();
        let epoch = queue.epoch();
        queue.publish(&[Applied::Commits(epoch, vec![applied(1, 13)])], SECOND);
        queue.publish(&[Applied::Commits(epoch, vec![applied(2, 17)])], SECOND * 2);
        let year = timestamp(365 * 24 * 3_600_000_000_000);
        floors(&mut queue, year, SECOND * 3)
    }

    #[test]
    fn a_clock_that_jumps_ahead_ends_no_record_and_no_moment() {
        assert_eq!(floors_after_a_jump(), (Timestamp::ZERO, Timestamp::ZERO));
        let (horizon, records_floor) = plant(Bug::AgesFollowTimestamps, floors_after_a_jump);
        assert_eq!(
            (horizon, records_floor),
            (timestamp(17), timestamp(18)),
            "it could not be seen otherwise"
        );
    }

    #[test]
    fn a_clock_that_stands_still_keeps_nothing_for_longer_and_whoever_comes_to_lead_counts_on() {
        let mut queue = queue();
        let epoch = Epoch { term: 1, reset: 0 };
        // It follows, and applies a commit a second; the clock of its leader has been put back.
        for second in 1..=200 {
            let commits = vec![applied(second as u8, u64::from(second))];
            queue.publish(&[Applied::Commits(epoch, commits)], SECOND * second);
        }
        queue.elected(2, None, SECOND * 200);
        queue.publish(&[Applied::TermBegan(2)], SECOND * 200);
        let (horizon, records_floor) = floors(&mut queue, timestamp(7), SECOND * 200);
        assert_eq!((horizon, records_floor), (timestamp(140), timestamp(81)));
        assert_eq!(queue.newest_then(SECOND, SECOND * 200), timestamp(199));
    }

    #[test]
    fn the_floors_of_an_idle_group_go_on_once_each_when_their_time_has_passed() {
        let mut queue = queue_that_leads();
        let epoch = queue.epoch();
        queue.publish(&[Applied::Commits(epoch, vec![applied(1, 13)])], SECOND);
        let (mut horizon, mut records_floor) = (Timestamp::ZERO, Timestamp::ZERO);
        let mut moved = Vec::new();
        for second in 1..=1_000 {
            if queue.idle(SECOND * second, horizon, records_floor) {
                let (_, batch) = queue.close_batch(SECOND * second).expect("it is proposed");
                (horizon, records_floor) = (batch.horizon, batch.records_floor);
                moved.push((second, horizon, records_floor));
            }
        }
        assert_eq!(moved, [(61, timestamp(13), Timestamp::ZERO), (121, timestamp(13), timestamp(14))]);
    }

    fn hold(id: u8, at: u64) -> Hold {
        Hold { id: HoldId([id; 16]), at: timestamp(at) }
    }

    /// It leads, holds for ten seconds what it is asked to, and has applied a commit in each of so many seconds.
    fn queue_after(seconds: u32) -> CommitQueue<&'static str> {
        let mut queue = queue_with_leases_of(SECOND * 10);
        queue.elected(1, None, Duration::ZERO);
        queue.publish(&[Applied::TermBegan(1)], Duration::ZERO);
        for second in 1..=seconds {
            let commits = vec![applied(second as u8, u64::from(second))];
            queue.publish(&[Applied::Commits(queue.epoch(), commits)], SECOND * second);
        }
        queue
    }

    #[test]
    fn the_horizon_stops_at_what_is_held_and_goes_on_behind_it() {
        let mut queue = queue_after(200);
        let gone = timestamp(140);
        assert_eq!(queue.hold(hold(1, 139), gone, SECOND * 200), Err(NotHeld::TooOld));
        queue.hold(hold(1, 150), gone, SECOND * 200).unwrap();
        queue.hold(hold(1, 150), gone, SECOND * 209).unwrap();
        queue.hold(hold(2, 160), gone, SECOND * 212).unwrap();
        assert_eq!(queue.held(SECOND * 218), (2, Some(timestamp(150))));
        let horizon = |queue: &CommitQueue<_>, second: u32| {
            queue.horizon(SECOND * second, queue.holds.oldest(SECOND * second))
        };
        assert_eq!(horizon(&queue, 218), timestamp(150));
        assert_eq!(horizon(&queue, 219), timestamp(159), "the first one was not renewed");
        assert_eq!(horizon(&queue, 221), timestamp(160));
        assert!(queue.release(hold(2, 160).id) && !queue.holds(hold(2, 160).id, SECOND * 221));
        assert_eq!(horizon(&queue, 221), timestamp(161));
    }

    #[test]
    fn an_idle_group_keeps_what_is_held_and_nothing_else() {
        let mut queue = queue_after(2);
        queue.hold(hold(1, 1), Timestamp::ZERO, SECOND * 3).unwrap();
        for second in 3..100 {
            queue.hold(hold(1, 1), Timestamp::ZERO, SECOND * second).unwrap();
            assert!(!queue.idle(SECOND * second, Timestamp::ZERO, Timestamp::ZERO), "after {second} seconds");
        }
        assert!(queue.idle(SECOND * 109, Timestamp::ZERO, Timestamp::ZERO));
        let (_, batch) = queue.close_batch(SECOND * 109).expect("it is proposed");
        assert_eq!(batch.horizon, timestamp(2));
    }

    /// What becomes of one that wants to hold a moment which a batch on its way has passed.
    fn held_behind_a_batch_on_its_way() -> Result<(), NotHeld> {
        let mut queue = queue_after(200);
        let (chosen, _) = floors(&mut queue, timestamp(201), SECOND * 210);
        assert_eq!(chosen, timestamp(150));
        queue.hold(hold(1, 145), timestamp(140), SECOND * 210)
    }

    #[test]
    fn what_a_batch_on_its_way_has_passed_is_not_held() {
        assert_eq!(held_behind_a_batch_on_its_way(), Err(NotHeld::TooOld));
        let held = plant(Bug::HoldIgnoresChosenHorizon, held_behind_a_batch_on_its_way);
        assert_eq!(held, Ok(()), "it could not be seen otherwise");
    }

    #[test]
    fn nobody_but_the_leader_holds_and_the_next_one_waits_for_those_who_do() {
        let mut queue = queue_after(200);
        queue.hold(hold(1, 150), timestamp(140), SECOND * 200).unwrap();
        queue.follow(2, None);
        assert!(!queue.holds(hold(1, 150).id, SECOND * 201) && !queue.release(hold(1, 150).id));
        assert_eq!(queue.hold(hold(1, 150), timestamp(140), SECOND * 201), Err(NotHeld::NotLeader));
        queue.elected(3, None, SECOND * 201);
        assert_eq!(queue.hold(hold(1, 150), timestamp(140), SECOND * 202), Err(NotHeld::NotLeader));
        queue.publish(&[Applied::TermBegan(3)], SECOND * 203);
        assert_eq!(floors(&mut queue, timestamp(201), SECOND * 212).0, Timestamp::ZERO);
        queue.hold(hold(1, 150), timestamp(140), SECOND * 212).expect("in time");
        assert_eq!(queue.chosen_horizon, Timestamp::ZERO);
        let oldest = queue.holds.oldest(SECOND * 221);
        assert_eq!(queue.horizon(SECOND * 221, oldest), timestamp(150));
    }
}
