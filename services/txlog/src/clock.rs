//! The wall clock, passed in so that a test can hold it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use contract::Timestamp;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

/// Timestamps follow it as far as they can; nothing's order depends on it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub fn system() -> Clock {
        Clock::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_nanos()).ok().and_then(Timestamp::new).unwrap_or(Timestamp::MAX)
        })
    }

    /// The same clock without its jumps: where it is suddenly more than `jump_max` ahead of the time that has passed, it
    /// goes on as if it had not jumped. It is believed after it has said so for `trusted_after`, as when it was
    /// wrong before and has been set right.
    ///
    /// A timestamp is never taken back: without this, what a clock says for a moment would hold for ever, and nothing would
    /// grow old until that time comes.
    pub fn without_jumps(self, jump_max: Duration, trusted_after: Duration) -> Clock {
        self.without_jumps_by(jump_max, trusted_after, since_boot)
    }

    fn without_jumps_by(
        self,
        jump_max: Duration,
        trusted_after: Duration,
        passed: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Clock {
        let jumps = Mutex::new(Jumps { wall: self.now(), passed: passed(), jumped_at: None });
        Clock::new(move || jumps.lock().now(self.now(), passed(), jump_max, trusted_after))
    }

    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// The time that has passed since some moment: what ages are counted by. It never jumps, and stands still while the machine
/// sleeps, as it does for those in it who wait.
pub fn passed() -> Duration {
    read(ClockId::Monotonic)
}

/// Since the machine started. It goes on while the machine sleeps, as the wall clock does.
fn since_boot() -> Duration {
    read(ClockId::Boottime)
}

fn read(clock: ClockId) -> Duration {
    #[cfg(test)]
    if crate::runtime::is_simulated() {
        return crate::simulation::runtime::time();
    }
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// A moment at which the wall clock was believed.
struct Jumps {
    wall: Timestamp,
    passed: Duration,
    /// Since when it is too far ahead.
    jumped_at: Option<Duration>,
}

impl Jumps {
    fn now(
        &mut self,
        wall: Timestamp,
        passed: Duration,
        jump_max: Duration,
        trusted_after: Duration,
    ) -> Timestamp {
        let expected = later(self.wall, passed.saturating_sub(self.passed));
        if wall <= later(expected, jump_max) {
            self.jumped_at = None;
            return wall;
        }
        let ahead_s = (wall.as_nanoseconds() - expected.as_nanoseconds()) / 1_000_000_000;
        let jumped_at = match self.jumped_at {
            Some(jumped_at) => jumped_at,
            None => {
                tracing::error!(ahead_s, "the wall clock has jumped ahead: it is not followed for now");
                *self.jumped_at.insert(passed)
            }
        };
        if passed.saturating_sub(jumped_at) < trusted_after {
            return expected;
        }
        tracing::warn!(ahead_s, "the wall clock has stayed ahead: it is followed again");
        *self = Jumps { wall, passed, jumped_at: None };
        wall
    }
}

fn later(timestamp: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::new(timestamp.as_nanoseconds().saturating_add(by)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3_600 * SECOND;
    const YEAR: u64 = 365 * 24 * HOUR;

    /// A wall clock and the time that has passed, in nanoseconds, both in the test's hand.
    struct Hands {
        wall: Arc<AtomicU64>,
        passed: Arc<AtomicU64>,
        clock: Clock,
    }

    impl Hands {
        fn new() -> Hands {
            let (wall, passed) = (Arc::new(AtomicU64::new(50 * YEAR)), Arc::new(AtomicU64::new(0)));
            let (shown, since) = (wall.clone(), passed.clone());
            let system = Clock::new(move || Timestamp::new(shown.load(Ordering::Relaxed)).expect("in range"));
            let clock = system.without_jumps_by(
                Duration::from_nanos(HOUR),
                Duration::from_nanos(HOUR / 6),
                move || Duration::from_nanos(since.load(Ordering::Relaxed)),
            );
            Hands { wall, passed, clock }
        }

        fn pass(&self, nanoseconds: u64) {
            self.wall.fetch_add(nanoseconds, Ordering::Relaxed);
            self.passed.fetch_add(nanoseconds, Ordering::Relaxed);
        }

        fn now(&self) -> u64 {
            self.clock.now().as_nanoseconds()
        }
    }

    #[test]
    fn a_clock_that_is_years_ahead_for_a_moment_is_not_followed() {
        let hands = Hands::new();
        hands.pass(SECOND);
        hands.wall.fetch_add(10 * YEAR, Ordering::Relaxed);
        assert_eq!(hands.now(), 50 * YEAR + SECOND);
        hands.pass(SECOND);
        assert_eq!(hands.now(), 50 * YEAR + 2 * SECOND, "time goes on meanwhile");
        hands.wall.fetch_sub(10 * YEAR, Ordering::Relaxed);
        assert_eq!(hands.now(), 50 * YEAR + 2 * SECOND);
        // It has been right since, so another jump is one of its own.
        hands.pass(HOUR);
        hands.wall.fetch_add(YEAR, Ordering::Relaxed);
        assert_eq!(hands.now(), 50 * YEAR + 2 * SECOND + HOUR);
    }

    #[test]
    fn a_clock_that_stays_ahead_is_followed_after_a_while() {
        let hands = Hands::new();
        hands.wall.fetch_add(30 * YEAR, Ordering::Relaxed);
        assert_eq!(hands.now(), 50 * YEAR);
        hands.pass(HOUR / 6);
        assert_eq!(hands.now(), 80 * YEAR + HOUR / 6);
        hands.pass(SECOND);
        assert_eq!(hands.now(), 80 * YEAR + HOUR / 6 + SECOND);
    }

    #[test]
    fn a_clock_that_goes_back_or_is_corrected_a_little_is_followed() {
        let hands = Hands::new();
        hands.wall.fetch_sub(SECOND, Ordering::Relaxed);
        assert_eq!(hands.now(), 50 * YEAR - SECOND);
        hands.wall.fetch_add(HOUR, Ordering::Relaxed);
        assert_eq!(hands.now(), 50 * YEAR - SECOND + HOUR);
        // Small jumps don't add up to a large one.
        hands.wall.fetch_add(HOUR, Ordering::Relaxed);
        assert_eq!(hands.now(), 50 * YEAR);
    }
}
