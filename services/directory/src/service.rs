//! The service: how it starts and stops, and its contract.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{
    DIRECTORY, DeploymentId, DeploymentKind, DeploymentRef, Deployments, Directory, DirectoryEntry, Door,
    Error, GroupId, KeyOwner, NewDeployment, NewKey, NodeId, ObjectStore, ReadAt, Result,
};
use parking_lot::Mutex;
use system_transaction::{SystemTransactions, Work};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transaction::DirectoryRow;

use crate::{
    Clock, DirectoryLimits, HostRule, UrlPatterns,
    changes::{
        ClaimPreview, Context, Create, CreateKey, Delete, DeleteKey, Found, Provision, Pushed, SetUrl,
        check_share,
    },
    follow::Follower,
    known::{Known, Reading},
    names, removal,
    secrets::Seal,
    urls::own_url,
};

/// How a directory is set up: the same on every node of a cluster.
#[derive(Clone)]
pub struct Options {
    /// What it is held to.
    pub limits: DirectoryLimits,
    /// What is shared by all nodes of the cluster and by nobody else. It seals the secrets of deployments.
    pub secret: [u8; 32],
    /// What requests are for that name no deployment.
    pub default: DefaultDeployment,
    /// Where the data of new deployments goes: to the group that has the fewest.
    pub groups: Vec<GroupId>,
    /// The addresses of deployments that have none of their own.
    pub urls: UrlPatterns,
    /// Host names that deployments may choose for themselves, once there are several.
    pub hosts: Vec<HostRule>,
    /// What keys of projects call the cluster, since the official tools have teams: a name as deployments have it.
    pub team: String,
}

/// The deployment that there is from the start.
#[derive(Clone)]
pub struct DefaultDeployment {
    /// Its name.
    pub name: String,
    /// Where its data is.
    pub reference: DeploymentRef,
    /// What it is for.
    pub kind: DeploymentKind,
    /// The address at which clients reach the API.
    pub cloud_url: String,
    /// That of HTTP actions.
    pub site_url: String,
    /// From which its admin key follows, if it is not in the directory yet.
    pub secret: [u8; 32],
}

/// What the service works with.
#[derive(Clone)]
pub struct Dependencies {
    /// Of the whole cluster: the directory's own group, and those of the deployments that are deleted.
    pub transactions: SystemTransactions,
    /// The bytes of files, which go with a deployment.
    pub objects: Arc<dyn ObjectStore>,
    /// By which deployments expire.
    pub clock: Clock,
    /// The node whose replicas of the groups are in this process; `None` if it has none, and so leads no group: then others
    /// have deployments expire, and delete what they had.
    pub node: Option<NodeId>,
    /// Told of each state before anybody else sees it: the log of this node must have a deployment before it is asked for one.
    pub before_shown: Arc<dyn Fn(&Deployments) + Send + Sync>,
}

/// The directory of one node.
pub struct Service {
    handle: Handle,
}

/// The way to the directory. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub limits: DirectoryLimits,
    pub reading: Reading,
    pub groups: Vec<GroupId>,
    pub team: String,
    pub transactions: SystemTransactions,
    pub objects: Arc<dyn ObjectStore>,
    pub clock: Clock,
    pub node: Option<NodeId>,
    pub before_shown: Arc<dyn Fn(&Deployments) + Send + Sync>,
    pub known: Mutex<Known>,
    pub shown: watch::Sender<Arc<Deployments>>,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

impl Service {
    /// One that shows no deployments until it is [opened](Handle::open).
    pub fn new(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let Options { limits, secret, default, groups, urls, hosts, team } = options;
        let Dependencies { transactions, objects, clock, node, before_shown } = dependencies;
        let shared = Arc::new(Shared {
            limits,
            reading: Reading { seal: Seal::new(&secret), default, urls, hosts },
            groups,
            team,
            transactions,
            objects,
            clock,
            node,
            before_shown,
            known: Mutex::default(),
            shown: watch::Sender::default(),
            tasks: TaskTracker::new(),
            shutdown,
        });
        Service { handle: Handle { shared } }
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        let Shared { shutdown, tasks, .. } = &*self.handle.shared;
        shutdown.cancelled().await;
        tasks.close();
        tasks.wait().await;
    }
}

impl Handle {
    /// Makes the directory if there is none, and returns once this node knows what is in it, which it follows from then on, on the
    /// current runtime.
    ///
    /// Waits for as long as group 0 is neither here nor ready: what a group needs to be so must be there already. Errors:
    /// `ShuttingDown` once the service is to stop; `ClusterSecretWrong` if the directory is another secret's.
    pub async fn open(&self) -> Result<()> {
        let shared = &self.shared;
        let shutdown = &shared.shutdown;
        let stopped = || Error::overloaded("ShuttingDown", "The server is shutting down.");
        shutdown.run_until_cancelled(shared.find()).await.ok_or_else(stopped)?;
        let mut follower = Follower::new(shared.clone());
        shutdown.run_until_cancelled(follower.begin()).await.ok_or_else(stopped)??;
        shared.tasks.spawn(follower.run());
        let expiring = shared.clone();
        shared.tasks.spawn(async move { removal::expire(&expiring).await });
        Ok(())
    }
}

impl Shared {
    /// Until the directory is there. A node that has its documents needs nobody else for that.
    async fn find(&self) {
        let pause = Duration::from_millis(self.limits.follow_retry_ms);
        loop {
            match self.is_found().await {
                Ok(true) => return,
                Ok(false) => {
                    let Reading { default, seal, .. } = &self.reading;
                    match self.transactions.transact(DIRECTORY, &Found { default, seal }).await {
                        Ok(()) => return,
                        Err(error) => tracing::info!("the directory is made later: {error}"),
                    }
                }
                Err(error) => tracing::info!("the directory is read later: {error}"),
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn is_found(&self) -> Result<bool> {
        let published = self.transactions.log.position(DIRECTORY.group)?.borrow().published;
        let mut transaction = self.transactions.snapshot_at(DIRECTORY, ReadAt::published(published)).await?;
        let rows = transaction.first_rows::<DirectoryRow>(1).await;
        Ok(!rows.map_err(transaction::Error::of_the_system)?.is_empty())
    }

    /// Waits until this node has heard of a change, but not for long.
    pub(crate) async fn heard(&self, is_known: impl Fn(&Deployments) -> bool) -> bool {
        let mut shown = self.shown.subscribe();
        let wait = Duration::from_millis(self.limits.follow_wait_ms_max);
        let heard = shown.wait_for(|deployments| is_known(deployments));
        matches!(tokio::time::timeout(wait, heard).await, Ok(Ok(_)))
    }

    async fn change<W: Work>(&self, work: &W) -> Result<W::Output> {
        Ok(self.transactions.transact(DIRECTORY, work).await?)
    }

    fn context(&self) -> Result<Context<'_>> {
        let group = self.known.lock().emptiest(&self.groups);
        let group = group.ok_or_else(|| Error::internal("there is no group for deployments"))?;
        Ok(Context { limits: &self.limits, reading: &self.reading, group })
    }

    /// The entry of a deployment that was just created, once this node knows it.
    async fn entry(&self, number: u32) -> Result<Arc<DirectoryEntry>> {
        let mut shown = self.shown.subscribe();
        let wait = Duration::from_millis(self.limits.follow_wait_ms_max);
        let _ = tokio::time::timeout(wait, shown.wait_for(|deployments| has(deployments, number))).await;
        let known = shown.borrow().iter().find(|entry| is_number(entry, number)).cloned();
        let late = || Error::overloaded("NotYet", "It is there, but this node has not heard of it yet.");
        known.ok_or_else(late)
    }
}

fn is_number(entry: &DirectoryEntry, number: u32) -> bool {
    entry.reference().deployment == DeploymentId(number)
}

/// Whether the deployment with this number is served.
pub(crate) fn has(deployments: &Deployments, number: u32) -> bool {
    deployments.iter().any(|entry| is_number(entry, number))
}

fn has_key(deployments: &Deployments, owner: &KeyOwner, name: &str) -> bool {
    let keys = match owner {
        KeyOwner::Deployment(of) => deployments.named(of).map_or(&[][..], |entry| &entry.keys),
        KeyOwner::Previews(_) | KeyOwner::Project(_) => deployments.project_keys(),
    };
    keys.iter().any(|key| key.owner == *owner && key.name == name)
}

#[async_trait]
impl Directory for Handle {
    fn deployments(&self) -> watch::Receiver<Arc<Deployments>> {
        self.shared.shown.subscribe()
    }

    async fn create(&self, new: NewDeployment) -> Result<Arc<DirectoryEntry>> {
        names::check_deployment(&new.name)?;
        new.project.as_deref().map(names::check_project).transpose()?;
        check_share(new.share)?;
        let own = |url: Option<&String>| url.map(|url| own_url(url)).transpose();
        let (cloud_url, site_url) = (own(new.cloud_url.as_ref())?, own(new.site_url.as_ref())?);
        let new = NewDeployment { cloud_url, site_url, ..new };
        let number = self.shared.change(&Create { context: self.shared.context()?, new: &new }).await?;
        self.shared.entry(number).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let default = &self.shared.reading.default;
        let number = self.shared.change(&Delete { name, default }).await?;
        self.shared.heard(|deployments| !has(deployments, number)).await;
        Ok(())
    }

    async fn set_url(&self, deployment: DeploymentRef, door: Door, url: Option<&str>) -> Result<()> {
        let url = url.map(own_url).transpose()?;
        let before = shown_url(&self.shared.shown.borrow(), deployment, door);
        let (reading, number) = (&self.shared.reading, deployment.deployment.0);
        let is_changed = self.shared.change(&SetUrl { reading, number, door, url: url.clone() }).await?;
        if is_changed {
            let is_known = |deployments: &Deployments| {
                let shown = shown_url(deployments, deployment, door);
                if url.is_some() { shown == url } else { shown != before }
            };
            self.shared.heard(is_known).await;
        }
        Ok(())
    }

    async fn claim_preview(
        &self,
        project: &str,
        identifier: &str,
        reuse: bool,
    ) -> Result<(Arc<DirectoryEntry>, bool)> {
        names::check_project(project)?;
        names::check_preview(identifier)?;
        if !self.shared.shown.borrow().has_project(project) {
            let message = format!("There is no project {project}.");
            return Err(Error::new(contract::ErrorKind::NotFound, "ProjectNotFound", message));
        }
        let context = self.shared.context()?;
        let (number, is_new) =
            self.shared.change(&ClaimPreview { context, project, identifier, reuse }).await?;
        Ok((self.shared.entry(number).await?, is_new))
    }

    async fn provision(&self, project: &str, kind: DeploymentKind) -> Result<Arc<DirectoryEntry>> {
        names::check_project(project)?;
        let context = self.shared.context()?;
        let number = self.shared.change(&Provision { context, project, kind }).await?;
        self.shared.entry(number).await
    }

    async fn pushed(&self, deployment: DeploymentRef) -> Result<()> {
        let (limits, number) = (&self.shared.limits, deployment.deployment.0);
        self.shared.change(&Pushed { limits, number }).await
    }

    async fn create_key(&self, new: NewKey) -> Result<String> {
        check_owner(&new.owner)?;
        names::check_key(&new.name)?;
        let Shared { team, limits, .. } = &*self.shared;
        let (owner, name, keys_max) = (&new.owner, &new.name[..], limits.keys_max);
        let text = self.shared.change(&CreateKey { owner, name, team, keys_max }).await?;
        self.shared.heard(|deployments| has_key(deployments, owner, name)).await;
        Ok(text)
    }

    async fn delete_key(&self, owner: KeyOwner, name: &str) -> Result<()> {
        self.shared.change(&DeleteKey { owner: &owner, name }).await?;
        self.shared.heard(|deployments| !has_key(deployments, &owner, name)).await;
        Ok(())
    }
}

/// One of a deployment's addresses, if it is served.
fn shown_url(deployments: &Deployments, deployment: DeploymentRef, door: Door) -> Option<String> {
    let shown = &deployments.get(deployment).ok()?.deployment;
    Some(match door {
        Door::Api => shown.cloud_url.clone(),
        Door::Site => shown.site_url.clone(),
    })
}

fn check_owner(owner: &KeyOwner) -> Result<()> {
    match owner {
        // What is not there is said by the transaction.
        KeyOwner::Deployment(_) => Ok(()),
        KeyOwner::Previews(project) | KeyOwner::Project(project) => names::check_project(project),
    }
}
