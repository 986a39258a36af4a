//! A deployment as it is known outside.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use crate::{DeploymentRef, Deployments, DirectoryEntry};

/// The environment variable that holds [`Deployment::cloud_url`].
pub const CLOUD_URL_VARIABLE: &str = "CONVEX_CLOUD_URL";
/// The environment variable that holds [`Deployment::site_url`].
pub const SITE_URL_VARIABLE: &str = "CONVEX_SITE_URL";

/// A deployment: where its data is, what it is called, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Where its data is.
    pub reference: DeploymentRef,
    /// Its admin keys begin with it.
    pub name: String,
    /// The address at which clients reach the API: `http://127.0.0.1:3210`.
    pub cloud_url: String,
    /// The address of HTTP actions: `http://127.0.0.1:3211`.
    pub site_url: String,
}

impl Deployment {
    /// The environment variables that its functions see whatever its own are.
    pub fn platform_variables(&self) -> BTreeMap<String, String> {
        self.platform_variables_below("")
    }

    /// The same for functions of a component that answers requests below a path of the site: `/local`.
    pub fn platform_variables_below(&self, site_path: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (CLOUD_URL_VARIABLE.to_owned(), self.cloud_url.clone()),
            (SITE_URL_VARIABLE.to_owned(), format!("{}{site_path}", self.site_url)),
        ])
    }

    /// A directory that has these deployments and never any other, for those that have no directory: the first is what a
    /// request is for that names none.
    pub fn fixed(deployments: impl IntoIterator<Item = Deployment>) -> watch::Receiver<Arc<Deployments>> {
        let entries: Vec<_> = deployments.into_iter().map(DirectoryEntry::of).map(Arc::new).collect();
        let default = entries.first().map(|entry| entry.deployment.name.clone()).unwrap_or_default();
        watch::Sender::new(Arc::new(Deployments::new(&default, entries, Vec::new()))).subscribe()
    }
}
