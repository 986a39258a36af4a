//! Whether a replica is left alone for a while because it has failed. Knows no clock: the time is passed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::RouterLimits;

#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Until when, and for how long that was.
    now: Option<(Instant, Duration)>,
}

impl Rest {
    pub fn failed(&mut self, now: Instant, limits: &RouterLimits) {
        let (min, max) =
            (Duration::from_millis(limits.rest_ms_min), Duration::from_millis(limits.rest_ms_max));
        let pause = match self.now {
            // Several calls that fail at the same time are one failure.
            Some((until, _)) if now < until => return,
            Some((_, before)) => (before * 2).min(max),
            None => min,
        };
        self.now = Some((now + pause, pause));
    }

    /// Whether that is new.
    pub fn answered(&mut self) -> bool {
        self.now.take().is_some()
    }

    /// Whether it has not answered since.
    pub fn has_failed(&self) -> bool {
        self.now.is_some()
    }

    pub fn is_resting(&self, now: Instant) -> bool {
        self.now.is_some_and(|(until, _)| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RouterLimits = RouterLimits { rest_ms_min: 10, rest_ms_max: 35, ..RouterLimits::DEFAULT };

    #[test]
    fn who_fails_again_and_again_rests_longer_up_to_the_limit() {
        let mut now = Instant::now();
        let mut rest = Rest::default();
        assert!(!rest.is_resting(now));
        for expected_ms in [10, 20, 35, 35] {
            rest.failed(now, &LIMITS);
            // At the same time.
            rest.failed(now + Duration::from_millis(1), &LIMITS);
            assert!(rest.is_resting(now + Duration::from_millis(expected_ms - 1)));
            now += Duration::from_millis(expected_ms);
            assert!(!rest.is_resting(now) && rest.has_failed());
        }
        assert!(rest.answered() && !rest.answered() && !rest.has_failed());
        rest.failed(now, &LIMITS);
        assert!(!rest.is_resting(now + Duration::from_millis(10)), "it begins anew");
    }
}
