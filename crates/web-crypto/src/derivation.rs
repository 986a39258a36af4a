//! Keys from other secrets: HKDF ([RFC 5869](https://www.rfc-editor.org/rfc/rfc5869)) and PBKDF2
//! ([RFC 8018](https://www.rfc-editor.org/rfc/rfc8018)).

use hmac::{Hmac, KeyInit, Mac};

use crate::hash::with_digest;
use crate::{Error, Hash, IsOver, SecretKey, limits};

/// Parameters of HKDF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hkdf<'p> {
    pub hash: Hash,
    pub salt: &'p [u8],
    /// What the derived bytes are for.
    pub info: &'p [u8],
}

impl Hkdf<'_> {
    /// `bytes` bytes from `secret`.
    pub fn derive(&self, secret: &SecretKey, bytes: usize) -> Result<Vec<u8>, Error> {
        if bytes > 255 * self.hash.output_bytes() {
            return Err(Error::Operation("HKDF answers at most 255 times the length of its hash"));
        }
        let mut derived = vec![0; bytes];
        with_digest!(self.hash, D => {
            hkdf::Hkdf::<D>::new(Some(self.salt), secret.as_bytes()).expand(self.info, &mut derived)
        })
        .map_err(|_| Error::Operation("HKDF can't answer that many bytes"))?;
        Ok(derived)
    }
}

/// Parameters of PBKDF2 with HMAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pbkdf2<'p> {
    pub hash: Hash,
    pub salt: &'p [u8],
    pub iterations: u32,
}

/// Iterations between two questions whether the time is over: a fraction of a millisecond.
const ITERATIONS_AT_ONCE: u32 = 1_000;

impl Pbkdf2<'_> {
    /// `bytes` bytes from `password`. Takes as long as the iterations say, for each block of the hash that is answered.
    pub fn derive(&self, password: &SecretKey, bytes: usize, is_over: IsOver<'_>) -> Result<Vec<u8>, Error> {
        if self.iterations == 0 {
            return Err(Error::Operation("PBKDF2 needs at least one iteration"));
        }
        if bytes > limits::DERIVED_BYTES_MAX {
            return Err(Error::Operation("PBKDF2 answers at most 1 MiB"));
        }
        let mut derived = vec![0; bytes];
        with_digest!(self.hash, D => {
            let keyed = <Hmac<D> as KeyInit>::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length");
            for (block, number) in derived.chunks_mut(self.hash.output_bytes()).zip(1_u32..) {
                self.fill_block(keyed.clone(), block, number, is_over)?;
            }
        });
        Ok(derived)
    }

    /// The function F of RFC 8018, 5.2. (Crate `pbkdf2` has no way to end it.)
    fn fill_block<M: Mac + Clone>(
        &self,
        keyed: M,
        block: &mut [u8],
        number: u32,
        is_over: IsOver<'_>,
    ) -> Result<(), Error> {
        let mut last =
            keyed.clone().chain_update(self.salt).chain_update(number.to_be_bytes()).finalize().into_bytes();
        block.copy_from_slice(&last[..block.len()]);
        for iteration in 1..self.iterations {
            if iteration % ITERATIONS_AT_ONCE == 0 && is_over() {
                return Err(Error::OutOfTime);
            }
            last = keyed.clone().chain_update(&last).finalize().into_bytes();
            block.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
        }
        match is_over() {
            true => Err(Error::OutOfTime),
            false => Ok(()),
        }
    }
}
