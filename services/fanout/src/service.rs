//! The service: how it starts and stops, and its contract, which finds the deployment of a session and begins it if it is
//! the first.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::limits::FanoutLimits;
use async_trait::async_trait;
use contract::{
    DeploymentRef, Deployments, Error, Fanout, FanoutSession, Result, Runner, Sequencer, SessionStart,
    TransactionLog,
};
use fair_queue::{Place, Places, Shares, share_of};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::{
    deployment::{Deployment, Opening},
    feed::Feed,
    memory::Memory,
    metrics::{Metrics, MetricsSnapshot},
    newest::Newest,
    run::{RetryOptions, Runs},
    tides::{TideOptions, Tides},
};

/// How a fan-out service is set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What sessions and runs are held to.
    pub limits: FanoutLimits,
    /// How long results that depend on the clock are given to others.
    pub observed_time_max: Duration,
    /// Queries that the runners are given at the same time.
    pub runs_in_flight_max: usize,
}

impl Options {
    /// `observed_time_max`: how long results that depend on the clock are given to others.
    pub fn new(fanout: FanoutLimits, observed_time_max: Duration) -> Options {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let runs_in_flight_max = match fanout.runs_in_flight_max {
            0 => 4 * cores,
            runs => runs,
        };
        Options { limits: fanout, observed_time_max, runs_in_flight_max }
    }
}

/// What live queries are made of.
#[derive(Clone)]
pub struct Dependencies {
    pub runner: Arc<dyn Runner>,
    pub log: Arc<dyn TransactionLog>,
    pub sequencer: Arc<dyn Sequencer>,
    /// How much of what they share each deployment may have.
    pub deployments: watch::Receiver<Arc<Deployments>>,
}

/// The fan-out service of one process. It owns the tasks that keep the deployments' queries up to date.
pub struct Service {
    handle: Handle,
}

/// The way to the service. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    dependencies: Dependencies,
    deployments: Mutex<HashMap<DeploymentRef, mpsc::Sender<Opening>>>,
    session_places: Places,
    run_places: Places,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Holds a session's place as long as it lives, and counts it.
pub(crate) struct SessionPlace {
    // The first to go: what is counted no more has no place.
    _place: Place,
    _counted: CountedSession,
}

struct CountedSession(Arc<Metrics>);

impl Service {
    /// Runs on the current runtime until `shutdown`; then every session ends.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let limits = &options.limits;
        let share_percent = limits.deployment_share_percent;
        let shares = Shares::of(dependencies.deployments.clone());
        let shared_by_deployments =
            |places| Places::shared(places, share_of(places, share_percent), shares.clone());
        let shared = Shared {
            session_places: shared_by_deployments(limits.sessions_max),
            run_places: shared_by_deployments(options.runs_in_flight_max),
            memory: Memory::new(limits.result_bytes_max, limits.unlistened_bytes_max, share_percent),
            options,
            dependencies,
            deployments: Mutex::default(),
            metrics: Arc::default(),
            tasks: TaskTracker::new(),
            shutdown,
        };
        Service { handle: Handle { shared: Arc::new(shared) } }
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        let shared = &self.handle.shared;
        shared.shutdown.cancelled().await;
        shared.tasks.close();
        shared.tasks.wait().await;
    }
}

impl Handle {
    /// The counters by now.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.metrics.snapshot()
    }

    /// How much of its limits is used.
    pub fn limits_used(&self) -> [limits::Use; 3] {
        let Shared { session_places, run_places, memory, .. } = &*self.shared;
        let places = |limit, (used, max)| limits::Use::of(limit, used, max);
        [
            places("fanout.sessions_max", session_places.load()),
            places("fanout.runs_in_flight_max", run_places.load()),
            places("fanout.result_bytes_max", memory.load_bytes()),
        ]
    }
}

#[async_trait]
impl Fanout for Handle {
    async fn open(&self, start: SessionStart) -> Result<FanoutSession> {
        let full = |message: &str| Error::overloaded("SubscriptionsWorkerFullError", message);
        if self.shared.shutdown.is_cancelled() {
            return Err(Error::overloaded("ShuttingDown", "The server is shutting down."));
        }
        let place = (self.shared.session_places.try_take(start.deployment, 1))
            .ok_or_else(|| full("This server has as many clients as it may."))?;
        let limits = &self.shared.options.limits;
        let (commands, incoming) = mpsc::channel(limits.session_commands_max);
        let (outgoing, rounds) = mpsc::channel(limits.transitions_unsent_max + 1);
        let deployment = start.deployment;
        let place = SessionPlace::new(place, self.shared.metrics.clone());
        let opening = Opening { start, commands: incoming, rounds: outgoing, place };
        let mut deployments = self.shared.deployments.lock();
        let openings = match deployments.get(&deployment) {
            Some(openings) => openings.clone(),
            None => {
                let openings = Shared::begin(&self.shared, deployment)?;
                deployments.insert(deployment, openings.clone());
                openings
            }
        };
        openings.try_send(opening).map_err(|_| full("Too many clients want to begin at the same time."))?;
        Ok(FanoutSession { commands, rounds })
    }
}

impl Shared {
    fn begin(shared: &Arc<Shared>, deployment: DeploymentRef) -> Result<mpsc::Sender<Opening>> {
        let limits = &shared.options.limits;
        let milliseconds = Duration::from_millis;
        let position = shared.dependencies.log.position(deployment.group)?;
        let (openings, incoming) = mpsc::channel(limits.openings_waiting_max);
        let (feed_events, events) = mpsc::channel(limits.stream_events_waiting_max);
        let feed = Feed {
            log: shared.dependencies.log.clone(),
            deployment,
            silence_max: milliseconds(limits.stream_silence_ms_max),
            retry_pause: milliseconds(limits.stream_retry_ms),
        };
        let tides = Tides::new(
            TideOptions {
                pause: milliseconds(limits.tide_ms_min),
                timestamp_wait_max: milliseconds(limits.timestamp_wait_ms_max),
                stream_silence_max: milliseconds(limits.stream_silence_ms_max),
                observed_time_max: shared.options.observed_time_max,
                session_queries_max: limits.session_queries_max,
                recent_commit_bytes_max: limits.recent_commit_bytes_max,
            },
            shared.memory.open(),
            shared.metrics.clone(),
        );
        let retry = RetryOptions {
            pause_min: milliseconds(limits.query_retry_ms_min),
            pause_max: milliseconds(limits.query_retry_ms_max),
            give_up_after: milliseconds(limits.query_give_up_ms_max),
        };
        let runs = Runs {
            deployment,
            runner: shared.dependencies.runner.clone(),
            places: shared.run_places.clone(),
            retry,
            metrics: shared.metrics.clone(),
        };
        let newest = Newest {
            sequencer: shared.dependencies.sequencer.clone(),
            group: deployment.group,
            retry: RetryOptions { give_up_after: milliseconds(limits.timestamp_wait_ms_max), ..retry },
        };
        let loop_of_deployment = Deployment {
            tides,
            runs: Arc::new(runs),
            openings: incoming,
            events,
            position,
            newest: Arc::new(newest),
            shutdown: shared.shutdown.clone(),
            events_taken_max: limits.events_taken_max,
            idle_max: milliseconds(limits.deployment_idle_ms_max),
        };
        let span = tracing::error_span!("live_queries", %deployment);
        let owner = shared.clone();
        let keeping = async move {
            loop_of_deployment.run(|openings| owner.give_up(deployment, openings)).await;
        };
        shared.tasks.spawn(keeping.instrument(span.clone()));
        let shutdown = shared.shutdown.clone();
        let following = async move { shutdown.run_until_cancelled(feed.run(feed_events)).await };
        shared.tasks.spawn(following.instrument(span));
        Ok(openings)
    }

    /// Forgets a deployment, unless a session has come to it meanwhile.
    fn give_up(&self, deployment: DeploymentRef, openings: &mpsc::Receiver<Opening>) -> bool {
        let mut deployments = self.deployments.lock();
        let unused = openings.is_empty();
        if unused {
            deployments.remove(&deployment);
        }
        unused
    }
}

impl SessionPlace {
    fn new(place: Place, metrics: Arc<Metrics>) -> SessionPlace {
        metrics.sessions.fetch_add(1, Ordering::Relaxed);
        SessionPlace { _place: place, _counted: CountedSession(metrics) }
    }
}

impl Drop for CountedSession {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
