//! What is stored of secrets: sealed, for one deployment.

use aes_gcm_siv::{
    Aes256GcmSiv, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use contract::{DeploymentRef, Error, Result};

/// The first byte of what is sealed. Another one is refused by name.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// Seals what opens receivers. The key is the same in all processes of a cluster.
pub(crate) struct Seal(Aes256GcmSiv);

impl Seal {
    pub fn new(key: &[u8; 32]) -> Seal {
        Seal(Aes256GcmSiv::new(key.into()))
    }

    pub fn close(&self, deployment: DeploymentRef, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: plain, aad: &associated_data(deployment) };
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.expect("only 2^36 bytes are too long for the cipher");
        [&[VERSION][..], &nonce, &sealed].concat()
    }

    /// Errors: `InternalServerError` if another key has sealed it, or it was changed.
    pub fn open(&self, deployment: DeploymentRef, sealed: &[u8]) -> Result<Vec<u8>> {
        let failed = || {
            Error::internal("the configuration of a log stream can't be opened with this cluster's secret")
        };
        let Some((&VERSION, rest)) = sealed.split_first() else { return Err(failed()) };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(failed)?;
        let payload = Payload { msg: sealed, aad: &associated_data(deployment) };
        self.0.decrypt(&Nonce::from(*nonce), payload).map_err(|_| failed())
    }
}

/// The group is left out, so that what is sealed outlives a move of the deployment.
fn associated_data(deployment: DeploymentRef) -> Vec<u8> {
    [&[VERSION][..], &deployment.deployment.0.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_deployment_alone() {
        let of = |number| DeploymentRef { group: GroupId(1), deployment: DeploymentId(number) };
        let seal = Seal::new(&[1; 32]);
        let sealed = seal.close(of(1), b"a key");
        assert!(!sealed.windows(5).any(|window| window == b"a key"));
        assert_ne!(sealed, seal.close(of(1), b"a key"), "it looks different each time");
        assert_eq!(seal.open(of(1), &sealed).expect("it opens"), b"a key");
        assert!(seal.open(of(2), &sealed).is_err());
        assert!(Seal::new(&[2; 32]).open(of(1), &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(of(1), &changed).is_err(), "byte {at}");
        }
    }
}
