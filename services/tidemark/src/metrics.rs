//! What the services count, for Prometheus: names, and the text.
//!
//! Each service keeps plain numbers. The [tables] give them names. They are read whenever somebody asks, once for each
//! service; nothing is measured in between. `docs/reference/metrics.md` lists the same.

mod machine;
mod tables;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use machine::{Expiry, Machine};
use tables::{
    BLOB, CERTIFICATE, DEPLOY, DISK, FANOUT, FILES, GATEWAY, LIMIT, LOG, NODE, PROCESS, RAFT, ROLE, RUNNER,
    SCHEDULER, SEARCH, STORE,
};
pub use text::CONTENT_TYPE;
use text::{Kind, Sample};

use crate::health::Health;

/// A number that a service keeps. `S` are all of its numbers at one moment.
struct Instrument<S> {
    /// In front of it comes `tidemark_` and the service; behind it the unit, and `total` if it is a counter.
    name: &'static str,
    kind: Kind,
    /// `s`, `By`, or nothing for a plain number.
    unit: &'static str,
    /// What tells its series apart.
    labels: &'static [&'static str],
    /// How many series there are at the most, whatever clients do. What is beyond is not served.
    series_max: usize,
    description: &'static str,
    read: fn(&S) -> Vec<Sample>,
}

impl<S> Instrument<S> {
    fn full_name(&self, service: &str) -> String {
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("tidemark_{service}_{}{unit}{suffix}", self.name)
    }
}

/// Instruments, and the service in their names.
type Tables<S> = &'static [(&'static str, &'static [Instrument<S>])];

/// The numbers of all services that have started so far. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics {
    /// One scrape goes on at a time, so that all its numbers are of one moment.
    sources: Arc<Mutex<Vec<Box<dyn Source>>>>,
    limits: Arc<Mutex<Vec<UsedLimits>>>,
}

type UsedLimits = Box<dyn Fn() -> Vec<limits::Use> + Send + Sync>;

/// What a service counts: how it is read, and how its numbers are called.
struct Numbers<S: 'static> {
    tables: Tables<S>,
    read: Box<dyn Fn() -> S + Send + Sync>,
}

trait Source: Send + Sync {
    fn write(&self, text: &mut String);
}

impl<S: 'static> Source for Numbers<S> {
    fn write(&self, text: &mut String) {
        let numbers = (self.read)();
        for (service, instruments) in self.tables {
            for instrument in *instruments {
                let mut samples = (instrument.read)(&numbers);
                samples.truncate(instrument.series_max);
                let name = instrument.full_name(service);
                text::write(
                    text,
                    (&name, instrument.kind, instrument.description),
                    instrument.labels,
                    &samples,
                );
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// Serves what `read` gives by the names of these tables.
    fn add<S: 'static>(&self, tables: Tables<S>, read: impl Fn() -> S + Send + Sync + 'static) {
        lock(&self.sources).push(Box::new(Numbers { tables, read: Box::new(read) }));
    }

    fn add_limits(&self, used: impl Fn() -> Vec<limits::Use> + Send + Sync + 'static) {
        lock(&self.limits).push(Box::new(used));
    }

    /// What the process and its machine are like, and the standing of its roles.
    pub fn process(&self, machine: Machine, health: Health) {
        self.add(&[("process", PROCESS), ("disk", DISK), ("certificate", CERTIFICATE)], move || {
            machine.now()
        });
        self.add(&[("role", ROLE)], move || health.roles());
        let limits = Arc::clone(&self.limits);
        self.add(&[("limit", LIMIT)], move || lock(&limits).iter().flat_map(|used| used()).collect());
    }

    pub fn blob(&self, blob: blob::Handle) {
        self.add(&[("blob", BLOB)], move || blob.metrics());
    }

    pub fn log(&self, log: txlog::Handle) {
        let (raft, limits) = (log.clone(), log.clone());
        self.add(&[("log", LOG), ("store", STORE)], move || log.metrics());
        self.add(&[("raft", RAFT)], move || raft.raft_metrics());
        self.add_limits(move || limits.limits_used());
    }

    pub fn files(&self, files: files::Handle) {
        self.add(&[("files", FILES)], move || files.metrics());
    }

    pub fn archive(&self, archive: archive::Handle) {
        self.add_limits(move || archive.limits_used());
    }

    pub fn runner(&self, runner: runner::Handle) {
        let (node, limits) = (runner.clone(), runner.clone());
        self.add(&[("runner", RUNNER)], move || runner.metrics());
        self.add(&[("node", NODE)], move || node.node_metrics());
        self.add_limits(move || limits.limits_used());
    }

    pub fn fanout(&self, fanout: fanout::Handle) {
        let limits = fanout.clone();
        self.add(&[("fanout", FANOUT)], move || fanout.metrics());
        self.add_limits(move || limits.limits_used().to_vec());
    }

    pub fn scheduler(&self, scheduler: scheduler::Handle) {
        let limits = scheduler.clone();
        self.add(&[("scheduler", SCHEDULER)], move || scheduler.metrics());
        self.add_limits(move || limits.limits_used().to_vec());
    }

    pub fn search(&self, search: search::Handle) {
        let limits = search.clone();
        self.add(&[("search", SEARCH)], move || search.metrics());
        self.add_limits(move || limits.limits_used().to_vec());
    }

    pub fn deploy(&self, deploy: deploy::Handle) {
        self.add(&[("deploy", DEPLOY)], move || deploy.metrics());
    }

    pub fn gateway(&self, gateway: gateway::Handle) {
        let limits = gateway.clone();
        self.add(&[("gateway", GATEWAY)], move || gateway.metrics());
        self.add_limits(move || limits.limits_used());
    }

    /// All of them now.
    pub fn text(&self) -> String {
        let mut text = String::new();
        lock(&self.sources).iter().for_each(|source| source.write(&mut text));
        text
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::{
        tables::{IntoSamples, instruments, last},
        *,
    };

    struct Described {
        kind: Kind,
        labels: &'static [&'static str],
        series_max: usize,
        description: &'static str,
    }

    /// Every metric as the reference has it: its name, its kind, its labels, what it is, and how many series it can have.
    fn all() -> BTreeMap<String, Described> {
        fn of<S>(all: &mut BTreeMap<String, Described>, service: &str, table: &[Instrument<S>]) {
            for instrument in table {
                let Instrument { kind, labels, series_max, description, .. } = *instrument;
                let described = Described { kind, labels, series_max, description };
                let other = all.insert(instrument.full_name(service), described);
                assert!(other.is_none(), "{} is there once", instrument.full_name(service));
            }
        }
        let mut all = BTreeMap::new();
        of(&mut all, "gateway", GATEWAY);
        of(&mut all, "runner", RUNNER);
        of(&mut all, "node", NODE);
        of(&mut all, "fanout", FANOUT);
        of(&mut all, "scheduler", SCHEDULER);
        of(&mut all, "search", SEARCH);
        of(&mut all, "files", FILES);
        of(&mut all, "blob", BLOB);
        of(&mut all, "deploy", DEPLOY);
        of(&mut all, "log", LOG);
        of(&mut all, "store", STORE);
        of(&mut all, "raft", RAFT);
        of(&mut all, "limit", LIMIT);
        of(&mut all, "role", ROLE);
        of(&mut all, "process", PROCESS);
        of(&mut all, "disk", DISK);
        of(&mut all, "certificate", CERTIFICATE);
        all
    }

    #[test]
    fn a_scrape_reads_a_service_once() {
        const TABLE: &[Instrument<u64>] = instruments! {
            this: Gauge "" "This.", |at| *at as f64;
            that: Gauge "" "That.", |at| *at as f64;
        };
        let metrics = Metrics::default();
        let reads = AtomicU64::new(0);
        metrics.add(&[("one", TABLE), ("other", TABLE)], move || reads.fetch_add(1, Ordering::Relaxed) + 1);
        for scrape in 1..=2 {
            let text = metrics.text();
            let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            let suffix = format!(" {scrape}");
            assert!(values.len() == 4 && values.iter().all(|value| value.ends_with(&suffix)), "{text}");
        }
    }

    #[test]
    fn no_metric_has_more_series_than_it_may() {
        const TABLE: &[Instrument<()>] = instruments! {
            many: Counter "" ["name"; 3] "Many.", |_at| (0..10_000_u64).map(|it| (it.to_string(), it)).collect::<Vec<_>>();
        };
        let metrics = Metrics::default();
        metrics.add(&[("x", TABLE)], || ());
        let text = metrics.text();
        let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [0, 1, 2].map(|it| format!("tidemark_x_many_total{{name=\"{it}\"}} {it}"));
        assert_eq!(series, expected);
    }

    #[test]
    fn whatever_is_told_apart_has_a_bound_and_all_bounds_are_small() {
        let all = all();
        for (name, Described { labels, series_max, .. }) in &all {
            assert!(!labels.is_empty() || *series_max == 1, "{name}");
            assert!(*series_max <= 1_024, "{name}");
        }
        let most: usize = all.values().map(|described| described.series_max).sum();
        assert!(most < 10_000, "{most} series");
    }

    #[test]
    fn the_reference_lists_all_of_them_and_nothing_else() {
        let reference = include_str!("../../../docs/reference/metrics.md");
        let listed: Vec<&str> = reference.lines().filter(|line| line.starts_with("| `tidemark_")).collect();
        let row = |(name, described): (&String, &Described)| {
            let Described { kind, labels, series_max, description } = described;
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!("`{}`, {series_max} at most", labels.join("`, `")),
            };
            format!("| `{name}` | {} | {labels} | {description} |", kind.name())
        };
        let served: Vec<String> = all().iter().map(row).collect();
        assert_eq!(listed, served, "the table should be\n{}", served.join("\n"));
    }
}
