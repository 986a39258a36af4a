//! Operations as data: what crosses a border that takes text and bytes.

use serde::{Deserialize, Serialize};

use crate::block_cipher::{AesKey, AesLength, CounterBits, Gcm, TagLength};
use crate::derivation::{Hkdf, Pbkdf2};
use crate::text::{self, Base64};
use crate::{
    CryptoRng, Curve, EcPrivateKey, Ed25519PrivateKey, Error, Hash, IsOver, Key, KeyFormat, KeyKind, KeyType,
    RsaPrivateKey, SecretKey, X25519PrivateKey,
};

/// An operation and the bytes that it is about.
#[derive(Clone, Debug)]
pub struct Request {
    pub operation: Operation,
    /// The message, or what was encrypted, or the key that is imported; empty where the operation needs none.
    pub data: Vec<u8>,
}

/// An operation with its parameters. As JSON it is an object with the operation's name as `operation`; bytes are base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Operation {
    /// The digest of the data.
    Digest { hash: Hash },
    /// A new key for AES.
    GenerateAes { bits: u32 },
    /// A new key for HMAC.
    GenerateSecret { bytes: usize },
    /// A new pair of keys for RSA.
    GenerateRsa { modulus_bits: u32, public_exponent: Base64 },
    /// A new pair of keys for ECDSA and ECDH.
    GenerateEc { curve: Curve },
    /// A new pair of keys for Ed25519.
    GenerateEd25519,
    /// A new pair of keys for X25519.
    GenerateX25519,
    /// The key that the data is.
    Import { kind: KeyKind, format: KeyFormat },
    /// The key as bytes.
    Export { key: Key, format: KeyFormat },
    /// A signature of the data.
    Sign { key: Key, scheme: SignatureScheme },
    /// Whether that is a signature of the data.
    Verify { key: Key, scheme: SignatureScheme, signature: Base64 },
    /// The data, encrypted. By AES-KW too, which encrypts nothing but keys.
    Encrypt { key: Key, cipher: Cipher },
    /// The data, decrypted.
    Decrypt { key: Key, cipher: Cipher },
    /// Bytes that only those know who know the keys.
    Derive { key: Key, derivation: Derivation },
}

/// How something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all_fields = "camelCase")]
pub enum SignatureScheme {
    #[serde(rename = "HMAC")]
    Hmac {
        hash: Hash,
    },
    #[serde(rename = "RSASSA-PKCS1-v1_5")]
    RsaPkcs1 {
        hash: Hash,
    },
    #[serde(rename = "RSA-PSS")]
    RsaPss {
        hash: Hash,
        salt_bytes: usize,
    },
    #[serde(rename = "ECDSA")]
    Ecdsa {
        hash: Hash,
    },
    Ed25519,
}

/// How something is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all_fields = "camelCase")]
pub enum Cipher {
    #[serde(rename = "AES-CBC")]
    AesCbc { iv: Base64 },
    #[serde(rename = "AES-CTR")]
    AesCtr { counter: Base64, counter_bits: u32 },
    #[serde(rename = "AES-GCM")]
    AesGcm { iv: Base64, additional_data: Base64, tag_bits: u32 },
    #[serde(rename = "AES-KW")]
    AesKw,
    #[serde(rename = "RSA-OAEP")]
    RsaOaep { hash: Hash, label: Base64 },
}

/// How bytes are derived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all_fields = "camelCase")]
pub enum Derivation {
    /// ECDH or X25519, whatever the keys are for: all that both sides compute.
    Agreement { public: Key },
    #[serde(rename = "HKDF")]
    Hkdf { hash: Hash, salt: Base64, info: Base64, bytes: usize },
    #[serde(rename = "PBKDF2")]
    Pbkdf2 { hash: Hash, salt: Base64, iterations: u32, bytes: usize },
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Bytes(Vec<u8>),
    Verified(bool),
    Key(Key),
    Pair { public: Key, private: Key },
}

/// A request that is none: a mistake of whoever wrote it, not of whom it was written for.
#[derive(Debug, thiserror::Error)]
#[error("not a request for an operation: {0}")]
pub struct MalformedRequest(#[from] serde_json::Error);

impl Request {
    /// From JSON text of an [`Operation`]. Its keys are read here, which is a part of the work.
    pub fn parse(operation: &[u8], data: Vec<u8>) -> Result<Request, MalformedRequest> {
        Ok(Request { operation: serde_json::from_slice(operation)?, data })
    }

    /// Does what is asked for. `random` is drawn from by operations whose answers differ from time to time, and by those
    /// that compute with a private key for RSA.
    pub fn run<R: CryptoRng + ?Sized>(&self, random: &mut R, is_over: IsOver<'_>) -> Result<Answer, Error> {
        let data = &self.data;
        match &self.operation {
            Operation::Digest { hash } => Ok(Answer::Bytes(hash.digest(data))),
            Operation::GenerateAes { bits } => {
                Ok(Answer::Key(Key::Aes(AesKey::generate(AesLength::from_bits(*bits)?, random))))
            }
            Operation::GenerateSecret { bytes } => {
                SecretKey::generate(*bytes, random).map(|key| Answer::Key(Key::Secret(key)))
            }
            Operation::GenerateRsa { modulus_bits, public_exponent } => {
                let private = RsaPrivateKey::generate(*modulus_bits, &public_exponent.0, random, is_over)?;
                Ok(Answer::Pair {
                    public: Key::RsaPublic(private.public_key()),
                    private: Key::RsaPrivate(private),
                })
            }
            Operation::GenerateEc { curve } => {
                let private = EcPrivateKey::generate(*curve, random);
                Ok(Answer::Pair {
                    public: Key::EcPublic(private.public_key()),
                    private: Key::EcPrivate(private),
                })
            }
            Operation::GenerateEd25519 => {
                let private = Ed25519PrivateKey::generate(random);
                Ok(Answer::Pair {
                    public: Key::Ed25519Public(private.public_key()),
                    private: Key::Ed25519Private(private),
                })
            }
            Operation::GenerateX25519 => {
                let private = X25519PrivateKey::generate(random);
                Ok(Answer::Pair {
                    public: Key::X25519Public(private.public_key()),
                    private: Key::X25519Private(private),
                })
            }
            Operation::Import { kind, format } => Key::import(*kind, *format, data).map(Answer::Key),
            Operation::Export { key, format } => key.export(*format).map(Answer::Bytes),
            Operation::Sign { key, scheme } => scheme.sign(key, data, random).map(Answer::Bytes),
            Operation::Verify { key, scheme, signature } => {
                scheme.verify(key, data, &signature.0).map(Answer::Verified)
            }
            Operation::Encrypt { key, cipher } => cipher.encrypt(key, data, random).map(Answer::Bytes),
            Operation::Decrypt { key, cipher } => cipher.decrypt(key, data, random).map(Answer::Bytes),
            Operation::Derive { key, derivation } => derivation.derive(key, is_over).map(Answer::Bytes),
        }
    }
}

impl Operation {
    /// Whether the answer differs from time to time for the same request.
    pub fn is_randomised(&self) -> bool {
        match self {
            Operation::GenerateAes { .. }
            | Operation::GenerateSecret { .. }
            | Operation::GenerateRsa { .. }
            | Operation::GenerateEc { .. }
            | Operation::GenerateEd25519
            | Operation::GenerateX25519 => true,
            Operation::Sign { scheme, .. } => {
                matches!(scheme, SignatureScheme::RsaPss { .. } | SignatureScheme::Ecdsa { .. })
            }
            Operation::Encrypt { cipher, .. } => matches!(cipher, Cipher::RsaOaep { .. }),
            Operation::Digest { .. }
            | Operation::Import { .. }
            | Operation::Export { .. }
            | Operation::Verify { .. }
            | Operation::Decrypt { .. }
            | Operation::Derive { .. } => false,
        }
    }
}

const WRONG_KEY: Error = Error::InvalidAccess("the key is not one for that algorithm and operation");

impl SignatureScheme {
    fn sign<R: CryptoRng + ?Sized>(
        self,
        key: &Key,
        message: &[u8],
        random: &mut R,
    ) -> Result<Vec<u8>, Error> {
        match (self, key) {
            (SignatureScheme::Hmac { hash }, Key::Secret(key)) => Ok(key.sign(hash, message)),
            (SignatureScheme::RsaPkcs1 { hash }, Key::RsaPrivate(key)) => {
                key.sign_pkcs1(hash, message, random)
            }
            (SignatureScheme::RsaPss { hash, salt_bytes }, Key::RsaPrivate(key)) => {
                key.sign_pss(hash, salt_bytes, message, random)
            }
            (SignatureScheme::Ecdsa { hash }, Key::EcPrivate(key)) => Ok(key.sign(hash, message, random)),
            (SignatureScheme::Ed25519, Key::Ed25519Private(key)) => Ok(key.sign(message)),
            _ => Err(WRONG_KEY),
        }
    }

    fn verify(self, key: &Key, message: &[u8], signature: &[u8]) -> Result<bool, Error> {
        match (self, key) {
            (SignatureScheme::Hmac { hash }, Key::Secret(key)) => Ok(key.verify(hash, message, signature)),
            (SignatureScheme::RsaPkcs1 { hash }, Key::RsaPublic(key)) => {
                Ok(key.verify_pkcs1(hash, message, signature))
            }
            (SignatureScheme::RsaPss { hash, salt_bytes }, Key::RsaPublic(key)) => {
                Ok(key.verify_pss(hash, salt_bytes, message, signature))
            }
            (SignatureScheme::Ecdsa { hash }, Key::EcPublic(key)) => Ok(key.verify(hash, message, signature)),
            (SignatureScheme::Ed25519, Key::Ed25519Public(key)) => Ok(key.verify(message, signature)),
            _ => Err(WRONG_KEY),
        }
    }
}

impl Cipher {
    fn encrypt<R: CryptoRng + ?Sized>(
        &self,
        key: &Key,
        message: &[u8],
        random: &mut R,
    ) -> Result<Vec<u8>, Error> {
        match (self, key) {
            (Cipher::AesCbc { iv }, Key::Aes(key)) => Ok(key.encrypt_cbc(block(iv)?, message)),
            (Cipher::AesCtr { counter, counter_bits }, Key::Aes(key)) => {
                key.apply_ctr(block(counter)?, CounterBits::new(*counter_bits)?, message)
            }
            (Cipher::AesGcm { iv, additional_data, tag_bits }, Key::Aes(key)) => {
                key.encrypt_gcm(&gcm(iv, additional_data, *tag_bits)?, message)
            }
            (Cipher::AesKw, Key::Aes(key)) => key.wrap(message),
            (Cipher::RsaOaep { hash, label }, Key::RsaPublic(key)) => {
                key.encrypt_oaep(*hash, &label.0, message, random)
            }
            _ => Err(WRONG_KEY),
        }
    }

    fn decrypt<R: CryptoRng + ?Sized>(
        &self,
        key: &Key,
        encrypted: &[u8],
        random: &mut R,
    ) -> Result<Vec<u8>, Error> {
        match (self, key) {
            (Cipher::AesCbc { iv }, Key::Aes(key)) => key.decrypt_cbc(block(iv)?, encrypted),
            (Cipher::AesCtr { counter, counter_bits }, Key::Aes(key)) => {
                key.apply_ctr(block(counter)?, CounterBits::new(*counter_bits)?, encrypted)
            }
            (Cipher::AesGcm { iv, additional_data, tag_bits }, Key::Aes(key)) => {
                key.decrypt_gcm(&gcm(iv, additional_data, *tag_bits)?, encrypted)
            }
            (Cipher::AesKw, Key::Aes(key)) => key.unwrap(encrypted),
            (Cipher::RsaOaep { hash, label }, Key::RsaPrivate(key)) => {
                key.decrypt_oaep(*hash, &label.0, encrypted, random)
            }
            _ => Err(WRONG_KEY),
        }
    }
}

fn block(bytes: &Base64) -> Result<&[u8; 16], Error> {
    bytes.0.as_slice().try_into().map_err(|_| Error::Operation("the iv or counter must have 16 bytes"))
}

fn gcm<'p>(iv: &'p Base64, additional_data: &'p Base64, tag_bits: u32) -> Result<Gcm<'p>, Error> {
    Ok(Gcm { iv: &iv.0, additional_data: &additional_data.0, tag: TagLength::from_bits(tag_bits)? })
}

impl Derivation {
    fn derive(&self, key: &Key, is_over: IsOver<'_>) -> Result<Vec<u8>, Error> {
        match (self, key) {
            (Derivation::Agreement { public: Key::EcPublic(public) }, Key::EcPrivate(key)) => {
                key.agree(public)
            }
            (Derivation::Agreement { public: Key::X25519Public(public) }, Key::X25519Private(key)) => {
                key.agree(public)
            }
            (Derivation::Hkdf { hash, salt, info, bytes }, Key::Secret(key)) => {
                Hkdf { hash: *hash, salt: &salt.0, info: &info.0 }.derive(key, *bytes)
            }
            (Derivation::Pbkdf2 { hash, salt, iterations, bytes }, Key::Secret(key)) => {
                Pbkdf2 { hash: *hash, salt: &salt.0, iterations: *iterations }.derive(key, *bytes, is_over)
            }
            _ => Err(WRONG_KEY),
        }
    }
}

impl Answer {
    /// Bytes as base64, everything else as JSON text.
    pub fn to_text(&self) -> String {
        match self {
            Answer::Bytes(bytes) => text::base64(bytes),
            Answer::Verified(verified) => verified.to_string(),
            Answer::Key(key) => json(&DescribedKey::of(key)),
            Answer::Pair { public, private } => {
                json(&DescribedPair { public: DescribedKey::of(public), private: DescribedKey::of(private) })
            }
        }
    }
}

fn json(described: &impl Serialize) -> String {
    serde_json::to_string(described).expect("a key is text and numbers")
}

/// A key, and what one can see of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedKey {
    key: Key,
    #[serde(rename = "type")]
    key_type: KeyType,
    /// Of a secret its length, of a key for RSA that of its modulus.
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_exponent: Option<Base64>,
}

#[derive(Serialize)]
struct DescribedPair {
    public: DescribedKey,
    private: DescribedKey,
}

impl DescribedKey {
    fn of(key: &Key) -> DescribedKey {
        let rsa = match key {
            Key::RsaPublic(key) => Some(key.clone()),
            Key::RsaPrivate(key) => Some(key.public_key()),
            _ => None,
        };
        let bits = match key {
            Key::Aes(key) => Some(key.as_bytes().len() * 8),
            Key::Secret(key) => Some(key.as_bytes().len() * 8),
            _ => rsa.as_ref().map(|key| key.modulus_bits() as usize),
        };
        DescribedKey {
            key: key.clone(),
            key_type: key.key_type(),
            bits,
            public_exponent: rsa.map(|key| Base64(key.exponent())),
        }
    }
}
