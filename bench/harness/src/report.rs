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

    /// All of them as one.
    pub fn merge(reports: &[Report]) -> Report {
        let mut latencies_us: Vec<u32> =
            reports.iter().flat_map(|report| &report.latencies_us).copied().collect();
        latencies_us.sort_unstable();
        Report {
            answered: reports.iter().map(|report| report.answered).sum(),
            failed: reports.iter().map(|report| report.failed).sum(),
            elapsed: reports.iter().map(|report| report.elapsed).sum(),
            latencies_us,
            first_failure: reports.iter().find_map(|report| report.first_failure.clone()),
        }
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

/// One figure of several turns.
#[derive(Clone, Debug)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// Of the figures of all turns, in any order.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Spread(sorted)
    }

    /// The upper one of the two in the middle, where there are two; not a number if there was no turn.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The lowest.
    pub fn lowest(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The highest.
    pub fn highest(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}

/// The median, and in brackets the lowest and the highest.
impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = formatter.precision().unwrap_or(0);
        let width = formatter.width().unwrap_or(0);
        let (median, lowest, highest) = (self.median(), self.lowest(), self.highest());
        write!(formatter, "{median:>width$.digits$} ({lowest:.digits$} to {highest:.digits$})")
    }
}

/// How many times as fast `ones` were: the median of the ratios in each round, which leaves out rounds in which the
/// machine had other things to do.
pub fn ratio(ones: &[Report], others: &[Report]) -> f64 {
    Spread::of(ones.iter().zip(others).map(|(one, other)| one.per_second() / other.per_second())).median()
}
