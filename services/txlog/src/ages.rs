//! Which moment was the newest one how long ago: what may be forgotten is found by it.
//!
//! By the time that has passed here since, never by timestamps. These follow a wall clock: where that jumps ahead, everything
//! would be old at once, and where it is put back, nothing would grow old until it has come there again.

use std::{collections::VecDeque, time::Duration};

use contract::Timestamp;

use crate::planted;

/// The shortest age is told as exactly as a part of it like this one,
const SHORTEST_PARTS: u32 = 64;
/// but for so many moments in the longest, at most twice as many of which are kept.
const MOMENTS_MAX: u32 = 4_096;

/// Commits of a replica, some time apart, and when they were applied. Pure: the time that has passed is passed in, counted from
/// whatever moment.
///
/// Every replica has it, so that each can lead. One that has just started, or was given another replica's state, knows of no
/// commit how old it is: for it, all are as old as that.
#[derive(Debug)]
pub struct Ages {
    apart: Duration,
    longest: Duration,
    /// In order. The last one is the newest commit.
    applied: VecDeque<(Timestamp, Duration)>,
}

impl Ages {
    /// The newest commit is `last`. `shortest` and `longest` are the ages that are asked for.
    pub fn new(last: Timestamp, passed: Duration, (shortest, longest): (Duration, Duration)) -> Ages {
        let apart = (shortest / SHORTEST_PARTS).max(longest / MOMENTS_MAX);
        let mut ages = Ages { apart, longest, applied: VecDeque::new() };
        ages.replaced(last, passed);
        ages
    }

    /// A commit was applied.
    pub fn applied(&mut self, timestamp: Timestamp, passed: Duration) {
        let passed = counted(timestamp, passed);
        while self.applied.get(1).is_some_and(|(_, at)| at.saturating_add(self.longest) <= passed) {
            self.applied.pop_front();
        }
        let before_last = self.applied.iter().nth_back(1);
        if before_last.is_some_and(|(_, at)| passed < at.saturating_add(self.apart)) {
            self.applied.pop_back();
        }
        self.applied.push_back((timestamp, passed));
    }

    /// Nothing is known of what came before this commit.
    pub fn replaced(&mut self, last: Timestamp, passed: Duration) {
        self.applied = VecDeque::from([(last, counted(last, passed))]);
    }

    /// The commit that was the newest one so long `ago`, or one before it; `None` if that is not known.
    pub fn newest(&self, ago: Duration, passed: Duration) -> Option<Timestamp> {
        let is_old = |(_, at): &(Timestamp, Duration)| at.saturating_add(ago) <= passed;
        let old = self.applied.partition_point(is_old);
        Some(self.applied.get(old.checked_sub(1)?)?.0)
    }

    /// The time by which ages are counted when a commit is made.
    pub fn at(timestamp: Timestamp, passed: Duration) -> Duration {
        counted(timestamp, passed)
    }
}

fn counted(timestamp: Timestamp, passed: Duration) -> Duration {
    match planted::is(planted::Bug::AgesFollowTimestamps) {
        true => Duration::from_nanos(timestamp.as_nanoseconds()),
        false => passed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(300);

    fn timestamp(at: u64) -> Timestamp {
        Timestamp::new(at).expect("in range")
    }

    /// A commit a second, each with the next timestamp.
    fn second_by_second(seconds: u64) -> Ages {
        let mut ages = Ages::new(timestamp(0), Duration::ZERO, (AGE / 10, AGE * 2));
        for at in 1..=seconds {
            ages.applied(timestamp(at), Duration::from_secs(at));
        }
        ages
    }

    #[test]
    fn what_was_the_newest_within_an_age_is_not_older() {
        let mut ages = second_by_second(0);
        assert_eq!(ages.newest(AGE, Duration::from_secs(299)), None, "too early to know");
        for at in 1..2_000 {
            let passed = Duration::from_secs(at);
            ages.applied(timestamp(at), passed);
            for age in [AGE / 10, AGE, AGE * 2] {
                let exactly = at.checked_sub(age.as_secs());
                let newest = ages.newest(age, passed).map(Timestamp::as_nanoseconds);
                assert_eq!(newest.is_some(), exactly.is_some());
                assert!(newest <= exactly, "{newest:?} was not the newest {age:?} before {at}");
                assert!(newest.map(|newest| newest + 2) >= exactly, "{newest:?} lags {age:?} before {at}");
            }
        }
        // An idle hour later it is the last one, and not a moment behind it.
        assert_eq!(ages.newest(AGE, Duration::from_secs(5_600)), Some(timestamp(1_999)));
    }

    #[test]
    fn it_keeps_a_bounded_number_however_many_come() {
        let mut ages = Ages::new(timestamp(0), Duration::ZERO, (Duration::from_millis(1), AGE));
        for at in 1..200_000 {
            ages.applied(timestamp(at), Duration::from_millis(7 * at));
        }
        assert!(ages.applied.len() <= 2 * MOMENTS_MAX as usize + 2, "{} are kept", ages.applied.len());
    }

    #[test]
    fn timestamps_that_jump_and_then_stand_nearly_still_make_nothing_older_or_younger() {
        let mut ages = second_by_second(600);
        let hour = 3_600_000_000_000;
        for at in 601..=1_200 {
            let passed = Duration::from_secs(at);
            ages.applied(timestamp(hour + at), passed);
            let before = at - AGE.as_secs();
            let exactly = if before > 600 { hour + before } else { before };
            assert_eq!(ages.newest(AGE, passed), Some(timestamp(exactly)), "after {at} seconds");
        }
    }
}
