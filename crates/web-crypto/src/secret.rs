//! Secrets of any length, which HMAC, HKDF and PBKDF2 take.

use hmac::{Hmac, KeyInit, Mac};

use crate::hash::with_digest;
use crate::{CryptoRng, Error, Hash, limits};

/// Bytes that are a key for HMAC, or what HKDF and PBKDF2 begin with.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Vec<u8>);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SecretKey({} bytes)", self.0.len())
    }
}

impl SecretKey {
    pub fn new(bytes: Vec<u8>) -> SecretKey {
        SecretKey(bytes)
    }

    /// A key of random bytes.
    pub fn generate<R: CryptoRng + ?Sized>(bytes: usize, random: &mut R) -> Result<SecretKey, Error> {
        if bytes == 0 || bytes > limits::GENERATED_SECRET_BYTES_MAX {
            return Err(Error::Operation("a key has 1 to 65536 bytes"));
        }
        let mut key = vec![0; bytes];
        random.fill_bytes(&mut key);
        Ok(SecretKey(key))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The HMAC of `message`.
    pub fn sign(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        with_digest!(hash, D => self.hmac::<Hmac<D>>(message).finalize().into_bytes().to_vec())
    }

    /// Whether `signature` is the whole HMAC of `message`, in a time that does not depend on where they differ.
    pub fn verify(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        with_digest!(hash, D => self.hmac::<Hmac<D>>(message).verify_slice(signature).is_ok())
    }

    fn hmac<M: Mac + KeyInit>(&self, message: &[u8]) -> M {
        let mut mac = <M as KeyInit>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(message);
        mac
    }
}
