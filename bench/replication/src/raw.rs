//! The log of a cluster, called as runners call it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use contract::{
    Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, GroupId, IndexId, NodeId, ReadAt,
    TransactionLog, Write,
};
use harness::Cluster;
use mtls::{CredentialFiles, Credentials, Expected, Role, Roles, Security, TlsLimits};
use rpc::{GrpcTransactionLog, RpcLimits};
use tonic::codegen::http::Uri;

use crate::VALUE_BYTES;

/// Of a table that no app has.
const INDEX: IndexId = IndexId(*b"of the benchmark");

/// The replica of the leader. All clones share a connection, as all calls of a process do.
#[derive(Clone)]
pub struct RawLog {
    log: Arc<GrpcTransactionLog>,
    deployment: DeploymentRef,
}

impl RawLog {
    pub async fn connect(cluster: &Cluster, leader: usize) -> Result<RawLog> {
        let status = cluster.ask(&["status"]).await?;
        let deployment = &status["deployments"][0];
        let number = |name: &str| -> Result<u32> {
            let number = deployment[name].as_u64().with_context(|| format!("no {name}"))?;
            Ok(u32::try_from(number)?)
        };
        let (group, deployment) = (GroupId(number("group")?), DeploymentId(number("deployment")?));
        let cluster_name = status["cluster"].as_str().context("no name")?;
        let own = cluster.folder(leader);
        let files = CredentialFiles {
            authorities: own.with_file_name("ca.pem"),
            certificate: own.join("certificate.pem"),
            key: own.join("key.pem"),
        };
        let credentials = Credentials::load(&files, cluster_name, &TlsLimits::DEFAULT)?;
        let (node, address) = cluster.called_at(leader);
        let uri: Uri = format!("http://{address}").parse()?;
        let expected = Expected { roles: Roles::of(&[Role::Txlog]), node: Some(NodeId(node)) };
        let limits = RpcLimits::DEFAULT;
        let security = Security::Mutual(Arc::new(credentials));
        let channel = mtls::connect(rpc::endpoint(uri, &limits), expected, &security)?;
        let log = GrpcTransactionLog::connect(channel, &[group], limits).await?;
        Ok(RawLog { log: Arc::new(log), deployment: DeploymentRef { group, deployment } })
    }

    /// Commits one new document.
    pub async fn commit(&self) -> Result<()> {
        let position = self.log.position(self.deployment.group)?.borrow().clone();
        let id: [u8; 16] = rand::random();
        let commit = Commit {
            deployment: self.deployment,
            epoch: position.epoch,
            id: CommitId(id),
            run: 1,
            begin: ReadAt::published(position.published),
            read_set: Arc::default(),
            writes: vec![Write {
                primary: INDEX,
                key: Bytes::copy_from_slice(&id),
                document: Some(Bytes::from_static(&[b'x'; VALUE_BYTES])),
                index_updates: Vec::new(),
            }],
        };
        match self.log.commit(commit).await? {
            CommitOutcome::Committed { .. } => Ok(()),
            other => bail!("{other:?}"),
        }
    }
}
