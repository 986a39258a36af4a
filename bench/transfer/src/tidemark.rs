//! Tidemark with the app pushed by the official command line tool, called by the HTTP API.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{Cluster, Server};
use serde_json::json;

/// One process, or three replicas.
#[expect(clippy::large_enum_variant, reason = "a run has two of them")]
pub enum Tidemark {
    Alone(Server),
    Cluster {
        nodes: Cluster,
        /// Which of them is called: the leader, when it was chosen.
        leader: usize,
    },
}

/// A transfer as the function API takes it.
pub fn body(from: usize, to: usize) -> String {
    format!(r#"{{"path":"accounts:transfer","format":"json","args":{{"from":{from},"to":{to},"amount":1}}}}"#)
}

impl Tidemark {
    pub async fn start(binary: &Path, folder: &Path, app: &Path) -> Result<Tidemark> {
        let server = Server::start(binary, &folder.join("tidemark")).await?;
        server.push(app).await?;
        Ok(Tidemark::Alone(server))
    }

    /// The same with three replicas.
    pub async fn start_cluster(binary: &Path, folder: &Path, app: &Path) -> Result<Tidemark> {
        let nodes = Cluster::start(binary, &folder.join("cluster"), "").await?;
        let leader = nodes.leader().await?;
        nodes.node(leader)?.push(app).await?;
        Ok(Tidemark::Cluster { nodes, leader })
    }

    /// Who is called.
    pub fn server(&self) -> Result<&Server> {
        match self {
            Tidemark::Alone(server) => Ok(server),
            Tidemark::Cluster { nodes, leader } => nodes.node(*leader),
        }
    }

    /// Processor time so far: of the one that is called, and of all others.
    pub fn cpu_times(&self) -> Result<(Duration, Duration)> {
        let called = self.server()?.cpu_time()?;
        let all = match self {
            Tidemark::Alone(_) => called,
            Tidemark::Cluster { nodes, .. } => nodes.running().map(Server::cpu_time).sum::<Result<_>>()?,
        };
        Ok((called, all.saturating_sub(called)))
    }

    /// Fails if another replica leads than the one that is called: then it was measured how calls are passed on.
    pub async fn ensure_leader_unchanged(&self) -> Result<()> {
        if let Tidemark::Cluster { nodes, leader } = self {
            ensure!(nodes.leader().await? == *leader, "another replica leads than at the beginning");
        }
        Ok(())
    }

    pub async fn stop(self) -> Result<()> {
        match self {
            Tidemark::Alone(server) => server.stop().await,
            Tidemark::Cluster { nodes, .. } => nodes.end().await,
        }
    }

    pub async fn open_accounts(&self, accounts: usize, balance: u64) -> Result<()> {
        for from in (0..accounts).step_by(500) {
            let to = (from + 500).min(accounts);
            self.server()?
                .call("mutation", "accounts:open", json!({"from": from, "to": to, "balance": balance}))
                .await?;
        }
        Ok(())
    }

    /// The sum of all balances.
    pub async fn total(&self, accounts: usize) -> Result<u64> {
        let mut sum = 0;
        for from in (0..accounts).step_by(5_000) {
            let to = (from + 5_000).min(accounts);
            let part =
                self.server()?.call("query", "accounts:total", json!({"from": from, "to": to})).await?;
            let part = part.as_f64().context("a sum is a number")?;
            ensure!(part.fract() == 0.0, "a sum is whole");
            sum += part as u64;
        }
        Ok(sum)
    }
}
