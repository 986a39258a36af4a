//! What a process takes in memory.

use std::{collections::BTreeMap, fmt, time::Duration};

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
    /// Of what is resident, what the log and the store have gathered for their next files, as the server says; it comes
    /// and goes within a minute. 0 where the server does not say it.
    pub gathered: u64,
}

/// Sizes of what comes and goes, as [`Server::sizes`] names them.
const GATHERED: [&str; 2] = ["tidemark_log_write_buffers", "tidemark_store_write_buffers"];

impl Sample {
    pub const TITLES: &str = "resident  anonymous     shared     images   gathered";

    /// `sizes` are those of the same moment.
    pub fn take(server: &Server, at: Duration, sizes: &BTreeMap<String, f64>) -> Result<Sample> {
        let memory = server.memory()?;
        let gathered: f64 = GATHERED.iter().filter_map(|name| sizes.get(*name)).sum();
        Ok(Sample {
            at,
            resident: memory.resident_bytes,
            anonymous: memory.anonymous_bytes,
            shared: memory.shared_bytes,
            images: server.memory_file_bytes()?,
            gathered: gathered as u64,
        })
    }

    /// What is resident but for what is gathered: what is left shows the trend without its waves.
    pub fn kept(&self) -> u64 {
        self.resident.saturating_sub(self.gathered)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            formatter,
            "{:>8.1}  {:>9.1}  {:>9.1}  {:>9.1}  {:>9.1}",
            mb(self.resident),
            mb(self.anonymous),
            mb(self.shared),
            mb(self.images),
            mb(self.gathered)
        )
    }
}

/// How fast something grew, in MB a minute.
#[derive(Clone, Copy, Debug)]
pub struct Slope {
    /// That of the straight line with the least squares.
    pub mean: f64,
    /// Its standard error: how far the samples are from a line.
    pub error: f64,
}

impl fmt::Display for Slope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:+.1} ± {:.1} MB a minute", self.mean, self.error)
    }
}

/// How fast it grew in the last `time`.
pub fn slope(samples: &[Sample], time: Duration, bytes: impl Fn(&Sample) -> u64) -> Slope {
    let end = samples.last().map(|sample| sample.at).unwrap_or_default();
    let points: Vec<(f64, f64)> = samples
        .iter()
        .filter(|sample| sample.at + time >= end)
        .map(|sample| (sample.at.as_secs_f64() / 60.0, bytes(sample) as f64 / 1e6))
        .collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let mean = covariance / variance;
    let off_line: f64 = points.iter().map(|(x, y)| (y - mean_y - mean * (x - mean_x)).powi(2)).sum();
    Slope { mean, error: (off_line / (count - 2.0) / variance).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, mb: u64, gathered_mb: u64) -> Sample {
        Sample {
            at: Duration::from_secs(seconds),
            resident: mb * 1_000_000,
            anonymous: 0,
            shared: 0,
            images: 0,
            gathered: gathered_mb * 1_000_000,
        }
    }

    #[test]
    fn the_slope_is_that_of_the_end() {
        let samples =
            [(0, 900), (60, 100), (90, 101), (120, 102), (180, 104)].map(|(at, mb)| sample(at, mb, 0));
        let of = |seconds| slope(&samples, Duration::from_secs(seconds), |sample| sample.resident);
        let end = of(120);
        assert!((end.mean - 2.0).abs() < 1e-9 && end.error < 1e-9, "{end}");
        assert!(of(180).mean < -100.0);
    }

    #[test]
    fn what_is_gathered_hides_no_trend() {
        // It rises by 2 MB a minute under waves of 40.
        let samples = [(0, 0), (30, 20), (60, 40), (90, 0), (120, 20), (150, 40), (180, 0)]
            .map(|(at, gathered)| sample(at, 200 + at / 30 + gathered, gathered));
        let of = |bytes: fn(&Sample) -> u64| slope(&samples, Duration::from_secs(180), bytes);
        let (resident, kept) = (of(|sample| sample.resident), of(Sample::kept));
        assert!((kept.mean - 2.0).abs() < 1e-9 && kept.error < 1e-9, "{kept}");
        assert!(resident.error > 5.0, "{resident}");
    }
}
