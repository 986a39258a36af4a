//! The deployments that requests can be for, as the directory knows them.

use std::{collections::HashMap, sync::Arc};

use contract::{DeploymentRef, Deployments, DirectoryEntry, Door};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin_key::{AdminKeys, deployment_of};

/// A deployment as its clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    /// By which the services know it.
    pub reference: DeploymentRef,
    pub name: String,
    pub admin_keys: AdminKeys,
    /// The address at which clients reach the API: `http://127.0.0.1:3210`.
    pub cloud_url: String,
    /// The address of HTTP actions: `http://127.0.0.1:3211`.
    pub site_url: String,
    /// Cancelled when it is deleted, and when the gateway stops.
    pub gone: CancellationToken,
    entry: Arc<DirectoryEntry>,
}

/// Finds out which deployment a request is for. Requests ask the newest state that this node knows.
pub(crate) struct Served {
    directory: watch::Receiver<Arc<Deployments>>,
    known: Mutex<HashMap<DeploymentRef, Arc<Deployment>>>,
    shutdown: CancellationToken,
}

/// What a request says of whom it is for.
pub(crate) struct Naming<'r> {
    /// The host name, in lower case.
    pub host: Option<&'r str>,
    pub path: &'r str,
    /// What stands behind `Convex` in its header.
    pub key: Option<&'r str>,
}

/// Whom a request is for.
#[derive(Debug)]
pub(crate) struct Found {
    pub deployment: Arc<Deployment>,
    /// At which of its addresses it has come, if that follows from the host name.
    pub door: Option<Door>,
    /// The bytes of the path that have named it: `/d/name`.
    pub prefix_bytes: usize,
}

impl Served {
    pub(crate) fn new(directory: watch::Receiver<Arc<Deployments>>, shutdown: CancellationToken) -> Served {
        Served { directory, known: Mutex::default(), shutdown }
    }

    /// The deployment that a request to one of a gateway's ports is for: the one that its host name, or else the beginning of its
    /// path (`/d/name`) names, or that its admin key says it opens; without any of them the default one. `None`
    /// if there is no such deployment.
    pub(crate) fn find(&self, port: Door, naming: &Naming<'_>) -> Option<Found> {
        let deployments = self.directory.borrow().clone();
        let by_host = naming.host.and_then(|host| deployments.at_host(host));
        let door = by_host.map(|(_, door)| door);
        let is_default = |entry: &Arc<DirectoryEntry>| {
            deployments.default_entry().is_some_and(|default| default.reference() == entry.reference())
        };
        if let Some((entry, _)) = by_host.filter(|(entry, _)| !is_default(entry)) {
            return Some(Found { deployment: self.known(entry)?, door, prefix_bytes: 0 });
        }
        // At the default deployment's addresses, what stands in the path counts.
        if let Some(name) = name_in(naming.path) {
            match deployments.named(name) {
                Some(entry) => {
                    let prefix_bytes = PREFIX.len() + name.len();
                    return Some(Found { deployment: self.known(entry)?, door, prefix_bytes });
                }
                // An app may have such a path itself; the API has not.
                None if door.unwrap_or(port) == Door::Api => return None,
                None => {}
            }
        }
        let by_key = naming.key.filter(|_| door.unwrap_or(port) == Door::Api).and_then(deployment_of);
        let entry = by_key.and_then(|name| deployments.named(name)).or(deployments.default_entry())?;
        Some(Found { deployment: self.known(entry)?, door, prefix_bytes: 0 })
    }

    /// The deployment of an entry; `None` if it was deleted meanwhile.
    fn known(&self, entry: &Arc<DirectoryEntry>) -> Option<Arc<Deployment>> {
        let mut known = self.known.lock();
        let before = known.get(&entry.reference());
        if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.entry, entry)) {
            return Some(before.clone());
        }
        // Under the lock, so that what is entered is found by whoever ends what has gone.
        let newest = self.directory.borrow().get(entry.reference()).ok()?.clone();
        let gone = before.map_or_else(|| self.shutdown.child_token(), |before| before.gone.clone());
        let deployment = Arc::new(Deployment::new(newest, gone));
        known.insert(entry.reference(), deployment.clone());
        Some(deployment)
    }

    /// Ends what is under way for deployments that are deleted, and has `forget` called for each, until the shutdown.
    pub(crate) async fn follow(&self, forget: impl Fn(DeploymentRef)) {
        let mut directory = self.directory.clone();
        let following = async {
            // Nobody will say more once this fails.
            while directory.changed().await.is_ok() {
                let mut known = self.known.lock();
                let served = directory.borrow_and_update().clone();
                known.retain(|reference, deployment| {
                    let is_served = served.get(*reference).is_ok();
                    if !is_served {
                        deployment.gone.cancel();
                        forget(*reference);
                    }
                    is_served
                });
            }
        };
        self.shutdown.run_until_cancelled(following).await;
    }
}

impl Deployment {
    fn new(entry: Arc<DirectoryEntry>, gone: CancellationToken) -> Deployment {
        Deployment {
            reference: entry.reference(),
            name: entry.deployment.name.clone(),
            admin_keys: AdminKeys::of(&entry),
            cloud_url: entry.deployment.cloud_url.clone(),
            site_url: entry.deployment.site_url.clone(),
            gone,
            entry,
        }
    }
}

const PREFIX: &str = "/d/";

/// The name in a path that begins with `/d/name`.
fn name_in(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(PREFIX)?;
    rest.split('/').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use contract::{AdminKey, DeploymentId, GroupId};

    use super::*;

    fn entry(number: u32, name: &str, hosts: [Option<&str>; 2]) -> DirectoryEntry {
        let reference = DeploymentRef { group: GroupId(1), deployment: DeploymentId(number) };
        let deployment = contract::Deployment {
            reference,
            name: name.to_owned(),
            cloud_url: format!("http://x/d/{name}"),
            site_url: String::new(),
        };
        let [api_host, site_host] = hosts.map(|host| host.map(str::to_owned));
        let admin_key = AdminKey(format!("{name}|01"));
        DirectoryEntry { api_host, site_host, admin_key, ..DirectoryEntry::of(deployment) }
    }

    fn deployments(entries: impl IntoIterator<Item = DirectoryEntry>) -> Arc<Deployments> {
        Arc::new(Deployments::new("dev", entries.into_iter().map(Arc::new), Vec::new()))
    }

    fn three() -> [DirectoryEntry; 3] {
        [
            entry(1, "dev", [None, Some("site.example")]),
            entry(2, "shop", [None, None]),
            entry(3, "blog", [Some("blog.example"), Some("blog-site.example")]),
        ]
    }

    fn served() -> (watch::Sender<Arc<Deployments>>, Served) {
        let (sender, receiver) = watch::channel(deployments(three()));
        (sender, Served::new(receiver, CancellationToken::new()))
    }

    fn found(served: &Served, port: Door, naming: Naming<'_>) -> Option<(String, Option<Door>, usize)> {
        let found = served.find(port, &naming)?;
        Some((found.deployment.name.clone(), found.door, found.prefix_bytes))
    }

    #[test]
    fn a_request_is_for_whom_its_host_its_path_or_its_key_names() {
        let (_directory, served) = served();
        let api = |host, path, key| found(&served, Door::Api, Naming { host, path, key });
        let of = |name: &str, door, prefix| Some((name.to_owned(), door, prefix));
        assert_eq!(api(None, "/api/query", None), of("dev", None, 0));
        assert_eq!(api(Some("127.0.0.1"), "/api/query", None), of("dev", None, 0));
        assert_eq!(api(Some("blog.example"), "/api/query", None), of("blog", Some(Door::Api), 0));
        assert_eq!(api(Some("blog-site.example"), "/x", None), of("blog", Some(Door::Site), 0));
        assert_eq!(api(Some("site.example"), "/x", None), of("dev", Some(Door::Site), 0));
        assert_eq!(api(Some("site.example"), "/d/shop/x", None), of("shop", Some(Door::Site), 7));
        assert_eq!(api(None, "/d/shop/api/query", None), of("shop", None, 7));
        assert_eq!(api(None, "/d/shop", None), of("shop", None, 7));
        assert_eq!(api(None, "/d/", None), of("dev", None, 0));
        assert_eq!(
            api(None, "/d/shop/api/query", Some("blog|02")),
            of("shop", None, 7),
            "the path goes before"
        );
        assert_eq!(api(None, "/api/query", Some("prod:blog|02")), of("blog", None, 0));
        assert_eq!(api(None, "/api/query", Some("nobody|02")), of("dev", None, 0));
        assert_eq!(api(None, "/d/nobody/api/query", None), None);
        // A host of one's own is nobody else's.
        assert_eq!(api(Some("blog.example"), "/d/shop/x", Some("dev|01")), of("blog", Some(Door::Api), 0));
        let site = |host, path, key| found(&served, Door::Site, Naming { host, path, key });
        assert_eq!(site(None, "/d/shop/x", None), of("shop", None, 7));
        assert_eq!(site(None, "/d/nobody/x", None), of("dev", None, 0), "the app may have such a path");
        assert_eq!(site(None, "/x", Some("shop|01")), of("dev", None, 0), "the header may be the app's own");
        assert_eq!(site(Some("blog-site.example"), "/x", None), of("blog", Some(Door::Site), 0));
    }

    #[tokio::test]
    async fn what_is_under_way_ends_with_its_deployment_and_new_keys_do_not_end_it() {
        let (directory, served) = served();
        let served = Arc::new(served);
        let shop =
            |served: &Served| served.find(Door::Api, &Naming { host: None, path: "/d/shop/", key: None });
        let first = shop(&served).expect("it is served").deployment;
        let again = shop(&served).expect("it is served").deployment;
        assert!(Arc::ptr_eq(&first, &again));
        let following = {
            let served = served.clone();
            tokio::spawn(async move { served.follow(|_| {}).await })
        };
        let mut with_key = three();
        with_key[1].admin_key = AdminKey("shop|02".into());
        directory.send_replace(deployments(with_key));
        let newer = shop(&served).expect("it is served").deployment;
        assert!(newer.admin_keys.accepts("shop|02") && !newer.admin_keys.accepts("shop|01"));
        assert!(!first.gone.is_cancelled());
        let [dev, _, blog] = three();
        directory.send_replace(deployments([dev, blog]));
        assert!(shop(&served).is_none());
        first.gone.cancelled().await;
        assert!(newer.gone.is_cancelled());
        served.shutdown.cancel();
        following.await.expect("it ends");
    }
}
