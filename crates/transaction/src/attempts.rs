//! What follows from the log's answer to a commit: the state machine behind everything that is committed.
//!
//! ```text
//!            ┌────────────── run again ◄─────────────┐
//!            ▼                                       │
//!   run ── commit ──► Committed ──► answer           │
//!            ▲   ├──► Conflict, NotCommitted ────────┤  (up to a time and a count)
//!            │   ├──► NotLeader ─── wait for leader ─┤
//!            │   └──► Unknown ───── wait for leader ── lookup ──► Committed ──► answer
//!            └─ the same message again ◄──────────────┘│
//!                                                      └► Pending ─► pause, lookup
//!
//! Where the same message was sent again, the first may still be under way. Then only the answers of the epoch that decides
//! about both are certain (Committed, Conflict), and that of a lookup.
//! ```
//!
//! It knows neither the log nor the clock: answers and the time since the first attempt are passed in, and it says what
//! to do next. One commit id serves all attempts of one request, and a next attempt is made only once it is certain
//! that the one before did not commit, so that a request never takes effect twice.

use std::time::Duration;

use crate::limits::RetryLimits;
use contract::{CommitOutcome, Conflict, Epoch, Lookup, Timestamp};

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The last attempt committed: its outcome is the answer.
    Answer(Timestamp),
    /// An attempt before the last one committed: the request has had its effect, and the last outcome is not its answer.
    EarlierCommitted(Timestamp),
    /// Run the transaction again, at the newest state that the conflict names.
    RunAgainAfterConflict(Conflict),
    /// Run the transaction again, at the newest published moment, once there is a ready leader.
    RunAgainWithLeader,
    /// Send the same commit, epoch included, once more.
    SendAgain,
    /// Pause, then ask a ready leader what became of the commit.
    LookUp {
        /// How long to pause.
        after: Duration,
    },
    /// Tell the caller that others were always faster.
    GiveUpOnConflicts(Conflict),
    /// Tell the caller that nobody knows whether it committed.
    GiveUpOnUnknown,
}

/// The attempts at one change.
#[derive(Debug)]
pub struct Attempts {
    limits: RetryLimits,
    /// How many were begun, the running one included.
    count: u32,
    /// The epoch that the last commit named.
    epoch: Epoch,
    /// Since when, counted from the first attempt, the last commit's outcome is unknown.
    unknown_since: Option<Duration>,
    pause: Duration,
}

impl Attempts {
    /// None so far.
    pub fn new(limits: RetryLimits) -> Attempts {
        Attempts {
            limits,
            count: 0,
            epoch: Epoch::default(),
            unknown_since: None,
            pause: Duration::from_millis(limits.not_ready_backoff_ms_min),
        }
    }

    /// The transaction begins to run.
    pub fn begin(&mut self) {
        self.count += 1;
    }

    /// The number of the attempt under way, from 1.
    pub fn number(&self) -> u32 {
        self.count
    }

    /// A commit that names `epoch` is sent.
    pub fn send(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// The log answered the commit, `elapsed` after the first attempt began.
    pub fn committed(&mut self, outcome: CommitOutcome, elapsed: Duration) -> Next {
        match outcome {
            CommitOutcome::Committed { timestamp } => Next::Answer(timestamp),
            CommitOutcome::OtherRunCommitted { timestamp } => Next::EarlierCommitted(timestamp),
            CommitOutcome::Conflict(conflict) => {
                if self.is_exhausted(elapsed) {
                    return Next::GiveUpOnConflicts(conflict);
                }
                self.forget_the_unknown();
                Next::RunAgainAfterConflict(conflict)
            }
            // Of an earlier message with the same commit it says nothing: that may have been in time.
            CommitOutcome::NotCommitted | CommitOutcome::NotLeader(_) if self.is_unknown() => {
                self.look_up(elapsed)
            }
            CommitOutcome::NotCommitted | CommitOutcome::NotLeader(_) => self.did_not_commit(elapsed),
            CommitOutcome::Unknown => self.unknown(elapsed),
        }
    }

    /// The attempt could not go on to its commit, because the epoch at whose newest state it read is over.
    pub fn epoch_ended(&mut self, elapsed: Duration) -> Next {
        self.did_not_commit(elapsed)
    }

    /// Whether a message with the last commit may be under way, so that only its own epoch or a lookup can tell of it.
    pub fn is_unknown(&self) -> bool {
        self.unknown_since.is_some()
    }

    /// The answer to the commit was lost.
    pub fn unknown(&mut self, elapsed: Duration) -> Next {
        self.unknown_since.get_or_insert(elapsed);
        self.look_up(elapsed)
    }

    /// The log answered [`Next::LookUp`]; `None` if it could not.
    pub fn looked_up(&mut self, lookup: Option<Lookup>, elapsed: Duration) -> Next {
        match lookup {
            Some(Lookup::Committed { timestamp, run }) if run == self.count => Next::Answer(timestamp),
            Some(Lookup::Committed { timestamp, .. }) => Next::EarlierCommitted(timestamp),
            // The epoch that could still have committed it is over, so it never will.
            Some(Lookup::Absent { epoch }) if epoch > self.epoch => self.did_not_commit(elapsed),
            // It got lost before the leader saw it, and that leader still leads.
            Some(Lookup::Absent { epoch }) if epoch == self.epoch => {
                if self.unknown_for(elapsed) >= Duration::from_millis(self.limits.lookup_ms_max) {
                    return Next::GiveUpOnUnknown;
                }
                Next::SendAgain
            }
            // An answer from an older epoch says nothing about the one that the commit names.
            Some(Lookup::Absent { .. } | Lookup::Pending | Lookup::NotLeader(_)) | None => {
                self.look_up(elapsed)
            }
        }
    }

    /// The last attempt is certain to have had no effect, for a reason that is not a conflict.
    fn did_not_commit(&mut self, elapsed: Duration) -> Next {
        if self.count >= self.limits.conflict_attempts_max
            || elapsed >= Duration::from_millis(self.limits.lookup_ms_max)
        {
            return Next::GiveUpOnUnknown;
        }
        self.forget_the_unknown();
        Next::RunAgainWithLeader
    }

    fn forget_the_unknown(&mut self) {
        self.unknown_since = None;
        self.pause = Duration::from_millis(self.limits.not_ready_backoff_ms_min);
    }

    fn look_up(&mut self, elapsed: Duration) -> Next {
        if self.unknown_for(elapsed) >= Duration::from_millis(self.limits.lookup_ms_max) {
            return Next::GiveUpOnUnknown;
        }
        let after = self.pause;
        self.pause = (self.pause * 2).min(Duration::from_millis(self.limits.not_ready_backoff_ms_max));
        Next::LookUp { after }
    }

    fn unknown_for(&self, elapsed: Duration) -> Duration {
        elapsed.saturating_sub(self.unknown_since.unwrap_or(elapsed))
    }

    fn is_exhausted(&self, elapsed: Duration) -> bool {
        self.count >= self.limits.conflict_attempts_max
            || elapsed >= Duration::from_millis(self.limits.conflict_retry_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use contract::ReadAt;
    use proptest::prelude::*;

    use super::*;

    fn epoch(term: u64) -> Epoch {
        Epoch { term, reset: 0 }
    }

    fn timestamp(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).expect("small")
    }

    fn conflict() -> Conflict {
        Conflict { write: None, run_again_at: ReadAt { timestamp: timestamp(9), epoch: Some(epoch(3)) } }
    }

    fn started(limits: RetryLimits) -> Attempts {
        let mut attempts = Attempts::new(limits);
        attempts.begin();
        attempts.send(epoch(3));
        attempts
    }

    #[test]
    fn a_conflict_runs_again_at_the_newest_state() {
        let mut attempts = started(RetryLimits::DEFAULT);
        let next = attempts.committed(CommitOutcome::Conflict(conflict()), Duration::ZERO);
        assert_eq!(next, Next::RunAgainAfterConflict(conflict()));
    }

    #[test]
    fn conflicts_are_given_up_by_count_and_by_time() {
        let limits = RetryLimits { conflict_attempts_max: 2, ..RetryLimits::DEFAULT };
        let mut attempts = started(limits);
        attempts.begin();
        let next = attempts.committed(CommitOutcome::Conflict(conflict()), Duration::ZERO);
        assert_eq!(next, Next::GiveUpOnConflicts(conflict()));

        let late = Duration::from_millis(RetryLimits::DEFAULT.conflict_retry_ms_max);
        let next = started(RetryLimits::DEFAULT).committed(CommitOutcome::Conflict(conflict()), late);
        assert_eq!(next, Next::GiveUpOnConflicts(conflict()));
    }

    #[test]
    fn what_will_never_commit_runs_again_at_what_is_published() {
        for outcome in [CommitOutcome::NotCommitted, CommitOutcome::NotLeader(None)] {
            let next = started(RetryLimits::DEFAULT).committed(outcome, Duration::ZERO);
            assert_eq!(next, Next::RunAgainWithLeader);
        }
    }

    #[test]
    fn an_unknown_outcome_is_looked_up_until_it_is_known() {
        let mut attempts = started(RetryLimits::DEFAULT);
        assert!(matches!(attempts.committed(CommitOutcome::Unknown, Duration::ZERO), Next::LookUp { .. }));
        for undecided in [
            Some(Lookup::Pending),
            Some(Lookup::NotLeader(None)),
            None,
            Some(Lookup::Absent { epoch: epoch(2) }),
        ] {
            assert!(matches!(attempts.looked_up(undecided, Duration::ZERO), Next::LookUp { .. }));
        }
        let found = Some(Lookup::Committed { timestamp: timestamp(7), run: 1 });
        assert_eq!(attempts.looked_up(found, Duration::ZERO), Next::Answer(timestamp(7)));
    }

    #[test]
    fn what_an_earlier_attempt_has_committed_is_not_answered_by_the_last() {
        let mut attempts = started(RetryLimits::DEFAULT);
        attempts.committed(CommitOutcome::NotCommitted, Duration::ZERO);
        attempts.begin();
        attempts.send(epoch(4));
        let found = Some(Lookup::Committed { timestamp: timestamp(7), run: 1 });
        assert_eq!(attempts.looked_up(found, Duration::ZERO), Next::EarlierCommitted(timestamp(7)));
        let outcome = CommitOutcome::OtherRunCommitted { timestamp: timestamp(7) };
        assert_eq!(attempts.committed(outcome, Duration::ZERO), Next::EarlierCommitted(timestamp(7)));
        let found = Some(Lookup::Committed { timestamp: timestamp(9), run: 2 });
        assert_eq!(attempts.looked_up(found, Duration::ZERO), Next::Answer(timestamp(9)));
    }

    #[test]
    fn a_commit_absent_in_a_later_epoch_runs_again() {
        let mut attempts = started(RetryLimits::DEFAULT);
        attempts.committed(CommitOutcome::Unknown, Duration::ZERO);
        let absent = Some(Lookup::Absent { epoch: Epoch { term: 3, reset: 1 } });
        assert_eq!(attempts.looked_up(absent, Duration::ZERO), Next::RunAgainWithLeader);
    }

    #[test]
    fn a_commit_absent_in_the_same_epoch_is_sent_again_and_never_run_again() {
        let mut attempts = started(RetryLimits::DEFAULT);
        attempts.committed(CommitOutcome::Unknown, Duration::ZERO);
        let absent = Some(Lookup::Absent { epoch: epoch(3) });
        assert_eq!(attempts.looked_up(absent, Duration::ZERO), Next::SendAgain);
    }

    #[test]
    fn an_outcome_that_stays_unknown_is_given_up_after_a_time() {
        let mut attempts = started(RetryLimits::DEFAULT);
        attempts.committed(CommitOutcome::Unknown, Duration::from_secs(3));
        let late = Duration::from_secs(3) + Duration::from_millis(RetryLimits::DEFAULT.lookup_ms_max);
        assert_eq!(attempts.looked_up(Some(Lookup::Pending), late), Next::GiveUpOnUnknown);
    }

    #[test]
    fn pauses_between_lookups_grow_to_their_limit() {
        let mut attempts = started(RetryLimits::DEFAULT);
        let mut next = attempts.committed(CommitOutcome::Unknown, Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let Next::LookUp { after } = next else { panic!("{next:?}") };
            pauses.push(after.as_millis() as u64);
            next = attempts.looked_up(Some(Lookup::Pending), Duration::ZERO);
        }
        assert_eq!(pauses[0], RetryLimits::DEFAULT.not_ready_backoff_ms_min);
        assert_eq!(pauses[11], RetryLimits::DEFAULT.not_ready_backoff_ms_max);
        assert!(pauses.is_sorted());
    }

    #[test]
    fn whoever_sent_a_commit_again_believes_no_other_epoch_about_it() {
        for outcome in [CommitOutcome::NotCommitted, CommitOutcome::NotLeader(None)] {
            let mut attempts = started(RetryLimits::DEFAULT);
            attempts.committed(CommitOutcome::Unknown, Duration::ZERO);
            let absent = Some(Lookup::Absent { epoch: epoch(3) });
            assert_eq!(attempts.looked_up(absent, Duration::ZERO), Next::SendAgain);
            attempts.send(epoch(3));
            let next = attempts.committed(outcome, Duration::ZERO);
            assert!(matches!(next, Next::LookUp { .. }), "{next:?}");
        }
    }

    /// What happens next. Messages may be late: what was sent can arrive after it was looked up and sent again.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// The newest message arrives, and its answer too.
        Arrive,
        /// The newest message arrives, and its answer is lost.
        LoseAnswer,
        /// The newest message is late, and its sender waits no longer.
        BeLate,
        /// An old message arrives.
        ArriveLate,
        /// Something is in the way of every message that is under way.
        Conflict,
        ChangeLeader,
        Pending,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Arrive),
            Just(Event::LoseAnswer),
            Just(Event::BeLate),
            Just(Event::ArriveLate),
            Just(Event::Conflict),
            Just(Event::ChangeLeader),
            Just(Event::Pending),
        ]
    }

    /// A log that knows what really became of the commit.
    struct World {
        leader: Epoch,
        committed: Option<Timestamp>,
        /// The epochs that messages name which are under way.
        late: Vec<Epoch>,
    }

    impl World {
        fn arrive(&mut self, named: Epoch) -> CommitOutcome {
            if named != self.leader {
                return CommitOutcome::NotLeader(None);
            }
            let timestamp = *self.committed.get_or_insert(timestamp(1));
            CommitOutcome::Committed { timestamp }
        }
    }

    proptest! {
        /// Whatever the log does, no attempt is made while an earlier one has committed or may still commit.
        #[test]
        fn nothing_is_run_again_that_has_committed(events in prop::collection::vec(event(), 1..60)) {
            let mut attempts = started(RetryLimits::DEFAULT);
            let mut world = World { leader: epoch(3), committed: None, late: Vec::new() };
            let mut named = world.leader;
            // What the newest message or the last lookup led to; `None` while the message is on its way.
            let mut next = None;
            for event in events {
                match event {
                    Event::ChangeLeader => world.leader = epoch(world.leader.term + 1),
                    Event::ArriveLate => {
                        if let Some(late) = world.late.pop() {
                            world.arrive(late);
                        }
                    }
                    _ => {}
                }
                match next.take() {
                    None => {
                        let outcome = match event {
                            Event::Arrive => world.arrive(named),
                            Event::LoseAnswer => {
                                world.arrive(named);
                                CommitOutcome::Unknown
                            }
                            Event::BeLate => {
                                world.late.push(named);
                                CommitOutcome::Unknown
                            }
                            Event::Conflict if named == world.leader && world.committed.is_none() => {
                                world.late.clear();
                                CommitOutcome::Conflict(conflict())
                            }
                            _ => continue,
                        };
                        next = Some(attempts.committed(outcome, Duration::ZERO));
                    }
                    Some(Next::Answer(at)) => {
                        prop_assert_eq!(Some(at), world.committed);
                        break;
                    }
                    Some(Next::EarlierCommitted(at)) => {
                        prop_assert!(false, "at {} though none ran again after a commit", at);
                    }
                    Some(Next::RunAgainAfterConflict(_) | Next::RunAgainWithLeader) => {
                        prop_assert_eq!(world.committed, None, "it is run again after a commit");
                        prop_assert!(
                            !world.late.contains(&world.leader),
                            "it is run again while a message may still commit"
                        );
                        attempts.begin();
                        named = world.leader;
                        attempts.send(named);
                    }
                    Some(Next::SendAgain) => attempts.send(named),
                    Some(Next::LookUp { .. }) => {
                        let lookup = match (event, world.committed) {
                            (Event::Pending, _) => Some(Lookup::Pending),
                            (Event::BeLate, _) => None,
                            (Event::ChangeLeader, _) => Some(Lookup::NotLeader(None)),
                            (_, Some(timestamp)) => Some(Lookup::Committed { timestamp, run: attempts.number() }),
                            (_, None) => Some(Lookup::Absent { epoch: world.leader }),
                        };
                        next = Some(attempts.looked_up(lookup, Duration::ZERO));
                    }
                    Some(Next::GiveUpOnConflicts(_) | Next::GiveUpOnUnknown) => break,
                }
            }
        }
    }
}
