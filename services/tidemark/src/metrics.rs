//! What the services count, served for Prometheus: `GET /metrics`, on a port of its own that nobody but operators needs to reach.
//!
//! Each service keeps plain numbers. The tables below give them names. They are read whenever somebody asks, once for each
//! service; nothing is measured in between. `docs/reference/metrics.md` lists the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use axum::{Router, http::header::CONTENT_TYPE, response::IntoResponse as _, routing::get};
use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A number that a service keeps. `S` are all of its numbers at one moment.
struct Instrument<S> {
    /// In front of it comes `tidemark_` and the service; behind it the unit, and `total` if it is a counter.
    name: &'static str,
    kind: Kind,
    /// As OpenTelemetry writes units: `s`, `By`, or nothing for a plain number.
    unit: &'static str,
    description: &'static str,
    read: fn(&S) -> f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// Is what it is now.
    Gauge,
}

macro_rules! instruments {
    ($($name:ident: $kind:ident $unit:literal $description:literal, $read:expr;)*) => {
        &[$(Instrument {
            name: stringify!($name),
            kind: Kind::$kind,
            unit: $unit,
            description: $description,
            read: $read,
        },)*]
    };
}

const RUNNER: &[Instrument<runner::MetricsSnapshot>] = instruments! {
    queries: Counter "" "Queries that ran, nested ones not counted.", |at| at.queries as f64;
    mutations: Counter "" "Mutations that were asked for.", |at| at.mutations as f64;
    actions: Counter "" "Actions that ran, those that others called included.", |at| at.actions as f64;
    http_actions: Counter "" "HTTP requests that an app's router answered.", |at| at.http_actions as f64;
    http_requests: Counter "By" "Bytes of their bodies that functions read.", |at| at.http_request_bytes as f64;
    http_responses: Counter "By" "Bytes of bodies that functions answered with.", |at| at.http_response_bytes as f64;
    http_clients_gone: Counter "" "Clients that went away before they had all of an answer.", |at| at.http_clients_gone as f64;
    actions_running: Gauge "" "Actions under way, most of which wait.", |at| at.actions_running as f64;
    action_orphans: Counter "" "Actions that were due and have failed because their process had ended.", |at| at.action_orphans as f64;
    actions_size: Gauge "By" "What they take in memory, their images not counted.", |at| at.actions_bytes as f64;
    mutation_attempts: Counter "" "Runs of mutations: more than mutations where they conflict.", |at| at.mutation_attempts as f64;
    conflicts: Counter "" "Runs of mutations that the log refused because what they had read was written meanwhile.", |at| at.conflicts as f64;
    conflicts_given_up: Counter "" "Mutations that ended with OptimisticConcurrencyControlFailure.", |at| at.conflicts_given_up as f64;
    turns_wanted: Counter "" "Runs of mutations that ended where they met a document others were queued for, to begin anew in their turn.", |at| at.turns_wanted as f64;
    commits_looked_up: Counter "" "Commits whose answer was lost and had to be looked up.", |at| at.commits_looked_up as f64;
    session_replays: Counter "" "Mutations that a client sent again, answered from the record of the first time.", |at| at.session_replays as f64;
    function_errors: Counter "" "Functions that threw.", |at| at.function_errors as f64;
    kills: Counter "" "Functions that a limit ended.", |at| at.kills as f64;
    refused: Counter "" "Calls that were refused because the queue was full.", |at| at.refused as f64;
    images_built: Counter "" "Images built of deployed code.", |at| at.images_built as f64;
    images: Gauge "" "Images of deployed code in memory.", |at| at.images as f64;
    function_log_size: Gauge "By" "Roughly what the newest executions, which tools can ask for, take in memory.", |at| at.function_log_bytes as f64;
    running: Gauge "" "Calls that run.", |at| at.running as f64;
    waiting: Gauge "" "Calls that wait for a thread.", |at| at.waiting as f64;
};

const NODE: &[Instrument<nodejs::Metrics>] = instruments! {
    calls: Counter "" "Node.js actions that have begun.", |at| at.calls as f64;
    refused: Counter "" "Node.js actions that found no place.", |at| at.refused as f64;
    processes: Gauge "" "Processes of Node.js, those that sleep included.", |at| at.processes as f64;
    processes_sleeping: Gauge "" "Processes of Node.js that sleep until they are needed again.", |at| at.sleeping as f64;
    processes_started: Counter "" "Processes of Node.js that were started.", |at| at.started as f64;
    processes_replaced: Counter "" "Processes of Node.js that ended because of what they had done: limits, crashes, memory that was not given back.", |at| at.replaced as f64;
};

const FANOUT: &[Instrument<fanout::MetricsSnapshot>] = instruments! {
    sessions: Gauge "" "Clients' sessions that are open.", |at| at.sessions as f64;
    results: Gauge "" "Results of live queries that are kept, each for all sessions that ask the same.", |at| at.copies as f64;
    results_size: Gauge "By" "Roughly what they take in memory.", |at| at.copy_bytes as f64;
    tides: Counter "" "Moments to which at least one session was moved.", |at| at.tides as f64;
    runs: Counter "" "Live queries given to the runners, repetitions not counted.", |at| at.runs as f64;
    run_retries: Counter "" "Live queries given to the runners again, which had refused for no fault of the query.", |at| at.run_retries as f64;
    runs_failed: Counter "" "Live queries without an outcome. A function that throws has one.", |at| at.runs_failed as f64;
    rounds: Counter "" "Transitions sent to sessions.", |at| at.rounds as f64;
    changes: Counter "" "Results, errors and removals sent.", |at| at.changes as f64;
    changes_suppressed: Counter "" "Results that were not sent because the session has an equal one.", |at| at.changes_suppressed as f64;
    sessions_failed: Counter "" "Sessions that an error of the server ended.", |at| at.sessions_failed as f64;
    stream_gaps: Counter "" "Times that all results were dropped because commits were missing from the stream.", |at| at.stream_gaps as f64;
    lag: Gauge "s" "How far the last moment was behind what the log had published.", |at| at.lag_ns as f64 / 1e9;
    wait: Counter "s" "How long sessions waited from becoming due until their transition was sent, added up.", |at| at.wait_us as f64 / 1e6;
};

const SCHEDULER: &[Instrument<scheduler::MetricsSnapshot>] = instruments! {
    running: Gauge "" "Scheduled functions that run, or wait for a thread.", |at| at.running as f64;
    runs: Counter "" "Scheduled functions that have run, those that threw included.", |at| at.runs as f64;
    gone: Counter "" "Scheduled functions that were cancelled, or run by another scheduler, when their turn came.", |at| at.gone as f64;
    postponed: Counter "" "Times that a scheduled function could not be run for no fault of its own, and was put off.", |at| at.postponed as f64;
    results_removed: Counter "" "Results of scheduled functions that were removed because of their age.", |at| at.results_removed as f64;
    streams: Counter "" "Times that the scheduler began to follow the commits of a deployment.", |at| at.streams as f64;
};

const FILES: &[Instrument<files::MetricsSnapshot>] = instruments! {
    uploads: Counter "" "Uploads of files that were begun.", |at| at.uploads_begun as f64;
    uploads_kept: Counter "" "Uploads that have become files.", |at| at.uploads_kept as f64;
    uploads_cut_off: Counter "" "Uploads that were given up: their client went away, or they were refused.", |at| at.uploads_cut_off as f64;
    stored: Counter "By" "Bytes of uploads that were taken.", |at| at.bytes_stored as f64;
    reads: Counter "" "Reads of files and of parts of them.", |at| at.reads as f64;
    read: Counter "By" "Bytes that were read for them.", |at| at.bytes_read as f64;
    objects_swept: Counter "" "Objects without a file that were removed after the grace time.", |at| at.objects_swept as f64;
    sweeps_failed: Counter "" "Sweeps of such objects that came to no end.", |at| at.sweeps_failed as f64;
};

const LOG: &[Instrument<txlog::MetricsSnapshot>] = instruments! {
    commits_undecided: Gauge "" "Commits that are validated and not yet applied.", |at| at.commits_undecided as f64;
    commits_undecided_size: Gauge "By" "What they take in memory.", |at| at.commits_undecided_bytes as f64;
    batches_skipped: Counter "" "Batches of commits that all replicas have passed over, since they did not follow the one before.", |at| at.batches_skipped as f64;
    syncs: Counter "" "Times that the log was made durable, each for all that waited.", |at| at.fsyncs as f64;
    stream_wake_ups: Counter "" "Times that subscribers to the stream of commits were woken.", |at| at.stream_wake_ups as f64;
    stream_size: Gauge "By" "What the newest commits, for subscribers that are behind, take in memory.", |at| at.stream_bytes as f64;
    window_size: Gauge "By" "What the newest writes, which commits are validated against, take in memory.", |at| at.window_bytes as f64;
    entries_size: Gauge "By" "What the newest entries, for apply and replication, take in memory.", |at| at.entry_bytes as f64;
    write_buffers_size: Gauge "By" "What is in no file of the log yet.", |at| at.log_write_buffer_bytes as f64;
};

const STORE: &[Instrument<txlog::MetricsSnapshot>] = instruments! {
    write_buffers_size: Gauge "By" "What is in no file of the store yet, or on its way into one, in memory.", |at| at.store_write_buffer_bytes as f64;
    block_cache_size: Gauge "By" "What blocks of files that were read take in memory.", |at| at.store_block_cache_bytes as f64;
    unflushed_size: Gauge "By" "Changes since the store was flushed, which a restart applies again from the log.", |at| at.store_unflushed_bytes as f64;
    files_size: Gauge "By" "What the files of the store take on the disk.", |at| at.store_file_bytes as f64;
};

/// Whose numbers are served.
pub struct Dependencies {
    pub log: txlog::Handle,
    pub runner: runner::Handle,
    pub fanout: fanout::Handle,
    pub scheduler: scheduler::Handle,
    pub files: files::Handle,
}

/// Serves the numbers.
pub struct Service {
    serving: JoinHandle<()>,
}

impl Service {
    /// Serves on the current runtime until `shutdown`.
    pub fn start(
        listener: TcpListener,
        dependencies: Dependencies,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Service> {
        let exporter = Arc::new(Exporter::of(dependencies)?);
        let metrics = move || {
            let text = exporter.text();
            async move { ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response() }
        };
        let router = Router::new().route("/metrics", get(metrics));
        let serving = tokio::spawn(async move {
            tokio::select! {
                ended = axum::serve(listener, router) => tracing::warn!("serving metrics ended: {ended:?}"),
                // A scrape that is not answered yet holds nobody up.
                () = shutdown.cancelled() => {}
            }
        });
        Ok(Service { serving })
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        if let Err(panic) = self.serving.await {
            std::panic::resume_unwind(panic.into_panic());
        }
    }
}

struct Exporter {
    registry: Registry,
    meter: Meter,
    /// Read anew for each scrape; one scrape goes on at a time, so that all its numbers are of one moment.
    services: Mutex<Vec<Box<dyn Source>>>,
    /// Holds the instruments.
    _provider: SdkMeterProvider,
}

/// What a service counts: how it is read, and what it was when the last scrape began.
struct Numbers<S> {
    read: Box<dyn Fn() -> S + Send + Sync>,
    latest: Mutex<Option<S>>,
}

trait Source: Send + Sync {
    fn refresh(&self);
}

impl<S: Send> Source for Arc<Numbers<S>> {
    fn refresh(&self) {
        let latest = (self.read)();
        *lock(&self.latest) = Some(latest);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exporter {
    fn new() -> anyhow::Result<Exporter> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()
            .context("set up the export of metrics")?;
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let meter = provider.meter("tidemark");
        Ok(Exporter { registry, meter, services: Mutex::default(), _provider: provider })
    }

    fn of(dependencies: Dependencies) -> anyhow::Result<Exporter> {
        let exporter = Exporter::new()?;
        let Dependencies { log, runner, fanout, scheduler, files } = dependencies;
        let node = runner.clone();
        exporter.add(&[("runner", RUNNER)], move || runner.metrics());
        exporter.add(&[("node", NODE)], move || node.node_metrics());
        exporter.add(&[("fanout", FANOUT)], move || fanout.metrics());
        exporter.add(&[("scheduler", SCHEDULER)], move || scheduler.metrics());
        exporter.add(&[("files", FILES)], move || files.metrics());
        exporter.add(&[("log", LOG), ("store", STORE)], move || log.metrics());
        Ok(exporter)
    }

    /// Serves what `read` gives by the names of these tables.
    fn add<S: Send + 'static>(
        &self,
        tables: &[(&str, &'static [Instrument<S>])],
        read: impl Fn() -> S + Send + Sync + 'static,
    ) {
        let numbers = Arc::new(Numbers { read: Box::new(read), latest: Mutex::default() });
        for &(service, instruments) in tables {
            observe(&self.meter, service, instruments, &numbers);
        }
        lock(&self.services).push(Box::new(numbers));
    }

    fn text(&self) -> String {
        let services = lock(&self.services);
        services.iter().for_each(|service| service.refresh());
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("a string takes every text")
    }
}

fn observe<S: Send + 'static>(
    meter: &Meter,
    service: &str,
    instruments: &'static [Instrument<S>],
    numbers: &Arc<Numbers<S>>,
) {
    for instrument in instruments {
        let name = format!("tidemark_{service}_{}", instrument.name);
        let numbers = Arc::clone(numbers);
        let observe = move |observer: &dyn AsyncInstrument<f64>| {
            if let Some(latest) = &*lock(&numbers.latest) {
                observer.observe((instrument.read)(latest), &[]);
            }
        };
        // The meter keeps what is built.
        match instrument.kind {
            Kind::Counter => {
                meter
                    .f64_observable_counter(name)
                    .with_unit(instrument.unit)
                    .with_description(instrument.description)
                    .with_callback(observe)
                    .build();
            }
            Kind::Gauge => {
                meter
                    .f64_observable_gauge(name)
                    .with_unit(instrument.unit)
                    .with_description(instrument.description)
                    .with_callback(observe)
                    .build();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A row of the reference, with the name that Prometheus sees.
    fn row<S>(service: &str, instrument: &Instrument<S>) -> String {
        let unit = match instrument.unit {
            "" => "",
            "s" => "_seconds",
            "By" => "_bytes",
            other => panic!("the unit {other} has no name here"),
        };
        let (suffix, kind) = match instrument.kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
        };
        format!(
            "| `tidemark_{service}_{}{unit}{suffix}` | {kind} | {} |",
            instrument.name, instrument.description
        )
    }

    #[test]
    fn a_scrape_reads_a_service_once() {
        const TABLE: &[Instrument<u64>] = instruments! {
            this: Gauge "" "This.", |at| *at as f64;
            that: Gauge "" "That.", |at| *at as f64;
        };
        let exporter = Exporter::new().expect("nothing is registered twice");
        let reads = AtomicU64::new(0);
        exporter.add(&[("one", TABLE), ("other", TABLE)], move || reads.fetch_add(1, Ordering::Relaxed) + 1);
        for scrape in 1..=2 {
            let text = exporter.text();
            let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            let suffix = format!(" {scrape}");
            assert!(values.len() == 4 && values.iter().all(|value| value.ends_with(&suffix)), "{text}");
        }
    }

    #[test]
    fn the_reference_lists_all_of_them_and_nothing_else() {
        let reference = include_str!("../../../docs/reference/metrics.md");
        let listed: Vec<&str> = reference.lines().filter(|line| line.starts_with("| `tidemark_")).collect();
        let served: Vec<String> = (RUNNER.iter().map(|instrument| row("runner", instrument)))
            .chain(NODE.iter().map(|instrument| row("node", instrument)))
            .chain(FANOUT.iter().map(|instrument| row("fanout", instrument)))
            .chain(SCHEDULER.iter().map(|instrument| row("scheduler", instrument)))
            .chain(FILES.iter().map(|instrument| row("files", instrument)))
            .chain(LOG.iter().map(|instrument| row("log", instrument)))
            .chain(STORE.iter().map(|instrument| row("store", instrument)))
            .collect();
        assert_eq!(listed, served, "the table should be\n{}", served.join("\n"));
    }
}
