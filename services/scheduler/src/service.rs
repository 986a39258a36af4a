//! The service: how it is set up, starts and stops.

use std::sync::Arc;

use contract::{Deployments, DueRunner};
use deployment_tasks::for_each_deployment;
use fair_queue::{Places, Shares, share_of};
use system_transaction::SystemTransactions;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::{
    clock::Clock,
    deployment::Deployment,
    limits::ScheduleLimits,
    metrics::{Metrics, MetricsSnapshot},
    upkeep,
};

/// How a scheduler is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is held to.
    pub limits: ScheduleLimits,
    /// Whose queues it looks after.
    pub deployments: watch::Receiver<Arc<Deployments>>,
}

/// What the scheduler works with.
#[derive(Clone)]
pub struct Dependencies {
    /// Runs what is due.
    pub runner: Arc<dyn DueRunner>,
    /// The log with the queues, and what transactions on it share with those of others in the process.
    pub transactions: SystemTransactions,
    /// Says when something is due.
    pub clock: Arc<dyn Clock>,
}

/// The scheduler of one process. It owns a task for each deployment's queue.
pub struct Service {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What others may ask of a scheduler. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Shared>);

impl Handle {
    /// The counters by now.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.0.metrics.snapshot(self.0.clock.now_ms())
    }

    /// How much of its limits is used.
    pub fn limits_used(&self) -> [limits::Use; 1] {
        let (used, max) = self.0.places.load();
        [limits::Use::of("schedule.runs_max", used, max)]
    }
}

/// What the tasks share.
pub(crate) struct Shared {
    pub limits: ScheduleLimits,
    pub runner: Arc<dyn DueRunner>,
    pub transactions: SystemTransactions,
    pub clock: Arc<dyn Clock>,
    pub places: Places,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
}

impl Service {
    /// Runs on the current runtime. Once `shutdown` is cancelled, nothing is begun any more.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let Options { limits, deployments } = options;
        let Dependencies { runner, transactions, clock } = dependencies;
        let shared = Arc::new(Shared {
            places: Places::shared(
                limits.runs_max,
                share_of(limits.runs_max, limits.deployment_share_percent),
                Shares::of(deployments.clone()),
            ),
            limits,
            runner,
            transactions,
            clock,
            metrics: Metrics::default(),
            shutdown,
        });
        let tasks = TaskTracker::new();
        let keeping = shared.clone();
        let keepers = for_each_deployment(deployments, shared.shutdown.clone(), move |deployment, token| {
            let (shared, deployment) = (keeping.clone(), deployment.reference);
            let span = tracing::error_span!("schedules", %deployment);
            let queue = Deployment::new(shared.clone(), deployment, token.clone()).run();
            let sweeps = async move {
                let sweeps = upkeep::remove_old_results(&shared, deployment);
                token.run_until_cancelled(sweeps).await;
            };
            async move {
                tokio::join!(queue, sweeps);
            }
            .instrument(span)
        });
        tasks.spawn(keepers);
        Service { shared, tasks }
    }

    /// For others in the process.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Waits for the end that cancelling the token brings about: what runs comes to its end.
    pub async fn stopped(self) {
        self.shared.shutdown.cancelled().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}
