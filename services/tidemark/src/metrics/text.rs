//! What Prometheus reads: its text format, version 0.0.4.

use std::fmt::Write as _;

use counters::{BOUNDS_US, HistogramSnapshot};

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// Is what it is now.
    Gauge,
    /// How long things took: buckets, of which each holds those before it, their number and their sum.
    Histogram,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One series of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In the order of the metric's labels.
    pub labels: Vec<String>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Histogram(Box<HistogramSnapshot>),
}

/// Writes a metric and its series.
pub fn write(
    text: &mut String,
    (name, kind, description): (&str, Kind, &str),
    labels: &[&str],
    samples: &[Sample],
) {
    let description = description.replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(text, "# HELP {name} {description}\n# TYPE {name} {}", kind.name());
    for Sample { labels: values, value } in samples {
        let of_sample = |and: Option<&str>| {
            let mut pairs: Vec<String> = labels
                .iter()
                .zip(values)
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            pairs.extend(and.map(|bound| format!("le=\"{bound}\"")));
            if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
        };
        match value {
            Value::Number(number) => {
                let _ = writeln!(text, "{name}{} {number}", of_sample(None));
            }
            Value::Histogram(histogram) => {
                let mut so_far = 0;
                for (bucket, count) in histogram.buckets.iter().enumerate() {
                    so_far += count;
                    let bound = BOUNDS_US.get(bucket).map(|bound_us| (*bound_us as f64 / 1e6).to_string());
                    let labels = of_sample(Some(bound.as_deref().unwrap_or("+Inf")));
                    let _ = writeln!(text, "{name}_bucket{labels} {so_far}");
                }
                let (labels, sum) = (of_sample(None), histogram.sum_ns as f64 / 1e9);
                let _ = writeln!(text, "{name}_sum{labels} {sum}\n{name}_count{labels} {so_far}");
            }
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use counters::Histogram;

    use super::*;

    fn number(labels: &[&str], number: f64) -> Sample {
        let labels = labels.iter().map(|value| (*value).to_owned()).collect();
        Sample { labels, value: Value::Number(number) }
    }

    #[test]
    fn a_metric_has_its_help_its_type_and_its_series() {
        let mut text = String::new();
        write(&mut text, ("a_total", Kind::Counter, "What\nit \\ is."), &[], &[number(&[], 3.0)]);
        let samples = [number(&["x", "say \"\\\n"], 0.5), number(&["y", ""], 1e18)];
        write(&mut text, ("b", Kind::Gauge, "B."), &["one", "two"], &samples);
        write(&mut text, ("c", Kind::Gauge, "None now."), &["one"], &[]);
        let expected = "# HELP a_total What\\nit \\\\ is.\n# TYPE a_total counter\na_total 3\n\
            # HELP b B.\n# TYPE b gauge\n\
            b{one=\"x\",two=\"say \\\"\\\\\\n\"} 0.5\nb{one=\"y\",two=\"\"} 1000000000000000000\n\
            # HELP c None now.\n# TYPE c gauge\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn buckets_hold_those_before_them() {
        let histogram = Histogram::default();
        for took_us in [40, 900, 1_000, 70_000_000] {
            histogram.record(Duration::from_micros(took_us));
        }
        let value = Value::Histogram(Box::new(histogram.snapshot()));
        let mut text = String::new();
        let samples = [Sample { labels: vec!["sync".to_owned()], value }];
        write(&mut text, ("d_seconds", Kind::Histogram, "D."), &["stage"], &samples);
        for line in [
            "d_seconds_bucket{stage=\"sync\",le=\"0.00005\"} 1",
            "d_seconds_bucket{stage=\"sync\",le=\"0.0005\"} 1",
            "d_seconds_bucket{stage=\"sync\",le=\"0.001\"} 3",
            "d_seconds_bucket{stage=\"sync\",le=\"60\"} 3",
            "d_seconds_bucket{stage=\"sync\",le=\"+Inf\"} 4",
            "d_seconds_sum{stage=\"sync\"} 70.00194",
            "d_seconds_count{stage=\"sync\"} 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
