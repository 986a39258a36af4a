//! What a run has measured.

use std::{fmt, time::Duration};

#[derive(Clone, Debug)]
pub struct Report {
    pub answered: u64,
    /// Answers that say that the request failed, whatever the reason.
    pub failed: u64,
    pub elapsed: Duration,
    /// Of the answered requests, sorted, in microseconds.
    pub latencies_us: Vec<u32>,
    /// The first failure's text.
    pub first_failure: Option<String>,
}

impl Report {
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency below which the given share of the answered requests lies, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies_us.get(at).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:>9.0}/s   p50 {:>8.2} ms   p99 {:>8.2} ms   failed {}",
            self.per_second(),
            self.percentile_ms(0.5),
            self.percentile_ms(0.99),
            self.failed
        )
    }
}

/// How many times as fast `one` is.
pub fn ratio(one: &Report, other: &Report) -> f64 {
    one.per_second() / other.per_second()
}
