//! What a node knows of the directory: its rows, and what others are shown of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use contract::{
    Deployment, DeploymentId, DeploymentKind, DeploymentRef, Deployments, DirectoryEntry, Error, GroupId,
    KeyEntry, KeyOwner, Result, Share,
};
use transaction::{DeployKeyRow, DeployKeyScope, DeploymentRow, DeploymentState, Stored};
use value::DocumentId;

use crate::{
    secrets::Seal,
    service::DefaultDeployment,
    urls::{HostRule, UrlPatterns, has_host_name, host_of, name_by},
};

/// How rows are read.
pub(crate) struct Reading {
    pub seal: Seal,
    pub default: DefaultDeployment,
    pub urls: UrlPatterns,
    /// Host names that deployments may choose for themselves.
    pub hosts: Vec<HostRule>,
}

/// The rows by their ids. Entries are made once and shared by all states that they are in.
#[derive(Default)]
pub(crate) struct Known {
    deployments: BTreeMap<DocumentId, KnownDeployment>,
    keys: BTreeMap<DocumentId, DeployKeyRow>,
    /// Something is not as it was shown last.
    is_changed: bool,
}

struct KnownDeployment {
    row: DeploymentRow,
    /// `None` until it is asked for, and again when one of its keys has changed.
    entry: Option<Arc<DirectoryEntry>>,
}

impl Known {
    /// Takes what a row is now; `None` if it is gone.
    pub(crate) fn set_deployment(&mut self, id: DocumentId, row: Option<DeploymentRow>) {
        if self.deployments.get(&id).map(|known| &known.row) == row.as_ref() {
            return;
        }
        self.is_changed = true;
        match row {
            Some(row) => self.deployments.insert(id, KnownDeployment { row, entry: None }),
            None => self.deployments.remove(&id),
        };
    }

    /// Takes what all rows are now.
    pub(crate) fn set_all(
        &mut self,
        deployments: Vec<Stored<DeploymentRow>>,
        keys: Vec<Stored<DeployKeyRow>>,
    ) {
        let ids: BTreeSet<DocumentId> = deployments.iter().map(|stored| stored.id).collect();
        let gone: Vec<_> = self.deployments.keys().filter(|id| !ids.contains(id)).copied().collect();
        gone.into_iter().for_each(|id| self.set_deployment(id, None));
        deployments.into_iter().for_each(|stored| self.set_deployment(stored.id, Some(stored.row)));
        let ids: BTreeSet<DocumentId> = keys.iter().map(|stored| stored.id).collect();
        let gone: Vec<_> = self.keys.keys().filter(|id| !ids.contains(id)).copied().collect();
        gone.into_iter().for_each(|id| self.set_key(id, None));
        keys.into_iter().for_each(|stored| self.set_key(stored.id, Some(stored.row)));
    }

    /// Whether there is something to show, and from now on not any more.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// The same of a key.
    pub(crate) fn set_key(&mut self, id: DocumentId, row: Option<DeployKeyRow>) {
        if self.keys.get(&id) == row.as_ref() {
            return;
        }
        self.is_changed = true;
        let before = match row.clone() {
            Some(row) => self.keys.insert(id, row),
            None => self.keys.remove(&id),
        };
        for DeployKeyRow { scope, .. } in before.into_iter().chain(row) {
            let DeployKeyScope::Deployment(number) = scope else { continue };
            let of = self.deployments.values_mut().filter(|known| known.row.number == number);
            of.for_each(|known| known.entry = None);
        }
    }

    /// What others are shown. A row that can't be used is left out, and logged.
    pub(crate) fn shown(&mut self, reading: &Reading) -> Deployments {
        let mut entries = Vec::with_capacity(self.deployments.len());
        for known in self.deployments.values_mut() {
            if known.row.state != DeploymentState::Serving {
                continue;
            }
            if known.entry.is_none() {
                match reading.entry(&known.row, &self.keys) {
                    Ok(entry) => known.entry = Some(Arc::new(entry)),
                    Err(error) => {
                        tracing::error!(deployment = known.row.name, "it can't be served: {error}");
                        continue;
                    }
                }
            }
            entries.extend(known.entry.clone());
        }
        entries.sort_by_key(|entry| entry.reference().deployment);
        let project_keys =
            self.keys.values().filter(|key| !matches!(key.scope, DeployKeyScope::Deployment(_)));
        let project_keys = project_keys.filter_map(|key| Some(key_entry(key, owner_of(&key.scope)?)));
        Deployments::new(&reading.default.name, entries, project_keys.collect())
            .with_deleting(self.deleting())
    }

    /// Why the default deployment can't be used, if it is known and can't.
    pub(crate) fn problem(&self, reading: &Reading) -> Option<Error> {
        let number = reading.default.reference.deployment.0;
        let row = self.deployments.values().map(|known| &known.row).find(|row| row.number == number)?;
        reading.entry(row, &self.keys).err()
    }

    /// The deployments whose data is to be deleted.
    pub(crate) fn deleting(&self) -> impl Iterator<Item = DeploymentRef> {
        let rows = self.deployments.values().map(|known| &known.row);
        rows.filter(|row| row.state == DeploymentState::Deleting).map(reference_of)
    }

    /// When the next deployment is deleted by itself, in milliseconds since the Unix epoch.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        let rows = self.deployments.values().map(|known| &known.row);
        rows.filter(|row| row.state == DeploymentState::Serving).filter_map(|row| row.expires_ms).min()
    }

    /// The numbers of those whose time is over.
    pub(crate) fn expired(&self, now_ms: u64) -> Vec<u32> {
        let rows = self.deployments.values().map(|known| &known.row);
        rows.filter(|row| row.state == DeploymentState::Serving)
            .filter(|row| row.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms))
            .map(|row| row.number)
            .collect()
    }

    /// The group that has the fewest deployments.
    pub(crate) fn emptiest(&self, groups: &[GroupId]) -> Option<GroupId> {
        let count = |group: &GroupId| {
            let rows = self.deployments.values().map(|known| &known.row);
            rows.filter(|row| row.group == group.0).count()
        };
        groups.iter().copied().min_by_key(count)
    }
}

pub(crate) fn reference_of(row: &DeploymentRow) -> DeploymentRef {
    DeploymentRef { group: GroupId(row.group), deployment: DeploymentId(row.number) }
}

fn owner_of(scope: &DeployKeyScope) -> Option<KeyOwner> {
    match scope {
        DeployKeyScope::Deployment(_) => None,
        DeployKeyScope::Previews(project) => Some(KeyOwner::Previews(project.clone())),
        DeployKeyScope::Project(project) => Some(KeyOwner::Project(project.clone())),
    }
}

fn key_entry(key: &DeployKeyRow, owner: KeyOwner) -> KeyEntry {
    KeyEntry { owner, name: key.name.clone(), digest: key.digest, created_ms: key.created_ms }
}

impl Reading {
    /// The addresses of a deployment, and the host names that alone tell which requests are for it.
    pub(crate) fn addresses(&self, row: &DeploymentRow) -> Addresses {
        let DefaultDeployment { cloud_url, site_url, .. } = &self.default;
        let of_row = |own: &Option<String>, otherwise: String| own.clone().unwrap_or(otherwise);
        if row.number == self.default.reference.deployment.0 {
            let (reached, reached_site) = (host_of(cloud_url), host_of(site_url));
            let cloud_url = of_row(&row.cloud_url, cloud_url.clone());
            let site_url = of_row(&row.site_url, site_url.clone());
            let (api, site) = (host_of(&cloud_url), host_of(&site_url));
            // It is reached where it was as well, and a host that has both ports does not tell which of them is meant.
            let site_host = site.clone().filter(|host| ![&api, &reached].contains(&&Some(host.clone())));
            let site_host = site_host.filter(|_| row.site_url.is_some() || has_host_name(&site_url));
            let api_host = api.filter(|_| row.cloud_url.is_some());
            let api_host = api_host.filter(|host| ![&site, &reached_site].contains(&&Some(host.clone())));
            return Addresses { cloud_url, site_url, api_host, site_host };
        }
        let shared = [host_of(cloud_url), host_of(site_url)];
        let cloud_url = of_row(&row.cloud_url, self.urls.cloud_url(&row.name));
        let site_url = of_row(&row.site_url, self.urls.site_url(&row.name));
        // A pattern with the name in the path makes one host of all.
        let own_host = |own: &Option<String>, url: &str, pattern: &str| {
            let host = host_of(url).filter(|host| !shared.iter().flatten().any(|it| it == host))?;
            (own.is_some() || name_by(pattern, &host) == Some(&row.name)).then_some(host)
        };
        let api_host = own_host(&row.cloud_url, &cloud_url, &self.urls.cloud);
        let site_host = own_host(&row.site_url, &site_url, &self.urls.site)
            .filter(|host| Some(host) != api_host.as_ref());
        Addresses { cloud_url, site_url, api_host, site_host }
    }

    fn entry(
        &self,
        row: &DeploymentRow,
        keys: &BTreeMap<DocumentId, DeployKeyRow>,
    ) -> Result<DirectoryEntry> {
        let unusable = |what: &str| Error::internal(format!("its row has {what}"));
        let secret = self.seal.open(row.number, &row.secret)?;
        let Addresses { cloud_url, site_url, api_host, site_host } = self.addresses(row);
        let deployment =
            Deployment { reference: reference_of(row), name: row.name.clone(), cloud_url, site_url };
        let own = |key: &&DeployKeyRow| key.scope == DeployKeyScope::Deployment(row.number);
        let own_keys = keys.values().filter(own);
        let owner = KeyOwner::Deployment(row.name.clone());
        Ok(DirectoryEntry {
            deployment: Arc::new(deployment),
            project: row.project.clone(),
            kind: DeploymentKind::from_name(&row.kind).ok_or_else(|| unusable("a kind that is not known"))?,
            identifier: row.identifier.clone(),
            api_host,
            site_host,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            share: Share { weight: row.share_weight, percent_max: row.share_percent_max },
            admin_key: secret.admin_key(&row.name),
            keys: own_keys.map(|key| key_entry(key, owner.clone())).collect(),
        })
    }
}

/// Where a deployment is reached.
pub(crate) struct Addresses {
    pub cloud_url: String,
    pub site_url: String,
    pub api_host: Option<String>,
    pub site_host: Option<String>,
}

impl Addresses {
    /// Whether a host name would tell of both that a request is for them.
    pub(crate) fn collide_with(&self, other: &Addresses) -> bool {
        let hosts = |of: &Addresses| of.api_host.clone().into_iter().chain(of.site_host.clone());
        hosts(self).any(|host| hosts(other).any(|taken| taken == host))
    }
}
