//! Whether a group is led. Who led last stays known when it has gone, until another one is elected; where nobody can be, that is
//! for ever, and a leader without a quorum goes on as one. So a leader counts only while it is heard of.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use openraft::Instant;

use crate::{clock::passed, limits::StoreLimits, members::Metrics};

/// As many times the longest that anybody waits before an election: who has lost its leader has had another one by then, if
/// there is a quorum.
const ELECTIONS: u32 = 4;

/// When a leader of a group was heard of last, by the time that has passed.
pub struct LastHeard(AtomicU64);

const NEVER: u64 = u64::MAX;

impl LastHeard {
    /// Of nobody yet.
    pub fn new() -> LastHeard {
        LastHeard(AtomicU64::new(NEVER))
    }

    /// The leader has said something to this replica, or this replica was elected.
    pub fn now(&self) {
        self.0.store(ns(passed()), Ordering::Relaxed);
    }

    fn ago(&self) -> Option<Duration> {
        let heard = Some(self.0.load(Ordering::Relaxed)).filter(|heard| *heard != NEVER)?;
        Some(passed().saturating_sub(Duration::from_nanos(heard)))
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// Whether the leader that this replica knows was heard of lately: another one by this replica, and this one, if it leads itself, by a
/// quorum.
pub fn is_heard(heard: &LastHeard, metrics: &Metrics, limits: &StoreLimits) -> bool {
    let Some(leader) = metrics.current_leader else { return false };
    let silent_max = Duration::from_millis(limits.election_ms_max) * ELECTIONS;
    let is_alone = leader == metrics.id && metrics.membership_config.voter_ids().eq([leader]);
    // Only a leader has it.
    let answered = metrics.last_quorum_acked.as_ref().map(|answered| Instant::elapsed(&**answered));
    is_alone || [heard.ago(), answered].into_iter().flatten().any(|ago| ago <= silent_max)
}
