//! The services of one process: all of them for `tidemark dev`, and those of its node for `tidemark serve`.
//!
//! They are started in the order in which they need each other (log, sequencer, blobs, directory, files, search, runner, fan-out, scheduler, deploy,
//! archive, gateway) and stopped in reverse, each with a token of its own, so that nobody is left calling somebody who has gone. What other nodes call stops
//! just before the log, once it has handed over its lead.
//!
//! Which deployments there are, the services learn from the directory, whenever they come and go. It is opened while other nodes can call this one already,
//! since its group may need them for a leader; only then is this process called for more than its log, and are clients answered.

use std::{
    io::{self, IsTerminal as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use contract::{
    Archives, BlobStore, Deploy, DeploymentId, DeploymentKind, DeploymentRef, Deployments, Directory,
    DueRunner, Fanout, Files, GroupId, ObjectStore, Runner, Schedules, Search, TransactionLog,
};
use directory::DefaultDeployment;
use gateway::Listeners;
use mtls::{AllowRoles, EdgeTls, Role, Roles};
use proto::admin::v1::admin_server::AdminServer;
use rpc::{
    BlobServer, DeployServer, DueRunnerServer, FanoutServer, FilesServer, RunnerServer, SchedulesServer,
    SearchServer, TransactionLogServer,
};
use system_transaction::SystemTransactions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, interceptor::InterceptedService};

use crate::{
    admin::Admin,
    configuration::Configuration,
    data_folder::{DataFolder, Env},
    health::Health,
    metrics::{Expiry, Machine, Metrics},
    monitoring::{self, Monitored},
    node::{Calls, Node},
    parts::Parts,
    ports,
    process::{self, StopSignals},
    refusal::Refusal,
    replicas::KEEPS_LOG,
    screen::{self, Served},
    stores,
};

const DEPLOYMENT_NAME: &str = "dev";
/// What keys of projects call this server.
const TEAM: &str = "tidemark";
/// Group 0 is the directory's.
const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
/// Everybody: the directory is read there, and a gateway writes it.
const READS_LOG: Roles = Roles::ALL;
/// Who leads a group deletes what was in its deployments; gateways export and import.
const USES_BLOBS: Roles = Roles::of(&[Role::Runner, Role::Deploy, Role::Blob, Role::Txlog, Role::Gateway]);
const USES_FILES: Roles = Roles::of(&[Role::Gateway, Role::Runner]);
const CALLS_FUNCTIONS: Roles = Roles::of(&[Role::Gateway, Role::Fanout, Role::Deploy]);
/// Gateways import, and wait for the indexes of what they have filled.
const SEARCHES: Roles = Roles::of(&[Role::Runner, Role::Deploy, Role::Gateway]);
const GATEWAY: Roles = Roles::of(&[Role::Gateway]);
/// Who may ask how the cluster does.
const ASKS: Roles = Roles::ALL.with(Roles::of(&[Role::Operator]));

/// The services that take requests for a role, as `/readyz` names them.
fn services_of(roles: Roles) -> Vec<&'static str> {
    const SERVICES: [(Role, &[&str]); 8] = [
        (Role::Txlog, &["txlog", "sequencer"]),
        (Role::Blob, &["blob", "files"]),
        (Role::Runner, &["runner"]),
        (Role::Fanout, &["fanout"]),
        (Role::Scheduler, &["scheduler"]),
        (Role::Search, &["search"]),
        (Role::Deploy, &["deploy"]),
        (Role::Gateway, &["gateway"]),
    ];
    SERVICES
        .iter()
        .filter(|(role, _)| roles.has(*role))
        .flat_map(|(_, services)| *services)
        .copied()
        .collect()
}

/// Serves until a signal, then stops in order.
pub async fn run(mut configuration: Configuration) -> anyhow::Result<()> {
    let mut signals = StopSignals::new().context("listen for signals")?;
    let mut folder = DataFolder::open(&configuration.data_folder)?;
    let limits = configuration.limits;
    let node = match configuration.cluster.take() {
        Some(cluster) => {
            let calls = Calls::new(&cluster, limits.rpc, limits.tls)?;
            Some(Node::prepare(cluster, configuration.host, &mut folder, calls).await?)
        }
        None => None,
    };
    let tls = match &configuration.edge_tls {
        Some(files) => Some(EdgeTls::load(files, &limits.tls).map_err(Refusal::Tls)?),
        None => None,
    };
    let roles = node.as_ref().map_or(Roles::ALL, |node| node.cluster.roles);
    // What a server for others prints is kept, and read by many.
    let shows_key = node.is_none() || io::stdout().is_terminal();
    let if_asked = async |port: Option<u16>, flag| match port {
        Some(port) => ports::listen(SocketAddr::new(configuration.host, port), flag).await.map(Some),
        None => Ok(None),
    };
    let listeners = match roles.has(Role::Gateway) {
        true => {
            let api = SocketAddr::new(configuration.host, configuration.port);
            let site = SocketAddr::new(configuration.host, configuration.site_port);
            let (api, site) =
                (ports::listen(api, "--port").await?, ports::listen(site, "--site-port").await?);
            let grpc = if_asked(configuration.grpc_port, "--grpc-port").await?;
            Some(Listeners { api, site, grpc, tls })
        }
        false => None,
    };
    let metrics = if_asked(configuration.metrics_port, "--metrics-port").await?;
    let metrics_url = match &metrics {
        Some(listener) => Some(format!("{}/metrics", local_url("http", listener)?)),
        None => None,
    };
    let scheme =
        if listeners.as_ref().is_some_and(|listeners| listeners.tls.is_some()) { "https" } else { "http" };
    let grpc_url = listeners.as_ref().and_then(|listeners| listeners.grpc.as_ref());
    let grpc_url = grpc_url.map(|listener| local_url(scheme, listener)).transpose()?;
    // The certificate that is shown to clients names another host.
    let local = listeners.as_ref().filter(|listeners| listeners.tls.is_none());
    let local_url_of_api = local.map(|listeners| local_url(scheme, &listeners.api)).transpose()?;
    let url_of = |configured: &Option<String>, listener: fn(&Listeners) -> &TcpListener| match (
        configured, &listeners,
    ) {
        (Some(url), _) => Ok(url.clone()),
        (None, Some(listeners)) => local_url(scheme, listener(listeners)),
        // No function runs here that would see it.
        (None, None) => Ok(String::new()),
    };
    let cloud_url = url_of(&configuration.cloud_url, |listeners| &listeners.api)?;
    let site_url = url_of(&configuration.site_url, |listeners| &listeners.site)?;
    let default = DefaultDeployment {
        name: DEPLOYMENT_NAME.to_owned(),
        reference: DEPLOYMENT,
        kind: DeploymentKind::Development,
        cloud_url: cloud_url.clone(),
        site_url: site_url.clone(),
        // So that it has the key that it had before there was a directory.
        secret: *folder.secret(),
    };
    let (parts, directory) = {
        let mut starting = pin!(start(&configuration, &folder, node, default, listeners, metrics));
        tokio::select! {
            started = &mut starting => started?,
            // While a node starts, or waits for the others, nothing is served that would have to end in order. Nor can it end otherwise
            // than as if it were killed: what has started would lose what it stands on, and complain.
            () = signals.next() => process::end(0),
        }
    };

    let admin_key = {
        let deployments = directory.deployments();
        let deployments = deployments.borrow();
        let default = deployments.default_entry().context("the directory has no default deployment")?;
        default.admin_key.0.clone()
    };
    drop(directory);
    let url = cloud_url;

    // The sockets are open and everything behind them runs: from here on whoever calls is answered.
    if roles.has(Role::Gateway) {
        let env = Env {
            url: &url,
            admin_key: &admin_key,
            local_url: local_url_of_api.as_deref(),
            grpc_url: grpc_url.as_deref(),
            metrics_url: metrics_url.as_deref(),
        };
        folder.publish_env(&env).context("write the file env into the data folder")?;
        screen::print_served(&Served {
            url: &url,
            site_url: &site_url,
            admin_key: shows_key.then_some(&*admin_key),
            grpc_url: grpc_url.as_deref(),
            metrics_url: metrics_url.as_deref(),
            data_folder: folder.path(),
        });
    } else {
        screen::print(&format!("\n  Tidemark runs here as {roles}. Ctrl-C stops it.\n"));
    }

    signals.next().await;
    folder.withdraw_env();
    screen::print_stopping();
    let forced = async {
        signals.next().await;
        tracing::warn!("ended at once by a second signal");
        process::end(1);
    };
    tokio::select! {
        all_ended = parts.stop(Duration::from_millis(limits.health.stop_ms_max)) => {
            if !all_ended {
                // As if it were killed, then: what was acknowledged is in the log.
                tracing::warn!("some services had not ended when the time for stopping was over");
                process::end(0);
            }
        }
        () = forced => {}
    }
    Ok(())
}

/// Clients are on this machine, also where every address is listened on.
fn local_url(scheme: &str, listener: &TcpListener) -> anyhow::Result<String> {
    let address = listener.local_addr().context("read the address listened on")?;
    let host = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    Ok(format!("{scheme}://{}", SocketAddr::new(host, address.port())))
}

/// Starts the services of this process. Returns once all of them take calls.
async fn start(
    configuration: &Configuration,
    folder: &DataFolder,
    node: Option<Node>,
    default: DefaultDeployment,
    listeners: Option<Listeners>,
    monitoring_port: Option<TcpListener>,
) -> anyhow::Result<(Parts, Arc<dyn Directory>)> {
    let limits = configuration.limits;
    let roles = node.as_ref().map_or(Roles::ALL, |node| node.cluster.roles);
    let mut parts = Parts::default();
    let health = Health::new(&services_of(roles), limits.health);
    let metrics = Metrics::default();
    let machine = Machine {
        data_folder: folder.path().to_owned(),
        certificates: certificates(listeners.as_ref(), node.as_ref()),
        started: SystemTime::now(),
    };
    metrics.process(machine, health.clone());
    if let Some(listener) = monitoring_port {
        let token = CancellationToken::new();
        let monitored = Monitored { metrics: metrics.clone(), health: health.clone() };
        let service = monitoring::Service::start(listener, monitored, limits.monitoring, token.clone())?;
        parts.add(token, service.stopped());
    }
    let mut routes = Routes::builder();
    let others = match &node {
        Some(node) if roles != Roles::ALL => Some(node.others(&mut parts)),
        _ => None,
    };
    let elsewhere = || others.as_ref().expect("a process without some role is a node among others");

    let bottom = parts.below();
    let own_log = match roles.has(Role::Txlog) {
        true => Some(stores::start_own_log(folder, node.as_ref(), &limits).await?),
        false => None,
    };
    let log_handle = own_log.as_ref().map(|own| own.service.handle());
    let own_node = own_log.as_ref().map(|own| own.node);
    let mut above_log = Parts::default();
    let log = match (&node, &own_log) {
        (Some(node), own) => {
            stores::routed_log(&mut above_log, own.as_ref(), node, others.as_ref(), &limits)?
        }
        (None, Some(own)) => stores::own_log(&mut above_log, own),
        (None, None) => unreachable!("a process that is all there is has every role"),
    };
    if let Some(own) = own_log {
        let of_others: Arc<dyn TransactionLog> = Arc::new(own.service.handle());
        routes
            .add_service(InterceptedService::new(own.service.raft_service(), AllowRoles::of(KEEPS_LOG)))
            .add_service(InterceptedService::new(
                TransactionLogServer::service(of_others, limits.rpc),
                AllowRoles::of(READS_LOG),
            ));
        let handle = own.service.handle();
        metrics.log(handle.clone());
        let without_leader = handle.clone();
        health.check("txlog", move || without_leader.without_leader().first().map(no_leader));
        health.watch("log: a write has been on its way to the disk", move || handle.stalled());
        health.started("txlog", own.token.clone());
        health.started("sequencer", own.token.clone());
        parts.add(own.token, own.service.stopped());
    }
    parts.append(above_log);
    let sequencer = log.sequencer.clone();
    let transactions = SystemTransactions::new(
        log.log.clone(),
        sequencer.clone(),
        limits.function.catalogs_bytes_max,
        &folder.derive_key("tidemark cursors and journals v1"),
        limits.of_transactions(),
    );
    let http = egress::Client::new(configuration.egress.clone(), limits.egress);

    let blobs: Arc<dyn BlobStore>;
    let objects: Arc<dyn ObjectStore>;
    if roles.has(Role::Blob) {
        let token = CancellationToken::new();
        let service = stores::start_blobs(configuration, folder, node.as_ref(), token.clone()).await?;
        blobs = Arc::new(service.handle());
        objects = Arc::new(service.handle());
        metrics.blob(service.handle());
        health.started("blob", token.clone());
        parts.add(token, service.stopped());
        routes.add_service(InterceptedService::new(
            BlobServer::service(blobs.clone(), objects.clone(), limits.rpc),
            AllowRoles::of(USES_BLOBS),
        ));
    } else {
        let of_others = elsewhere().blobs();
        blobs = of_others.clone();
        objects = of_others;
    }

    let token = CancellationToken::new();
    let options = directory::Options {
        limits: limits.directory,
        secret: *folder.secret(),
        urls: configuration.deployment_urls(&default.cloud_url, &default.site_url),
        hosts: configuration.deployment_hosts.clone(),
        default,
        groups: vec![DEPLOYMENT.group],
        team: TEAM.to_owned(),
    };
    let log_here = log_handle.clone();
    let dependencies = directory::Dependencies {
        transactions: transactions.clone(),
        objects: objects.clone(),
        clock: directory::Clock::new(SystemTime::now),
        node: own_node,
        before_shown: Arc::new(move |deployments: &Deployments| {
            if let Some(log) = &log_here {
                log.serve(deployments.kept().iter().copied());
            }
        }),
    };
    let service = directory::Service::new(options, dependencies, token.clone());
    let directory_handle = service.handle();
    let directory: Arc<dyn Directory> = Arc::new(service.handle());
    parts.add(token, service.stopped());

    let files: Arc<dyn Files>;
    if roles.has(Role::Blob) {
        let token = CancellationToken::new();
        let options = files::Options { limits: limits.files, swept: directory.deployments() };
        let dependencies =
            files::Dependencies { transactions: transactions.clone(), objects: objects.clone() };
        let service = files::Service::start(options, dependencies, token.clone());
        files = Arc::new(service.handle());
        metrics.files(service.handle());
        health.started("files", token.clone());
        parts.add(token, service.stopped());
        let service = FilesServer::service(files.clone(), limits.rpc);
        routes.add_service(InterceptedService::new(service, AllowRoles::of(USES_FILES)));
    } else {
        files = elsewhere().files();
    }

    let search: Arc<dyn Search>;
    if roles.has(Role::Search) {
        let token = CancellationToken::new();
        let options = search::Options {
            limits: limits.search,
            deployments: directory.deployments(),
            folder: folder.path().join("search"),
        };
        let dependencies = search::Dependencies { transactions: transactions.clone() };
        let service = search::Service::start(options, dependencies, token.clone());
        search = Arc::new(service.handle());
        metrics.search(service.handle());
        health.started("search", token.clone());
        // Others answer searches meanwhile; but who has clients of its own takes their other requests.
        if !roles.has(Role::Gateway) {
            let handle = service.handle();
            health.check("search", move || handle.why_not_ready());
        }
        parts.add(token, service.stopped());
        let service = SearchServer::service(search.clone(), limits.rpc);
        routes.add_service(InterceptedService::new(service, AllowRoles::of(SEARCHES)));
    } else {
        search = elsewhere().search();
    }

    let runner: Arc<dyn Runner>;
    let due_runner: Arc<dyn DueRunner>;
    if roles.has(Role::Runner) {
        let token = CancellationToken::new();
        let mut options = runner::Options::new(limits.of_runner(), directory.deployments());
        options.swept = directory.deployments();
        options.redact_errors = configuration.redact_logs_to_client;
        options.native_values = configuration.native_values;
        options.trace_fetches = configuration.trace_fetches;
        options.nodejs =
            Some(nodejs::Options { folder: folder.path().join("node"), ..configuration.node.clone() });
        if let Some(node) = &node {
            options.node = node.id;
            // Of the processes of a pool all have the same number. That of a log's replica goes with its folder, which one process has.
            options.has_number_alone = own_node.is_some();
        }
        let dependencies = runner::Dependencies {
            transactions: transactions.clone(),
            blobs: blobs.clone(),
            files: files.clone(),
            http: http.clone(),
            search: search.clone(),
            clock: runner::Clock::new(SystemTime::now),
        };
        let service =
            runner::Service::start(options, dependencies, token.clone()).context("start the runner")?;
        runner = Arc::new(service.handle());
        due_runner = Arc::new(service.handle());
        metrics.runner(service.handle());
        health.started("runner", token.clone());
        parts.add(token, service.stopped());
        routes
            .add_service(InterceptedService::new(
                RunnerServer::service(runner.clone(), limits.rpc),
                AllowRoles::of(CALLS_FUNCTIONS),
            ))
            .add_service(InterceptedService::new(
                DueRunnerServer::service(due_runner.clone(), limits.rpc),
                AllowRoles::of(Roles::of(&[Role::Scheduler])),
            ));
    } else {
        runner = elsewhere().runner();
        due_runner = elsewhere().due_runner();
    }

    let fanout: Arc<dyn Fanout>;
    if roles.has(Role::Fanout) {
        let token = CancellationToken::new();
        let observed_time_max = Duration::from_millis(limits.function.observed_time_cache_ms_max);
        let options = fanout::Options::new(limits.fanout, observed_time_max);
        let dependencies = fanout::Dependencies {
            runner: runner.clone(),
            log: log.log.clone(),
            sequencer: log.sequencer.clone(),
            deployments: directory.deployments(),
        };
        let service = fanout::Service::start(options, dependencies, token.clone());
        fanout = Arc::new(service.handle());
        metrics.fanout(service.handle());
        health.started("fanout", token.clone());
        parts.add(token, service.stopped());
        let service = FanoutServer::service(fanout.clone(), limits.rpc);
        routes.add_service(InterceptedService::new(service, AllowRoles::of(GATEWAY)));
    } else {
        fanout = elsewhere().fanout();
    }

    let schedules: Arc<dyn Schedules>;
    if roles.has(Role::Scheduler) {
        let token = CancellationToken::new();
        let options = scheduler::Options { limits: limits.schedule, deployments: directory.deployments() };
        let clock = Arc::new(scheduler::WallClock::new(SystemTime::now));
        let dependencies =
            scheduler::Dependencies { runner: due_runner, transactions: transactions.clone(), clock };
        let service = scheduler::Service::start(options, dependencies, token.clone());
        schedules = Arc::new(service.handle());
        metrics.scheduler(service.handle());
        health.started("scheduler", token.clone());
        parts.add(token, service.stopped());
        let service = SchedulesServer::service(schedules.clone(), limits.rpc);
        routes.add_service(InterceptedService::new(service, AllowRoles::of(GATEWAY)));
    } else {
        schedules = elsewhere().schedules();
    }

    let deploy: Arc<dyn Deploy>;
    if roles.has(Role::Deploy) {
        let token = CancellationToken::new();
        let options = deploy::Options { limits: limits.of_deploy() };
        let dependencies = deploy::Dependencies {
            transactions: transactions.clone(),
            runner: runner.clone(),
            blobs,
            search: search.clone(),
        };
        let service = deploy::Service::start(options, dependencies, token.clone());
        deploy = Arc::new(service.handle());
        metrics.deploy(service.handle());
        health.started("deploy", token.clone());
        parts.add(token, service.stopped());
        let service = DeployServer::service(deploy.clone(), limits.rpc);
        routes.add_service(InterceptedService::new(service, AllowRoles::of(GATEWAY)));
    } else {
        deploy = elsewhere().deploy();
    }

    // Where the gateway is: it keeps nothing of its own, and there may be many.
    let data_sync = match roles.has(Role::Gateway) {
        true => {
            let token = CancellationToken::new();
            let options =
                data_sync::Options { limits: limits.data_sync, deployments: directory.deployments() };
            let dependencies = data_sync::Dependencies { transactions: transactions.clone() };
            let service = data_sync::Service::start(options, dependencies, token.clone());
            let handle = service.handle();
            parts.add(token, service.stopped());
            Some(Arc::new(handle))
        }
        false => None,
    };

    // Where functions run, and where changes come in.
    let log_streams = match roles.has(Role::Runner) || roles.has(Role::Gateway) {
        true => {
            let token = CancellationToken::new();
            let options = log_streams::Options {
                limits: limits.log_streams,
                deployments: directory.deployments(),
                seal_key: folder.derive_key("tidemark log streams seal v1"),
            };
            let dependencies = log_streams::Dependencies {
                transactions: transactions.clone(),
                http: http.clone(),
                runner: roles.has(Role::Runner).then(|| runner.clone()),
            };
            let service = log_streams::Service::start(options, dependencies, token.clone());
            let handle = service.handle();
            parts.add(token, service.stopped());
            Some(Arc::new(handle))
        }
        false => None,
    };

    let opening = async { directory_handle.open().await.context("open the directory") };
    if let Some(node) = node {
        let admin = Admin {
            cluster: node.cluster.name.clone(),
            node: node.id,
            log: log_handle.clone(),
            deployments: directory.deployments(),
            roles,
            address: node.address.clone(),
            zone: node.cluster.zone.clone(),
            credentials: node.calls.credentials(),
        };
        routes.add_service(InterceptedService::new(AdminServer::new(admin), AllowRoles::of(ASKS)));
        // A leader that stops hands over by what others call, so that goes last.
        parts.spawn_at(bottom, |token| node.serve(routes.routes(), token));
        tracing::info!("waiting until somebody leads the cluster");
        let led = async {
            if let Some(log) = &log_handle {
                log.ready().await;
            }
            for group in &log.groups {
                let mut position = log.log.position(*group)?;
                let _ = position.wait_for(|position| position.ready).await;
            }
            anyhow::Ok(())
        };
        // Meanwhile what its own replica has of the directory is known at once.
        tokio::try_join!(led, opening)?;
    } else {
        opening.await?;
    }

    if let (Some(listeners), Some(data_sync), Some(log_streams)) = (listeners, data_sync, log_streams) {
        if let Some(tls) = listeners.tls.clone() {
            parts.spawn(|token| async move { tls.follow(&limits.tls, token).await });
        }
        let token = CancellationToken::new();
        let options = archive::Options { limits: limits.archive, worked_on: directory.deployments() };
        let dependencies = archive::Dependencies { transactions: transactions.clone(), objects, search };
        let service = archive::Service::start(options, dependencies, token.clone());
        let archives: Arc<dyn Archives> = Arc::new(service.handle());
        metrics.archive(service.handle());
        parts.add(token, service.stopped());

        let token = CancellationToken::new();
        let options = gateway::Options {
            limits: limits.of_gateway(),
            operator_key: directory::operator_key(folder.secret()),
            team: TEAM.to_owned(),
        };
        let directory = directory.clone();
        let services = gateway::Services {
            runner,
            fanout,
            sequencer,
            deploy,
            files,
            archives,
            schedules,
            directory,
            data_sync,
            log_streams,
        };
        let asked = health.clone();
        let is_ready: gateway::IsReady = Arc::new(move || asked.is_ready());
        let dependencies = gateway::Dependencies { services, http, is_ready, listeners };
        let service = gateway::Service::start(options, dependencies, token.clone());
        metrics.gateway(service.handle());
        health.started("gateway", token.clone());
        parts.add(token, service.stopped());
    }
    Ok((parts, directory))
}

fn no_leader(group: &GroupId) -> String {
    format!("group {} has no leader that is known here", group.0)
}

/// The certificates that this process shows: to clients, and to other nodes.
fn certificates(listeners: Option<&Listeners>, node: Option<&Node>) -> Vec<(&'static str, Expiry)> {
    let edge = listeners.and_then(|listeners| listeners.tls.clone());
    let edge = edge.map(|tls| ("edge", Box::new(move || tls.expires_at()) as Expiry));
    let internal = node.and_then(|node| node.calls.credentials());
    let internal = internal.map(|own| ("internal", Box::new(move || own.expires_at()) as Expiry));
    edge.into_iter().chain(internal).collect()
}
