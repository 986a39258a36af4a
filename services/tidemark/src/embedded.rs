//! Every service in one process.
//!
//! They are started in the order in which they need each other (blobs, log, sequencer, runner, fan-out, deploy, gateway) and
//! stopped in reverse, each with a token of its own, so that nobody is left calling somebody who has gone.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use contract::{
    BlobStore, Deploy, DeploymentId, DeploymentRef, Fanout, GroupId, Runner, Sequencer, TransactionLog,
};
use gateway::{AdminKeys, Gateway};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use transaction::{CatalogCache, CursorKey};

use crate::{
    configuration::Configuration,
    data_folder::DataFolder,
    ports,
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
    let url = match &configuration.cloud_url {
        Some(url) => url.clone(),
        None => local_url(&api)?,
    };
    let site_url = match &configuration.site_url {
        Some(url) => url.clone(),
        None => local_url(&site)?,
    };
    let admin_keys = AdminKeys::new(folder.secret(), DEPLOYMENT_NAME);
    let admin_key = admin_keys.key();

    let services = Services::start(&configuration, &folder, &url, &site_url).await?;
    let gateway_token = CancellationToken::new();
    let gateway = Gateway::new(
        gateway::Options {
            deployment: gateway::Deployment {
                reference: DEPLOYMENT,
                name: DEPLOYMENT_NAME.to_owned(),
                admin_keys,
                cloud_url: url.clone(),
                site_url: site_url.clone(),
            },
            limits: configuration.limits.of_gateway(),
        },
        services.for_gateway(),
        gateway_token.clone(),
    );
    let serving = gateway.serve(api, site);
    tokio::pin!(serving);

    // The sockets are open and everything behind them runs: from here on whoever calls is answered.
    folder.publish_env(&url, &admin_key).context("write the file env into the data folder")?;
    let data_folder = folder.path();
    screen::print_served(&Served { url: &url, site_url: &site_url, admin_key: &admin_key, data_folder });

    let has_ended = tokio::select! {
        () = &mut serving => true,
        () = signals.next() => false,
    };
    folder.withdraw_env();
    screen::print_stopping();
    let forced = async {
        signals.next().await;
        tracing::warn!("ended at once by a second signal");
        std::process::exit(1);
    };
    let stopping = async {
        gateway_token.cancel();
        if !has_ended {
            serving.await;
        }
        services.stop().await;
    };
    tokio::select! {
        () = stopping => {}
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

/// What stands behind the gateway.
struct Services {
    log_service: txlog::Service,
    log_token: CancellationToken,
    sequencer: Arc<dyn Sequencer>,
    runner: Arc<runner::Runner>,
    session_sweeps: tokio::task::JoinHandle<()>,
    runner_token: CancellationToken,
    fanout: fanout::Service,
    fanout_token: CancellationToken,
    deploy: deploy::Service,
    deploy_token: CancellationToken,
}

impl Services {
    async fn start(
        configuration: &Configuration,
        folder: &DataFolder,
        url: &str,
        site_url: &str,
    ) -> anyhow::Result<Services> {
        let limits = configuration.limits;
        let blobs: Arc<dyn BlobStore> =
            Arc::new(blob::LocalBlobs::open(folder.path().join("blobs")).context("open the blobs")?);

        let log_token = CancellationToken::new();
        let mut log_options = txlog::Options::embedded(folder.path());
        log_options.limits = limits.log;
        log_options.store = limits.store;
        let log_service = txlog::Service::start(log_options, log_token.clone())
            .await
            .context("open the transaction log")?;
        let log: Arc<dyn TransactionLog> = Arc::new(log_service.handle());
        let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer::Batched::new(log.clone()));

        let catalogs = Arc::new(CatalogCache::new(limits.function.catalogs_bytes_max));
        let cursor_key = CursorKey::new(&folder.derive_key("tidemark cursors and journals v1"));
        let runner_token = CancellationToken::new();
        let mut runner_options =
            runner::RunnerOptions::new(limits.of_runner(), url.to_owned(), site_url.to_owned());
        runner_options.deployment_name = DEPLOYMENT_NAME.to_owned();
        runner_options.redact_errors = configuration.redact_logs_to_client;
        let runner_services = runner::Services {
            log: log.clone(),
            sequencer: sequencer.clone(),
            blobs: blobs.clone(),
            catalogs: catalogs.clone(),
            cursor_key: cursor_key.clone(),
        };
        let runner = runner::Runner::start(runner_services, runner_options, runner_token.clone());
        let runner = Arc::new(runner.context("start the runner")?);
        let session_sweeps = tokio::spawn({
            let runner = runner.clone();
            async move { runner.remove_old_session_records(DEPLOYMENT).await }
        });

        let fanout_token = CancellationToken::new();
        let fanout_options = fanout::Options::new(
            limits.fanout,
            Duration::from_millis(limits.function.observed_time_cache_ms_max),
        );
        let fanout_dependencies = fanout::Dependencies { runner: runner.clone(), log: log.clone() };
        let fanout = fanout::Service::start(fanout_options, fanout_dependencies, fanout_token.clone());

        let deploy_token = CancellationToken::new();
        let deploy_options = deploy::Options { limits: limits.of_deploy(), cursor_key };
        let deploy_dependencies = deploy::Dependencies {
            log,
            sequencer: sequencer.clone(),
            runner: runner.clone(),
            blobs,
            catalogs,
        };
        let deploy = deploy::Service::start(deploy_options, deploy_dependencies, deploy_token.clone());
        Ok(Services {
            log_service,
            log_token,
            sequencer,
            runner,
            session_sweeps,
            runner_token,
            fanout,
            fanout_token,
            deploy,
            deploy_token,
        })
    }

    fn for_gateway(&self) -> gateway::Services {
        let runner: Arc<dyn Runner> = self.runner.clone();
        let fanout: Arc<dyn Fanout> = Arc::new(self.fanout.handle());
        let deploy: Arc<dyn Deploy> = Arc::new(self.deploy.handle());
        gateway::Services { runner, fanout, sequencer: self.sequencer.clone(), deploy }
    }

    async fn stop(self) {
        self.deploy_token.cancel();
        self.deploy.stopped().await;
        self.fanout_token.cancel();
        self.fanout.stopped().await;
        self.runner_token.cancel();
        if self.session_sweeps.await.is_err() {
            tracing::error!("removing old session records panicked");
        }
        self.runner.stop().await;
        self.log_token.cancel();
        self.log_service.stopped().await;
    }
}
