//! Moments that readers hold, so that they stay readable for longer than others.
//!
//! Only the leader knows them, and no entry of the log does: whoever comes to lead knows none, and lets nothing go until each of
//! them must have been renewed.

use std::{collections::BTreeMap, time::Duration};

use contract::{Hold, HoldId, Timestamp};

use crate::{ages::Ages, planted};

/// What is held in a group. Pure: the time that has passed is passed in, counted from whatever moment.
#[derive(Debug)]
pub struct Holds {
    options: HoldOptions,
    /// As long as it leads: until when others may be held of which it has not heard.
    unknown_until: Duration,
    held: BTreeMap<HoldId, Held>,
    /// What is too old to be held.
    ages: Ages,
}

#[derive(Clone, Copy, Debug)]
pub struct HoldOptions {
    /// For how long a moment is held without being renewed.
    pub lease: Duration,
    /// How old a held moment may become.
    pub age_max: Duration,
    pub count_max: usize,
}

#[derive(Debug)]
struct Held {
    at: Timestamp,
    until: Duration,
}

/// Why a moment is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// This replica does not lead.
    NotLeader,
    /// It can't be read any more, or will not in a moment.
    TooOld,
    /// So many others are.
    TooMany,
}

impl Holds {
    /// Of a replica that follows. The newest commit is `last`.
    pub fn new(options: HoldOptions, last: Timestamp, passed: Duration) -> Holds {
        let ages = Ages::new(last, passed, (options.age_max, options.age_max));
        Holds { options, unknown_until: Duration::ZERO, held: BTreeMap::new(), ages }
    }

    /// A commit was applied.
    pub fn applied(&mut self, timestamp: Timestamp, passed: Duration) {
        self.ages.applied(timestamp, passed);
    }

    /// Nothing is known of what came before this commit.
    pub fn replaced(&mut self, last: Timestamp, passed: Duration) {
        self.ages.replaced(last, passed);
    }

    /// From now on it is the leader's that are asked for.
    pub fn lead(&mut self, passed: Duration) {
        self.held.clear();
        self.unknown_until = match planted::is(planted::Bug::NewLeaderForgetsHolds) {
            true => passed,
            false => passed.saturating_add(self.options.lease),
        };
    }

    /// Holds a moment, or goes on, from now on. What is older than `gone` can't be read.
    pub fn hold(&mut self, Hold { id, at }: Hold, gone: Timestamp, passed: Duration) -> Result<(), NotHeld> {
        self.held.retain(|_, held| passed < held.until);
        if at < gone.max(self.too_old(passed)) {
            self.held.remove(&id);
            return Err(NotHeld::TooOld);
        }
        if self.held.len() >= self.options.count_max && !self.held.contains_key(&id) {
            return Err(NotHeld::TooMany);
        }
        self.held.insert(id, Held { at, until: passed.saturating_add(self.options.lease) });
        Ok(())
    }

    pub fn release(&mut self, id: HoldId) {
        self.held.remove(&id);
    }

    fn held(&self, passed: Duration) -> impl Iterator<Item = (&HoldId, &Held)> {
        self.held.iter().filter(move |(_, held)| passed < held.until)
    }

    pub fn has(&self, id: HoldId, passed: Duration) -> bool {
        self.held(passed).any(|(held, _)| *held == id)
    }

    /// How many are held, and the oldest of them.
    pub fn count(&self, passed: Duration) -> (usize, Option<Timestamp>) {
        (self.held(passed).count(), self.held(passed).map(|(_, held)| held.at).min())
    }

    /// The oldest moment that must stay readable, as far as it is up to those who hold one; the end of time if nobody does.
    pub fn oldest(&self, passed: Duration) -> Timestamp {
        let held = match passed < self.unknown_until {
            true => Timestamp::ZERO,
            false => self.count(passed).1.unwrap_or(Timestamp::MAX),
        };
        held.max(self.too_old(passed))
    }

    fn too_old(&self, passed: Duration) -> Timestamp {
        self.ages.newest(self.options.age_max, passed).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OPTIONS: HoldOptions =
        HoldOptions { lease: Duration::from_secs(60), age_max: Duration::from_secs(600), count_max: 2 };

    fn timestamp(at: u64) -> Timestamp {
        Timestamp::new(at).expect("in range")
    }

    fn hold(id: u8, at: u64) -> Hold {
        Hold { id: HoldId([id; 16]), at: timestamp(at) }
    }

    /// Of a replica that leads from the first second on, with a commit in each of so many seconds.
    fn holds(seconds: u64) -> Holds {
        let mut holds = Holds::new(OPTIONS, timestamp(0), Duration::ZERO);
        holds.lead(Duration::ZERO);
        for at in 1..=seconds {
            holds.applied(timestamp(at), SECOND * at as u32);
        }
        holds
    }

    #[test]
    fn nothing_goes_until_everybody_has_renewed_what_he_holds() {
        let mut holds = holds(100);
        assert_eq!(holds.oldest(SECOND * 59), Timestamp::ZERO);
        assert_eq!(holds.oldest(SECOND * 60), Timestamp::MAX, "nobody has");
        holds.hold(hold(1, 70), timestamp(20), SECOND * 100).unwrap();
        assert_eq!(holds.oldest(SECOND * 100), timestamp(70));
        holds.lead(SECOND * 100);
        assert!(!holds.has(hold(1, 70).id, SECOND * 100), "it was another leader's");
        assert_eq!(holds.oldest(SECOND * 159), Timestamp::ZERO);
        holds.hold(hold(1, 70), timestamp(20), SECOND * 110).unwrap();
        assert_eq!(holds.oldest(SECOND * 160), timestamp(70));
    }

    #[test]
    fn what_is_not_renewed_is_held_until_its_lease_is_over() {
        let mut holds = holds(100);
        holds.hold(hold(1, 70), timestamp(20), SECOND * 100).unwrap();
        holds.hold(hold(2, 80), timestamp(20), SECOND * 110).unwrap();
        assert_eq!(holds.count(SECOND * 110), (2, Some(timestamp(70))));
        assert_eq!(holds.oldest(SECOND * 159), timestamp(70));
        assert_eq!(holds.oldest(SECOND * 160), timestamp(80));
        holds.hold(hold(2, 80), timestamp(20), SECOND * 160).unwrap();
        assert_eq!(holds.oldest(SECOND * 219), timestamp(80));
        holds.release(hold(2, 80).id);
        assert_eq!(holds.oldest(SECOND * 219), Timestamp::MAX);
    }

    #[test]
    fn what_is_gone_is_not_held_any_more_and_too_many_are_refused() {
        let mut holds = holds(100);
        let at = SECOND * 100;
        assert_eq!(holds.hold(hold(1, 19), timestamp(20), at), Err(NotHeld::TooOld));
        for id in [1, 2] {
            holds.hold(hold(id, 20), timestamp(20), at).unwrap();
        }
        assert_eq!(holds.hold(hold(3, 20), timestamp(20), at), Err(NotHeld::TooMany));
        holds.hold(hold(2, 30), timestamp(20), at).expect("it is there");
        assert_eq!(holds.hold(hold(1, 20), timestamp(25), at), Err(NotHeld::TooOld));
        assert_eq!(holds.oldest(at), timestamp(30), "what can't be read is held by nobody");
        holds.hold(hold(3, 40), timestamp(25), at).expect("there is room");
        holds.hold(hold(4, 40), timestamp(25), at + SECOND * 60).expect("the others were not renewed");
    }

    #[test]
    fn however_often_it_is_renewed_nothing_is_held_for_longer_than_it_may() {
        let mut holds = holds(1_000);
        assert_eq!(holds.hold(hold(1, 300), Timestamp::ZERO, SECOND * 1_000), Err(NotHeld::TooOld));
        holds.hold(hold(1, 900), Timestamp::ZERO, SECOND * 1_000).unwrap();
        let mut held = 0;
        for at in 1_001..3_000 {
            holds.applied(timestamp(at), SECOND * at as u32);
            if holds.hold(hold(1, 900), Timestamp::ZERO, SECOND * at as u32).is_ok() {
                assert_eq!(holds.oldest(SECOND * at as u32), timestamp(900));
                held = at - 900;
            }
        }
        assert!((600..620).contains(&held), "it was held until it was {held} seconds old");
        holds.lead(SECOND * 3_000);
        let oldest = holds.oldest(SECOND * 3_000);
        assert!(oldest > timestamp(2_300), "a new leader keeps nothing older: {oldest}");
    }
}
