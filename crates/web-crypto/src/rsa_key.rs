//! RSA ([RFC 8017](https://www.rfc-editor.org/rfc/rfc8017)): RSASSA-PKCS1-v1_5, RSASSA-PSS, RSAES-OAEP.

use std::cell::Cell;

use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use pkcs8::der::Decode;
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, Oaep, Pss, pkcs1};

use crate::hash::with_digest;
use crate::{CryptoRng, Error, Hash, IsOver, limits};

/// Verifies by RSASSA-PKCS1-v1_5 and PSS, encrypts by OAEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPublicKey(rsa::PublicKey);

/// Signs by RSASSA-PKCS1-v1_5 and PSS, decrypts by OAEP. What it does takes long: milliseconds with a modulus of 2048
/// bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPrivateKey(Box<rsa::PrivateKey>);

/// Numbers of a private key, big-endian.
pub struct RsaPrivateNumbers<'k> {
    pub modulus: &'k [u8],
    pub public_exponent: &'k [u8],
    pub private_exponent: &'k [u8],
    pub primes: [&'k [u8]; 2],
}

/// The rest of a private key, which follows from its [`RsaPrivateNumbers`].
pub struct RsaCrtNumbers {
    /// The private exponent modulo one less than each prime.
    pub exponents: [Vec<u8>; 2],
    /// The inverse of the second prime modulo the first.
    pub coefficient: Vec<u8>,
}

impl RsaPublicKey {
    pub fn from_numbers(modulus: &[u8], exponent: &[u8]) -> Result<RsaPublicKey, Error> {
        check_modulus(modulus)?;
        // Beyond what the library takes as an exponent, its bytes need no limit of their own.
        if exponent.len() > modulus.len() {
            return Err(Error::Data("the public exponent is larger than the modulus"));
        }
        rsa::PublicKey::new(number(modulus), number(exponent))
            .map(RsaPublicKey)
            .map_err(|_| Error::Data("the numbers are no public key for RSA"))
    }

    pub fn from_spki(der: &[u8]) -> Result<RsaPublicKey, Error> {
        let malformed = Error::Data("the bytes are no public key for RSA in SPKI");
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| malformed)?;
        check_algorithm(&info.algorithm)?;
        let key = info.subject_public_key.as_bytes().ok_or(malformed)?;
        let key = pkcs1::RsaPublicKeyRef::from_der(key).map_err(|_| malformed)?;
        RsaPublicKey::from_numbers(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    pub fn to_spki(&self) -> Vec<u8> {
        self.0.to_public_key_der().expect("a key is not too long for DER").as_bytes().to_vec()
    }

    /// The modulus, big-endian, without zeros at its begin.
    pub fn modulus(&self) -> Vec<u8> {
        self.0.n_bytes().to_vec()
    }

    /// The public exponent, big-endian, without zeros at its begin.
    pub fn exponent(&self) -> Vec<u8> {
        self.0.e_bytes().to_vec()
    }

    pub fn modulus_bits(&self) -> u32 {
        bits_of(&self.modulus())
    }

    /// Whether `signature` is one of `message` by RSASSA-PKCS1-v1_5.
    pub fn verify_pkcs1(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        with_digest!(hash, D => self.0.pkcs1v15_verify::<D>(message, signature).is_ok())
    }

    /// Whether `signature` is one of `message` by PSS with a salt of just that length.
    pub fn verify_pss(&self, hash: Hash, salt_bytes: usize, message: &[u8], signature: &[u8]) -> bool {
        let digest = hash.digest(message);
        with_digest!(hash, D => self.0.verify(Pss::<D>::new_with_salt(salt_bytes), &digest, signature).is_ok())
    }

    /// Fails if `message` is too long for the modulus.
    pub fn encrypt_oaep<R: CryptoRng + ?Sized>(
        &self,
        hash: Hash,
        label: &[u8],
        message: &[u8],
        random: &mut R,
    ) -> Result<Vec<u8>, Error> {
        with_digest!(hash, D => self.0.encrypt(random, Oaep::<D>::new_with_label(label), message))
            .map_err(|_| Error::Operation("the message is too long for that key"))
    }
}

impl RsaPrivateKey {
    /// A new key. Takes long: 45 ms on average for a modulus of 2048 bits, a second for one of 4096, and by luck several
    /// times as much.
    pub fn generate<R: CryptoRng + ?Sized>(
        modulus_bits: u32,
        public_exponent: &[u8],
        random: &mut R,
        is_over: IsOver<'_>,
    ) -> Result<RsaPrivateKey, Error> {
        if !(limits::RSA_MODULUS_BITS_MIN..=limits::RSA_GENERATED_BITS_MAX).contains(&modulus_bits) {
            return Err(Error::Operation("a generated key for RSA has a modulus of 1024 to 4096 bits"));
        }
        // With others, no prime may ever fit.
        let exponent = match trimmed(public_exponent) {
            [3] => 3u64,
            [1, 0, 1] => 65_537,
            _ => return Err(Error::Operation("the public exponent of a generated key is 3 or 65537")),
        };
        // (Crate `rsa` generates keys, too, but has no way to end it.)
        loop {
            let first = prime(modulus_bits / 2, random, is_over)?;
            let second = prime(modulus_bits - modulus_bits / 2, random, is_over)?;
            // It fails if the exponent divides what is one less than a prime: for 3, more often than not.
            if let Ok(key) = rsa::PrivateKey::from_p_q(first, second, exponent.into()) {
                return Ok(RsaPrivateKey(Box::new(key)));
            }
        }
    }

    pub fn from_numbers(numbers: &RsaPrivateNumbers<'_>) -> Result<RsaPrivateKey, Error> {
        check_modulus(numbers.modulus)?;
        let [first, second] = numbers.primes;
        let all = [numbers.public_exponent, numbers.private_exponent, first, second];
        if all.iter().any(|number| trimmed(number).len() > trimmed(numbers.modulus).len()) {
            return Err(Error::Data("a number of the key is larger than its modulus"));
        }
        let primes = vec![number(first), number(second)];
        let [modulus, public_exponent, private_exponent] =
            [numbers.modulus, numbers.public_exponent, numbers.private_exponent].map(number);
        rsa::PrivateKey::from_components(modulus, public_exponent, private_exponent, primes)
            .map(|key| RsaPrivateKey(Box::new(key)))
            .map_err(|_| Error::Data("the numbers are no private key for RSA"))
    }

    pub fn from_pkcs8(der: &[u8]) -> Result<RsaPrivateKey, Error> {
        let malformed = Error::Data("the bytes are no private key for RSA in PKCS #8");
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| malformed)?;
        check_algorithm(&info.algorithm)?;
        let key = pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| malformed)?;
        if key.version() != pkcs1::Version::TwoPrime {
            return Err(Error::NotSupported("keys for RSA with more than two primes are not supported"));
        }
        RsaPrivateKey::from_numbers(&RsaPrivateNumbers {
            modulus: key.modulus.as_bytes(),
            public_exponent: key.public_exponent.as_bytes(),
            private_exponent: key.private_exponent.as_bytes(),
            primes: [key.prime1.as_bytes(), key.prime2.as_bytes()],
        })
    }

    pub fn to_pkcs8(&self) -> Vec<u8> {
        self.0.to_pkcs8_der().expect("a key is not too long for DER").as_bytes().to_vec()
    }

    pub fn public_key(&self) -> RsaPublicKey {
        RsaPublicKey(self.0.to_public_key())
    }

    pub fn private_exponent(&self) -> Vec<u8> {
        self.0.d().to_be_bytes_trimmed_vartime().to_vec()
    }

    pub fn primes(&self) -> [Vec<u8>; 2] {
        [0, 1].map(|index| self.0.primes()[index].to_be_bytes_trimmed_vartime().to_vec())
    }

    pub fn crt_numbers(&self) -> RsaCrtNumbers {
        let made = "computed when the key was made";
        let bytes = |number: &BoxedUint| number.to_be_bytes_trimmed_vartime().to_vec();
        RsaCrtNumbers {
            exponents: [bytes(self.0.dp().expect(made)), bytes(self.0.dq().expect(made))],
            coefficient: bytes(&self.0.crt_coefficient().expect("the primes have no common factor")),
        }
    }

    /// A signature by RSASSA-PKCS1-v1_5: always the same for the same message. `random` only hides from an observer of
    /// the time what the key is.
    pub fn sign_pkcs1<R: CryptoRng + ?Sized>(
        &self,
        hash: Hash,
        message: &[u8],
        random: &mut R,
    ) -> Result<Vec<u8>, Error> {
        with_digest!(hash, D => self.0.pkcs1v15_sign_with_rng::<D, _>(random, message))
            .map_err(|_| Error::Operation("that key can't sign with that hash"))
    }

    /// A signature by PSS.
    pub fn sign_pss<R: CryptoRng + ?Sized>(
        &self,
        hash: Hash,
        salt_bytes: usize,
        message: &[u8],
        random: &mut R,
    ) -> Result<Vec<u8>, Error> {
        let refused = Error::Operation("the salt and the hash are too long for that key");
        if salt_bytes > self.0.size() {
            return Err(refused);
        }
        let digest = hash.digest(message);
        with_digest!(hash, D => self.0.sign_with_rng(random, Pss::<D>::new_with_salt(salt_bytes), &digest))
            .map_err(|_| refused)
    }

    /// Fails if that was not encrypted for this key with the same hash and label.
    pub fn decrypt_oaep<R: CryptoRng + ?Sized>(
        &self,
        hash: Hash,
        label: &[u8],
        encrypted: &[u8],
        random: &mut R,
    ) -> Result<Vec<u8>, Error> {
        with_digest!(hash, D => self.0.decrypt_blinded(random, Oaep::<D>::new_with_label(label), encrypted))
            .map_err(|_| Error::Operation("RSA-OAEP can't decrypt this with that key"))
    }
}

/// A random prime with its two highest bits set, so that two of them have a product of just as many bits as both.
fn prime<R: CryptoRng + ?Sized>(bits: u32, random: &mut R, is_over: IsOver<'_>) -> Result<BoxedUint, Error> {
    let impossible = |_| Error::Operation("no key of that kind could be generated");
    let candidates = SmallFactorsSieveFactory::new(Flavor::Any, bits, SetBits::TwoMsb).map_err(impossible)?;
    let was_over = Cell::new(false);
    let found = sieve_and_find(random, candidates, |_, candidate| {
        was_over.set(is_over());
        was_over.get() || is_prime(Flavor::Any, candidate)
    })
    .map_err(impossible)?;
    match was_over.get() {
        true => Err(Error::OutOfTime),
        false => found.ok_or(Error::Operation("no key of that kind could be generated")),
    }
}

/// Says no before any arithmetic on it.
fn check_modulus(modulus: &[u8]) -> Result<(), Error> {
    match (limits::RSA_MODULUS_BITS_MIN..=limits::RSA_MODULUS_BITS_MAX).contains(&bits_of(modulus)) {
        true => Ok(()),
        false => Err(Error::Data("the modulus of a key for RSA has 1024 to 8192 bits")),
    }
}

/// `rsaEncryption`, with or without the parameter `NULL`. Keys that are marked as being for PSS are not taken: the
/// standard has one mark for all three schemes.
fn check_algorithm(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(), Error> {
    let has_no_parameters = algorithm.parameters.is_none_or(|parameters| parameters.is_null());
    match algorithm.oid == pkcs1::ALGORITHM_OID && has_no_parameters {
        true => Ok(()),
        false => Err(Error::Data("the key is one of another algorithm")),
    }
}

fn number(bytes: &[u8]) -> BoxedUint {
    match trimmed(bytes) {
        [] => BoxedUint::zero(),
        bytes => BoxedUint::from_be_slice_vartime(bytes),
    }
}

/// Without zeros at the begin.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn bits_of(bytes: &[u8]) -> u32 {
    match trimmed(bytes) {
        [] => 0,
        [first, rest @ ..] => {
            8 - first.leading_zeros() + u32::try_from(rest.len()).unwrap_or(u32::MAX / 16) * 8
        }
    }
}
