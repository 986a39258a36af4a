//! Three zones as processes on this machine, each with all roles, as `make cluster` starts them.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::{Server, processes};

/// How long it may take until somebody leads, and until a node that was away has caught up.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);
/// A replica that lacks no more has caught up, while others write.
const ENTRIES_BEHIND_MAX: u64 = 64;

/// The nodes of a cluster; dropping it kills them.
pub struct Cluster {
    binary: PathBuf,
    places: Vec<Place>,
    /// In the order of their places; `None` while one does not run.
    nodes: Vec<Option<Server>>,
}

/// Where a node lives.
struct Place {
    number: u64,
    config: PathBuf,
    data: PathBuf,
    /// Where other nodes call it, as `host:port`.
    internal: String,
}

impl Cluster {
    /// Starts three nodes whose data lie in `folder`, and waits until all of them serve. `limits` stands at the end of each
    /// configuration. Each adds to a file `log` in its folder.
    pub async fn start(binary: &Path, folder: &Path, limits: &str) -> Result<Cluster> {
        let xtask = std::env::current_exe()?.with_file_name("xtask");
        // Benchmarks run at the root of the repository.
        let manifest = std::path::absolute("xtask")?;
        processes::run(
            Command::new(xtask).args(["cluster", "prepare"]).arg(folder).env("CARGO_MANIFEST_DIR", manifest),
        )
        .await?;
        let listed: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("cluster.json"))?)?;
        let place = |node: &Value| {
            let text =
                |name: &str| node[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
            let number = node["node"].as_u64().context("no number")?;
            let (config, data, internal) = (text("config")?.into(), text("data")?.into(), text("internal")?);
            Ok::<_, anyhow::Error>(Place { number, config, data, internal })
        };
        let places: Vec<Place> =
            listed["nodes"].as_array().context("no nodes")?.iter().map(place).collect::<Result<_>>()?;
        for place in &places {
            let mut config = OpenOptions::new().append(true).open(&place.config)?;
            writeln!(config, "\n{limits}")?;
        }
        let mut cluster = Cluster { binary: binary.to_owned(), nodes: Vec::new(), places };
        // They wait for each other.
        let starts: Vec<_> = (0..cluster.places.len()).map(|at| cluster.started(at)).collect();
        let started = futures::future::try_join_all(starts).await?;
        cluster.nodes = started.into_iter().map(Some).collect();
        cluster.settled().await?;
        Ok(cluster)
    }

    fn started(&self, at: usize) -> impl Future<Output = Result<Server>> + use<> {
        let (binary, data, config) =
            (self.binary.clone(), self.places[at].data.clone(), self.places[at].config.clone());
        async move {
            let log = OpenOptions::new().create(true).append(true).open(config.with_file_name("log"))?;
            Server::start_node(&binary, &data, &config, log).await
        }
    }

    /// How many nodes it has, whether they run or not.
    pub fn size(&self) -> usize {
        self.places.len()
    }

    /// A node that runs.
    pub fn node(&self, at: usize) -> Result<&Server> {
        self.nodes.get(at).and_then(Option::as_ref).context("this node does not run")
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().flatten()
    }

    /// The number of a node, and where others call it, as `host:port`.
    pub fn called_at(&self, at: usize) -> (u64, &str) {
        let place = &self.places[at];
        (place.number, &place.internal)
    }

    /// The folder with the certificate of a node and its key; that above it has what is common to all.
    pub fn folder(&self, at: usize) -> &Path {
        self.places[at].config.parent().expect("a configuration is in a folder")
    }

    /// What `tidemark cluster` prints as JSON, asked of any node.
    pub async fn ask(&self, words: &[&str]) -> Result<Value> {
        let at = self.nodes.iter().position(Option::is_some).context("no node runs")?;
        let printed = processes::run(
            Command::new(&self.binary)
                .arg("cluster")
                .args(words)
                .args(["--json", "--config"])
                .arg(&self.places[at].config),
        )
        .await?;
        Ok(serde_json::from_str(&printed)?)
    }

    /// The node that leads the group of the deployment, once one that runs does.
    pub async fn leader(&self) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let status = self.ask(&["status"]).await;
            if let Ok(status) = &status
                && let Some(at) = self.leader_in(status)
            {
                return Ok(at);
            }
            ensure!(begun.elapsed() < SETTLE_TIME_MAX, "nobody leads after {SETTLE_TIME_MAX:?}: {status:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The number of the group that the deployment is in.
    pub fn group_in(status: &Value) -> Option<u64> {
        status["deployments"].as_array()?.first()?["group"].as_u64()
    }

    fn leader_in(&self, status: &Value) -> Option<usize> {
        let group = Cluster::group_in(status)?;
        let led = status["groups"].as_array()?.iter().find(|it| it["group"] == group)?;
        let number = led["leader"].as_u64()?;
        let at = self.places.iter().position(|place| place.number == number)?;
        self.nodes[at].is_some().then_some(at)
    }

    /// Waits until every node runs, has a vote in every group and has caught up, as the leaders see it.
    pub async fn settled(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let status = self.ask(&["status"]).await;
            if status.as_ref().is_ok_and(|status| self.is_settled(status)) {
                return Ok(());
            }
            if begun.elapsed() > SETTLE_TIME_MAX {
                bail!("not all replicas have caught up after {SETTLE_TIME_MAX:?}: {status:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_settled(&self, status: &Value) -> bool {
        let Some(groups) = status["groups"].as_array() else { return false };
        let voters_and_current = |group: &Value| {
            let Some(members) = group["members"].as_array() else { return false };
            let is_current = |member: &Value| {
                let is_leader = member["node"] == group["leader"];
                let behind = member["entriesBehind"].as_u64();
                member["voter"] == true && (is_leader || behind.is_some_and(|it| it <= ENTRIES_BEHIND_MAX))
            };
            group["leader"].is_u64() && members.len() == self.size() && members.iter().all(is_current)
        };
        self.nodes.iter().all(Option::is_some)
            && self.leader_in(status).is_some()
            && groups.iter().all(voters_and_current)
    }

    /// Takes out a node that runs, for it to be killed or stopped.
    pub fn take(&mut self, at: usize) -> Result<Server> {
        self.nodes[at].take().context("this node does not run")
    }

    /// Starts a node again, and waits until it serves.
    pub async fn start_again(&mut self, at: usize) -> Result<()> {
        ensure!(self.nodes[at].is_none(), "this node runs");
        self.nodes[at] = Some(self.started(at).await?);
        Ok(())
    }

    /// Stops all nodes.
    pub async fn end(mut self) -> Result<()> {
        for node in self.nodes.iter_mut().filter_map(Option::take) {
            node.stop().await?;
        }
        Ok(())
    }
}
