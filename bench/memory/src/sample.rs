//! What a process takes in memory.

use std::{fmt, time::Duration};

use anyhow::Result;
use harness::Server;

/// One look at it, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the load began.
    pub at: Duration,
    pub resident: u64,
    /// Of that, what no file is behind.
    pub anonymous: u64,
    /// Of that, what images of deployed code are mapped.
    pub shared: u64,
    /// All of the images, mapped or not.
    pub images: u64,
}

impl Sample {
    pub const TITLES: &str = "resident  anonymous     shared     images";

    pub fn take(server: &Server, at: Duration) -> Result<Sample> {
        let memory = server.memory()?;
        Ok(Sample {
            at,
            resident: memory.resident_bytes,
            anonymous: memory.anonymous_bytes,
            shared: memory.shared_bytes,
            images: server.memory_file_bytes()?,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            formatter,
            "{:>8.1}  {:>9.1}  {:>9.1}  {:>9.1}",
            mb(self.resident),
            mb(self.anonymous),
            mb(self.shared),
            mb(self.images)
        )
    }
}

/// How fast the resident memory grew in the last `time`: the slope of the straight line with the least squares.
pub fn slope_mb_per_minute(samples: &[Sample], time: Duration) -> f64 {
    let Some(end) = samples.last().map(|sample| sample.at) else { return f64::NAN };
    let points: Vec<(f64, f64)> = samples
        .iter()
        .filter(|sample| sample.at + time >= end)
        .map(|sample| (sample.at.as_secs_f64() / 60.0, sample.resident as f64 / 1e6))
        .collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_end() {
        let sample = |seconds: u64, mb: u64| Sample {
            at: Duration::from_secs(seconds),
            resident: mb * 1_000_000,
            anonymous: 0,
            shared: 0,
            images: 0,
        };
        let samples = [sample(0, 900), sample(60, 100), sample(90, 101), sample(120, 102), sample(180, 104)];
        assert!((slope_mb_per_minute(&samples, Duration::from_secs(120)) - 2.0).abs() < 1e-9);
        assert!(slope_mb_per_minute(&samples, Duration::from_secs(180)) < -100.0);
    }
}
