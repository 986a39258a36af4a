//! Every service in one process.
//!
//! They are started in the order in which they need each other (blobs, log, sequencer, files, runner, fan-out, scheduler, deploy, gateway) and
//! stopped in reverse, each with a token of its own, so that nobody is left calling somebody who has gone.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use contract::{
    BlobStore, DeploymentId, DeploymentRef, DueRunner, Files, GroupId, ObjectStore, Runner, Schedules,
    Sequencer, TransactionLog,
};
use gateway::{AdminKeys, Listeners};
use system_transaction::SystemTransactions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    configuration::Configuration,
    data_folder::DataFolder,
    metrics, ports,
    process::StopSignals,
    screen::{self, Served},
};

const DEPLOYMENT_NAME: &str = "dev";
/// Group 0 is left to the directory of deployments.
const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

/// Serves until a signal, then stops in order.
pub async fn run(configuration: Configuration) -> anyhow::Result<()> {
    let mut signals = StopSignals::new().context("listen for signals")?;
    let folder = DataFolder::open(&configuration.data_folder)?;
    let api = ports::listen(SocketAddr::new(configuration.host, configuration.port), "--port").await?;
    let site =
        ports::listen(SocketAddr::new(configuration.host, configuration.site_port), "--site-port").await?;
    let metrics = match configuration.metrics_port {
        Some(port) => Some(ports::listen(SocketAddr::new(configuration.host, port), "--metrics-port").await?),
        None => None,
    };
    let metrics_url = match &metrics {
        Some(listener) => Some(format!("{}/metrics", local_url(listener)?)),
        None => None,
    };
    let cloud_url = match &configuration.cloud_url {
        Some(url) => url.clone(),
        None => local_url(&api)?,
    };
    let site_url = match &configuration.site_url {
        Some(url) => url.clone(),
        None => local_url(&site)?,
    };
    let deployment = gateway::Deployment {
        reference: DEPLOYMENT,
        name: DEPLOYMENT_NAME.to_owned(),
        admin_keys: AdminKeys::new(folder.secret(), DEPLOYMENT_NAME),
        cloud_url,
        site_url,
    };
    let admin_key = deployment.admin_keys.key();
    let (url, site_url) = (deployment.cloud_url.clone(), deployment.site_url.clone());
    let parts = start(&configuration, &folder, deployment, Listeners { api, site }, metrics).await?;

    // The sockets are open and everything behind them runs: from here on whoever calls is answered.
    folder
        .publish_env(&url, &admin_key, metrics_url.as_deref())
        .context("write the file env into the data folder")?;
    screen::print_served(&Served {
        url: &url,
        site_url: &site_url,
        admin_key: &admin_key,
        metrics_url: metrics_url.as_deref(),
        data_folder: folder.path(),
    });

    signals.next().await;
    folder.withdraw_env();
    screen::print_stopping();
    let forced = async {
        signals.next().await;
        tracing::warn!("ended at once by a second signal");
        std::process::exit(1);
    };
    tokio::select! {
        () = parts.stop() => {}
        () = forced => {}
    }
    Ok(())
}

/// Clients are on this machine, also where every address is listened on.
fn local_url(listener: &TcpListener) -> anyhow::Result<String> {
    let address = listener.local_addr().context("read the address listened on")?;
    let host = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    Ok(format!("http://{}", SocketAddr::new(host, address.port())))
}

/// What has been started, in that order.
#[derive(Default)]
struct Parts(Vec<Part>);

/// A service that runs.
struct Part {
    token: CancellationToken,
    /// Done when the service has ended, which it does once the token is cancelled.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Parts {
    fn add(&mut self, token: CancellationToken, stopped: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Part { token, stopped: Box::pin(stopped) });
    }

    /// Stops one after the other, the last one first.
    async fn stop(self) {
        for part in self.0.into_iter().rev() {
            part.token.cancel();
            part.stopped.await;
        }
    }
}

/// Starts every service.
async fn start(
    configuration: &Configuration,
    folder: &DataFolder,
    deployment: gateway::Deployment,
    listeners: Listeners,
    metrics: Option<TcpListener>,
) -> anyhow::Result<Parts> {
    let limits = configuration.limits;
    let mut parts = Parts::default();
    let token = CancellationToken::new();
    let blob_service = match &configuration.blobs_url {
        Some(url) => {
            let settings = std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect();
            let options = blob::BucketOptions { url: url.clone(), settings };
            blob::Service::start_in_bucket(options, token.clone())
                .await
                .context("reach the bucket of blobs")?
        }
        None => {
            let options = blob::Options { folder: folder.path().join("blobs") };
            blob::Service::start(options, token.clone()).await.context("open the blobs")?
        }
    };
    let blobs: Arc<dyn BlobStore> = Arc::new(blob_service.handle());
    let objects: Arc<dyn ObjectStore> = Arc::new(blob_service.handle());
    parts.add(token, blob_service.stopped());

    let token = CancellationToken::new();
    let mut options = txlog::Options::embedded(folder.path());
    options.limits = limits.log;
    options.store = limits.store;
    let log_service =
        txlog::Service::start(options, token.clone()).await.context("open the transaction log")?;
    let log_handle = log_service.handle();
    let log: Arc<dyn TransactionLog> = Arc::new(log_handle.clone());
    parts.add(token, log_service.stopped());

    let token = CancellationToken::new();
    let dependencies = sequencer::Dependencies { log: log.clone() };
    let sequencer_service = sequencer::Service::start(dependencies, token.clone());
    let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer_service.handle());
    parts.add(token, sequencer_service.stopped());

    let transactions = SystemTransactions::new(
        log.clone(),
        sequencer.clone(),
        limits.function.catalogs_bytes_max,
        &folder.derive_key("tidemark cursors and journals v1"),
        limits.of_transactions(),
    );

    let http = egress::Client::new(configuration.egress.clone(), limits.egress);

    let token = CancellationToken::new();
    let options = files::Options { limits: limits.files, swept: vec![deployment.reference] };
    let dependencies = files::Dependencies { transactions: transactions.clone(), objects };
    let files_service = files::Service::start(options, dependencies, token.clone());
    let files_handle = files_service.handle();
    let files: Arc<dyn Files> = Arc::new(files_handle.clone());
    parts.add(token, files_service.stopped());

    let token = CancellationToken::new();
    let mut options =
        runner::Options::new(limits.of_runner(), deployment.cloud_url.clone(), deployment.site_url.clone());
    options.deployment_name = deployment.name.clone();
    options.swept = vec![deployment.reference];
    options.redact_errors = configuration.redact_logs_to_client;
    options.native_values = configuration.native_values;
    options.nodejs =
        Some(nodejs::Options { folder: folder.path().join("node"), ..configuration.node.clone() });
    let clock = runner::Clock::new(SystemTime::now);
    let dependencies = runner::Dependencies {
        transactions: transactions.clone(),
        blobs: blobs.clone(),
        files: files.clone(),
        http: http.clone(),
        clock,
    };
    let runner_service =
        runner::Service::start(options, dependencies, token.clone()).context("start the runner")?;
    let runner_handle = runner_service.handle();
    let runner: Arc<dyn Runner> = Arc::new(runner_handle.clone());
    let due_runner: Arc<dyn DueRunner> = Arc::new(runner_handle.clone());
    parts.add(token, runner_service.stopped());

    let token = CancellationToken::new();
    let observed_time_max = Duration::from_millis(limits.function.observed_time_cache_ms_max);
    let options = fanout::Options::new(limits.fanout, observed_time_max);
    let dependencies = fanout::Dependencies { runner: runner.clone(), log };
    let fanout_service = fanout::Service::start(options, dependencies, token.clone());
    let fanout = fanout_service.handle();
    parts.add(token, fanout_service.stopped());

    let token = CancellationToken::new();
    let options = scheduler::Options { limits: limits.schedule, deployments: vec![deployment.reference] };
    let clock = Arc::new(scheduler::WallClock::new(SystemTime::now));
    let dependencies =
        scheduler::Dependencies { runner: due_runner, transactions: transactions.clone(), clock };
    let scheduler_service = scheduler::Service::start(options, dependencies, token.clone());
    let scheduler = scheduler_service.handle();
    let schedules: Arc<dyn Schedules> = Arc::new(scheduler.clone());
    parts.add(token, scheduler_service.stopped());

    if let Some(listener) = metrics {
        let token = CancellationToken::new();
        let dependencies = metrics::Dependencies {
            log: log_handle,
            runner: runner_handle,
            fanout: fanout.clone(),
            scheduler,
            files: files_handle,
        };
        let service = metrics::Service::start(listener, dependencies, token.clone())?;
        parts.add(token, service.stopped());
    }

    let token = CancellationToken::new();
    let options = deploy::Options { limits: limits.of_deploy() };
    let dependencies = deploy::Dependencies { transactions, runner: runner.clone(), blobs };
    let deploy_service = deploy::Service::start(options, dependencies, token.clone());
    let deploy = Arc::new(deploy_service.handle());
    parts.add(token, deploy_service.stopped());

    let token = CancellationToken::new();
    let options = gateway::Options { deployment, limits: limits.of_gateway() };
    let services =
        gateway::Services { runner, fanout: Arc::new(fanout), sequencer, deploy, files, schedules };
    let dependencies = gateway::Dependencies { services, http, listeners };
    parts.add(token.clone(), gateway::Service::start(options, dependencies, token).stopped());
    Ok(parts)
}
