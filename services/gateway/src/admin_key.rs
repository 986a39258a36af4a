//! Admin keys: who holds one may do everything with a deployment.

use std::sync::Arc;

use contract::DirectoryEntry;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The admin keys of one deployment: the one that follows from its secret, and those that somebody has made. All have the
/// form `name|hex`. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AdminKeys {
    deployment_name: Arc<str>,
    /// Behind the bar; `None` where no key follows from a secret.
    secret_part: Option<Arc<str>>,
    /// Of the secret parts of the others.
    digests: Arc<[[u8; 32]]>,
}

impl AdminKeys {
    pub(crate) fn of(entry: &DirectoryEntry) -> AdminKeys {
        let secret_part = entry.admin_key.0.split_once('|').map(|(_, secret_part)| secret_part.into());
        AdminKeys {
            deployment_name: entry.deployment.name.as_str().into(),
            secret_part,
            digests: entry.keys.iter().map(|key| key.digest).collect(),
        }
    }

    /// Whether `key` opens this deployment. Tools put the deployment's type before its name (`prod:name|…`), which
    /// says nothing here.
    pub(crate) fn accepts(&self, key: &str) -> bool {
        let Some((name, secret_part)) = deployment_of(key).zip(key.split_once('|').map(|(_, part)| part))
        else {
            return false;
        };
        let follows = self
            .secret_part
            .as_deref()
            .is_some_and(|expected| bool::from(expected.as_bytes().ct_eq(secret_part.as_bytes())));
        name == &*self.deployment_name && (follows || is_among(self.digests.iter(), secret_part))
    }

    pub(crate) fn deployment_name(&self) -> &str {
        &self.deployment_name
    }
}

/// The name of the deployment that a key says it opens; `None` if it says none.
pub(crate) fn deployment_of(key: &str) -> Option<&str> {
    let (name, _) = key.split_once('|')?;
    Some(name.rsplit_once(':').map_or(name, |(_, name)| name))
}

/// Whether what stands behind a key's bar has one of these digests. How near another one comes to a digest tells nothing of
/// what would have it.
pub(crate) fn is_among<'d>(mut digests: impl Iterator<Item = &'d [u8; 32]>, secret_part: &str) -> bool {
    let shown: [u8; 32] = Sha256::digest(secret_part.as_bytes()).into();
    digests.any(|digest| bool::from(digest.ct_eq(&shown)))
}

/// Keys stay out of logs.
impl std::fmt::Debug for AdminKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AdminKeys({}|…)", self.deployment_name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use contract::{AdminKey, Deployment, DeploymentId, DeploymentRef, GroupId, KeyEntry, KeyOwner};

    use super::*;

    /// The entry of a deployment that `key` opens.
    pub(crate) fn opened_by(key: &str) -> DirectoryEntry {
        let reference = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
        let name = deployment_of(key).expect("a key").to_owned();
        let deployment = Deployment { reference, name, cloud_url: String::new(), site_url: String::new() };
        DirectoryEntry { admin_key: AdminKey(key.to_owned()), ..DirectoryEntry::of(deployment) }
    }

    const KEY: &str = "dev|01abcdef";

    #[test]
    fn a_key_opens_its_own_deployment_alone() {
        let keys = AdminKeys::of(&opened_by(KEY));
        assert!(keys.accepts(KEY));
        assert!(keys.accepts(&format!("prod:{KEY}")));
        assert!(!AdminKeys::of(&opened_by("dev|01abcdee")).accepts(KEY));
        assert!(!AdminKeys::of(&opened_by("other|01abcdef")).accepts(KEY));
        assert!(!keys.accepts("other|01abcdef"));
    }

    #[test]
    fn so_do_the_keys_that_were_made() {
        let mut entry = opened_by(KEY);
        let digest = Sha256::digest(b"02ff").into();
        let owner = KeyOwner::Deployment("dev".into());
        entry.keys = vec![KeyEntry { owner, name: "ci".into(), digest, created_ms: 0 }];
        let keys = AdminKeys::of(&entry);
        assert!(keys.accepts("prod:dev|02ff") && keys.accepts("dev|02ff") && keys.accepts(KEY));
        assert!(!keys.accepts("dev|02fe") && !keys.accepts("other|02ff"));
        assert!(!AdminKeys::of(&opened_by(KEY)).accepts("dev|02ff"), "it was deleted");
    }

    #[test]
    fn anything_else_is_refused() {
        let keys = AdminKeys::of(&opened_by(KEY));
        for wrong in
            ["", "|", "dev", "dev|", "dev|01", &KEY[..KEY.len() - 1], &format!("{KEY}0"), "DEV|01ABCDEF"]
        {
            assert!(!keys.accepts(wrong), "{wrong}");
        }
        let without = DirectoryEntry { admin_key: AdminKey(String::new()), ..opened_by(KEY) };
        assert!(!AdminKeys::of(&without).accepts("dev|"), "no key is no empty key");
    }

    #[test]
    fn keys_do_not_reach_logs() {
        let keys = AdminKeys::of(&opened_by(KEY));
        assert!(!format!("{keys:?}").contains("01abcdef"));
    }
}
