//! How far back the store can be read.

use std::collections::VecDeque;

use contract::Timestamp;

/// Finds the horizon: a moment that was still the newest one, `age` ago.
///
/// Not simply "`age` before now": after an idle hour the newest commit is an hour old, and whoever has just begun to read
/// there must not lose it because the next commit comes in.
#[derive(Debug)]
pub struct Retention {
    age_ns: u64,
    /// Commits, in order, some time apart; the first is the horizon once the second is old enough.
    samples: VecDeque<Timestamp>,
}

/// Samples kept within the age: the horizon lags by at most this part of it.
const SAMPLES: u64 = 256;

impl Retention {
    pub fn new(last: Timestamp, age_ms: u64) -> Retention {
        Retention { age_ns: age_ms.saturating_mul(1_000_000), samples: VecDeque::from([last]) }
    }

    /// A commit was applied.
    pub fn applied(&mut self, timestamp: Timestamp) {
        let apart = self.age_ns / SAMPLES;
        let newest = self.samples.back().map_or(0, |newest| newest.as_nanoseconds());
        if timestamp.as_nanoseconds() >= newest.saturating_add(apart) {
            self.samples.push_back(timestamp);
        }
    }

    /// Nothing is known of what came before this commit.
    pub fn replaced(&mut self, last: Timestamp) {
        *self = Retention { age_ns: self.age_ns, samples: VecDeque::from([last]) };
    }

    /// Nothing came after this commit, so far.
    pub fn settled(&mut self, last: Timestamp) {
        if self.samples.back().is_none_or(|newest| *newest < last) {
            self.samples.push_back(last);
        }
    }

    /// The horizon when a commit at `now` is about to be made.
    pub fn horizon(&mut self, now: Timestamp) -> Timestamp {
        let old = |timestamp: &Timestamp| {
            timestamp.as_nanoseconds().saturating_add(self.age_ns) <= now.as_nanoseconds()
        };
        while self.samples.get(1).is_some_and(old) {
            self.samples.pop_front();
        }
        self.samples.front().copied().filter(old).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::new(seconds * 1_000_000_000).unwrap()
    }

    #[test]
    fn what_was_newest_within_the_age_stays_readable() {
        let mut retention = Retention::new(seconds(1_000), 300_000);
        assert_eq!(retention.horizon(seconds(1_001)), Timestamp::ZERO, "too early to move it");
        for at in 1_001..2_000 {
            retention.applied(seconds(at));
            let horizon = retention.horizon(seconds(at));
            assert!(horizon <= seconds(at - 300), "at {at}: {horizon}");
            assert!(at < 1_400 || horizon >= seconds(at - 310), "at {at}: it lags: {horizon}");
        }
        // An idle hour later the newest commit is the horizon, not a moment behind it.
        let horizon = retention.horizon(seconds(5_600));
        assert!(horizon >= seconds(1_997) && horizon <= seconds(1_999), "{horizon}");
    }
}
