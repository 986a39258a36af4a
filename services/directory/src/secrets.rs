//! Secrets of deployments, sealed with the cluster's, and the keys that open deployments.

use aes_gcm_siv::{
    Aes256GcmSiv, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use contract::{AdminKey, DeploymentKind, Error, ErrorKind, KeyOwner, Result};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};

/// The first byte of a sealed secret. Another one is refused.
const SEALED_VERSION: u8 = 1;
/// Says which of a cluster's secrets has sealed it, so that another one can take its place.
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;

/// The secret part of an admin key that follows from a deployment's secret begins with this.
const DERIVED_VERSION: u8 = 1;
/// That of a key that was made.
const MADE_VERSION: u8 = 2;

/// The secret of a deployment. Kept out of logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeploymentSecret(pub [u8; 32]);

impl DeploymentSecret {
    pub(crate) fn new() -> DeploymentSecret {
        DeploymentSecret(rand::random())
    }

    /// The admin key of the deployment of this name, the same wherever it is asked for.
    pub(crate) fn admin_key(&self, name: &str) -> AdminKey {
        let key: [u8; 32] = derive(&self.0, &[b"tidemark admin key v1\0", name.as_bytes()]);
        AdminKey(format!("{name}|{DERIVED_VERSION:02x}{}", hex::encode(key)))
    }
}

/// What seals secrets before they are written.
pub(crate) struct Seal {
    key_id: [u8; KEY_ID_BYTES],
    cipher: Aes256GcmSiv,
}

impl Seal {
    pub(crate) fn new(cluster_secret: &[u8; 32]) -> Seal {
        let key: [u8; 32] = derive(cluster_secret, &[b"tidemark directory seal v1"]);
        let key_id = derive(cluster_secret, &[b"tidemark directory seal v1 key id"]);
        Seal { key_id, cipher: Aes256GcmSiv::new(&key.into()) }
    }

    /// Sealed for the deployment with this number; it can't be passed off as another's.
    pub(crate) fn close(&self, number: u32, secret: &DeploymentSecret) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let header = self.header();
        let payload = Payload { msg: &secret.0, aad: &associated_data(&header, number) };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.expect("only 2^36 bytes are too long for the cipher");
        [&header[..], &nonce, &sealed].concat()
    }

    /// Errors: `ClusterSecretWrong` if another secret has sealed it; `InternalServerError` if it was changed.
    pub(crate) fn open(&self, number: u32, sealed: &[u8]) -> Result<DeploymentSecret> {
        let failed = |why: &str| Error::internal(format!("the secret of deployment {number} {why}"));
        let header = self.header();
        let Some((found, rest)) = sealed.split_first_chunk::<{ 1 + KEY_ID_BYTES }>() else {
            return Err(failed("is cut off"));
        };
        if found[0] != SEALED_VERSION {
            return Err(failed("is of a format that this version does not know"));
        }
        if *found != header {
            let message =
                format!("the secret of deployment {number} was sealed with another secret of the cluster");
            return Err(Error::new(ErrorKind::Internal, "ClusterSecretWrong", message));
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(|| failed("is cut off"))?;
        let payload = Payload { msg: sealed, aad: &associated_data(&header, number) };
        let plain = self.cipher.decrypt(&Nonce::from(*nonce), payload);
        let plain = plain.ok().and_then(|plain| plain.try_into().ok());
        plain.map(DeploymentSecret).ok_or_else(|| failed("was changed"))
    }

    fn header(&self) -> [u8; 1 + KEY_ID_BYTES] {
        let [a, b, c, d] = self.key_id;
        [SEALED_VERSION, a, b, c, d]
    }
}

fn associated_data(header: &[u8], number: u32) -> Vec<u8> {
    [header, &number.to_be_bytes()].concat()
}

fn derive<const BYTES: usize>(secret: &[u8; 32], info: &[&[u8]]) -> [u8; BYTES] {
    let mut key = [0; BYTES];
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(info, &mut key)
        .expect("so few bytes are within what HKDF can give");
    key
}

/// What opens all of a cluster's deployments, creates and deletes them: it follows from the cluster's secret.
pub fn operator_key(cluster_secret: &[u8; 32]) -> String {
    let key: [u8; 32] = derive(cluster_secret, &[b"tidemark operator key v1"]);
    format!("operator-{DERIVED_VERSION:02x}{}", hex::encode(key))
}

/// A key that was made: its text, for its owner alone, and the digest by which it is known.
pub(crate) struct MadeKey {
    pub text: String,
    pub digest: [u8; 32],
}

/// A key in the form in which the official tools take it. `kind` is that of the owner, if that is a deployment.
pub(crate) fn make_key(owner: &KeyOwner, kind: DeploymentKind, team: &str) -> MadeKey {
    let random: [u8; 32] = rand::random();
    let secret_part = format!("{MADE_VERSION:02x}{}", hex::encode(random));
    let text = match owner {
        KeyOwner::Deployment(name) => format!("{}:{name}|{secret_part}", kind.name()),
        KeyOwner::Previews(project) => format!("preview:{team}:{project}|{secret_part}"),
        KeyOwner::Project(project) => format!("project:{team}:{project}|{secret_part}"),
    };
    MadeKey { text, digest: Sha256::digest(secret_part.as_bytes()).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: DeploymentSecret = DeploymentSecret([7; 32]);

    #[test]
    fn what_was_sealed_is_opened_and_looks_different_each_time() {
        let seal = Seal::new(&[1; 32]);
        let (one, two) = (seal.close(3, &SECRET), seal.close(3, &SECRET));
        assert_ne!(one, two);
        assert!(seal.open(3, &one).expect("it opens") == SECRET);
        assert!(seal.open(3, &two).expect("it opens") == SECRET);
    }

    #[test]
    fn nothing_else_opens() {
        let seal = Seal::new(&[1; 32]);
        let sealed = seal.close(3, &SECRET);
        assert!(seal.open(4, &sealed).is_err(), "it is of another deployment");
        let other = Seal::new(&[2; 32]).open(3, &sealed).err().expect("another cluster's");
        assert!(other.message.contains("another secret of the cluster"), "{other}");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(3, &changed).is_err(), "byte {at}");
            assert!(seal.open(3, &sealed[..at]).is_err(), "{at} bytes");
        }
        let mut newer = sealed;
        newer[0] = 2;
        let refused = seal.open(3, &newer).err().expect("a newer format");
        assert!(refused.message.contains("does not know"), "{refused}");
    }

    #[test]
    fn the_admin_key_follows_from_secret_and_name_and_stays_what_it_was() {
        let key = DeploymentSecret([1; 32]).admin_key("dev");
        assert_eq!(key, DeploymentSecret([1; 32]).admin_key("dev"));
        assert_ne!(key, DeploymentSecret([2; 32]).admin_key("dev"));
        assert!(key.0.starts_with("dev|01") && key.0.len() == "dev|01".len() + 64);
        assert_ne!(key.0[4..], DeploymentSecret([1; 32]).admin_key("other").0[6..]);
        assert!(!format!("{key:?}").contains(&key.0[4..]), "keys stay out of logs");
    }

    #[test]
    fn keys_have_the_forms_that_the_official_tools_take() {
        let key = |owner| make_key(&owner, DeploymentKind::Production, "team").text;
        assert!(key(KeyOwner::Deployment("shop".into())).starts_with("prod:shop|02"));
        assert!(key(KeyOwner::Previews("shop".into())).starts_with("preview:team:shop|02"));
        assert!(key(KeyOwner::Project("shop".into())).starts_with("project:team:shop|02"));
        let MadeKey { text, digest } =
            make_key(&KeyOwner::Project("p".into()), DeploymentKind::Development, "t");
        let secret_part = text.split_once('|').expect("it has a bar").1;
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(secret_part.as_bytes())));
    }
}
