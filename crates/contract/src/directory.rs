//! The contract of the directory: which deployments there are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Deployment, DeploymentId, DeploymentRef, Error, ErrorKind, GroupId, Result};

/// Where the directory's own documents are.
pub const DIRECTORY: DeploymentRef = DeploymentRef { group: GroupId(0), deployment: DeploymentId(0) };

/// The deployments of a cluster, as documents of group 0. Every node follows them and answers from memory, so that
/// serving goes on where the directory can't be asked.
///
/// ```text
///   create ──► serving ── delete, or its time is over ──► deleting: nobody serves it ──► its data is gone ──► forgotten
/// ```
///
/// Numbers of deployments are never given again; names are, once a deployment is forgotten.
///
/// Errors of every method that changes something: as the log's commits of group 0 have them.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// What this node knows. The receiver sees every later state, though not each one.
    fn deployments(&self) -> watch::Receiver<Arc<Deployments>>;

    /// Creates a deployment. When this returns, this node serves it, and the others soon.
    ///
    /// Errors: `InvalidDeploymentName`, `InvalidProjectName`, `InvalidDeploymentUrl`, `InvalidShare`, `InvalidExpiry`;
    /// `DeploymentExists` if the name is taken; `DeploymentUrlTaken` if the host name is; `TooManyDeployments`
    /// (`deployments_max`).
    async fn create(&self, new: NewDeployment) -> Result<Arc<DirectoryEntry>>;

    /// Deletes a deployment with everything that it has. When this returns, this node no longer serves it, and the others
    /// soon; its data goes afterwards.
    ///
    /// Errors: `DeploymentNotFound`; `DefaultDeployment`, since requests that name none are for that one.
    async fn delete(&self, name: &str) -> Result<()>;

    /// Gives a deployment another address, as one with its key wants it, with a host name of its own: for its API, or for HTTP actions.
    /// `None` for the one that it has by default. When this returns, this node knows it, and the others soon: it is what functions and tools are told.
    ///
    /// Errors: `DeploymentNotFound`, `InvalidDeploymentUrl`; `DeploymentUrlTaken` if another one has the host name, or would have it by
    /// its name; `DeploymentUrlNotAllowed` if there are several and the operator has not allowed it.
    async fn set_url(&self, deployment: DeploymentRef, door: Door, url: Option<&str>) -> Result<()>;

    /// The preview deployment of a project that `identifier` names. Without `reuse` one that is there is deleted first, so that
    /// the new one is empty. Using one moves its expiry on. Whether it is new comes back as well.
    ///
    /// Errors: `ProjectNotFound` if the project has no deployment and no key; `InvalidPreviewName`; as [`Directory::create`].
    async fn claim_preview(
        &self,
        project: &str,
        identifier: &str,
        reuse: bool,
    ) -> Result<(Arc<DirectoryEntry>, bool)>;

    /// The oldest deployment of a project and a kind. If there is none it is created, once however many ask for it at the same time, under
    /// a name that is free: the project's, with the kind behind it, or with a number.
    ///
    /// Errors: as [`Directory::create`].
    async fn provision(&self, project: &str, kind: DeploymentKind) -> Result<Arc<DirectoryEntry>>;

    /// Says that a deployment was pushed to: a preview for which no time was chosen stays for `preview_age_ms` from now on.
    ///
    /// Errors: `DeploymentNotFound`.
    async fn pushed(&self, deployment: DeploymentRef) -> Result<()>;

    /// Makes a key; its text comes back. Nobody can read it again.
    ///
    /// Errors: `DeploymentNotFound`, `InvalidProjectName`, `InvalidKeyName`; `KeyExists` if its owner has a key of this name;
    /// `TooManyKeys` (`keys_max`).
    async fn create_key(&self, new: NewKey) -> Result<String>;

    /// Deletes a key: from then on it opens nothing. Errors: `KeyNotFound`.
    async fn delete_key(&self, owner: KeyOwner, name: &str) -> Result<()>;
}

/// What a deployment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeploymentKind {
    /// What a project's users see.
    Production,
    /// A developer's.
    Development,
    /// Of a branch, for a while.
    Preview,
}

impl DeploymentKind {
    /// As keys and tools spell it.
    pub const fn name(self) -> &'static str {
        match self {
            DeploymentKind::Production => "prod",
            DeploymentKind::Development => "dev",
            DeploymentKind::Preview => "preview",
        }
    }

    /// The inverse of [`DeploymentKind::name`].
    pub fn from_name(name: &str) -> Option<DeploymentKind> {
        use DeploymentKind::*;
        [Production, Development, Preview].into_iter().find(|kind| kind.name() == name)
    }
}

/// A deployment to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeployment {
    /// `[a-z0-9-]{1,40}`, beginning and ending with a letter or a digit.
    pub name: String,
    /// Which deployments belong together, spelled like a name; `None` names it after the deployment.
    pub project: Option<String>,
    /// What it is for.
    pub kind: DeploymentKind,
    /// Where clients reach it, a URL with a host name of its own; `None` for what the directory's pattern says.
    pub cloud_url: Option<String>,
    /// The same for HTTP actions.
    pub site_url: Option<String>,
    /// When it is deleted by itself, in milliseconds since the Unix epoch; `None` never, but for previews, which go
    /// `preview_age_ms` after the last push.
    pub expires_ms: Option<u64>,
    /// How much of what deployments share it may have.
    pub share: Share,
}

/// How much of what the deployments of a process share (isolates, runs, places for calls, memory for bodies) one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// How often it is served in turn, where the usual deployment is served once: from 1 to [`Share::WEIGHT_MAX`].
    pub weight: u32,
    /// How much of it all it may hold at once, in percent; `None` for as much as any (`deployment_share_percent`).
    pub percent_max: Option<u32>,
}

impl Share {
    /// What a deployment has for which nothing is said.
    pub const USUAL: Share = Share { weight: 1, percent_max: None };
    /// More often than this nobody is served in turn.
    pub const WEIGHT_MAX: u32 = 100;
}

/// Whom a key is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyOwner {
    /// It is an admin key of this deployment.
    Deployment(String),
    /// It creates and opens previews of this project.
    Previews(String),
    /// It opens every deployment of this project, and creates them.
    Project(String),
}

/// A key to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Whom it is for.
    pub owner: KeyOwner,
    /// What people call it; one of its owner's keys has a name.
    pub name: String,
}

/// A key, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// Whom it is for.
    pub owner: KeyOwner,
    /// What people call it.
    pub name: String,
    /// The SHA-256 of what follows the bar in its text.
    pub digest: [u8; 32],
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// An admin key that follows from the deployment's secret: `name|hex`. Kept out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminKey(pub String);

impl fmt::Debug for AdminKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AdminKey(…)")
    }
}

/// A deployment, and what the directory knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// What services know of it.
    pub deployment: Arc<Deployment>,
    /// The project that it belongs to.
    pub project: String,
    /// What it is for.
    pub kind: DeploymentKind,
    /// What the tools call a preview: the branch, say.
    pub identifier: Option<String>,
    /// The host name that alone tells which requests are for it; `None` if it shares the default deployment's.
    pub api_host: Option<String>,
    /// The same of its HTTP actions.
    pub site_host: Option<String>,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it is deleted by itself.
    pub expires_ms: Option<u64>,
    /// How much of what deployments share it may have.
    pub share: Share,
    /// Opens it.
    pub admin_key: AdminKey,
    /// What else opens it.
    pub keys: Vec<KeyEntry>,
}

impl DirectoryEntry {
    /// One of which nothing else is known. No key opens it.
    pub fn of(deployment: Deployment) -> DirectoryEntry {
        DirectoryEntry {
            project: deployment.name.clone(),
            deployment: Arc::new(deployment),
            kind: DeploymentKind::Development,
            identifier: None,
            api_host: None,
            site_host: None,
            created_ms: 0,
            expires_ms: None,
            share: Share::USUAL,
            admin_key: AdminKey(String::new()),
            keys: Vec::new(),
        }
    }

    /// By which services know it.
    pub fn reference(&self) -> DeploymentRef {
        self.deployment.reference
    }
}

/// Which of a deployment's two addresses a host name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// The API's.
    Api,
    /// That of HTTP actions.
    Site,
}

/// The deployments that are served, as of one moment, and the keys of projects. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Deployments {
    entries: BTreeMap<DeploymentId, Arc<DirectoryEntry>>,
    by_name: HashMap<String, Arc<DirectoryEntry>>,
    by_host: HashMap<String, (Arc<DirectoryEntry>, Door)>,
    default: Option<Arc<DirectoryEntry>>,
    project_keys: Vec<KeyEntry>,
    kept: BTreeSet<DeploymentRef>,
}

impl Deployments {
    /// `default` names the one that requests are for which name none. `project_keys` are those that are not one
    /// deployment's.
    pub fn new(
        default: &str,
        entries: impl IntoIterator<Item = Arc<DirectoryEntry>>,
        project_keys: Vec<KeyEntry>,
    ) -> Deployments {
        let mut deployments = Deployments { project_keys, ..Deployments::default() };
        for entry in entries {
            deployments.entries.insert(entry.reference().deployment, entry.clone());
            deployments.by_name.insert(entry.deployment.name.clone(), entry.clone());
            deployments.kept.insert(entry.reference());
            for (host, door) in [(&entry.api_host, Door::Api), (&entry.site_host, Door::Site)] {
                if let Some(host) = host {
                    deployments.by_host.entry(host.clone()).or_insert_with(|| (entry.clone(), door));
                }
            }
        }
        deployments.default = deployments.by_name.get(default).cloned();
        deployments
    }

    /// Besides, the data of these deployments is still there, and is being deleted.
    pub fn with_deleting(mut self, deleting: impl IntoIterator<Item = DeploymentRef>) -> Deployments {
        self.kept.extend(deleting);
        self
    }

    /// The deployments whose data is there: those that are served, and those that are being deleted.
    pub fn kept(&self) -> &BTreeSet<DeploymentRef> {
        &self.kept
    }

    /// The deployment at this place. Errors: `DeploymentNotFound` if it is not served.
    pub fn get(&self, reference: DeploymentRef) -> Result<&Arc<DirectoryEntry>> {
        let entry = self.entries.get(&reference.deployment);
        entry.filter(|entry| entry.reference() == reference).ok_or_else(deployment_not_found)
    }

    /// The deployment of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<DirectoryEntry>> {
        self.by_name.get(name)
    }

    /// The deployment that alone has this host name, in lower case, and for which of its addresses.
    pub fn at_host(&self, host: &str) -> Option<(&Arc<DirectoryEntry>, Door)> {
        self.by_host.get(host).map(|(entry, door)| (entry, *door))
    }

    /// What a request is for that names no deployment.
    pub fn default_entry(&self) -> Option<&Arc<DirectoryEntry>> {
        self.default.as_ref()
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<DirectoryEntry>> {
        self.entries.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The keys that are not one deployment's.
    pub fn project_keys(&self) -> &[KeyEntry] {
        &self.project_keys
    }

    /// Whether anything is of this project: a deployment or a key.
    pub fn has_project(&self, project: &str) -> bool {
        let is_owner = |key: &KeyEntry| match &key.owner {
            KeyOwner::Previews(owner) | KeyOwner::Project(owner) => owner == project,
            KeyOwner::Deployment(_) => false,
        };
        self.iter().any(|entry| entry.project == project) || self.project_keys.iter().any(is_owner)
    }
}

/// What is asked for is not served, or no longer.
pub fn deployment_not_found() -> Error {
    Error::new(ErrorKind::NotFound, crate::code::DEPLOYMENT_NOT_FOUND, "There is no such deployment.")
}
