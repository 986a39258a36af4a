//! The service: finds the deployment of a session, and begins it if it is the first.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::limits::FanoutLimits;
use async_trait::async_trait;
use contract::{DeploymentRef, Error, Fanout, FanoutSession, Result, Runner, SessionStart, TransactionLog};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    deployment::{Deployment, Opening},
    feed::Feed,
    metrics::{Metrics, MetricsSnapshot},
    run::{RetryOptions, Runs},
    tides::{TideOptions, Tides},
};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub limits: FanoutLimits,
    /// How long results that depend on the clock are given to others.
    pub observed_time_max: Duration,
    /// Queries that run at the same time.
    pub runs_in_flight_max: usize,
}

impl Options {
    /// `observed_time_max`: how long results that depend on the clock are given to others.
    pub fn new(fanout: FanoutLimits, observed_time_max: Duration) -> Options {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let runs_in_flight_max = match fanout.runs_in_flight_max {
            0 => 2 * cores,
            runs => runs,
        };
        Options { limits: fanout, observed_time_max, runs_in_flight_max }
    }
}

/// The fan-out service of one process. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    runner: Arc<dyn Runner>,
    log: Arc<dyn TransactionLog>,
    deployments: Mutex<HashMap<DeploymentRef, mpsc::Sender<Opening>>>,
    session_places: Arc<Semaphore>,
    run_places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Counts a session as long as it lives.
pub(crate) struct SessionPlace {
    _permit: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
}

impl Service {
    /// Runs on the current runtime until `shutdown`; then every session ends.
    pub fn start(
        options: Options,
        runner: Arc<dyn Runner>,
        log: Arc<dyn TransactionLog>,
        shutdown: CancellationToken,
    ) -> Service {
        Service {
            shared: Arc::new(Shared {
                session_places: Arc::new(Semaphore::new(options.limits.sessions_max)),
                run_places: Arc::new(Semaphore::new(options.runs_in_flight_max)),
                options,
                runner,
                log,
                deployments: Mutex::default(),
                metrics: Arc::default(),
                tasks: TaskTracker::new(),
                shutdown,
            }),
        }
    }

    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.metrics.snapshot()
    }

    /// Waits until everything has ended after `shutdown`.
    pub async fn stopped(&self) {
        self.shared.shutdown.cancelled().await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

#[async_trait]
impl Fanout for Service {
    async fn open(&self, start: SessionStart) -> Result<FanoutSession> {
        let full = |message: &str| Error::overloaded("SubscriptionsWorkerFullError", message);
        if self.shared.shutdown.is_cancelled() {
            return Err(Error::overloaded("ShuttingDown", "The server is shutting down."));
        }
        let permit = (self.shared.session_places.clone().try_acquire_owned())
            .map_err(|_| full("This server has as many clients as it may."))?;
        let limits = &self.shared.options.limits;
        let (commands, incoming) = mpsc::channel(limits.session_commands_max);
        let (outgoing, rounds) = mpsc::channel(limits.transitions_unsent_max + 1);
        let deployment = start.deployment;
        let place = SessionPlace::new(permit, self.shared.metrics.clone());
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
        let position = shared.log.position(deployment.group)?;
        let (openings, incoming) = mpsc::channel(limits.openings_waiting_max);
        let (feed_events, events) = mpsc::channel(limits.stream_events_waiting_max);
        let feed = Feed {
            log: shared.log.clone(),
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
                result_bytes_max: limits.result_bytes_max,
                idle_bytes_max: limits.unlistened_bytes_max,
                recent_commit_bytes_max: limits.recent_commit_bytes_max,
            },
            shared.metrics.clone(),
        );
        let runs = Runs {
            deployment,
            runner: shared.runner.clone(),
            places: shared.run_places.clone(),
            retry: RetryOptions {
                pause_min: milliseconds(limits.query_retry_ms_min),
                pause_max: milliseconds(limits.query_retry_ms_max),
                give_up_after: milliseconds(limits.query_give_up_ms_max),
            },
            metrics: shared.metrics.clone(),
        };
        let loop_of_deployment = Deployment {
            tides,
            runs: Arc::new(runs),
            openings: incoming,
            events,
            position,
            shutdown: shared.shutdown.clone(),
            events_taken_max: limits.events_taken_max,
            idle_max: milliseconds(limits.deployment_idle_ms_max),
        };
        let owner = shared.clone();
        shared.tasks.spawn(async move {
            loop_of_deployment.run(|openings| owner.give_up(deployment, openings)).await;
        });
        let shutdown = shared.shutdown.clone();
        shared.tasks.spawn(async move { shutdown.run_until_cancelled(feed.run(feed_events)).await });
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
    fn new(permit: OwnedSemaphorePermit, metrics: Arc<Metrics>) -> SessionPlace {
        metrics.sessions.fetch_add(1, Ordering::Relaxed);
        SessionPlace { _permit: permit, metrics }
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.metrics.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
