//! Where bytes and commits are kept, as this process has them.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use contract::{DIRECTORY, GroupId, NodeId, Sequencer, TransactionLog};
use log_router::{NearSequencer, Router};
use tokio_util::sync::CancellationToken;

use crate::{
    configuration::Configuration,
    data_folder::DataFolder,
    limits::Limits,
    node::Node,
    others::Others,
    parts::Parts,
    refusal::Refusal,
    replicas::{Replicas, Source},
};

/// The log as everybody in this process calls it.
#[derive(Clone)]
pub struct Log {
    pub log: Arc<dyn TransactionLog>,
    pub sequencer: Arc<dyn Sequencer>,
    pub groups: BTreeSet<GroupId>,
}

/// A replica in this process.
pub struct OwnLog {
    pub service: txlog::Service,
    pub token: CancellationToken,
    /// Whose it is.
    pub node: NodeId,
    groups: BTreeSet<GroupId>,
}

/// Of a log with the groups that a cluster has: one for the directory, and one for the data of deployments.
fn log_options(folder: impl Into<PathBuf>) -> txlog::Options {
    let mut options = txlog::Options::embedded(folder);
    options.deployments.push(txlog::Deployment { name: "directory".to_owned(), at: DIRECTORY });
    options
}

fn groups_of(options: &txlog::Options) -> BTreeSet<GroupId> {
    options.deployments.iter().map(|deployment| deployment.at.group).collect()
}

/// Starts a replica of every group.
pub async fn start_own_log(
    folder: &DataFolder,
    node: Option<&Node>,
    limits: &Limits,
) -> anyhow::Result<OwnLog> {
    let mut options = log_options(folder.path());
    options.limits = limits.log;
    options.store = limits.store;
    if let Some(node) = node {
        node.place(&mut options);
    }
    let (groups, node) = (groups_of(&options), options.node);
    let token = CancellationToken::new();
    let service = txlog::Service::start(options, token.clone()).await.context("open the transaction log")?;
    Ok(OwnLog { service, token, node, groups })
}

/// The log of a process that is all there is: its own replica.
pub fn own_log(parts: &mut Parts, own: &OwnLog) -> Log {
    let log: Arc<dyn TransactionLog> = Arc::new(own.service.handle());
    let sequencer = start_sequencer(parts, log.clone());
    Log { log, sequencer, groups: own.groups.clone() }
}

/// The log of a node among others: a router over all replicas.
pub fn routed_log(
    parts: &mut Parts,
    own: Option<&OwnLog>,
    node: &Node,
    others: Option<&Others>,
    limits: &Limits,
) -> anyhow::Result<Log> {
    let router = Router::new(node.here(), limits.router);
    let source = match (own, others) {
        (Some(own), _) => Source::Own(own.service.handle()),
        (None, Some(others)) => Source::Others(others.pools.clone()),
        (None, None) => unreachable!("who has no log knows others that do"),
    };
    let groups = own.map_or_else(|| groups_of(&log_options("")), |own| own.groups.clone());
    for group in groups.iter().copied() {
        let replicas: Replicas = node.replicas(source.clone());
        replicas.begin(&router, group).context("follow the log's position")?;
        let router = router.clone();
        parts.spawn(|token| replicas.follow(router, group, token));
    }
    let log: Arc<dyn TransactionLog> = Arc::new(router.clone());
    let confirming = start_sequencer(parts, log.clone());
    Ok(Log { log, sequencer: Arc::new(NearSequencer::new(confirming, router)), groups })
}

fn start_sequencer(parts: &mut Parts, log: Arc<dyn TransactionLog>) -> Arc<dyn Sequencer> {
    let token = CancellationToken::new();
    let service = sequencer::Service::start(sequencer::Dependencies { log }, token.clone());
    let sequencer = Arc::new(service.handle());
    parts.add(token, service.stopped());
    sequencer
}

/// Opens the blobs: in the data folder, in a folder that several nodes share, or in a bucket.
pub async fn start_blobs(
    configuration: &Configuration,
    folder: &DataFolder,
    node: Option<&Node>,
    token: CancellationToken,
) -> anyhow::Result<blob::Service> {
    let elsewhere = |error: blob::Error| Refusal::Blobs(error.to_string());
    let options = match &configuration.blobs_url {
        Some(url) => match url.strip_prefix("file://") {
            Some(path) => blob::Options { folder: path.into(), is_shared: node.is_some() },
            None => {
                let settings = std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect();
                let options = blob::BucketOptions { url: url.clone(), settings };
                return Ok(blob::Service::start_in_bucket(options, token).await.map_err(elsewhere)?);
            }
        },
        None => blob::Options { folder: folder.path().join("blobs"), is_shared: false },
    };
    let opened = blob::Service::start(options, token).await;
    match configuration.blobs_url {
        Some(_) => Ok(opened.map_err(elsewhere)?),
        None => opened.context("open the blobs"),
    }
}
