//! The wall clock, passed in so that a test can hold it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

/// Tells the time, and when it has come.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> f64;

    /// Returns when the clock may show this moment. It may be early: whoever waits looks at the clock again.
    async fn reaches(&self, moment_ms: f64);
}

/// The clock of the machine.
pub struct WallClock(fn() -> SystemTime);

/// The longest wait without a look at the clock, which may be set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl WallClock {
    /// Asks `now` each time.
    pub fn new(now: fn() -> SystemTime) -> WallClock {
        WallClock(now)
    }
}

#[async_trait]
impl Clock for WallClock {
    fn now_ms(&self) -> f64 {
        (self.0)().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
    }

    async fn reaches(&self, moment_ms: f64) {
        let left_ms = (moment_ms - self.now_ms()).max(0.0);
        let left = Duration::try_from_secs_f64(left_ms / 1e3).unwrap_or(LOOK_AGAIN);
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}
