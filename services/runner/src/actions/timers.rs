//! The timers of one action: a state machine, which is told the time.

use std::collections::{BTreeMap, HashMap};

use isolate::OperationId;
use tokio::time::Instant;

/// By what they are due at and, of those that are due at the same time, in the order of their setting.
type Key = (Instant, u64);

#[derive(Default)]
pub(super) struct Timers {
    set: BTreeMap<Key, (OperationId, u64)>,
    by_number: HashMap<u64, Key>,
    /// Those whose wait is over, in the order in which that came.
    over: Vec<OperationId>,
    ever_set: u64,
}

impl Timers {
    /// Sets the timer `number` of the function.
    pub(super) fn set(&mut self, number: u64, operation: OperationId, due: Instant) {
        let key = (due, self.ever_set);
        self.ever_set += 1;
        self.set.insert(key, (operation, number));
        self.by_number.insert(number, key);
    }

    /// Ends a wait early.
    pub(super) fn wake(&mut self, number: u64) {
        if let Some(key) = self.by_number.remove(&number)
            && let Some((operation, _)) = self.set.remove(&key)
        {
            self.over.push(operation);
        }
    }

    /// When to look again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.set.first_key_value().map(|((due, _), _)| *due)
    }

    /// Those whose wait is over at `now`, each once.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<OperationId> {
        while let Some(first) = self.set.first_entry()
            && first.key().0 <= now
        {
            let (operation, number) = first.remove();
            self.by_number.remove(&number);
            self.over.push(operation);
        }
        std::mem::take(&mut self.over)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_are_over_in_the_order_of_their_times_and_then_of_their_setting() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        for (number, ms) in [(1, 20), (2, 10), (3, 10), (4, 30)] {
            timers.set(number, OperationId(number as u32), after(ms));
        }
        assert_eq!(timers.next_due(), Some(after(10)));
        assert_eq!(timers.take_over(after(9)), []);
        assert_eq!(timers.take_over(after(20)), [2, 3, 1].map(OperationId));
        assert_eq!((timers.take_over(after(20)), timers.next_due()), (Vec::new(), Some(after(30))));
    }

    #[test]
    fn a_timer_that_is_woken_is_over_at_once_and_never_again() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        let due = start + Duration::from_secs(60);
        timers.set(1, OperationId(5), due);
        timers.wake(1);
        timers.wake(1);
        timers.wake(2);
        assert_eq!(timers.take_over(start), [OperationId(5)]);
        assert_eq!((timers.take_over(due), timers.next_due()), (Vec::new(), None));
    }
}
