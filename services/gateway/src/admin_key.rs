//! Admin keys: who holds one may do everything with a deployment.

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The secret part begins with its version, so that another derivation can follow this one.
const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;

/// The admin keys of one deployment: `name|hex`, derived from the instance's secret and the deployment's name, so that
/// every node of an instance knows them and a restart keeps them.
#[derive(Clone)]
pub struct AdminKeys {
    deployment_name: String,
    secret_part: String,
}

impl AdminKeys {
    pub fn new(instance_secret: &[u8; 32], deployment_name: &str) -> AdminKeys {
        let mut key = [0; KEY_BYTES];
        Hkdf::<Sha256>::new(None, instance_secret)
            .expand_multi_info(&[b"tidemark admin key v1\0", deployment_name.as_bytes()], &mut key)
            .expect("32 bytes are within what HKDF can give");
        let secret_part = format!("{VERSION:02x}{}", hex::encode(key));
        AdminKeys { deployment_name: deployment_name.to_owned(), secret_part }
    }

    /// The key itself. A secret.
    pub fn key(&self) -> String {
        format!("{}|{}", self.deployment_name, self.secret_part)
    }

    /// Whether `key` opens this deployment. Tools put the deployment's type before its name (`prod:name|…`), which
    /// says nothing here.
    pub fn accepts(&self, key: &str) -> bool {
        let Some((name, secret_part)) = key.split_once('|') else { return false };
        let name = name.rsplit_once(':').map_or(name, |(_, name)| name);
        let secret_matches = self.secret_part.as_bytes().ct_eq(secret_part.as_bytes());
        name == self.deployment_name && bool::from(secret_matches)
    }

    pub(crate) fn deployment_name(&self) -> &str {
        &self.deployment_name
    }
}

/// Keys stay out of logs.
impl std::fmt::Debug for AdminKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AdminKeys({}|…)", self.deployment_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_its_own_deployment_of_its_own_instance_alone() {
        let keys = AdminKeys::new(&[1; 32], "dev");
        let key = keys.key();
        assert!(keys.accepts(&key));
        assert!(keys.accepts(&format!("prod:{key}")));
        assert!(AdminKeys::new(&[1; 32], "dev").accepts(&key), "the same secret and name give the same key");
        assert!(!AdminKeys::new(&[2; 32], "dev").accepts(&key));
        assert!(!AdminKeys::new(&[1; 32], "other").accepts(&key));
        let secret_part = key.split_once('|').expect("has a bar").1;
        assert!(!AdminKeys::new(&[1; 32], "other").accepts(&format!("other|{secret_part}")));
    }

    #[test]
    fn anything_else_is_refused() {
        let keys = AdminKeys::new(&[1; 32], "dev");
        let key = keys.key();
        for wrong in
            ["", "|", "dev", "dev|", "dev|01", &key[..key.len() - 1], &format!("{key}0"), &key.to_uppercase()]
        {
            assert!(!keys.accepts(wrong), "{wrong}");
        }
    }

    #[test]
    fn keys_do_not_reach_logs() {
        let keys = AdminKeys::new(&[1; 32], "dev");
        assert!(!format!("{keys:?}").contains(&keys.secret_part));
    }
}
