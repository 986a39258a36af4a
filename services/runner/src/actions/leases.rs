//! Whether processes are there that hold entries of a queue, as one sees it who looks at their leases now and then.
//!
//! Whoever holds anything renews its lease. A lease that has stood unchanged for long has run out, however right or wrong anybody's
//! clock is. Time counts only up to a bound for each look that has succeeded: while the log can't be read, leases can't be renewed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use contract::Timestamp;
use transaction::Holder;

/// The leases of one deployment.
pub(super) struct Leases {
    /// After so long without a change a lease has run out.
    unchanged_max: Duration,
    /// What counts of the time between two looks.
    between_looks_max: Duration,
    looked: Option<Instant>,
    seen: HashMap<Holder, Seen>,
}

struct Seen {
    /// `None` if it holds something and has no lease.
    renewed: Option<Timestamp>,
    unchanged: Duration,
}

impl Leases {
    pub(super) fn new(unchanged_max: Duration, between_looks_max: Duration) -> Leases {
        Leases { unchanged_max, between_looks_max, looked: None, seen: HashMap::new() }
    }

    /// Takes in what a look has shown that ended `now`: of each holder when its lease was renewed.
    pub(super) fn look(&mut self, now: Instant, shown: &HashMap<Holder, Option<Timestamp>>) {
        let since_last = self.looked.map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked));
        self.looked = Some(now);
        self.seen.retain(|holder, _| shown.contains_key(holder));
        for (holder, renewed) in shown {
            let seen = self.seen.get_mut(holder).filter(|seen| seen.renewed == *renewed);
            match seen {
                Some(seen) => seen.unchanged += since_last.min(self.between_looks_max),
                None => {
                    let seen = Seen { renewed: *renewed, unchanged: Duration::ZERO };
                    self.seen.insert(*holder, seen);
                }
            }
        }
    }

    /// Whether a lease has run out. It may have been renewed since the last look.
    pub(super) fn has_run_out(&self, holder: Holder) -> bool {
        self.seen.get(&holder).is_some_and(|seen| seen.unchanged >= self.unchanged_max)
    }

    /// When a lease was renewed, by the last look.
    pub(super) fn renewed(&self, holder: Holder) -> Option<Timestamp> {
        self.seen.get(&holder)?.renewed
    }
}

#[cfg(test)]
mod tests {
    use contract::NodeId;

    use super::*;

    const UNCHANGED_MAX: Duration = Duration::from_secs(60);
    const BETWEEN_LOOKS_MAX: Duration = Duration::from_secs(10);
    /// Two processes of one number.
    const FIRST: Holder = Holder { node: NodeId(1003), boot: [1; 16] };
    const SECOND: Holder = Holder { node: NodeId(1003), boot: [2; 16] };

    /// Looks at the given second.
    struct Looker {
        start: Instant,
        leases: Leases,
    }

    impl Looker {
        fn new() -> Looker {
            Looker { start: Instant::now(), leases: Leases::new(UNCHANGED_MAX, BETWEEN_LOOKS_MAX) }
        }

        fn look(&mut self, second: u64, shown: &[(Holder, Option<u64>)]) -> Vec<Holder> {
            let moment = |renewed: u64| Timestamp::new(renewed).expect("it is small");
            let shown = shown.iter().map(|(holder, renewed)| (*holder, renewed.map(moment))).collect();
            self.leases.look(self.start + Duration::from_secs(second), &shown);
            [FIRST, SECOND].into_iter().filter(|holder| self.leases.has_run_out(*holder)).collect()
        }
    }

    #[test]
    fn a_lease_runs_out_when_it_has_stood_unchanged_for_long_and_others_do_not() {
        let mut looker = Looker::new();
        for look in 0..6 {
            let shown = [(FIRST, Some(7)), (SECOND, Some(100 + look))];
            assert_eq!(looker.look(10 * look, &shown), [], "look {look}");
        }
        assert_eq!(looker.look(59, &[(FIRST, Some(7)), (SECOND, Some(106))]), []);
        assert_eq!(looker.look(60, &[(FIRST, Some(7)), (SECOND, Some(106))]), [FIRST]);
        assert_eq!(looker.leases.renewed(FIRST), Timestamp::new(7));
        assert_eq!(looker.look(61, &[(FIRST, Some(8)), (SECOND, Some(107))]), [], "it is there after all");
    }

    #[test]
    fn a_holder_without_a_lease_runs_out_as_well() {
        let mut looker = Looker::new();
        for look in 0..6 {
            assert_eq!(looker.look(10 * look, &[(FIRST, None)]), []);
        }
        assert_eq!(looker.look(60, &[(FIRST, None)]), [FIRST]);
        assert_eq!(looker.look(61, &[(FIRST, Some(9))]), []);
    }

    #[test]
    fn time_in_which_nobody_could_look_does_not_count() {
        let mut looker = Looker::new();
        assert_eq!(looker.look(0, &[(FIRST, Some(7))]), []);
        for look in 0..5 {
            assert_eq!(looker.look(3_600 * (look + 1), &[(FIRST, Some(7))]), []);
        }
        assert_eq!(
            looker.look(3_600 * 6, &[(FIRST, Some(7))]),
            [FIRST],
            "six looks show that it does not change"
        );
    }

    #[test]
    fn what_was_gone_for_one_look_begins_anew() {
        let mut looker = Looker::new();
        for look in 0..6 {
            looker.look(10 * look, &[(FIRST, Some(7))]);
        }
        assert_eq!(looker.look(60, &[]), []);
        assert_eq!(looker.look(70, &[(FIRST, Some(7))]), []);
    }
}
